//! Generations in signatures: what was accepted once is not accepted in an older form.

use std::collections::BTreeMap;

use umiak_pvr::json::Object;
use umiak_sign::{Distrust, Known, Standing};

use crate::states::{ALL, Header, STATE, add, signed, state};
use crate::tool::{P256, SHOP, key, policy};

#[test]
#[ignore = "needs: openssl"]
fn a_generation_never_goes_down_whatever_the_signature_is_called() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let release = key(directory, "release", P256);
    let strict = policy(&[("release", &release)], &[], r#""accept":"signed","signers":["release"]"#);
    let made = |name: &str, generation: Option<u64>| {
        let more = generation.map_or_else(String::new, |number| format!(r#","generation":{number}"#));
        signed(directory, name, "release", &Header { alg: "ES256", include: ALL, more: &more })
    };
    let vouched = strict.check_state(SHOP, &made("maps", Some(7)), &Known::default()).unwrap();
    assert_eq!(vouched.generations, BTreeMap::from([("maps".to_owned(), 7)]));
    let known = Known { generations: vouched.generations, ..Known::default() };
    for (name, generation, found) in
        [("maps", Some(6), Some(6)), ("maps", None, None), ("another", Some(6), Some(6)), ("zz", None, None)]
    {
        let refused = strict.check_state(SHOP, &made(name, generation), &known).unwrap_err();
        let wanted = Distrust::Older { origin: SHOP.to_owned(), part: "maps".to_owned(), found, known: 7 };
        assert_eq!(refused, wanted, "{name}");
    }
    for generation in [7, 8, umiak_sign::MAX_GENERATION] {
        assert!(strict.check_state(SHOP, &made("maps", Some(generation)), &known).is_ok());
    }
    let text = strict.check_state(SHOP, &made("maps", Some(6)), &known).unwrap_err().to_string();
    assert_eq!(
        text,
        format!("maps of {SHOP} is signed as generation 6, and this device has accepted generation 7 of it already")
    );

    // Gone back to by hand, it runs: then it may stay, also beside something else.
    let old = made("maps", Some(6));
    let mut standing = Standing::default();
    standing.add(&old);
    let runs = Known { standing, ..known.clone() };
    assert!(strict.check_state(SHOP, &old, &runs).is_ok());
    assert!(strict.check_state(SHOP, &made("maps", Some(5)), &runs).is_err());

    // A newer signature over a part of the part makes the rest no newer.
    let mut mixed: Object = made("maps", Some(6));
    let header = Header { alg: "ES256", include: r#""maps/run.json""#, more: r#","generation":9"# };
    add(directory, &mut mixed, "list", "release", &header);
    assert!(matches!(strict.check_state(SHOP, &mixed, &known), Err(Distrust::Older { found: Some(6), .. })));

    let lenient = policy(&[("release", &release)], &[], r#""accept":"signed","signers":["release"],"mode":"lenient""#);
    assert!(
        matches!(lenient.check_state(SHOP, &old, &known), Err(Distrust::Older { .. })),
        "a signature that is there"
    );
    assert!(lenient.check_state(SHOP, &state(STATE), &known).is_ok(), "none is asked for");
    let audit = policy(&[("release", &release)], &[], r#""accept":"signed","signers":["release"],"mode":"audit""#);
    assert!(audit.check_state(SHOP, &old, &known).is_ok());
    assert!(matches!(audit.audit_state(SHOP, &old, &known)[..], [Distrust::Older { .. }]));
}
