//! The law: applying what was made from base and target gives the target. And nothing else is ever accepted.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test may panic")]

mod common;

use common::{Memory, apply_delta, make_delta, spool_delta};
use proptest::collection::vec;
use proptest::prelude::*;
use umiak_delta::container::{Container, Plain};
use umiak_delta::{DeltaError, Effort, MakeOptions};
use umiak_spec::Digest;

type File = (Vec<u8>, String, Vec<u8>);

/// Text made of few words, so that files share much.
fn words() -> impl Strategy<Value = Vec<u8>> {
    vec((any::<u8>(), 1..40usize), 0..60).prop_map(|runs| {
        runs.iter()
            .flat_map(|(seed, length)| (0..*length).map(move |at| (seed % 7).wrapping_mul(31) ^ at as u8))
            .collect()
    })
}

fn files() -> impl Strategy<Value = Vec<File>> {
    let before = (0..4usize, any::<u8>()).prop_map(|(blocks, fill)| vec![fill; blocks * 512]);
    vec((before, "[ab]/[cd][0-9]", words()), 0..12)
}

fn all(files: &[File]) -> Memory {
    Memory::new(files, &[0; 1024])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn trees_come_back(lower in files(), upper in files(), target in files(), fast in any::<bool>()) {
        let (lower, upper, target) = (all(&lower), all(&upper), all(&target));
        let bases: [&dyn Container; 2] = [&lower, &upper];
        let effort = if fast { Effort::Fast } else { Effort::Smallest };
        let options = MakeOptions { effort, ..MakeOptions::default() };
        let blob = make_delta(&bases, &target, &options);
        prop_assert_eq!(apply_delta(&bases, &blob).unwrap(), target.bytes.as_slice());
        prop_assert_eq!(spool_delta(&bases, &blob).unwrap().0, target.bytes);
    }

    #[test]
    fn bytes_come_back(base in words(), target in vec(any::<u8>(), 0..600), keep in any::<bool>()) {
        let mut target = target;
        if keep {
            target.extend_from_slice(&base);
        }
        let base = Plain::new(base.as_slice(), b"base", base.len() as u64, Digest::of(&base));
        let made = Plain::new(target.as_slice(), b"target", target.len() as u64, Digest::of(&target));
        let blob = make_delta(&[&base], &made, &MakeOptions::default());
        prop_assert_eq!(apply_delta(&[&base], &blob).unwrap(), target);
    }
}

fn pair() -> (Memory, Memory) {
    let text: Vec<u8> = (0..900u32).flat_map(|n| format!("line {} of the file\n", n * n).into_bytes()).collect();
    let mut changed = text.clone();
    changed[500..520].fill(b'!');
    changed.splice(3000..3000, *b"words that were not there before");
    let file = |name: &str, bytes: &[u8]| (vec![name.len() as u8; 512], name.to_owned(), bytes.to_vec());
    let base = all(&[file("a/text", &text), file("a/other", &text[100..900]), file("b/gone", b"gone")]);
    let target = all(&[file("a/text", &changed), file("a/other", &text[100..900]), file("c/new", &text[5000..5600])]);
    (base, target)
}

#[test]
fn no_mutation_is_accepted_and_wrong() {
    let (base, target) = pair();
    let blob = make_delta(&[&base], &target, &MakeOptions::default());
    assert_eq!(apply_delta(&[&base], &blob).unwrap(), target.bytes);
    for at in 0..blob.len() {
        for flip in [1, 0x80] {
            let mut mutated = blob.clone();
            mutated[at] ^= flip;
            if let Ok(made) = apply_delta(&[&base], &mutated) {
                assert_eq!(made, target.bytes, "byte {at}");
                panic!("byte {at} means nothing");
            }
        }
    }
    for length in 0..blob.len() {
        assert!(apply_delta(&[&base], &blob[..length]).is_err(), "cut to {length}");
    }
    let longer = [blob.as_slice(), b"x"].concat();
    assert!(apply_delta(&[&base], &longer).is_err());
}

#[test]
fn another_base_is_named() {
    let (base, target) = pair();
    let blob = make_delta(&[&base], &target, &MakeOptions::default());
    let error = apply_delta(&[&target], &blob).unwrap_err();
    let DeltaError::Base { expected, actual } = &error else { panic!("{error}") };
    assert_eq!(expected, &base.parts().digest.to_string());
    assert_eq!(actual, &target.parts().digest.to_string());
    assert!(matches!(apply_delta(&[], &blob), Err(DeltaError::Base { .. })));
}

#[test]
fn the_same_again_is_almost_nothing() {
    let (base, _) = pair();
    let blob = make_delta(&[&base], &base, &MakeOptions::default());
    assert!(blob.len() < 512, "{}", blob.len());
    assert_eq!(apply_delta(&[&base], &blob).unwrap(), base.bytes);
}

#[test]
fn threads_do_not_matter() {
    let (base, target) = pair();
    let threads =
        |count| MakeOptions { threads: std::num::NonZeroUsize::new(count).unwrap(), ..MakeOptions::default() };
    assert_eq!(make_delta(&[&base], &target, &threads(1)), make_delta(&[&base], &target, &threads(4)));
}

#[test]
fn a_spool_has_what_no_source_has() {
    let (base, target) = pair();
    let blob = make_delta(&[&base], &target, &MakeOptions::default());
    let (made, spooled) = spool_delta(&[&base], &blob).unwrap();
    assert_eq!(made, target.bytes);
    // The text that changed, the file that is new, the skeleton; not the file that stayed.
    let parts = target.parts();
    let kept = base.parts().contents[1].size;
    assert_eq!(spooled, parts.skeleton + parts.contents.iter().map(|part| part.size).sum::<u64>() - kept);
}

#[test]
fn no_mutation_of_a_spooled_delta_is_accepted() {
    let (base, target) = pair();
    let blob = make_delta(&[&base], &target, &MakeOptions::default());
    for at in 0..blob.len() {
        let mut mutated = blob.clone();
        mutated[at] ^= 0x11;
        assert!(spool_delta(&[&base], &mutated).is_err(), "byte {at}");
    }
}
