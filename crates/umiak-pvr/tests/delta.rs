//! The document of a package's delta: golden bytes, what is refused, and that no bytes make the reader fall.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use umiak_pvr::State;
use umiak_pvr::delta::{Carried, DeltaError, Form, ObjectDelta, PackageDelta, Release};
use umiak_spec::Digest;

fn digest(name: &str) -> Digest {
    Digest::of(name.as_bytes())
}

fn state() -> State {
    let text = format!(
        r##"{{"#spec":"pantavisor-service-system@1","web/data":"{}","web/root.squashfs":"{}","web/src.json":{{}},"web/x":"{}"}}"##,
        digest("kept").hex(),
        digest("image").hex(),
        digest("whole").hex()
    );
    State::parse(text.as_bytes(), 1 << 20).unwrap()
}

fn delta() -> PackageDelta {
    let blob = ObjectDelta { base: digest("base"), base_size: 41, blob: digest("blob"), size: 7, spool: 100 };
    PackageDelta {
        base: Release { name: "web-v1-0-gaaaaaaa".into(), state: digest("base state") },
        target: Release { name: "web-v1-1-gbbbbbbb".into(), state: Digest::of(state().canonical().as_bytes()) },
        objects: [
            (digest("kept"), Carried { size: 5, form: Form::Kept }),
            (digest("whole"), Carried { size: 6, form: Form::Whole }),
            (digest("image"), Carried { size: 42, form: Form::Delta(blob) }),
        ]
        .into(),
    }
}

#[test]
fn the_bytes_are_the_golden_ones_and_are_read_again() {
    let text = delta().canonical();
    let golden = include_str!("golden/package-delta.json");
    assert_eq!(text, golden.trim_end(), "\n{text}\n");
    assert_eq!(PackageDelta::parse(text.as_bytes(), &state()).unwrap(), delta());
    let needs = delta().needs();
    assert_eq!(needs, [(digest("kept"), 5), (digest("base"), 41)].into());
}

#[test]
fn what_is_not_the_delta_of_its_state_is_refused_by_name() {
    let text = delta().canonical();
    let refused = |text: &str| PackageDelta::parse(text.as_bytes(), &state()).unwrap_err();
    let with = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        refused(&text.replacen(from, to, 1)).to_string()
    };
    assert!(with("delta@1", "delta@2").contains("#spec"));
    assert!(with("\"spool\":100", "\"spool\":-1").contains(".spool"));
    assert!(with("\"spool\":100", "\"spool\":1E0").contains(".spool"));
    assert!(with("\"spool\":100", "\"spool\":281474976710657").contains(".spool"), "it has a limit");
    assert!(with("\"size\":5", "\"size\":8589934592").contains(".size"), "no package holds that");
    assert!(with("\"baseSize\":41", "\"baseSize\":18446744073709551616").contains(".baseSize"));
    assert!(with("\"size\":42,", "").contains(".size"));
    assert!(with("\"size\":42,", "\"more\":1,\"size\":42,").contains(".more"));
    assert!(with("\"form\":\"kept\"", "\"form\":\"lost\"").contains(".form"));
    assert!(with("web-v1-1-gbbbbbbb", "web\\n").contains("target.name"));
    let other = digest("another").hex();
    assert!(
        with(&format!("\"{}\":{{\"form\":\"kept\"", digest("kept").hex()), &format!("\"{other}\":{{\"form\":\"kept\""))
            .contains("only in one")
    );
    let another = State::parse(
        br#"{"web/root.squashfs":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}"#,
        99,
    );
    assert_eq!(PackageDelta::parse(text.as_bytes(), &another.unwrap()).unwrap_err(), DeltaError::OtherState);
    assert!(matches!(refused("{"), DeltaError::Json(_)));
    assert!(matches!(refused("[]"), DeltaError::Spec));
}

#[test]
fn any_damage_of_the_bytes_is_another_delta_or_an_error() {
    let text = delta().canonical();
    for at in 0..text.len() {
        for flip in [1, 4, 0x80] {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= flip;
            if let Ok(read) = PackageDelta::parse(&bytes, &state()) {
                assert_ne!(read, delta(), "byte {at}");
            }
        }
        assert!(PackageDelta::parse(&text.as_bytes()[..at], &state()).is_err());
    }
}
