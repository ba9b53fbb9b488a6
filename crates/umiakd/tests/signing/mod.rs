//! Signatures of pvr, made with OpenSSL on the command line, and a policy of who may make them.
#![allow(dead_code, reason = "every test program uses a part of it")]

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::{Map, Value, json};

use crate::bench::Bench;
use crate::device::Device;

/// What a signature is to be.
#[derive(Clone, Copy)]
pub struct Sign<'s> {
    /// Its file in `_sigs`.
    pub name: &'s str,
    /// Whose key: `release`, which the policy knows; `stranger`, `valid`, `expired`, `foreign`.
    pub key: &'s str,
    /// The container that is signed, with what is laid over it.
    pub part: &'s str,
    /// The generation in its header.
    pub generation: Option<u64>,
    /// Whether it brings the certificate of its key.
    pub chain: bool,
}

impl<'s> Sign<'s> {
    /// Of `web`, without a generation.
    pub fn by(key: &'s str) -> Self {
        Self { name: "web", key, part: "web", generation: None, chain: false }
    }
}

/// Keys, two authorities and certificates in a directory of the device.
pub struct Signing {
    directory: PathBuf,
}

const SETTINGS: &str = "[ca]\ndefault_ca=x\n[x]\ndatabase=index\nserial=serial\nnew_certs_dir=.\ndefault_md=sha256\npolicy=p\n\
    unique_subject=no\n[p]\ncommonName=supplied\n";

impl Signing {
    /// Makes them all. `valid` has a certificate of `vendor`, `expired` one that is not valid any more, `foreign` one of somebody
    /// else; of `release` the policy has the key.
    pub fn new(device: &Device) -> Self {
        let signing = Self { directory: device.path("keys") };
        fs::create_dir(&signing.directory).unwrap();
        for authority in ["vendor", "other"] {
            signing.openssl(&format!(
                "req -x509 -newkey rsa:2048 -nodes -keyout {authority}.key -out {authority}.pem -subj /CN={authority} -days 3650"
            ));
        }
        for (name, text) in
            [("conf", SETTINGS), ("index", ""), ("serial", "01\n"), ("ext", "extendedKeyUsage=codeSigning\n")]
        {
            fs::write(signing.directory.join(name), text).unwrap();
        }
        for (name, issuer, dates) in [
            ("release", "other", "-days 3000"),
            ("valid", "vendor", "-days 3000"),
            ("expired", "vendor", "-startdate 20200101000000Z -enddate 20210101000000Z"),
            ("foreign", "other", "-days 3000"),
            ("stranger", "other", "-days 3000"),
        ] {
            signing
                .openssl(&format!("req -newkey rsa:2048 -nodes -keyout {name}.key -out {name}.csr -subj /CN={name}"));
            signing.openssl(&format!(
                "ca -batch -config conf -in {name}.csr -notext -extfile ext -cert {issuer}.pem -keyfile {issuer}.key \
                 -out {name}.pem {dates}"
            ));
        }
        signing
    }

    fn openssl(&self, line: &str) -> Vec<u8> {
        self.openssl_of(line, b"")
    }

    /// What openssl makes of `input`.
    fn openssl_of(&self, line: &str, input: &[u8]) -> Vec<u8> {
        let mut command = Command::new("openssl");
        command.args(line.split_whitespace()).current_dir(&self.directory).stdin(Stdio::piped());
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        process.stdin.take().unwrap().write_all(input).unwrap();
        let output = process.wait_with_output().unwrap();
        assert!(output.status.success(), "openssl {line}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    fn base64(&self, bytes: &[u8]) -> String {
        String::from_utf8(self.openssl_of("base64 -A", bytes)).unwrap()
    }

    fn base64url(&self, bytes: &[u8]) -> String {
        self.base64(bytes).trim_end_matches('=').replace('+', "-").replace('/', "_")
    }

    /// A line of the configuration, and the policy that it names: `release` and `vendor` may sign everything.
    pub fn policy(&self, mode: &str, dates: &str) -> String {
        self.policy_of(mode, dates, 1)
    }

    /// The same where so many of the two have to sign.
    pub fn policy_of(&self, mode: &str, dates: &str, threshold: usize) -> String {
        let release = String::from_utf8(self.openssl("pkey -in release.key -pubout")).unwrap();
        let vendor = fs::read_to_string(self.directory.join("vendor.pem")).unwrap();
        let policy = json!({
            "version": 1, "mode": mode, "dates": dates,
            "keys": { "release": release }, "authorities": { "vendor": vendor },
            "default": { "accept": "signed", "signers": ["release", "vendor"], "threshold": threshold },
        });
        let path = self.directory.join("policy.json");
        fs::write(&path, policy.to_string()).unwrap();
        format!("policy = \"{}\"\n", path.display())
    }

    /// Packs what is on the bench without any signature.
    pub fn unsigned(&self, bench: &Bench<'_>, file: &str) {
        let _ = fs::remove_dir_all(bench.path("_sigs"));
        bench.publish_as(file);
    }

    /// Signs what is on the bench, in place of the signature before, and packs it.
    pub fn pack(&self, bench: &Bench<'_>, file: &str, sign: &Sign<'_>) {
        self.pack_all(bench, file, &[*sign]);
    }

    /// The same with several signatures.
    pub fn pack_all(&self, bench: &Bench<'_>, file: &str, signs: &[Sign<'_>]) {
        let _ = fs::remove_dir_all(bench.path("_sigs"));
        bench.commit();
        let state: Map<String, Value> = serde_json::from_slice(&fs::read(bench.path(".pvr/json")).unwrap()).unwrap();
        fs::create_dir(bench.path("_sigs")).unwrap();
        for sign in signs {
            let signature = self.signature(&state, sign);
            fs::write(bench.path("_sigs").join(format!("{}.json", sign.name)), signature.to_string()).unwrap();
        }
        bench.publish_as(file);
    }

    /// The document of a signature.
    pub fn signature(&self, state: &Map<String, Value>, sign: &Sign<'_>) -> Value {
        let part = sign.part;
        let mut header = json!({
            "alg": "RS256", "typ": "PVS",
            "pvs": {
                "include": [format!("{part}/**"), format!("_config/{part}/**"), "#spec"],
                "exclude": [format!("{part}/src.json"), format!("_sigs/{}.json", sign.name)],
            },
        });
        if let Some(generation) = sign.generation {
            header["generation"] = json!(generation);
        }
        if sign.chain {
            let der = self.openssl(&format!("x509 -in {}.pem -outform DER", sign.key));
            header["x5c"] = json!([self.base64(&der)]);
        }
        let within = |key: &str| key.starts_with(&format!("{part}/")) || key.starts_with(&format!("_config/{part}/"));
        let covered = |key: &str| key == "#spec" || (within(key) && key != format!("{part}/src.json"));
        // Keys sorted, nothing between: without fractions and odd letters that is the canonical form.
        let payload: Map<String, Value> =
            state.iter().filter(|(key, _)| covered(key)).map(|(key, value)| (key.clone(), value.clone())).collect();
        let protected = self.base64url(header.to_string().as_bytes());
        let message = format!("{protected}.{}", self.base64url(Value::Object(payload).to_string().as_bytes()));
        let signature = self.openssl_of(&format!("dgst -sha256 -sign {}.key", sign.key), message.as_bytes());
        json!({ "#spec": "pvs@2", "protected": protected, "signature": self.base64url(&signature) })
    }
}
