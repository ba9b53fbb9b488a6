//! tar-diff blobs: golden bytes, an independent writer of them, laws and damage.

#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(clippy::cast_possible_truncation, reason = "test sizes are small")]

use std::collections::BTreeMap;
use std::io::{self, Write};

use proptest::prelude::*;
use umiak_delta::foreign::{Bounds, Files, ForeignError, tar_diff};
use umiak_spec::{ReadAt, Silent};
use umiak_testkit::random::Chance;

const SMALL: Bounds = Bounds { output: 1 << 20, operations: 10_000, window: 2 << 20 };

/// A base's tree in memory.
#[derive(Debug, Default, Clone)]
struct Tree(BTreeMap<Vec<u8>, Vec<u8>>);

impl Files for Tree {
    fn open(&self, path: &[u8]) -> io::Result<Box<dyn ReadAt + '_>> {
        let content = self.0.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(content.as_slice()))
    }
}

impl Tree {
    fn with(mut self, path: &str, content: &[u8]) -> Self {
        self.0.insert(path.into(), content.to_vec());
        self
    }
}

fn tree() -> Tree {
    Tree::default().with("etc/a", b"0123456789").with("b", b"xyz").with("empty", b"")
}

fn applied_within(tree: &Tree, blob: &[u8], bounds: &Bounds) -> Result<Vec<u8>, ForeignError> {
    let mut out = Vec::new();
    let count = tar_diff(tree, &mut &*blob, &mut out, bounds, &Silent)?;
    assert_eq!(count, out.len() as u64);
    Ok(out)
}

fn applied(tree: &Tree, blob: &[u8]) -> Result<Vec<u8>, ForeignError> {
    applied_within(tree, blob, &SMALL)
}

/// Writes blobs, in the format's own words.
#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn operation(mut self, code: u8, mut size: u64, bytes: &[u8]) -> Self {
        self.0.push(code);
        while size > 0x7F {
            self.0.push((size % 128) as u8 | 0x80);
            size /= 128;
        }
        self.0.push(size as u8);
        self.0.extend(bytes);
        self
    }

    fn data(self, bytes: &[u8]) -> Self {
        self.operation(0, bytes.len() as u64, bytes)
    }

    fn open(self, path: &str) -> Self {
        self.operation(1, path.len() as u64, path.as_bytes())
    }

    fn copy(self, size: u64) -> Self {
        self.operation(2, size, &[])
    }

    fn add(self, bytes: &[u8]) -> Self {
        self.operation(3, bytes.len() as u64, bytes)
    }

    fn seek(self, position: u64) -> Self {
        self.operation(4, position, &[])
    }

    fn packed(self, frame: &[u8]) -> Self {
        self.operation(5, frame.len() as u64, frame)
    }

    fn blob(self, version: u8) -> Vec<u8> {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
        encoder.include_checksum(true).unwrap();
        encoder.write_all(&self.0).unwrap();
        let magic = [b't', b'a', b'r', b'd', b'f', b'0' + version, b'\n', 0];
        [&magic[..], &encoder.finish().unwrap()].concat()
    }
}

/// A zstd frame whose dictionary is `source` as it is.
fn packed(source: &[u8], target: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::stream::write::Encoder::with_ref_prefix(Vec::new(), 3, source).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.write_all(target).unwrap();
    encoder.finish().unwrap()
}

/// By hand: `tardf1`, a zstd frame (RFC 8878: magic, a header with nothing but a window of 1 KiB, one raw block of 30
/// bytes that is the last), and in it the operations.
#[rustfmt::skip]
const BY_HAND: &[u8] = &[
    b't', b'a', b'r', b'd', b'f', b'1', b'\n', 0,
    0x28, 0xB5, 0x2F, 0xFD, 0x00, 0x00, 0xF1, 0, 0,
    0, 3, b'h', b'd', b'r',         // data
    1, 5, b'e', b't', b'c', b'/', b'a', // open: at 0
    2, 3,                           // copy 012: at 3
    3, 2, 1, 0xFF,                  // add to 34: at 5
    2, 2,                           // copy 56: at 7
    4, 1,                           // seek to 1
    2, 0x81, 0x00,                  // copy one, its number longer than needed
    1, 1, b'b',                     // open: at 0 again
    2, 3,                           // copy xyz
];

#[test]
fn a_blob_by_hand() {
    assert_eq!(applied(&tree(), BY_HAND).unwrap(), b"hdr01243561xyz");
    let mut second = BY_HAND.to_vec();
    second[5] = b'2';
    assert_eq!(applied(&tree(), &second).unwrap(), b"hdr01243561xyz");
    // Several frames, also skippable ones, are one stream of operations.
    let skippable = [0x50, 0x2A, 0x4D, 0x18, 2, 0, 0, 0, 9, 9];
    assert_eq!(applied(&tree(), &[BY_HAND, &skippable, &BY_HAND[8..]].concat()).unwrap().len(), 28);
}

#[test]
fn every_flip_and_cut_is_an_error_or_gives_other_bytes() {
    let source = b"a configuration that is long enough to be worth a dictionary".repeat(5);
    let target = [&source[20..], b"!"].concat();
    let base = tree().with("long", &source);
    let writer = Writer::default().data(b"head").open("etc/a").copy(4).add(b"\x01\x02").seek(2).copy(3);
    let whole = writer.open("long").packed(&packed(&source, &target)).seek(1).copy(2).blob(2);
    let wanted = [b"head0123", &b"57234"[..], &target, &source[1..3]].concat();
    assert_eq!(applied(&base, &whole).unwrap(), wanted);
    for (blob, right, tree) in [(&whole[..], &wanted[..], &base), (BY_HAND, b"hdr01243561xyz", &tree())] {
        for length in 0..blob.len() {
            assert!(applied(tree, &blob[..length]).map_or(true, |out| out != right), "{length}");
        }
        let extended = [blob, b"x"].concat();
        assert!(applied(tree, &extended).is_err());
        for at in 0..blob.len() {
            for bit in 0..8 {
                let mut bytes = blob.to_vec();
                bytes[at] ^= 1 << bit;
                let same = applied(tree, &bytes).is_ok_and(|out| out == right);
                assert!(!same || says_nothing(at, bit), "{at} ^ {bit}");
            }
        }
    }
}

/// What may change without a difference in a blob that needs nothing of the second version.
fn says_nothing(at: usize, bit: u32) -> bool {
    // The version, and of the zstd frame an unused bit and the window.
    at == 5 || (at, bit) == (8 + 4, 4) || at == 8 + 5
}

#[test]
fn lies_are_refused() {
    let fails = |writer: Writer| applied(&tree(), &writer.blob(1)).unwrap_err();
    let open = |path: &str| Writer::default().open(path);
    assert!(matches!(fails(Writer::default().copy(1)), ForeignError::NoFile));
    assert!(matches!(fails(Writer::default().add(b"a")), ForeignError::NoFile));
    assert!(matches!(fails(Writer::default().seek(0)), ForeignError::NoFile));
    assert!(matches!(fails(open("none")), ForeignError::Open { path, .. } if path == "none"));
    assert!(matches!(fails(open("b").copy(4)), ForeignError::Range { position: 0, length: 4, size: 3, .. }));
    assert!(matches!(fails(open("b").copy(3).add(b"a")), ForeignError::Range { position: 3, .. }));
    assert!(matches!(fails(open("b").seek(u64::MAX).copy(1)), ForeignError::Range { .. }));
    assert!(matches!(fails(open("etc/../b")), ForeignError::Name(_)));
    assert!(matches!(fails(open("")), ForeignError::Name(_)));
    assert!(matches!(fails(open(&"a/".repeat(3000))), ForeignError::Limit { .. }));
    assert!(matches!(fails(Writer::default().operation(6, 0, b"")), ForeignError::Operation(6)));
    assert!(matches!(fails(Writer::default().operation(0, 5, b"four")), ForeignError::Truncated));
    assert!(matches!(fails(Writer::default().operation(0, u64::MAX, b"")), ForeignError::Limit { .. }));
    assert!(matches!(fails(Writer(vec![0, 0x80])), ForeignError::Truncated));
    assert!(matches!(applied(&tree(), b"tardf3\n\0"), Err(ForeignError::Magic(_))));
    assert!(matches!(applied(&tree(), b"tardf1\n"), Err(ForeignError::Truncated)));
    // The first version has no packed files.
    assert!(matches!(fails(open("b").packed(&packed(b"xyz", b"xyz"))), ForeignError::Operation(5)));
}

#[test]
fn bombs_meet_their_bounds() {
    let seeks = (0..20_000).fold(Writer::default().open("b"), |writer, _| writer.seek(0));
    let error = applied(&tree(), &seeks.blob(1)).unwrap_err();
    assert!(matches!(error, ForeignError::Limit { what: "operations", limit: 10_000 }), "{error}");

    let zeros = Writer::default().data(&vec![0; 3 << 20]).blob(1);
    assert!(zeros.len() < 1000);
    assert!(matches!(applied(&tree(), &zeros), Err(ForeignError::Limit { what: "bytes of the target", .. })));

    // The frame in the frame has no size that could be checked before.
    let packed_zeros = packed(b"xyz", &vec![0; 3 << 20]);
    let bomb = Writer::default().open("b").packed(&packed_zeros).blob(2);
    assert!(matches!(applied(&tree(), &bomb), Err(ForeignError::Limit { what: "bytes of the target", .. })));

    // A frame may ask for a window of its own: it is not had.
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
    encoder.window_log(22).unwrap();
    encoder.write_all(&Writer::default().data(b"x").0).unwrap();
    let blob = [&b"tardf1\n\0"[..], &encoder.finish().unwrap()].concat();
    assert!(matches!(applied(&tree(), &blob), Err(ForeignError::Delta(_))));
    assert_eq!(applied_within(&tree(), &blob, &Bounds { window: 4 << 20, ..SMALL }).unwrap(), b"x");

    // Nor is a dictionary.
    let large = tree().with("large", &vec![1; 3 << 20]);
    let blob = Writer::default().open("large").packed(&packed(&vec![1; 3 << 20], b"one")).blob(2);
    let error = applied(&large, &blob).unwrap_err();
    assert!(matches!(error, ForeignError::Limit { limit, .. } if limit == SMALL.window), "{error}");
    assert_eq!(applied_within(&large, &blob, &Bounds::default()).unwrap(), b"one");
}

#[test]
fn a_packed_file_reads_its_whole_source() {
    let source: Vec<u8> = (0..=255).collect::<Vec<u8>>().repeat(40);
    let base = Tree::default().with("s", &source).with("empty", b"");
    let frame = packed(&source, &source[100..]);
    let begin = || Writer::default().open("s").seek(50);
    assert_eq!(applied(&base, &begin().packed(&frame).blob(2)).unwrap(), source[100..]);
    // After it the position is the source's end.
    let error = applied(&base, &begin().packed(&frame).copy(1).blob(2)).unwrap_err();
    assert!(matches!(error, ForeignError::Range { position: 10_240, .. }), "{error}");
    let empty = Writer::default().open("empty").packed(&packed(b"", b"text")).packed(&[]).blob(2);
    assert_eq!(applied(&base, &empty).unwrap(), b"text");

    let other = Tree::default().with("s", &vec![3; source.len()]);
    let error = applied(&other, &begin().packed(&frame).blob(2)).unwrap_err();
    assert!(matches!(&error, ForeignError::Dictionary { path, .. } if path == "s"), "{error}");
    let error = applied(&base, &begin().packed(&[&frame[..], b"x"].concat()).blob(2)).unwrap_err();
    assert!(matches!(error, ForeignError::Trailing(_)), "{error}");
    let cut = frame.len() - 3;
    assert!(applied(&base, &begin().packed(&frame[..cut]).blob(2)).is_err());
    assert!(applied(&base, &begin().operation(5, frame.len() as u64 + 1, &frame).blob(2)).is_err());
}

/// The blob of a target that has a tree's files in it, each in the way that a random choice says.
fn written(tree: &Tree, chance: &mut Chance) -> (Vec<u8>, Vec<u8>) {
    let (mut writer, mut target) = (Writer::default(), Vec::new());
    for _ in 0..chance.below(12) {
        let header: Vec<u8> = (0..chance.below(700)).map(|_| chance.below(256) as u8).collect();
        writer = writer.data(&header);
        target.extend(header);
        let (path, content) = tree.0.iter().nth(chance.below(tree.0.len())).unwrap();
        writer = writer.open(std::str::from_utf8(path).unwrap());
        let start = chance.below(content.len() + 1);
        let end = start + chance.below(content.len() - start + 1);
        match chance.below(3) {
            0 => {
                writer = writer.seek(start as u64).copy((end - start) as u64);
                target.extend(&content[start..end]);
            }
            1 => {
                let wanted: Vec<u8> = (start..end).map(|at| content[at] ^ chance.below(3) as u8).collect();
                let steps = wanted.iter().zip(&content[start..end]).map(|(to, from)| to.wrapping_sub(*from));
                writer = writer.seek(start as u64).add(&steps.collect::<Vec<_>>());
                target.extend(wanted);
                // The position went on: what follows is copied without a seek.
                let more = chance.below(content.len() - end + 1);
                writer = writer.copy(more as u64);
                target.extend(&content[end..end + more]);
            }
            _ => {
                let mut wanted = content[start..].to_vec();
                wanted.extend(&content[..start]);
                writer = writer.packed(&packed(content, &wanted));
                target.extend(wanted);
            }
        }
    }
    (writer.blob(2), target)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn operations_do_what_they_say(seed in any::<u64>()) {
        let mut chance = Chance::new(seed);
        let mut base = tree();
        for name in ["usr/lib/x.so", "usr/bin/y", "opt/z"] {
            let content: Vec<u8> = (0..chance.below(3000)).map(|_| chance.below(9) as u8).collect();
            base = base.with(name, &content);
        }
        let (blob, target) = written(&base, &mut chance);
        prop_assert_eq!(applied(&base, &blob).unwrap(), target);
    }

    #[test]
    fn any_bytes_end_well(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = applied(&tree(), &Writer(bytes.clone()).blob(2));
        let _ = applied(&tree(), &[b"tardf2\n\0", &bytes[..]].concat());
    }
}
