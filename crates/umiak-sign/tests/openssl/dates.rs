//! Chains of certificates, and what the day has to do with them.

use std::path::Path;

use umiak_pvr::json::{Object, Value};
use umiak_sign::{Distrust, Known, Policy, PvsError, Standing};

use crate::states::{ALL, Header, signed};
use crate::tool::{RSA, SHOP, base64, key, openssl, policy};

/// 2020-07-01 and 2022-01-01, a day within and one after the certificates of the tests.
const WITHIN: u64 = 1_593_561_600;
const AFTER: u64 = 1_640_995_200;
const OLD: &str = "-startdate 20200101000000Z -enddate 20210101000000Z";
const RULE: &str = r#""accept":"signed","signers":["ca"]"#;

/// Makes an authority and returns its certificate.
pub fn authority(directory: &Path, name: &str) -> String {
    key(directory, name, RSA);
    let arguments = format!("req -x509 -new -key {name}.key -subj /CN={name} -days 3650");
    String::from_utf8(openssl(directory, &arguments, b"")).unwrap()
}

/// Makes `ca` able to issue.
fn issuer(directory: &Path) -> String {
    let ca = authority(directory, "ca");
    std::fs::write(directory.join("ca.pem"), &ca).unwrap();
    let settings = "[ca]\ndefault_ca=x\n[x]\ndatabase=index\nserial=serial\nnew_certs_dir=.\ncertificate=ca.pem\n\
        private_key=ca.key\ndefault_md=sha256\npolicy=p\nunique_subject=no\n[p]\ncommonName=supplied\n";
    std::fs::write(directory.join("ca.conf"), settings).unwrap();
    std::fs::write(directory.join("index"), "").unwrap();
    std::fs::write(directory.join("serial"), "01\n").unwrap();
    ca
}

/// The state of the tests, signed with a new key whose certificate `ca` issued.
fn by_leaf(directory: &Path, purpose: &str, dates: &str) -> Object {
    key(directory, "leaf", RSA);
    let purpose = format!("basicConstraints=CA:FALSE\nextendedKeyUsage={purpose}\n");
    std::fs::write(directory.join("ext"), purpose).unwrap();
    openssl(directory, "req -new -key leaf.key -subj /CN=developer -out leaf.csr", b"");
    let arguments = format!("ca -batch -config ca.conf -in leaf.csr -notext -extfile ext -out leaf.pem {dates}");
    openssl(directory, &arguments, b"");
    let der = openssl(directory, "x509 -in leaf.pem -outform DER", b"");
    let x5c = format!(r#","x5c":["{}"]"#, base64(directory, &der));
    signed(directory, "maps", "leaf", &Header { alg: "RS256", include: ALL, more: &x5c })
}

fn at(now: u64) -> Known {
    Known { now: Some(now), ..Known::default() }
}

/// What is said of a state, with its causes.
fn refused(policy: &Policy, state: &Object, known: &Known) -> String {
    let error = policy.check_state(SHOP, state, known).unwrap_err();
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

#[test]
#[ignore = "needs: openssl"]
fn a_chain_leads_to_its_authority() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let (ca, other) = (issuer(directory), authority(directory, "other"));
    let trusting = policy(&[], &[("ca", &ca)], RULE);
    let long_expired = by_leaf(directory, "codeSigning", OLD);
    assert_eq!(trusting.check_state(SHOP, &long_expired, &Known::default()).unwrap().signers, ["ca"]);
    let foreign = refused(&policy(&[], &[("ca", &other)], RULE), &long_expired, &Known::default());
    let words = ["_sigs/maps.json", "of developer", "none of those that are trusted issued it"];
    assert!(words.iter().all(|word| foreign.contains(word)), "another authority: {foreign}");
    let server = by_leaf(directory, "serverAuth", "-days 10");
    assert!(
        matches!(trusting.check_state(SHOP, &server, &Known::default()), Err(Distrust::State { .. })),
        "it may not sign code"
    );
    let mut changed = by_leaf(directory, "codeSigning", "-days 10");
    assert!(trusting.check_state(SHOP, &changed, &Known::default()).is_ok());
    changed.insert("maps/run.json".into(), Value::Null);
    let changed = refused(&trusting, &changed, &Known::default());
    assert!(changed.contains("_sigs/maps.json is over something else"), "{changed}");
}

#[test]
#[ignore = "needs: openssl"]
fn a_last_day_counts_where_the_clock_is_believed() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let ca = issuer(directory);
    // The authority itself is of today: its first day is the youngest of the chain only where it is part of it.
    let trusting = policy(&[], &[("ca", &ca)], RULE);
    let state = by_leaf(directory, "codeSigning", OLD);
    for now in [0, 1_577_836_799, WITHIN] {
        assert!(trusting.check_state(SHOP, &state, &at(now)).is_ok(), "{now}: before its first day nothing is known");
    }
    let expired = refused(&trusting, &state, &at(AFTER));
    let words = ["the signature _sigs/maps.json", "the certificate of developer expired on 2021-01-01"];
    assert!(words.iter().all(|word| expired.contains(word)), "{expired}");
    let mut standing = Standing::default();
    standing.add(&state);
    let mut known = Known { standing, ..at(AFTER) };
    assert!(trusting.check_state(SHOP, &state, &known).is_ok(), "what runs may come again");
    let renewed = by_leaf(directory, "codeSigning", OLD);
    assert!(matches!(trusting.check_state(SHOP, &renewed, &known), Err(Distrust::State { .. })), "and nothing else");
    known.standing = Standing::default();
    let text = format!(
        r#"{{"version":1,"dates":"ignore","authorities":{{"ca":"{}"}},"default":{{{RULE}}}}}"#,
        ca.replace('\n', "\\n")
    );
    let timeless = Policy::parse(text.as_bytes(), &umiak_spec::Limits::default()).unwrap();
    assert!(timeless.check_state(SHOP, &state, &known).is_ok());
}

#[test]
#[ignore = "needs: openssl"]
fn a_damaged_certificate_is_an_error_whatever_is_damaged() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let ca = issuer(directory);
    let trusting = policy(&[], &[("ca", &ca)], RULE);
    by_leaf(directory, "codeSigning", "-days 10");
    let der = openssl(directory, "x509 -in leaf.pem -outform DER", b"");
    // Whether the chain is trusted: the signature itself is none.
    let trusted = |der: &[u8]| {
        let x5c = format!(r#","x5c":["{}"]"#, umiak_sign::base64::encode(der));
        let refused = trusting.check_state(SHOP, &carried(&x5c), &Known::default()).unwrap_err();
        matches!(refused, Distrust::State { source: PvsError::Changed { .. }, .. })
    };
    assert!(trusted(&der));
    for at in 0..der.len() {
        let mut damaged = der.clone();
        damaged[at] ^= 1 << (at % 8);
        assert!(!trusted(&damaged), "byte {at}");
        assert!(!trusted(&der[..at]), "{at} bytes");
    }
}

/// A state whose signature has this chain and is none.
fn carried(x5c: &str) -> Object {
    let header = format!(r#"{{"alg":"RS256","pvs":{{"include":["maps/**"]}},"typ":"PVS"{x5c}}}"#);
    let members = [
        ("#spec", Value::from("pvs@2")),
        ("protected", umiak_sign::base64::encode_url(header.as_bytes()).as_str().into()),
        ("signature", umiak_sign::base64::encode_url(&[0; 256]).as_str().into()),
    ];
    Object::from([("_sigs/maps.json".to_owned(), Value::object(members)), ("maps/run.json".to_owned(), Value::Null)])
}
