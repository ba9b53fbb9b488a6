//! OpenSSL on the command line and umiak, both ways: what one makes the other takes.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation)]

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use umiak_pvr::State;
use umiak_pvr::json::{Object, Value};
use umiak_seal::{
    FileKey, Kind, Rule, SealError, Signer as _, Validity, issue, new_authority, new_key, public_pem, seal, sealed,
};
use umiak_sign::base64::decode_url;
use umiak_sign::{Authority, PublicKey, PvsError, SignedState, Signers, pem};

/// Runs openssl in `directory`.
fn run(directory: &Path, arguments: &str, input: &[u8]) -> Output {
    let mut command = Command::new("openssl");
    command.args(arguments.split(' ')).current_dir(directory).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut process = command.stderr(Stdio::piped()).spawn().unwrap();
    process.stdin.take().unwrap().write_all(input).unwrap();
    process.wait_with_output().unwrap()
}

/// The same, which must succeed; what it prints.
fn openssl(directory: &Path, arguments: &str, input: &[u8]) -> Vec<u8> {
    let output = run(directory, arguments, input);
    assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn text(directory: &Path, arguments: &str) -> String {
    String::from_utf8(openssl(directory, arguments, b"")).unwrap()
}

/// Two numbers of fixed length, as DER has them for OpenSSL.
fn asn1(raw: &[u8]) -> Vec<u8> {
    let number = |digits: &[u8]| {
        let digits = &digits[digits.iter().position(|digit| *digit != 0).unwrap()..];
        let sign = if digits[0] > 0x7f { &[0][..] } else { &[] };
        [&[2, (digits.len() + sign.len()) as u8], sign, digits].concat()
    };
    let (r, s) = raw.split_at(raw.len() / 2);
    let both = [number(r), number(s)].concat();
    [&[0x30, both.len() as u8][..], &both].concat()
}

const STATE: &str = r##"{"#spec":"pantavisor-service-system@1","_config/web/etc/web.json":{"port":80},"maps/run.json":{"name":"maps"},"web/root.squashfs":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","web/run.json":{"name":"web","zeta":1.0},"web/src.json":{"x":1}}"##;

/// What the rule of the part `web` signs of it, by hand.
const PAYLOAD: &str = r#"{"_config/web/etc/web.json":{"port":80},"web/root.squashfs":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","web/run.json":{"name":"web","zeta":1}}"#;

fn state() -> State {
    State::parse(STATE.as_bytes(), 1 << 20).unwrap()
}

fn web() -> Rule {
    Rule::part("web", &[], &[], true)
}

/// The state with the signature of `key`.
fn signed(key: &FileKey, chain: &[Vec<u8>]) -> Object {
    let document = seal(&state(), &web(), key, chain).unwrap();
    match sealed(&state(), &web(), document).unwrap().to_value() {
        Value::Object(members) => members,
        _ => unreachable!(),
    }
}

fn verified(state: &Object, key: &PublicKey) -> Result<SignedState, PvsError> {
    SignedState::verify(state, &Signers { keys: vec![("key", key)], authorities: vec![] })
}

/// Header, message and signature of the signature in a state.
fn parts(state: &Object) -> (String, String, Vec<u8>) {
    let member = |name: &str| state["_sigs/web.json"].get(name).unwrap().as_str().unwrap().to_owned();
    let header = String::from_utf8(decode_url(&member("protected")).unwrap()).unwrap();
    let message = format!("{}.{}", member("protected"), umiak_sign::base64::encode_url(PAYLOAD.as_bytes()));
    (header, message, decode_url(&member("signature")).unwrap())
}

/// OpenSSL has verified the signature in `state` with the public key in `key.pub`.
fn verified_by_openssl(directory: &Path, state: &Object, hash: &str) {
    let (_, message, signature) = parts(state);
    let signature = if hash.starts_with("rsa ") { signature } else { asn1(&signature) };
    std::fs::write(directory.join("signature"), signature).unwrap();
    let hash = hash.split(' ').next_back().unwrap();
    openssl(directory, &format!("dgst -{hash} -verify key.pub -signature signature"), message.as_bytes());
    let other = run(directory, &format!("dgst -{hash} -verify key.pub -signature signature"), b"another message");
    assert!(!other.status.success());
}

#[test]
#[ignore = "needs: openssl"]
fn openssl_verifies_what_its_keys_sign_here() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    for (kind, alg, hash, forms) in [
        ("-algorithm RSA -pkeyopt rsa_keygen_bits:2048", "RS256", "rsa sha256", "rsa -traditional"),
        ("-algorithm EC -pkeyopt ec_paramgen_curve:P-256", "ES256", "ec sha256", "ec"),
        ("-algorithm EC -pkeyopt ec_paramgen_curve:P-384", "ES384", "ec sha384", "ec"),
    ] {
        openssl(directory, &format!("genpkey {kind} -out key.pem"), b"");
        openssl(directory, "pkey -in key.pem -pubout -out key.pub", b"");
        let plain = std::fs::read_to_string(directory.join("key.pem")).unwrap();
        let traditional = text(directory, &format!("{forms} -in key.pem"));
        assert!(traditional.contains("RSA PRIVATE KEY") || traditional.contains("EC PRIVATE KEY"), "{traditional}");
        let key = FileKey::from_pem(&plain, None).unwrap();
        let public = text(directory, "pkey -in key.pem -pubout");
        assert_eq!(public_pem(&key), public, "{alg}");
        let state = signed(&key, &[]);
        let (header, ..) = parts(&state);
        assert!(header.starts_with(&format!(r#"{{"alg":"{alg}","jwk":{{"#)), "{header}");
        assert!(header.ends_with(
            r#""pvs":{"exclude":["web/src.json","_sigs/web.json"],"include":["web/**","_config/web/**"]},"typ":"PVS"}"#
        ));
        verified_by_openssl(directory, &state, hash);
        assert!(verified(&state, &PublicKey::from_pem(&public).unwrap()).is_ok());
        // The same key in its older form, and behind a password, makes the same signature.
        for more in ["", " -v2 aes-256-cbc", " -v2 aes-128-cbc -v2prf hmacWithSHA512", " -scrypt"] {
            let line = format!("pkcs8 -topk8 -in key.pem{more} -passout pass:secret -out locked.pem");
            openssl(directory, &line, b"");
            let locked = std::fs::read_to_string(directory.join("locked.pem")).unwrap();
            assert_eq!(FileKey::from_pem(&locked, None).unwrap_err(), SealError::PasswordNeeded);
            assert_eq!(FileKey::from_pem(&locked, Some(b"wrong")).unwrap_err(), SealError::WrongPassword);
            assert_eq!(signed(&FileKey::from_pem(&locked, Some(b"secret")).unwrap(), &[]), state, "{more}");
        }
        assert_eq!(signed(&FileKey::from_pem(&traditional, None).unwrap(), &[]), state, "{alg}");
        assert_eq!(FileKey::from_pem(&public, None).unwrap_err(), SealError::Public);
        let old = text(directory, &format!("{forms} -in key.pem -aes256 -passout pass:secret"));
        assert_eq!(FileKey::from_pem(&old, Some(b"secret")).unwrap_err(), SealError::Encryption);
    }
}

#[test]
#[ignore = "needs: openssl"]
fn openssl_signs_and_the_state_holds() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    for (kind, hash) in [
        ("-algorithm RSA -pkeyopt rsa_keygen_bits:3072", "rsa sha256"),
        ("-algorithm EC -pkeyopt ec_paramgen_curve:P-384", "ec sha384"),
    ] {
        openssl(directory, &format!("genpkey {kind} -out key.pem"), b"");
        let plain = std::fs::read_to_string(directory.join("key.pem")).unwrap();
        let key = FileKey::from_pem(&plain, None).unwrap();
        let public = PublicKey::from_spki(key.spki()).unwrap();
        let mut state = signed(&key, &[]);
        let (_, message, ours) = parts(&state);
        let digest = hash.split(' ').next_back().unwrap();
        let theirs = openssl(directory, &format!("dgst -{digest} -sign key.pem"), message.as_bytes());
        let theirs = if hash.starts_with("rsa") { theirs } else { fixed(&theirs, 48) };
        if hash.starts_with("rsa") {
            assert_eq!(theirs, ours, "there is one signature of RSA");
        }
        let Some(Value::Object(document)) = state.get_mut("_sigs/web.json") else { unreachable!() };
        document.insert("signature".into(), Value::from(umiak_sign::base64::encode_url(&theirs)));
        let found = verified(&state, &public).unwrap();
        assert_eq!(found.report().notseen, ["#spec", "maps/run.json"]);
        state.insert("web/run.json".into(), Value::Null);
        assert!(matches!(verified(&state, &public), Err(PvsError::DoesNotHold { .. })));
    }
}

/// What DER has as two numbers, as JWS has it.
fn fixed(der: &[u8], length: usize) -> Vec<u8> {
    let mut rest = &der[2..];
    let mut raw = Vec::new();
    for _ in 0..2 {
        let (number, behind) = rest[2..].split_at(usize::from(rest[1]));
        let number = number.strip_prefix(&[0]).unwrap_or(number);
        raw.extend(vec![0; length - number.len()]);
        raw.extend_from_slice(number);
        rest = behind;
    }
    raw
}

#[test]
#[ignore = "needs: openssl"]
fn new_keys_are_openssl_s_too() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    for (kind, words, hash) in [
        (Kind::Rsa2048, "(2048 bit", "rsa sha256"),
        (Kind::P256, "(256 bit)", "ec sha256"),
        (Kind::P384, "(384 bit)", "ec sha384"),
    ] {
        let plain = new_key(kind, None).unwrap();
        std::fs::write(directory.join("key.pem"), &*plain).unwrap();
        let said = text(directory, "pkey -in key.pem -check -noout -text");
        assert!(said.contains("Key is valid") && said.contains(words), "{said}");
        openssl(directory, "pkey -in key.pem -pubout -out key.pub", b"");
        let key = FileKey::from_pem(&plain, None).unwrap();
        verified_by_openssl(directory, &signed(&key, &[]), hash);
        let locked = umiak_seal::encrypted(&plain, b"secret").unwrap();
        std::fs::write(directory.join("locked.pem"), &*locked).unwrap();
        let opened = text(directory, "pkey -in locked.pem -passin pass:secret -pubout");
        assert_eq!(opened, public_pem(&key));
    }
}

#[test]
#[ignore = "needs: openssl"]
fn chains_of_both_are_believed_by_both() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let validity = Validity { from: 1_700_000_000, until: 4_102_444_800 };
    for (root, leaf) in [(Kind::Rsa2048, Kind::P256), (Kind::P256, Kind::Rsa2048), (Kind::P384, Kind::P384)] {
        let [root, leaf] = [root, leaf].map(|kind| FileKey::from_pem(&new_key(kind, None).unwrap(), None).unwrap());
        let authority = new_authority("Team authority", &root, validity).unwrap();
        let certificate = issue("release", leaf.spki(), &authority, &root, validity).unwrap();
        assert_eq!(issue("release", leaf.spki(), &authority, &root, validity).unwrap(), certificate, "the same bytes");
        let ca = pem::block("CERTIFICATE", &authority);
        std::fs::write(directory.join("ca.pem"), &ca).unwrap();
        std::fs::write(directory.join("leaf.pem"), pem::block("CERTIFICATE", &certificate)).unwrap();
        // The purpose `codesign` is one that older releases of OpenSSL do not know by name.
        let line = "verify -x509_strict -check_ss_sig -purpose any -CAfile ca.pem leaf.pem";
        assert!(text(directory, line).contains("leaf.pem: OK"));
        assert!(!run(directory, "verify -purpose sslserver -CAfile ca.pem leaf.pem", b"").status.success());
        let said = text(directory, "x509 -in leaf.pem -noout -text");
        for words in ["Issuer: CN = Team authority", "Subject: CN = release", "Code Signing", "CA:FALSE", "2100 GMT"] {
            let spaced = words.replace(" = ", "=");
            assert!(said.contains(words) || said.contains(&spaced), "{words}: {said}");
        }
        let state = signed(&leaf, std::slice::from_ref(&certificate));
        let trusted = Authority::from_pem(&ca).unwrap();
        let signers = Signers { keys: vec![], authorities: vec![("ca", &trusted)] };
        assert_eq!(SignedState::verify(&state, &signers).unwrap().signatures["_sigs/web.json"], "ca");
        let stranger = new_authority("Team authority", &leaf, validity).unwrap();
        let stranger = Authority::from_pem(&pem::block("CERTIFICATE", &stranger)).unwrap();
        let signers = Signers { keys: vec![], authorities: vec![("ca", &stranger)] };
        assert!(matches!(SignedState::verify(&state, &signers), Err(PvsError::Chain { .. })), "another of that name");
        let wrong = seal(&state_of(&state), &web(), &root, &[certificate]);
        assert_eq!(wrong, Err(SealError::NotItsKey));
    }
}

fn state_of(members: &Object) -> State {
    State::from_value(Value::Object(members.clone())).unwrap()
}
