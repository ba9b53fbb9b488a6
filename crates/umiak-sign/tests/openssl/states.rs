//! Signatures of pvr over a part of a state, and how far each mode goes.

use std::path::Path;

use umiak_pvr::json::{Object, Value};
use umiak_sign::{Distrust, Known, PvsError, Report, SignedState, Signers};

use crate::tool::{ED25519, P256, RSA, SHOP, base64url, key, policy, sign};

/// All of the state, as its signer means it.
pub const ALL: &str = r##""maps/**","#spec""##;

pub fn state(text: &str) -> Object {
    match Value::parse(text.as_bytes(), 1 << 20).unwrap() {
        Value::Object(state) => state,
        _ => panic!("no state"),
    }
}

/// One container.
pub const STATE: &str = r##"{"#spec":"pantavisor-service-system@1","maps/root.squashfs":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","maps/run.json":{"name":"maps","zeta":1.0},"maps/src.json":{"x":1}}"##;

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

/// What a signature's header says beside algorithm and exclusions.
pub struct Header<'h> {
    pub alg: &'h str,
    /// Patterns as JSON has them, between brackets.
    pub include: &'h str,
    /// More members, each behind a comma.
    pub more: &'h str,
}

/// The state of the tests with a signature of `key` over what `include` selects, under `name`.
pub fn signed(directory: &Path, name: &str, key: &str, header: &Header<'_>) -> Object {
    let mut state = state(STATE);
    add(directory, &mut state, name, key, header);
    state
}

/// Signs a state.
pub fn add(directory: &Path, state: &mut Object, name: &str, key: &str, header: &Header<'_>) {
    let Header { alg, include, more } = header;
    let text =
        format!(r#"{{"alg":"{alg}","pvs":{{"exclude":["maps/src.json"],"include":[{include}]}},"typ":"PVS"{more}}}"#);
    let protected = base64url(directory, text.as_bytes());
    let patterns: Vec<&str> = include.split(',').map(|pattern| pattern.trim_matches('"')).collect();
    let covered = |key: &str| {
        let of = |pattern: &&str| pattern.strip_suffix("**").map_or(key == *pattern, |part| key.starts_with(part));
        key != "maps/src.json" && patterns.iter().any(of)
    };
    let selected: Object =
        state.iter().filter(|(name, _)| covered(name)).map(|(name, value)| (name.clone(), value.clone())).collect();
    let payload = Value::Object(selected).canonical();
    let message = format!("{protected}.{}", base64url(directory, payload.as_bytes()));
    let signature = sign(directory, key, message.as_bytes());
    let signature = if *alg == "ES256" { fixed(&signature) } else { signature };
    let members = [
        ("#spec", Value::from("pvs@2")),
        ("protected", protected.as_str().into()),
        ("signature", base64url(directory, &signature).as_str().into()),
    ];
    state.insert(format!("_sigs/{name}.json"), Value::object(members));
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
        let good = signed(directory, "maps", "release", &Header { alg, include: ALL, more: "" });
        assert_eq!(all.check_state(SHOP, &good, &Known::default()).unwrap().signers, ["release"], "{alg}");

        let mut changed = good.clone();
        changed.insert("maps/run.json".into(), Value::object([("name", Value::from("evil"))]));
        assert!(matches!(all.check_state(SHOP, &changed, &Known::default()), Err(Distrust::State { .. })), "changed");
        let mut more = good.clone();
        more.insert("maps/lxc.container.conf".into(), Value::from("0".repeat(64).as_str()));
        assert!(
            matches!(all.check_state(SHOP, &more, &Known::default()), Err(Distrust::State { .. })),
            "one file more in the part"
        );
        let mut beside = good.clone();
        beside.insert("evil/run.json".into(), Value::object([("name", Value::from("evil"))]));
        let refused = all.check_state(SHOP, &beside, &Known::default());
        assert!(matches!(refused, Err(Distrust::Uncovered { keys, .. }) if keys == ["evil/run.json"]), "one part more");
        let mut excluded = good;
        excluded.insert("maps/src.json".into(), Value::object([("x", Value::from(2))]));
        assert!(all.check_state(SHOP, &excluded, &Known::default()).is_ok(), "the signer said that it does not matter");

        let stranger = signed(directory, "maps", "stranger", &Header { alg, include: ALL, more: "" });
        assert!(matches!(all.check_state(SHOP, &stranger, &Known::default()), Err(Distrust::State { .. })));
        assert!(
            matches!(all.check_state(SHOP, &state(STATE), &Known::default()), Err(Distrust::Unsigned { .. })),
            "none at all"
        );
        let part = signed(directory, "maps", "release", &Header { alg, include: r#""maps/**""#, more: "" });
        assert!(
            matches!(all.check_state(SHOP, &part, &Known::default()), Err(Distrust::Uncovered { keys, .. }) if keys == ["#spec"])
        );
        let rule = r#""accept":"signed","signers":["release"],"cover":"parts""#;
        assert!(policy(&[("release", &release)], &[], rule).check_state(SHOP, &part, &Known::default()).is_ok());
    }
}

#[test]
#[ignore = "needs: openssl"]
fn each_mode_goes_as_far_as_pantavisors() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let release = key(directory, "release", P256);
    key(directory, "stranger", P256);
    let whole = Header { alg: "ES256", include: ALL, more: "" };
    let good = signed(directory, "maps", "release", &whole);
    let part = signed(directory, "maps", "release", &Header { include: r#""maps/run.json""#, ..whole });
    let foreign = signed(directory, "maps", "stranger", &whole);
    let mut both = good.clone();
    add(directory, &mut both, "other", "stranger", &whole);
    let cases = [&good, &state(STATE), &part, &foreign, &both];
    for (mode, accepted, concerns) in [
        ("strict", [true, false, false, false, false], 0),
        ("lenient", [true, true, true, false, false], 0),
        ("audit", [true, true, true, true, true], 1),
        ("disabled", [true, true, true, true, true], 0),
    ] {
        let rule = format!(r#""accept":"signed","signers":["release"],"mode":"{mode}""#);
        let policy = policy(&[("release", &release)], &[], &rule);
        assert_eq!(policy.audits(SHOP), mode == "audit");
        assert_eq!(policy.needs_signatures(SHOP), matches!(mode, "lenient" | "strict"));
        for (at, (state, wanted)) in cases.iter().zip(accepted).enumerate() {
            let verdict = policy.check_state(SHOP, state, &Known::default());
            assert_eq!(verdict.is_ok(), wanted, "{mode} {at}: {verdict:?}");
            let told = policy.audit_state(SHOP, state, &Known::default());
            assert_eq!(told.is_empty(), concerns == 0 || at == 0, "{mode} {at}: {told:?}");
        }
        let told: Vec<String> =
            policy.audit_state(SHOP, &foreign, &Known::default()).iter().map(ToString::to_string).collect();
        assert!(concerns == 0 || told.len() == 3, "not what was signed, by nobody, all of it uncovered: {told:?}");
    }
}

#[test]
#[ignore = "needs: openssl"]
fn a_report_says_what_is_protected_excluded_and_not_seen() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let release = umiak_sign::PublicKey::from_pem(&key(directory, "release", RSA)).unwrap();
    let signers = Signers { keys: vec![("release", &release)], authorities: vec![] };
    let header = Header { alg: "RS256", include: r#""maps/**""#, more: r#","generation":7"# };
    let mut state = signed(directory, "maps", "release", &header);
    state.insert("web/run.json".into(), Value::object([("name", Value::from("web"))]));
    let found = SignedState::verify(&state, &signers).unwrap();
    assert_eq!((found.signatures["_sigs/maps.json"].as_str(), found.generations["_sigs/maps.json"]), ("release", 7));
    let list = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>();
    let Report { protected, excluded, notseen } = found.report();
    assert_eq!(protected, list(&["maps/root.squashfs", "maps/run.json"]));
    assert_eq!((excluded, notseen), (list(&["maps/src.json"]), list(&["#spec", "web/run.json"])));

    let negative = Header { more: r#","generation":-1"#, ..header };
    let refused = SignedState::verify(&signed(directory, "maps", "release", &negative), &signers);
    assert!(matches!(refused, Err(PvsError::Form { name, .. }) if name == "_sigs/maps.json"));
}
