//! librsync deltas: golden bytes, laws, damage, and what `rdiff` itself writes.

#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(clippy::cast_possible_truncation, reason = "test sizes are small")]

use std::io::{self, Write};
use std::path::Path;
use std::process::Command;

use proptest::prelude::*;
use umiak_delta::foreign::{Basis, Bounds, ForeignError, rdiff};
use umiak_spec::{Cancelled, Observer, ReadAt, Silent};
use umiak_testkit::random::Chance;

const SMALL: Bounds = Bounds { output: 1 << 20, operations: 10_000, window: 1 << 20 };

fn rdiffed(base: &[u8], delta: &[u8]) -> Result<Vec<u8>, ForeignError> {
    let mut out = Vec::new();
    let count = rdiff(&base, &mut &*delta, &mut out, &SMALL, &Silent)?;
    assert_eq!(count, out.len() as u64);
    Ok(out)
}

/// Worked out by hand from the format: magic, literals with immediate and with 1, 2, 4 and 8 byte lengths, copies.
#[rustfmt::skip]
const RDIFF: &[u8] = &[
    0x72, 0x73, 0x02, 0x36,
    0x03, b'a', b'b', b'c',
    0x41, 2, b'd', b'e',
    0x42, 0, 1, b'f',
    0x43, 0, 0, 0, 1, b'g',
    0x44, 0, 0, 0, 0, 0, 0, 0, 1, b'h',
    0x45, 4, 2,
    0x4A, 0, 0, 0, 3,
    0x4F, 0, 0, 0, 7, 0, 0, 0, 1,
    0x54, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 1,
    0x48, 8, 0, 0, 0, 0, 0, 0, 0, 1,
    0x51, 0, 0, 0, 0, 0, 0, 0, 1, 9,
    0x00,
];
const DIGITS: &[u8] = b"0123456789";

#[test]
fn a_librsync_delta_by_hand() {
    assert_eq!(rdiffed(DIGITS, RDIFF).unwrap(), b"abcdefgh45012798123456789");
}

#[test]
fn every_flip_and_cut_of_a_librsync_delta_is_an_error_or_gives_other_bytes() {
    let right = rdiffed(DIGITS, RDIFF).unwrap();
    for length in 0..RDIFF.len() {
        assert!(rdiffed(DIGITS, &RDIFF[..length]).is_err(), "{length}");
    }
    assert!(matches!(rdiffed(DIGITS, &[RDIFF, &[0]].concat()), Err(ForeignError::Trailing(_))));
    for at in 0..RDIFF.len() {
        for value in 1..=255 {
            let mut bytes = RDIFF.to_vec();
            bytes[at] ^= value;
            // `42 00 01 f` and `41 00, 01 f` say the same: one byte in one operation, or after an empty one.
            let wide = [12, 16, 22].contains(&at);
            assert!(wide || rdiffed(DIGITS, &bytes).map_or(true, |out| out != right), "{at} ^ {value}");
        }
    }
}

fn delta(operations: &[&[u8]]) -> Vec<u8> {
    [&RDIFF[..4], &operations.concat(), &[0]].concat()
}

#[test]
fn librsync_deltas_that_lie_are_refused() {
    let far = delta(&[&[0x45, 9, 2]]);
    assert!(matches!(rdiffed(DIGITS, &far), Err(ForeignError::Range { position: 9, length: 2, size: 10, .. })));
    let wraps = delta(&[&[0x54], &[0xFF; 16]]);
    assert!(matches!(rdiffed(DIGITS, &wraps), Err(ForeignError::Range { .. })));
    // A literal of 2^64 - 1 bytes costs no memory: it is over the bound before a byte is read.
    let huge = delta(&[&[0x44], &[0xFF; 8]]);
    assert!(matches!(rdiffed(DIGITS, &huge), Err(ForeignError::Limit { limit, .. }) if limit == SMALL.output));
    let short = delta(&[&[0x43, 0, 0x0F, 0, 0, 1]]);
    assert!(matches!(rdiffed(DIGITS, &short), Err(ForeignError::Truncated)));
    assert!(matches!(rdiffed(DIGITS, &delta(&[&[0x55, 0, 0]])), Err(ForeignError::Operation(0x55))));
    assert!(matches!(rdiffed(DIGITS, b"tardf1\n\0"), Err(ForeignError::Magic(_))));
    let nothing = delta(&[&[0x45, 0, 0].repeat(20_000)]);
    assert!(matches!(rdiffed(DIGITS, &nothing), Err(ForeignError::Limit { what: "operations", .. })));
    let repeated = delta(&[&[0x45, 0, 10].repeat(9_000)]);
    let bounds = Bounds { output: 50_000, ..SMALL };
    let result = rdiff(&DIGITS, &mut &*repeated, &mut io::sink(), &bounds, &Silent);
    assert!(matches!(result, Err(ForeignError::Limit { what: "bytes of the target", limit: 50_000 })));
}

/// Stops after some checks.
struct Stops(std::sync::atomic::AtomicU32);

impl Observer for Stops {
    fn expect(&self, _: &'static str, _: u64) {}
    fn advance(&self, _: &'static str, _: u64) {}
    fn note(&self, _: &str) {}
    fn check(&self) -> Result<(), Cancelled> {
        let before = self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        if before < 3 { Ok(()) } else { Err(Cancelled) }
    }
}

#[test]
fn work_can_be_stopped_and_errors_of_others_come_through() {
    let base = vec![7; 1 << 20];
    let whole = delta(&[&[0x4F, 0, 0, 0, 0, 0, 0x10, 0, 0]]);
    let result = rdiff(&base, &mut &*whole, &mut io::sink(), &SMALL, &Stops(0.into()));
    assert!(matches!(result, Err(ForeignError::Cancelled(Cancelled))));

    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let result = rdiff(&base, &mut &*whole, &mut Full, &SMALL, &Silent);
    assert!(matches!(result, Err(ForeignError::Target(error)) if error.kind() == io::ErrorKind::StorageFull));
}

/// An operation as a test wants it: `None` for a literal of these bytes, or a range of the base.
#[derive(Debug, Clone)]
enum Wanted {
    Literal(Vec<u8>),
    Copy { start: u16, length: u16, widths: (u8, u8) },
}

fn wanted() -> impl Strategy<Value = Wanted> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200).prop_map(Wanted::Literal),
        (0..2000_u16, 0..2000_u16, (0..4_u8, 0..4_u8)).prop_map(|(start, length, widths)| Wanted::Copy {
            start,
            length,
            widths
        }),
    ]
}

/// Bytes of a number in the first width from `width` on that holds it; the width's place in 1, 2, 4, 8.
fn number(value: u16, width: u8) -> (u8, Vec<u8>) {
    let width = if value > 255 { width.max(1) } else { width };
    let bytes = u64::from(value).to_be_bytes();
    (width, bytes[8 - (1 << width)..].to_vec())
}

/// The delta and the target of these operations.
fn built(base: &[u8], operations: &[Wanted]) -> (Vec<u8>, Vec<u8>) {
    let (mut bytes, mut target) = (RDIFF[..4].to_vec(), Vec::new());
    for operation in operations {
        match operation {
            Wanted::Literal(literal) if (1..=64).contains(&literal.len()) => {
                bytes.push(literal.len() as u8);
                bytes.extend(literal);
                target.extend(literal);
            }
            Wanted::Literal(literal) => {
                let (width, length) = number(literal.len() as u16, 2);
                bytes.push(0x41 + width);
                bytes.extend([&length[..], literal].concat());
                target.extend(literal);
            }
            Wanted::Copy { start, length, widths } => {
                let start = usize::from(*start).min(base.len());
                let length = usize::from(*length).min(base.len() - start);
                let (outer, position) = number(start as u16, widths.0);
                let (inner, count) = number(length as u16, widths.1);
                bytes.push(0x45 + 4 * outer + inner);
                bytes.extend([position, count].concat());
                target.extend(&base[start..start + length]);
            }
        }
    }
    bytes.push(0);
    (bytes, target)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn librsync_operations_do_what_they_say(
        base in prop::collection::vec(any::<u8>(), 0..2000),
        operations in prop::collection::vec(wanted(), 0..30),
        cut in 0..2000_usize,
    ) {
        let (bytes, target) = built(&base, &operations);
        prop_assert_eq!(rdiffed(&base, &bytes).unwrap(), &target[..]);
        // The same from a base in two parts.
        let (first, second) = base.split_at(cut.min(base.len()));
        let basis = Basis::new([&first as &dyn ReadAt, &second]).unwrap();
        let mut out = Vec::new();
        rdiff(&basis, &mut &*bytes, &mut out, &SMALL, &Silent).unwrap();
        prop_assert_eq!(out, target);
    }

    #[test]
    fn any_bytes_end_well(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = rdiffed(DIGITS, &[&RDIFF[..4], &bytes].concat());
    }
}

#[test]
#[ignore = "needs: rdiff"]
fn what_rdiff_writes_is_applied() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let mut chance = Chance::new(3);
    let mut base: Vec<u8> = (0..400_000).map(|_| chance.below(256) as u8).collect();
    base.extend([0; 70_000]);
    let mut target = base[50_000..].to_vec();
    target.extend(&base[..130_000]);
    for _ in 0..40 {
        let at = chance.below(target.len());
        let run: Vec<u8> = (0..chance.below(90)).map(|_| chance.below(256) as u8).collect();
        target.splice(at..at, run);
    }
    let cases = [(&base[..], &target[..]), (b"", b"new"), (b"old", b""), (&base, &base), (b"", b"")];
    for (base, target) in cases {
        std::fs::write(path("base"), base).unwrap();
        std::fs::write(path("target"), target).unwrap();
        for options in
            [&["-b", "512"][..], &["-H", "blake2"], &["-b", "512", "-H", "md4", "-S", "8"], &["-b", "2048"], &[]]
        {
            run(Command::new("rdiff").args(options).arg("-f").arg("signature").args([path("base"), path("signature")]));
            run(Command::new("rdiff").args(["-f", "delta"]).args([path("signature"), path("target"), path("delta")]));
            let delta = std::fs::read(path("delta")).unwrap();
            let file = std::fs::File::open(path("base")).unwrap();
            let mut out = Vec::new();
            rdiff(&file, &mut &*delta, &mut out, &Bounds::default(), &Silent).unwrap();
            assert!(out == target, "{options:?}");
        }
    }
    // And rdiff agrees on the bytes by hand.
    peer_applies(directory.path(), DIGITS, RDIFF, &rdiffed(DIGITS, RDIFF).unwrap());
}

fn peer_applies(directory: &Path, base: &[u8], delta: &[u8], target: &[u8]) {
    let path = |name: &str| directory.join(name);
    std::fs::write(path("base"), base).unwrap();
    std::fs::write(path("delta"), delta).unwrap();
    run(Command::new("rdiff").args(["-f", "patch"]).args([path("base"), path("delta"), path("out")]));
    assert_eq!(std::fs::read(path("out")).unwrap(), target);
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
