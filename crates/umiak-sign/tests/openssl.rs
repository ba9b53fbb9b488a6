//! Signatures that OpenSSL makes, in the forms in which cosign and pvr store them: what holds, and what does not.
#![allow(clippy::unwrap_used)]

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use umiak_pvr::json::{Object, Value};
use umiak_sign::{Distrust, Policy, Signature, SignatureManifest};
use umiak_spec::{Digest, Limits};

/// Runs openssl in `directory` and returns what it prints.
fn openssl(directory: &Path, arguments: &str, input: &[u8]) -> Vec<u8> {
    let mut command = Command::new("openssl");
    command.args(arguments.split(' ')).current_dir(directory).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut process = command.stderr(Stdio::piped()).spawn().unwrap();
    process.stdin.take().unwrap().write_all(input).unwrap();
    let output = process.wait_with_output().unwrap();
    assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn base64(directory: &Path, bytes: &[u8]) -> String {
    String::from_utf8(openssl(directory, "base64 -A", bytes)).unwrap()
}

fn base64url(directory: &Path, bytes: &[u8]) -> String {
    base64(directory, bytes).trim_end_matches('=').replace('+', "-").replace('/', "_")
}

/// Makes a key and returns its public half.
fn key(directory: &Path, name: &str, kind: &str) -> String {
    openssl(directory, &format!("genpkey {kind} -out {name}.key"), b"");
    String::from_utf8(openssl(directory, &format!("pkey -in {name}.key -pubout"), b"")).unwrap()
}

const P256: &str = "-algorithm EC -pkeyopt ec_paramgen_curve:P-256";
const P384: &str = "-algorithm EC -pkeyopt ec_paramgen_curve:P-384";
const RSA: &str = "-algorithm RSA -pkeyopt rsa_keygen_bits:2048";
const ED25519: &str = "-algorithm ED25519";

fn sign(directory: &Path, name: &str, message: &[u8]) -> Vec<u8> {
    std::fs::write(directory.join("message"), message).unwrap();
    let text = String::from_utf8(openssl(directory, &format!("pkey -in {name}.key -text -noout"), b"")).unwrap();
    if text.starts_with("ED25519") {
        return openssl(directory, &format!("pkeyutl -sign -rawin -inkey {name}.key -in message"), b"");
    }
    openssl(directory, &format!("dgst -sha256 -sign {name}.key message"), b"")
}

fn policy(keys: &[(&str, &str)], authorities: &[(&str, &str)], rule: &str) -> Policy {
    let list = |pairs: &[(&str, &str)]| {
        let text = |(name, pem): &(&str, &str)| format!(r#""{name}":"{}""#, pem.replace('\n', "\\n"));
        pairs.iter().map(text).collect::<Vec<_>>().join(",")
    };
    let (keys, authorities) = (list(keys), list(authorities));
    let text = format!(
        r#"{{"version":1,"keys":{{{keys}}},"authorities":{{{authorities}}},
            "rules":[{{"from":"registry.example/team/**",{rule}}}],"default":{{"accept":"none"}}}}"#
    );
    Policy::parse(text.as_bytes(), &Limits::default()).unwrap()
}

const SHOP: &str = "registry.example/team/shop";

fn payload(digest: &Digest) -> String {
    format!(
        r#"{{"critical":{{"identity":{{"docker-reference":"{SHOP}"}},"image":{{"docker-manifest-digest":"{digest}"}},"type":"cosign container image signature"}},"optional":null}}"#
    )
}

/// A signature as cosign stores it.
fn cosign(directory: &Path, key: &str, digest: &Digest) -> Signature {
    let payload = payload(digest);
    let signature = base64(directory, &sign(directory, key, payload.as_bytes()));
    stored(&payload, &signature)
}

fn stored(payload: &str, signature: &str) -> Signature {
    let manifest = format!(
        r#"{{"schemaVersion":2,"config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{0}","size":1}},
            "layers":[{{"mediaType":"application/vnd.dev.cosign.simplesigning.v1+json","digest":"{0}","size":{1},
            "annotations":{{"dev.cosignproject.cosign/signature":"{signature}"}}}}]}}"#,
        Digest::of(payload.as_bytes()),
        payload.len()
    );
    let mut manifest = SignatureManifest::parse(manifest.as_bytes(), &Limits::default()).unwrap();
    manifest.signatures.remove(0).with(payload.as_bytes().to_vec()).unwrap()
}

#[test]
#[ignore = "needs: openssl"]
fn cosigns_signatures_hold_for_their_key_and_digest_only() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let (digest, other) = (Digest::of(b"manifest"), Digest::of(b"another"));
    for kind in [P256, P384, ED25519, RSA] {
        let release = key(directory, "release", kind);
        let stranger = key(directory, "stranger", kind);
        let policy = policy(&[("release", &release)], &[], r#""accept":"signed","signers":["release"]"#);
        let good = cosign(directory, "release", &digest);
        assert_eq!(policy.check_manifest(SHOP, &digest, std::slice::from_ref(&good)).unwrap(), ["release"], "{kind}");
        let check = |digest: &Digest, signature: Signature| policy.check_manifest(SHOP, digest, &[signature]);
        assert!(matches!(check(&other, good.clone()), Err(Distrust::Unsigned { found: 0, .. })), "another image");
        let foreign = cosign(directory, "stranger", &digest);
        assert!(matches!(check(&digest, foreign), Err(Distrust::Unsigned { .. })), "another key");
        let changed = payload(&digest).replace("shop", "shap");
        let changed = stored(&changed, &base64(directory, &sign(directory, "release", payload(&digest).as_bytes())));
        assert!(check(&digest, changed).is_err(), "another payload");
        assert!(matches!(policy.check_manifest(SHOP, &digest, &[]), Err(Distrust::Unsigned { threshold: 1, .. })));
        let elsewhere = policy.check_manifest("registry.example/others/shop", &digest, &[good]);
        assert!(matches!(elsewhere, Err(Distrust::Refused { .. })), "the default decides");
        drop(stranger);
    }
}

#[test]
#[ignore = "needs: openssl"]
fn a_threshold_counts_keys_not_signatures_or_names() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let digest = Digest::of(b"manifest");
    let (one, two) = (key(directory, "one", P256), key(directory, "two", ED25519));
    let policy = policy(
        &[("one", &one), ("again", &one), ("two", &two)],
        &[],
        r#""accept":"signed","signers":["one","again","two"],"threshold":2"#,
    );
    let first = cosign(directory, "one", &digest);
    let twice = [first.clone(), cosign(directory, "one", &digest)];
    assert!(matches!(policy.check_manifest(SHOP, &digest, &twice), Err(Distrust::Unsigned { found: 1, .. })));
    let both = [first, cosign(directory, "two", &digest)];
    assert_eq!(policy.check_manifest(SHOP, &digest, &both).unwrap(), ["again", "one", "two"]);
}

#[test]
#[ignore = "needs: openssl"]
fn a_sigstore_bundle_holds_without_network() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let digest = Digest::of(b"manifest");
    let release = key(directory, "release", P256);
    let policy = policy(&[("release", &release)], &[], r#""accept":"signed","signers":["release"]"#);
    let bundle = |digest: &Digest, kind: &str| {
        let statement = format!(
            r#"{{"_type":"https://in-toto.io/Statement/v1","subject":[{{"digest":{{"sha256":"{}"}}}}],"predicateType":"https://sigstore.dev/cosign/sign/v1","predicate":{{}}}}"#,
            digest.hex()
        );
        let message = format!("DSSEv1 28 application/vnd.in-toto+json {} {statement}", statement.len());
        let signature = base64(directory, &sign(directory, "release", message.as_bytes()));
        let text = format!(
            r#"{{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":{{"publicKey":{{"hint":""}}}},
                "dsseEnvelope":{{"payload":"{}","payloadType":"{kind}","signatures":[{{"sig":"{signature}"}}]}}}}"#,
            base64(directory, statement.as_bytes())
        );
        let manifest = format!(
            r#"{{"layers":[{{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","digest":"{}","size":{}}}]}}"#,
            Digest::of(text.as_bytes()),
            text.len()
        );
        let mut manifest = SignatureManifest::parse(manifest.as_bytes(), &Limits::default()).unwrap();
        manifest.signatures.remove(0).with(text.into_bytes()).unwrap()
    };
    let good = bundle(&digest, "application/vnd.in-toto+json");
    assert_eq!(policy.check_manifest(SHOP, &digest, std::slice::from_ref(&good)).unwrap(), ["release"]);
    assert!(policy.check_manifest(SHOP, &Digest::of(b"another"), &[good]).is_err());
    assert!(policy.check_manifest(SHOP, &digest, &[bundle(&digest, "text/plain")]).is_err(), "another type");
}

fn state(text: &str) -> Object {
    match Value::parse(text.as_bytes(), 1 << 20).unwrap() {
        Value::Object(state) => state,
        _ => panic!("no state"),
    }
}

const STATE: &str = r##"{"#spec":"pantavisor-service-system@1","maps/root.squashfs":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","maps/run.json":{"name":"maps","zeta":1.0},"maps/src.json":{"x":1}}"##;

/// What DER has as two numbers, as JWS has it.
fn fixed(der: &[u8]) -> Vec<u8> {
    let mut rest = &der[2..];
    let mut raw = Vec::new();
    for _ in 0..2 {
        let (number, behind) = rest[2..].split_at(usize::from(rest[1]));
        let number = number.strip_prefix(&[0]).unwrap_or(number);
        raw.extend(vec![0; 32 - number.len()]);
        raw.extend_from_slice(number);
        rest = behind;
    }
    raw
}

/// The state with a signature of `key` over what `include` selects, under `name`.
fn signed(directory: &Path, name: &str, key: &str, alg: &str, include: &str, x5c: &str) -> Object {
    let mut state = state(STATE);
    let header =
        format!(r#"{{"alg":"{alg}","pvs":{{"exclude":["maps/src.json"],"include":[{include}]}},"typ":"PVS"{x5c}}}"#);
    let protected = base64url(directory, header.as_bytes());
    let selected: Object = state
        .iter()
        .filter(|(name, _)| {
            (name.starts_with("maps/") && *name != "maps/src.json") || include.contains(&format!("\"{name}\""))
        })
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    let payload = Value::Object(selected).canonical();
    let message = format!("{protected}.{}", base64url(directory, payload.as_bytes()));
    let signature = sign(directory, key, message.as_bytes());
    let signature = if alg == "ES256" { fixed(&signature) } else { signature };
    let members = [
        ("#spec", Value::from("pvs@2")),
        ("protected", protected.as_str().into()),
        ("signature", base64url(directory, &signature).as_str().into()),
    ];
    state.insert(format!("_sigs/{name}.json"), Value::object(members));
    state
}

#[test]
#[ignore = "needs: openssl"]
fn a_state_holds_as_it_was_signed_and_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    for (kind, alg) in [(RSA, "RS256"), (P256, "ES256"), (ED25519, "EdDSA")] {
        let release = key(directory, "release", kind);
        key(directory, "stranger", kind);
        let all = policy(&[("release", &release)], &[], r#""accept":"signed","signers":["release"]"#);
        let good = signed(directory, "maps", "release", alg, r##""maps/**","#spec""##, "");
        assert_eq!(all.check_state(SHOP, &good).unwrap(), ["release"], "{alg}");

        let mut changed = good.clone();
        changed.insert("maps/run.json".into(), Value::object([("name", Value::from("evil"))]));
        assert!(matches!(all.check_state(SHOP, &changed), Err(Distrust::State { .. })), "changed");
        let mut more = good.clone();
        more.insert("maps/lxc.container.conf".into(), Value::from("0".repeat(64).as_str()));
        assert!(matches!(all.check_state(SHOP, &more), Err(Distrust::State { .. })), "one file more in the part");
        let mut beside = good.clone();
        beside.insert("evil/run.json".into(), Value::object([("name", Value::from("evil"))]));
        let refused = all.check_state(SHOP, &beside);
        assert!(matches!(refused, Err(Distrust::Uncovered { keys, .. }) if keys == ["evil/run.json"]), "one part more");
        let mut excluded = good;
        excluded.insert("maps/src.json".into(), Value::object([("x", Value::from(2))]));
        assert!(all.check_state(SHOP, &excluded).is_ok(), "the signer said that it does not matter");

        let stranger = signed(directory, "maps", "stranger", alg, r##""maps/**","#spec""##, "");
        assert!(matches!(all.check_state(SHOP, &stranger), Err(Distrust::State { .. })));
        assert!(matches!(all.check_state(SHOP, &state(STATE)), Err(Distrust::Unsigned { .. })), "none at all");
        let part = signed(directory, "maps", "release", alg, r#""maps/**""#, "");
        assert!(matches!(all.check_state(SHOP, &part), Err(Distrust::Uncovered { keys, .. }) if keys == ["#spec"]));
        let rule = r#""accept":"signed","signers":["release"],"cover":"parts""#;
        assert!(policy(&[("release", &release)], &[], rule).check_state(SHOP, &part).is_ok());
    }
}

#[test]
#[ignore = "needs: openssl"]
fn a_chain_leads_to_its_authority_whatever_the_day() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let authority = |name: &str| {
        key(directory, name, RSA);
        let arguments = format!("req -x509 -new -key {name}.key -subj /CN={name} -days 3650");
        String::from_utf8(openssl(directory, &arguments, b"")).unwrap()
    };
    let (ca, other) = (authority("ca"), authority("other"));
    std::fs::write(directory.join("ca.pem"), &ca).unwrap();
    let settings = "[ca]\ndefault_ca=x\n[x]\ndatabase=index\nserial=serial\nnew_certs_dir=.\ncertificate=ca.pem\n\
        private_key=ca.key\ndefault_md=sha256\npolicy=p\nunique_subject=no\n[p]\ncommonName=supplied\n";
    std::fs::write(directory.join("ca.conf"), settings).unwrap();
    std::fs::write(directory.join("index"), "").unwrap();
    std::fs::write(directory.join("serial"), "01\n").unwrap();
    let leaf = |purpose: &str, dates: &str| {
        key(directory, "leaf", RSA);
        let purpose = format!("basicConstraints=CA:FALSE\nextendedKeyUsage={purpose}\n");
        std::fs::write(directory.join("ext"), purpose).unwrap();
        openssl(directory, "req -new -key leaf.key -subj /CN=developer -out leaf.csr", b"");
        let arguments = format!("ca -batch -config ca.conf -in leaf.csr -notext -extfile ext -out leaf.pem {dates}");
        openssl(directory, &arguments, b"");
        let der = openssl(directory, "x509 -in leaf.pem -outform DER", b"");
        let x5c = format!(r#","x5c":["{}"]"#, base64(directory, &der));
        signed(directory, "maps", "leaf", "RS256", r##""maps/**","#spec""##, &x5c)
    };
    let rule = r#""accept":"signed","signers":["ca"]"#;
    let trusting = policy(&[], &[("ca", &ca)], rule);
    let long_expired = leaf("codeSigning", "-startdate 20200101000000Z -enddate 20210101000000Z");
    assert_eq!(trusting.check_state(SHOP, &long_expired).unwrap(), ["ca"]);
    let refused = policy(&[], &[("ca", &other)], rule).check_state(SHOP, &long_expired);
    assert!(matches!(refused, Err(Distrust::State { .. })), "another authority");
    let server = leaf("serverAuth", "-days 10");
    assert!(matches!(trusting.check_state(SHOP, &server), Err(Distrust::State { .. })), "it may not sign code");
    let mut changed = leaf("codeSigning", "-days 10");
    assert!(trusting.check_state(SHOP, &changed).is_ok());
    changed.insert("maps/run.json".into(), Value::Null);
    assert!(trusting.check_state(SHOP, &changed).is_err());
}
