//! The laws of opening: what is opened closes to the same bytes; notes that lie are refused.

use std::io::{self, Write};

use flate2::Crc;
use proptest::collection::vec;
use proptest::prelude::*;

use super::{Encoder, Family, Layout, Opening, Recipe, encoder, inflate, open};

/// Text with repetitions near and far.
fn plain() -> impl Strategy<Value = Vec<u8>> {
    vec((any::<u8>(), 1..60usize, 0..3usize), 1..200).prop_map(|runs| {
        let mut bytes = b"The first words of every file.".to_vec();
        for (seed, length, back) in runs {
            let from = bytes.len().saturating_sub(usize::from(seed) * (back * 90 + 1) + length);
            if back == 0 {
                bytes.extend((0..length).map(|at| seed.wrapping_mul(at as u8 | 1)));
            } else {
                bytes.extend_from_within(from..(from + length).min(bytes.len()));
            }
        }
        bytes
    })
}

fn encoders() -> impl Strategy<Value = Encoder> {
    let numbers: Vec<Encoder> = (0..512).filter_map(Encoder::from_number).collect();
    proptest::sample::select(numbers)
}

fn packed(encoder: Encoder, plain: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    encoder.compress(&mut &*plain, &mut out).unwrap();
    out
}

fn gzip(encoder: Encoder, plain: &[u8]) -> Vec<u8> {
    let mut crc = Crc::new();
    crc.update(plain);
    let mut out = b"\x1F\x8B\x08\x08\0\0\0\0\0\x03name\0".to_vec();
    out.extend(packed(encoder, plain));
    out.extend(crc.sum().to_le_bytes());
    out.extend((plain.len() as u32).to_le_bytes());
    out
}

fn closed(opening: &Opening) -> Vec<u8> {
    let mut notes = Vec::new();
    opening.layout.encode(&mut notes);
    opening.recipe.encode(&opening.layout, &mut notes);
    let mut rest = notes.as_slice();
    let layout = Layout::decode(&mut rest).unwrap();
    let recipe = Recipe::decode(&mut rest, &layout).unwrap();
    assert!(rest.is_empty());
    assert_eq!((&recipe, &layout), (&opening.recipe, &opening.layout));
    let mut out = Vec::new();
    let size = recipe.wrap(&mut opening.target.as_slice(), &mut out).unwrap();
    assert_eq!(size, out.len() as u64);
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_encoder_makes_what_inflates(plain in plain(), encoder in encoders()) {
        let packed = packed(encoder, &plain);
        let mut back = Vec::new();
        let mut source = packed.as_slice();
        inflate::inflate(&mut source, &mut back, plain.len() as u64).unwrap();
        prop_assert!(source.is_empty());
        prop_assert_eq!(back, plain);
        prop_assert_eq!(Encoder::from_number(encoder.number()), Some(encoder));
    }

    #[test]
    fn members_close_to_the_same_bytes(
        plains in vec(plain(), 1..4),
        level in 1..=9u8,
        gnu in any::<bool>(),
        between in vec(any::<u8>(), 0..40),
    ) {
        let family = if gnu { Family::Gnu } else { Family::Zlib { memory: 8, strategy: encoder::Strategy::Default } };
        let encoder = Encoder::new(family, level).unwrap();
        let mut target = between.clone();
        for plain in &plains {
            target.extend(gzip(encoder, plain));
            target.extend_from_slice(&between);
        }
        let base = gzip(encoder, b"something else, which is long enough to be opened, opened, opened, opened, opened");
        if let Some(opening) = open(&base, &target, 1 << 20) {
            prop_assert_eq!(closed(&opening), target);
        }
    }

    #[test]
    fn notes_that_lie_are_refused_or_do_no_harm(notes in vec(any::<u8>(), 0..40), file in vec(any::<u8>(), 0..200)) {
        let mut sink = Limited(1 << 20);
        let mut rest = notes.as_slice();
        if let Ok(layout) = Layout::decode(&mut rest) {
            let _ = layout.unwrap(&file.as_slice(), file.len() as u64, &mut sink);
            if let Ok(recipe) = Recipe::decode(&mut rest, &layout) {
                let _ = recipe.wrap(&mut file.as_slice(), &mut sink);
            }
        }
    }
}

/// Takes so many bytes, as the target's size would.
struct Limited(usize);

impl Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::WriteZero)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn sample() -> (Vec<u8>, Vec<u8>, Opening) {
    let gnu = Encoder::new(Family::Gnu, 9).unwrap();
    let text = |word: &str| (0..40).map(|n| format!("{n} {word} in the file\n")).collect::<String>().into_bytes();
    let base = gzip(gnu, &text("line"));
    let target = [gzip(gnu, &text("lines")), b"between".to_vec(), gzip(gnu, &text("row"))].concat();
    let opening = open(&base, &target, 1 << 20).unwrap();
    (base, target, opening)
}

#[test]
fn opened_files_show_what_they_hold() {
    let (_, target, opening) = sample();
    let text = String::from_utf8_lossy(&opening.target);
    assert!(text.contains("39 lines in the file\n") && text.contains("39 row in the file\n"));
    assert!(String::from_utf8_lossy(&opening.base).contains("39 line in the file\n"));
    assert_eq!(closed(&opening), target);
}

#[test]
fn what_both_have_stays_closed() {
    let (_, target, _) = sample();
    let base = [b"before".as_slice(), target.as_slice()].concat();
    assert!(open(&base, &target, 1 << 20).is_none());
}

#[test]
fn a_limit_is_kept() {
    let (base, target, _) = sample();
    assert!(open(&base, &target, 100).is_none());
}

#[test]
fn mutated_notes_never_give_the_target_in_another_way() {
    let (base, target, opening) = sample();
    let mut notes = Vec::new();
    opening.layout.encode(&mut notes);
    opening.recipe.encode(&opening.layout, &mut notes);
    for at in 0..notes.len() {
        for flip in [1, 4, 0x80] {
            let mut notes = notes.clone();
            notes[at] ^= flip;
            let mut rest = notes.as_slice();
            let Ok(layout) = Layout::decode(&mut rest) else { continue };
            let Ok(recipe) = Recipe::decode(&mut rest, &layout) else { continue };
            let mut out = Vec::new();
            let closed = recipe.wrap(&mut opening.target.as_slice(), &mut out).is_ok() && out == target;
            let mut opened = Vec::new();
            let unwrapped = layout.unwrap(&base, base.len() as u64, &mut opened).is_ok() && opened == opening.base;
            // Another level may make the same bytes.
            assert!(!(closed && unwrapped) || recipe.open(&target).unwrap() == opening.target, "byte {at}");
        }
    }
    for length in 0..notes.len() {
        let mut rest = &notes[..length];
        assert!(
            Layout::decode(&mut rest).and_then(|layout| Recipe::decode(&mut rest, &layout)).is_err(),
            "cut to {length}"
        );
    }
}

#[test]
fn a_base_that_is_not_the_base_is_refused() {
    let (base, _, opening) = sample();
    for length in 0..base.len() {
        assert!(opening.layout.unwrap(&&base[..length], length as u64, &mut Vec::new()).is_err(), "{length}");
    }
    let mut other = base.clone();
    other[20] ^= 0x10;
    let mut opened = Vec::new();
    let result = opening.layout.unwrap(&other, base.len() as u64, &mut opened);
    assert!(result.is_err() || opened != opening.base);
}
