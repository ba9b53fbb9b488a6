//! Signatures that are real, and over something else than what they are to speak for.

use std::collections::BTreeSet;

use umiak_pvr::json::{Object, Value};
use umiak_sign::{Distrust, Known, MERGED, PvsError, Standing};

use crate::hand::{FROM, Hand, Over, policy, state};

/// A package whose app only `one` signed, with a signature of `two` that every package has.
fn carried(one: &Hand, two: &Hand) -> Object {
    let mut honest = state(&["maps/run.json"]);
    two.sign(&mut honest, "_spec", Over { include: &["#spec"], exclude: &["src.json"], generation: None });
    let mut package = state(&["evil/run.json", "evil/src.json"]);
    let over = Over { include: &["evil/**", "#spec"], exclude: &["evil/src.json"], generation: None };
    one.sign(&mut package, "evil", over);
    package.insert("_sigs/_spec.json".to_owned(), honest["_sigs/_spec.json"].clone());
    package
}

#[test]
fn signers_are_counted_for_each_file() {
    let (one, two) = (Hand::new("one"), Hand::new("two"));
    let package = carried(&one, &two);
    let both = [&one, &two];
    let wanted = Distrust::TooFew {
        origin: FROM.to_owned(),
        keys: vec!["evil/run.json".to_owned(), "evil/src.json".to_owned()],
        found: 1,
        threshold: 2,
        signers: vec!["one".to_owned(), "two".to_owned()],
    };
    assert_eq!(
        wanted.to_string(),
        format!(
            "{FROM} has files that are signed by 1 of the 2 that the policy asks for (one, two): evil/run.json, evil/src.json"
        )
    );
    for more in [r#","threshold":2"#, r#","threshold":2,"cover":"parts""#] {
        let refused = policy(&both, more, "").check_state(FROM, &package, &Known::default());
        assert_eq!(refused, Err(wanted.clone()), "{more}");
    }
    let audit = policy(&both, r#","threshold":2,"mode":"audit""#, "");
    assert!(audit.check_state(FROM, &package, &Known::default()).is_ok());
    assert_eq!(audit.audit_state(FROM, &package, &Known::default()), [wanted]);
    let lenient = policy(&both, r#","threshold":2,"mode":"lenient""#, "");
    assert!(lenient.check_state(FROM, &package, &Known::default()).is_ok(), "it would take them unsigned as well");
    assert!(policy(&both, "", "").check_state(FROM, &package, &Known::default()).is_ok(), "one is enough");

    let mut signed = package;
    let over = Over { include: &["evil/**"], exclude: &["evil/src.json"], generation: None };
    two.sign(&mut signed, "evil-two", over);
    let strict = policy(&both, r#","threshold":2"#, "");
    assert_eq!(strict.check_state(FROM, &signed, &Known::default()).unwrap().signers, ["one", "two"]);
    // One more under another name is none more.
    let again = signed["_sigs/evil.json"].clone();
    signed.insert("_sigs/evil-two.json".to_owned(), again);
    assert!(matches!(strict.check_state(FROM, &signed, &Known::default()), Err(Distrust::TooFew { found: 1, .. })));
}

#[test]
fn a_merged_state_needs_as_many_as_its_rule_says_but_for_what_runs() {
    let (one, two) = (Hand::new("one"), Hand::new("two"));
    let package = carried(&one, &two);
    let rule = r#"{"from":"device","accept":"signed","signers":["one","two"],"threshold":2},"#;
    let strict = policy(&[&one, &two], "", rule);
    let from: BTreeSet<String> = [FROM.to_owned()].into();
    let refused = strict.check_merged(&from, &package, &Known::default());
    assert!(matches!(refused, Err(Distrust::TooFew { origin, .. }) if origin == MERGED));
    let mut standing = Standing::default();
    standing.add(&package);
    let runs = Known { standing, ..Known::default() };
    assert!(strict.check_merged(&from, &package, &runs).is_ok());
    assert!(matches!(strict.check_state(FROM, &package, &runs), Ok(vouched) if vouched.signers.len() == 2));
    let mut changed = package;
    changed.insert("evil/src.json".to_owned(), Value::Null);
    let refused = strict.check_merged(&from, &changed, &runs);
    assert!(matches!(refused, Err(Distrust::TooFew { keys, .. }) if keys == ["evil/src.json"]), "that does not run");
}

#[test]
fn what_is_no_signature_is_not_left_out_by_a_signatures_name() {
    let one = Hand::new("one");
    let strict = policy(&[&one], "", "");
    let mut package = state(&["run/run.json"]);
    let over = Over { include: &["run/**", "#spec"], exclude: &["run/src.json", "_sigs/run.json"], generation: None };
    one.sign(&mut package, "run", over);
    assert!(strict.check_state(FROM, &package, &Known::default()).is_ok());
    let signature = package.remove("_sigs/run.json").unwrap();
    package.insert("_sigs/elsewhere.json".to_owned(), signature);
    assert!(strict.check_state(FROM, &package, &Known::default()).is_ok());
    package.insert("_sigs/run.json".to_owned(), Value::object([("#spec", Value::from("service-manifest-run@1"))]));
    let refused = strict.check_state(FROM, &package, &Known::default());
    assert!(matches!(refused, Err(Distrust::Uncovered { keys, .. }) if keys == ["_sigs/run.json"]));
}

#[test]
fn a_signature_carries_nothing_that_nobody_signed() {
    let one = Hand::new("one");
    let strict = policy(&[&one], "", "");
    let mut package = state(&["web/run.json"]);
    one.sign(&mut package, "web", Over { include: &["web/**", "#spec"], exclude: &[], generation: None });
    let with = |member: &str, text: &str| {
        let mut package = package.clone();
        if let Some(Value::Object(members)) = package.get_mut("_sigs/web.json") {
            members.insert(member.to_owned(), text.into());
        }
        strict.check_state(FROM, &package, &Known::default())
    };
    let text = br##"{"#spec":"pantavisor-service-system@1","web/run.json":{"name":"web/run.json"}}"##;
    assert!(with("payload", &umiak_sign::base64::encode_url(text)).is_ok(), "what is signed may be there");
    let other = umiak_sign::base64::encode_url(b"{}");
    assert!(matches!(with("payload", &other), Err(Distrust::State { source: PvsError::Changed { .. }, .. })));
    let refused = with("config", "more").unwrap_err();
    let Distrust::State { source, .. } = refused else { panic!("{refused}") };
    assert_eq!(
        source.to_string(),
        "the signature _sigs/web.json cannot be read: it has a member `config`, which no signature has"
    );
}

#[test]
fn a_signature_over_nothing_speaks_for_nothing() {
    let one = Hand::new("one");
    let nothing = Over { include: &["other/**"], exclude: &["**"], generation: None };
    let blank = one.signature(&state(&[]), nothing);
    let mut package = state(&["evil/run.json"]);
    package.insert("_sigs/other.json".to_owned(), blank);
    for mode in ["strict", "lenient"] {
        let policy = policy(&[&one], &format!(r#","mode":"{mode}""#), "");
        let refused = policy.check_state(FROM, &package, &Known::default());
        let wanted = PvsError::Nothing { name: "_sigs/other.json".to_owned() };
        assert!(matches!(refused, Err(Distrust::State { source, .. }) if source == wanted), "{mode}");
    }
}
