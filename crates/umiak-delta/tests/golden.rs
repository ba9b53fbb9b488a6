//! Golden deltas: what was made once is applied for ever, and is still made the same. And streams that were tampered with behind
//! valid digests never give anything but the target or an error.
//!
//! The blobs lie in `tests/golden`. A new compressor may pack streams otherwise: then, and only then, blobs may be added for
//! [`are_made_the_same`]; those that are there must still be applied.

#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(clippy::cast_possible_truncation, reason = "test sizes are small")]

mod common;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Memory, apply_delta, make_delta};
use umiak_delta::container::{Bases, Container, Plain};
use umiak_delta::index::{HEAD, Index};
use umiak_delta::{Delta, Effort, MakeOptions};
use umiak_spec::{Digest, ReadAt};

/// Lines of text that numbers change in.
fn lines(count: u32, step: u32) -> Vec<u8> {
    (0..count)
        .flat_map(|n| format!("{:05} the weather of day {} was {}\n", n, n * step, (n * n) % 17).into_bytes())
        .collect()
}

/// Records of 16 bytes.
fn records(count: u32, seed: u32) -> Vec<u8> {
    (0..count)
        .flat_map(|n| {
            let noise = n.wrapping_mul(2_654_435_761) ^ (n / 9).wrapping_mul(seed);
            [n.to_le_bytes(), noise.to_le_bytes(), [0; 4], (n * 24 + seed).to_le_bytes()].concat()
        })
        .collect()
}

fn plain(bytes: &[u8]) -> Plain<&[u8]> {
    Plain::new(bytes, b"file", bytes.len() as u64, Digest::of(bytes))
}

fn file(name: &str, content: Vec<u8>) -> (Vec<u8>, String, Vec<u8>) {
    let mut header = name.as_bytes().to_vec();
    header.resize(512, 0);
    header[300..308].copy_from_slice(&(content.len() as u64).to_be_bytes());
    (header, name.to_owned(), content)
}

fn archives() -> (Memory, Memory) {
    let base = Memory::new(
        &[
            file("a/weather", lines(300, 3)),
            file("a/records", records(200, 7)),
            file("b/kept", lines(40, 5)),
            file("b/gone", records(50, 1)),
            file("c/kept", records(30, 9)),
        ],
        &[0; 1024],
    );
    let mut weather = lines(300, 3);
    weather.splice(4000..4000, *b"a line that was not there before\n");
    weather[9000..9004].copy_from_slice(b"none");
    let target = Memory::new(
        &[
            file("a/weather", weather),
            file("a/records", records(220, 8)),
            file("b/kept", lines(40, 5)),
            file("b/new", b"something new, and short".to_vec()),
            file("b/again", b"something new, and short".to_vec()),
            file("c/kept", records(30, 9)),
            file("d/new", (0..=255).collect()),
        ],
        &[0; 1024],
    );
    (base, target)
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn options(effort: Effort) -> MakeOptions {
    MakeOptions { effort, ..MakeOptions::default() }
}

/// Applies the golden blob, and makes it again.
fn check(name: &str, bases: &[&dyn Container], target: &dyn Container, expected: &[u8], effort: Effort) {
    let made = make_delta(bases, target, &options(effort));
    let path = golden(name);
    let blob = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert!(apply_delta(bases, &blob).unwrap() == expected, "{name} makes something else");
    assert!(made == blob, "{name} is made otherwise");
}

#[test]
fn are_made_the_same() {
    let (base, target) = (lines(500, 3), lines(520, 4));
    for (name, effort) in [("plain.delta", Effort::Smallest), ("plain-fast.delta", Effort::Fast)] {
        check(name, &[&plain(&base)], &plain(&target), &target, effort);
    }
    let (base, target) = archives();
    check("archive.delta", &[&base], &target, &target.bytes, Effort::Smallest);
    let other = records(210, 8);
    check("two-bases.delta", &[&plain(&other), &base], &target, &target.bytes, Effort::Fast);
    check("nothing.delta", &[], &plain(b""), b"", Effort::Smallest);
}

/// What `reader.py` makes of a blob; it was written from the format's pages alone.
fn read_elsewhere(bases: &[&dyn Container], blob: &[u8]) -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let sources = Bases::new(bases);
    let mut spacings = String::new();
    for number in 0..sources.count() {
        let (source, size) = sources.open(number).unwrap();
        let mut bytes = vec![0; size as usize];
        source.read_exact_at(&mut bytes, 0).unwrap();
        std::fs::write(directory.path().join(number.to_string()), bytes).unwrap();
        if let Some(part) = sources.part(number) {
            spacings += &format!("{}\n", part.spacing);
        }
    }
    std::fs::write(directory.path().join("spacings"), spacings).unwrap();
    std::fs::write(directory.path().join("blob"), blob).unwrap();
    let mut reader = Command::new("python3");
    reader.arg(golden("reader.py")).args(["blob", ".", "out"]).current_dir(&directory);
    assert!(reader.status().unwrap().success());
    std::fs::read(directory.path().join("out")).unwrap()
}

#[test]
#[ignore = "needs: python3"]
fn another_reader_reads_them() {
    let (base, target) = archives();
    let blob = make_delta(&[&base], &target, &options(Effort::Smallest));
    assert!(read_elsewhere(&[&base], &blob) == target.bytes);
    // Long stretches of right bytes, few wrong ones, a piece that moved.
    let base = records(6000, 5);
    let mut target = base.clone();
    for at in [70usize, 75, 20_000, 40_000, 40_004, 41_000, 90_000] {
        target[at] ^= 0x5A;
    }
    target[60_000..].rotate_left(3000);
    target.extend_from_slice(&base[100..9000]);
    let blob = make_delta(&[&plain(&base)], &plain(&target), &options(Effort::Smallest));
    assert!(read_elsewhere(&[&plain(&base)], &blob) == target);
}

/// The streams of a blob, unpacked.
fn unpacked(blob: &[u8]) -> (Index, Vec<Vec<u8>>) {
    let index = Delta::open(blob).unwrap().index().clone();
    let streams = index.streams.iter().map(|entry| {
        let stored = &blob[entry.offset as usize..][..entry.stored as usize];
        let mut plain = Vec::new();
        match entry.codec.number() {
            0 => plain.extend_from_slice(stored),
            _ => drop(zstd::stream::read::Decoder::new(stored).unwrap().read_to_end(&mut plain).unwrap()),
        }
        assert_eq!(plain.len() as u64, entry.plain);
        plain
    });
    (index.clone(), streams.collect())
}

/// A blob of these streams as they are, all digests right.
fn packed(index: &Index, streams: &[Vec<u8>]) -> Vec<u8> {
    let mut index = index.clone();
    let stored = index.streams.iter().map(|entry| entry.codec).find(|codec| codec.number() == 0).unwrap();
    for (entry, stream) in index.streams.iter_mut().zip(streams) {
        (entry.codec, entry.plain, entry.stored) = (stored, stream.len() as u64, stream.len() as u64);
        entry.frames = stream.chunks(1 << 20).map(Digest::of).collect();
    }
    [index.to_bytes(), streams.concat()].concat()
}

/// What becomes of a stream when byte `at` of it is tampered with, in several ways.
fn tampered(stream: &[u8], at: usize) -> Vec<Vec<u8>> {
    let changed = |change: fn(u8) -> u8| {
        let mut stream = stream.to_vec();
        stream[at] = change(stream[at]);
        stream
    };
    let without = [&stream[..at], &stream[at + 1..]].concat();
    let with = [&stream[..at], &[0xFF, 0xFF, 0xFF, 0xFF, 0x7F], &stream[at..]].concat();
    vec![
        changed(|byte| byte ^ 1),
        changed(|byte| byte ^ 0x80),
        changed(|byte| !byte),
        without,
        with,
        stream[..at].to_vec(),
    ]
}

#[test]
fn tampering_behind_digests_is_found() {
    let (base, target) = archives();
    let (index, streams) = unpacked(&make_delta(&[&base], &target, &options(Effort::Fast)));
    assert!(index.streams.len() >= 6, "plan, skeleton, text and binary: {:?}", index.streams);
    assert!(apply_delta(&[&base], &packed(&index, &streams)).unwrap() == target.bytes);
    let (mut refused, mut harmless) = (0, 0);
    for number in 0..streams.len() {
        let length = streams[number].len();
        for at in (0..length).step_by(length.div_ceil(40).max(1)) {
            for stream in tampered(&streams[number], at) {
                let mut streams = streams.clone();
                streams[number] = stream;
                match apply_delta(&[&base], &packed(&index, &streams)) {
                    Ok(made) => {
                        assert!(made == target.bytes, "{:?} byte {at}", index.streams[number].id);
                        harmless += 1;
                    }
                    Err(_) => refused += 1,
                }
            }
        }
    }
    assert!(refused > 20 * harmless, "{refused} {harmless}");
}

#[test]
fn indexes_that_were_tampered_with_are_refused() {
    let (base, target) = archives();
    let blob = make_delta(&[&base], &target, &options(Effort::Fast));
    let (index, _) = unpacked(&blob);
    let head = index.to_bytes();
    for at in HEAD..head.len() {
        for flip in [1, 0x80] {
            let mut blob = blob.clone();
            blob[at] ^= flip;
            let digest = Digest::of(&[&blob[..16], &blob[HEAD..head.len()]].concat());
            blob[16..HEAD].copy_from_slice(digest.as_bytes());
            if let Ok(made) = apply_delta(&[&base], &blob) {
                assert!(made == target.bytes, "byte {at}");
            }
        }
    }
}
