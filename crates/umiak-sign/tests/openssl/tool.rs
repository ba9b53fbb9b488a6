//! OpenSSL on the command line, and policies of what it made.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use umiak_sign::Policy;
use umiak_spec::Limits;

/// Where everything here is from.
pub const SHOP: &str = "registry.example/team/shop";

/// Runs openssl in `directory` and returns what it prints.
pub fn openssl(directory: &Path, arguments: &str, input: &[u8]) -> Vec<u8> {
    let mut command = Command::new("openssl");
    command.args(arguments.split(' ')).current_dir(directory).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut process = command.stderr(Stdio::piped()).spawn().unwrap();
    process.stdin.take().unwrap().write_all(input).unwrap();
    let output = process.wait_with_output().unwrap();
    assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

pub fn base64(directory: &Path, bytes: &[u8]) -> String {
    String::from_utf8(openssl(directory, "base64 -A", bytes)).unwrap()
}

pub fn base64url(directory: &Path, bytes: &[u8]) -> String {
    base64(directory, bytes).trim_end_matches('=').replace('+', "-").replace('/', "_")
}

/// Makes a key and returns its public half.
pub fn key(directory: &Path, name: &str, kind: &str) -> String {
    openssl(directory, &format!("genpkey {kind} -out {name}.key"), b"");
    String::from_utf8(openssl(directory, &format!("pkey -in {name}.key -pubout"), b"")).unwrap()
}

pub const P256: &str = "-algorithm EC -pkeyopt ec_paramgen_curve:P-256";
pub const P384: &str = "-algorithm EC -pkeyopt ec_paramgen_curve:P-384";
pub const RSA: &str = "-algorithm RSA -pkeyopt rsa_keygen_bits:2048";
pub const ED25519: &str = "-algorithm ED25519";

pub fn sign(directory: &Path, name: &str, message: &[u8]) -> Vec<u8> {
    std::fs::write(directory.join("message"), message).unwrap();
    let text = String::from_utf8(openssl(directory, &format!("pkey -in {name}.key -text -noout"), b"")).unwrap();
    if text.starts_with("ED25519") {
        return openssl(directory, &format!("pkeyutl -sign -rawin -inkey {name}.key -in message"), b"");
    }
    openssl(directory, &format!("dgst -sha256 -sign {name}.key message"), b"")
}

pub fn policy(keys: &[(&str, &str)], authorities: &[(&str, &str)], rule: &str) -> Policy {
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
