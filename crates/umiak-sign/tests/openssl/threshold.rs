//! Who is one signer and who is two, where certificates say whose a key is.

use std::path::Path;

use umiak_pvr::json::Object;
use umiak_sign::{Distrust, Known};

use crate::dates::authority;
use crate::states::{ALL, Header, STATE, add, state};
use crate::tool::{RSA, SHOP, base64, key, openssl, policy};

/// Has the key `leaf` certified by `authority`, and gives the header's chain.
fn certified(directory: &Path, leaf: &str, authority: &str) -> String {
    openssl(directory, &format!("req -new -key {leaf}.key -subj /CN={leaf} -out {leaf}.csr"), b"");
    let line = format!(
        "x509 -req -in {leaf}.csr -CA {authority}.pem -CAkey {authority}.key -CAcreateserial -days 10 -extfile ext -outform DER"
    );
    let der = openssl(directory, &line, b"");
    format!(r#","x5c":["{}"]"#, base64(directory, &der))
}

#[test]
#[ignore = "needs: openssl"]
fn a_threshold_counts_neither_certificates_nor_authorities_but_signers() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    std::fs::write(directory.join("ext"), "basicConstraints=CA:FALSE\nextendedKeyUsage=codeSigning\n").unwrap();
    let [one, two] = ["one", "two"].map(|name| {
        let pem = authority(directory, name);
        std::fs::write(directory.join(format!("{name}.pem")), &pem).unwrap();
        pem
    });
    for leaf in ["leaf", "other"] {
        key(directory, leaf, RSA);
    }
    let rule = r#""accept":"signed","signers":["one","two"],"threshold":2"#;
    let policy = policy(&[], &[("one", &one), ("two", &two)], rule);
    let signed = |hands: &[(&str, &str)]| {
        let mut state: Object = state(STATE);
        for (at, (leaf, authority)) in hands.iter().enumerate() {
            let more = certified(directory, leaf, authority);
            add(directory, &mut state, &format!("maps{at}"), leaf, &Header { alg: "RS256", include: ALL, more: &more });
        }
        policy.check_state(SHOP, &state, &Known::default())
    };
    for (hands, why) in [
        ([("leaf", "one"), ("leaf", "two")], "one key that two authorities know"),
        ([("leaf", "one"), ("other", "one")], "two keys that one authority knows"),
    ] {
        assert!(matches!(signed(&hands), Err(Distrust::Unsigned { found: 1, threshold: 2, .. })), "{why}");
    }
    assert_eq!(signed(&[("leaf", "one"), ("other", "two")]).unwrap().signers, ["one", "two"]);
    assert!(signed(&[("leaf", "one"), ("other", "one"), ("leaf", "two")]).is_ok(), "other for one, leaf for two");
}
