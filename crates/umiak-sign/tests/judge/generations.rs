//! Generations where several have to sign: whoever has one key of two cannot make an old release new.

use std::collections::{BTreeMap, BTreeSet};

use umiak_pvr::json::Object;
use umiak_sign::{Distrust, Known};

use crate::hand::{FROM, Hand, Over, policy, state};

/// A release that both signed, with their generations.
fn release(one: (&Hand, Option<u64>), two: (&Hand, Option<u64>)) -> Object {
    let mut state = state(&["web/run.json"]);
    for (name, (hand, generation)) in [("web", one), ("web-two", two)] {
        hand.sign(&mut state, name, Over { include: &["web/**", "#spec"], exclude: &[], generation });
    }
    state
}

#[test]
fn one_signer_of_two_makes_nothing_newer() {
    let (one, two) = (Hand::new("one"), Hand::new("two"));
    let strict = policy(&[&one, &two], r#","threshold":2"#, "");
    let made = |of: Option<u64>, and: Option<u64>| release((&one, of), (&two, and));
    let accepted = |state: &Object| strict.check_state(FROM, state, &Known::default()).unwrap().generations;
    let web = |generation: u64| BTreeMap::from([("web".to_owned(), generation)]);
    assert_eq!(accepted(&made(Some(7), Some(7))), web(7));
    assert_eq!(accepted(&made(Some(7), None)), web(7), "one may count for both");
    assert_eq!(accepted(&made(Some(101), Some(6))), web(6), "two that count for themselves");
    assert_eq!(accepted(&made(None, None)), BTreeMap::new());

    let known = Known { generations: web(7), ..Known::default() };
    let older = |state: &Object| match strict.check_state(FROM, state, &known) {
        Err(Distrust::Older { found, known: 7, .. }) => Some(found),
        verdict => verdict.map(|_| None).unwrap(),
    };
    assert_eq!(older(&made(Some(999), Some(6))), Some(Some(6)), "an old release of both, signed anew by one");
    assert_eq!(older(&made(Some(6), Some(999))), Some(Some(6)));
    assert_eq!(older(&made(None, Some(6))), Some(Some(6)));
    assert_eq!(older(&made(None, None)), Some(None));
    assert_eq!(older(&made(Some(999), Some(8))), None);

    // What one says alone does not count for later, in a merged state neither.
    assert_eq!(strict.vouched_merged(&made(Some(999), Some(8))).generations, web(8));
    let single = policy(&[&one, &two], "", "");
    assert!(single.check_state(FROM, &made(Some(999), Some(6)), &known).is_ok(), "where one is enough, one decides");
    let from = BTreeSet::from([FROM.to_owned()]);
    assert!(matches!(
        strict.check_merged(&from, &made(Some(999), Some(6)), &known),
        Err(Distrust::Older { found: Some(6), .. })
    ));
}

#[test]
fn signatures_over_signatures_have_the_age_of_no_part() {
    let (one, two) = (Hand::new("one"), Hand::new("two"));
    let either = policy(&[&one, &two], "", "");
    let mut first = release((&one, Some(9)), (&one, Some(9)));
    one.sign(&mut first, "all", Over { include: &["_sigs/web*.json"], exclude: &[], generation: Some(9) });
    let vouched = either.check_state(FROM, &first, &Known::default()).unwrap();
    assert_eq!(vouched.generations, BTreeMap::from([("web".to_owned(), 9)]));
    let known = Known { generations: vouched.generations, ..Known::default() };
    let mut second = state(&["maps/run.json"]);
    two.sign(&mut second, "maps", Over { include: &["maps/**", "#spec"], exclude: &[], generation: Some(2) });
    two.sign(&mut second, "seal", Over { include: &["_sigs/maps.json"], exclude: &[], generation: Some(2) });
    assert!(either.check_state(FROM, &second, &known).is_ok());
}
