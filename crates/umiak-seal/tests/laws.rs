//! The law of signing: what was signed holds, and holds no longer when anything of it changes.
#![allow(clippy::unwrap_used)]

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::Index;
use umiak_pvr::json::{Object, Value};
use umiak_pvr::{Entry, State, StatePath};
use umiak_seal::{FileKey, Rule, SealError, Signer, reseal, seal, sealed, with_payload};
use umiak_sign::{PublicKey, PvsError, PvsHeader, SignedState, Signers};

/// The key of RFC 6979 A.2.5, which everybody has.
const KEY: &str = "-----BEGIN EC PRIVATE KEY-----\n\
    MDECAQEEIMmvqdhFunUWa1whV2ex1pNOUMPbNuibEnuKYisSD2choAoGCCqGSM49AwEH\n\
    -----END EC PRIVATE KEY-----\n";

fn key() -> FileKey {
    FileKey::from_pem(KEY, None).unwrap()
}

fn texts(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

fn members(state: &State) -> Object {
    match state.to_value() {
        Value::Object(members) => members,
        _ => unreachable!(),
    }
}

fn verified(members: &Object) -> Result<SignedState, PvsError> {
    let public = PublicKey::from_spki(key().spki()).unwrap();
    SignedState::verify(members, &Signers { keys: vec![("key", &public)], authorities: vec![] })
}

fn signed(state: &State, rule: &Rule) -> Result<State, SealError> {
    let document = seal(state, rule, &key(), &[])?;
    sealed(state, rule, document)
}

const STATE: &str = r##"{"#spec":"pantavisor-service-system@1","web/root.squashfs":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","web/run.json":{"name":"web"},"web/src.json":{}}"##;

fn state() -> State {
    State::parse(STATE.as_bytes(), 1 << 20).unwrap()
}

#[test]
fn what_cannot_hold_is_not_signed() {
    let refused = |rule: Rule| seal(&state(), &rule, &key(), &[]).unwrap_err();
    assert!(matches!(refused(Rule::part("shop", &[], &[], true)), SealError::Nothing { name } if name == "shop"));
    assert!(matches!(refused(Rule::raw("x", &texts(&["**"]), &[])), SealError::Everything { .. }));
    assert!(matches!(refused(Rule::raw("x", &texts(&["web/**", "_sigs/*"]), &[])), SealError::Itself { .. }));
    assert!(matches!(refused(Rule::raw("x", &texts(&["_sigs/x.json"]), &[])), SealError::Itself { .. }));
    let with = Rule::raw("x", &texts(&["web/**", "_sigs/*"]), &texts(&["_sigs/x.json"]));
    assert!(verified(&members(&signed(&state(), &with).unwrap())).is_ok());
    assert_eq!(reseal(&state(), "web", &key(), &[]), Err(SealError::NoSignature("web".into())));
    assert!(matches!(seal(&state(), &with, &key(), &[vec![0x30, 0]]), Err(SealError::Chain(_))));
}

#[test]
fn a_signature_is_made_again_by_its_own_rule() {
    let rule = Rule::part("web", &texts(&["run.json"]), &texts(&["x"]), false).of_generation(Some(41));
    let first = signed(&state(), &rule).unwrap();
    assert_eq!(Rule::stored(&first, "web").unwrap(), rule);
    assert_eq!(Rule::names(&first), ["web"]);
    assert_eq!(Some(reseal(&first, "web", &key(), &[]).unwrap()), first.get("_sigs/web.json").map(Entry::to_value));
    let found = verified(&members(&first)).unwrap();
    assert_eq!(found.generations["_sigs/web.json"], 41);
    let mut changed = first.clone();
    changed.insert(StatePath::new("web/run.json").unwrap(), Entry::Inline(Value::Null));
    assert!(verified(&members(&changed)).is_err());
    let again = sealed(&changed, &rule, reseal(&changed, "web", &key(), &[]).unwrap()).unwrap();
    assert!(verified(&members(&again)).is_ok());
}

#[test]
fn a_signature_may_carry_what_was_signed() {
    let rule = Rule::part("web", &[], &[], true);
    let document = seal(&state(), &rule, &key(), &[]).unwrap();
    let with = with_payload(&document, &state(), &rule).unwrap();
    let payload = umiak_sign::base64::decode_url(with.get("payload").unwrap().as_str().unwrap()).unwrap();
    let expected = r#"{"web/root.squashfs":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","web/run.json":{"name":"web"}}"#;
    assert_eq!(String::from_utf8(payload).unwrap(), expected);
    assert!(verified(&members(&sealed(&state(), &rule, with).unwrap())).is_ok());
}

/// ECDSA is deterministic here, so a whole signature is a golden text.
#[test]
fn a_signature_has_these_bytes() {
    let rule = Rule::part("web", &[], &[], true).of_generation(Some(7));
    let document = seal(&state(), &rule, &key(), &[]).unwrap();
    let header = umiak_sign::base64::decode_url(document.get("protected").unwrap().as_str().unwrap()).unwrap();
    assert_eq!(String::from_utf8(header).unwrap(), HEADER);
    assert_eq!(document.get("signature").unwrap().as_str().unwrap(), SIGNATURE);
}

const HEADER: &str = r#"{"alg":"ES256","generation":7,"jwk":{"crv":"P-256","kty":"EC","x":"YP7UuiVanTHJYet0xjVtaMBJuJI7Yfps5mliLmDyn7Y","y":"eQP-EAi4vJmkGunpVii8ZPLxsgwtfp9Rd6PClNRGIpk"},"pvs":{"exclude":["web/src.json","_sigs/web.json"],"include":["web/**","_config/web/**"]},"typ":"PVS"}"#;
const SIGNATURE: &str = "pXiJ6Ae2QI0VJ67RV04DcF3kfTrqebMyTDkL9Sy1CxxJmu9EUQk0HUiFLJm0NfVff77EzfxzctIr76op7QiBOg";

fn path() -> impl Strategy<Value = String> {
    vec("[ab]|run\\.json|src\\.json|_config|web", 1..4).prop_map(|components| components.join("/"))
}

fn document() -> impl Strategy<Value = Value> {
    prop_oneof![Just(Value::Null), any::<i64>().prop_map(Value::from), "[a-zé\"\\\\\n]{0,6}".prop_map(Value::from)]
}

/// A state of documents, no file of which is the directory of another.
fn any_state() -> impl Strategy<Value = State> {
    btree_map(path(), document(), 1..8).prop_map(|entries| {
        let mut state = State::new("pantavisor-service-system@1");
        for (path, value) in entries {
            let mut more = state.clone();
            more.insert(StatePath::new(&format!("{path}.json")).unwrap(), Entry::Inline(value));
            if more.check().is_ok() {
                state = more;
            }
        }
        state
    })
}

fn pattern() -> impl Strategy<Value = String> {
    vec("[ab]|\\*|\\*\\*|web|run\\.json|src\\*|[ab]\\.json", 1..4).prop_map(|components| components.join("/"))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(48) })]

    #[test]
    fn what_was_signed_holds_until_it_changes(
        state in any_state(),
        include in vec(pattern(), 1..4),
        exclude in vec(pattern(), 0..3),
        generation in proptest::option::of(0_u64..1 << 53),
        which in any::<Index>(),
    ) {
        let rule = Rule::raw("x", &include, &exclude).of_generation(generation);
        let signed = match signed(&state, &rule) {
            Ok(signed) => signed,
            Err(SealError::Nothing { .. } | SealError::Everything { .. } | SealError::Itself { .. }) => return Ok(()),
            Err(error) => return Err(TestCaseError::fail(error.to_string())),
        };
        let whole = members(&signed);
        let found = verified(&whole).unwrap();
        prop_assert_eq!(found.generations.get("_sigs/x.json").copied(), generation);
        let report = found.report();
        let seen = report.protected.len() + report.excluded.iter().filter(|key| *key != "_sigs/x.json").count();
        prop_assert_eq!(seen + report.notseen.len() + 1, whole.len(), "every key is in one list");
        // A canonical text of it, parsed again, is the same state.
        let again = State::parse(signed.canonical().as_bytes(), 1 << 20).unwrap();
        prop_assert!(verified(&members(&again)).is_ok());

        let key = which.get(&report.protected);
        let mut changed = whole.clone();
        changed.insert(key.clone(), Value::from("another"));
        let same = whole[key] == Value::from("another");
        prop_assert_eq!(verified(&changed).is_ok(), same, "{} changed", key);
        let mut less = whole.clone();
        less.remove(key);
        prop_assert!(verified(&less).is_err(), "{} is gone", key);
        for key in &report.excluded {
            let mut changed = whole.clone();
            if key != "_sigs/x.json" {
                changed.insert(key.clone(), Value::from("another"));
            }
            prop_assert!(verified(&changed).is_ok(), "{} does not matter", key);
        }
    }

    #[test]
    fn no_header_makes_the_reader_stumble(at in any::<Index>(), to in any::<u8>()) {
        let rule = Rule::part("web", &[], &[], true).of_generation(Some(7));
        let document = seal(&state(), &rule, &key(), &[]).unwrap();
        let header = document.get("protected").unwrap().as_str().unwrap();
        let mut bytes = umiak_sign::base64::decode_url(header).unwrap();
        let at = at.index(bytes.len());
        let changed = std::mem::replace(&mut bytes[at], to) != to;
        let mut members = document.as_object().unwrap().clone();
        members.insert("protected".into(), Value::from(umiak_sign::base64::encode_url(&bytes)));
        let _ = PvsHeader::of("x", &Value::Object(members.clone()));
        let mut state = self::members(&state());
        state.insert("_sigs/web.json".into(), Value::Object(members));
        prop_assert_eq!(verified(&state).is_err(), changed);
    }
}
