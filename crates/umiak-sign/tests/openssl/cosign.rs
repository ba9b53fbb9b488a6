//! Signatures of cosign over a manifest's digest.

use std::path::Path;

use umiak_sign::{Distrust, Signature, SignatureManifest};
use umiak_spec::{Digest, Limits};

use crate::tool::{ED25519, P256, P384, RSA, SHOP, base64, key, policy, sign};

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
