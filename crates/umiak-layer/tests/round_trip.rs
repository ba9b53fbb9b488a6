//! Trees written as layers and read back; the second pass; index files; layers stacked.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::io::{Read, Write as _};

use common::{archivable, indexed, path, tree_of, written};
use proptest::prelude::*;
use umiak_layer::{Body, IndexFileError, LayerError, LayerIndex, LayerWriter, flatten, for_each_content};
use umiak_spec::{Digest, Limits, Silent};
use umiak_testkit::observer::Stopped;
use umiak_testkit::random::Chance;
use umiak_tree::{Directory, Kind, Metadata, Timestamp, difference};

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_written_tree_reads_back_the_same(seed: u64, size in 0_usize..60) {
        let tree = archivable(seed, size);
        let layer = written(&tree);
        prop_assert_eq!(difference(&tree_of(&layer), &tree), None);
        let index = indexed(&layer).unwrap();
        prop_assert_eq!(index.diff_id, Digest::of(&layer));
        prop_assert_eq!(index.size, layer.len() as u64);
        prop_assert_eq!(LayerIndex::from_bytes(&index.to_bytes(), &Limits::default()), Ok(index));
    }

    #[test]
    fn the_second_pass_gives_exactly_what_is_wanted(seed: u64, pick: u64) {
        let tree = archivable(seed, 60);
        let layer = gzip(&written(&tree));
        let index = indexed(&layer).unwrap();
        let mut chance = Chance::new(pick);
        let wanted: Vec<_> = index.entries.iter().filter(|entry| matches!(entry.body, Body::File(_)))
            .filter(|_| chance.once_in(2)).map(|entry| entry.ordinal).collect();
        let mut given = Vec::new();
        for_each_content(&layer[..], &index, &wanted, &Limits::default(), &Silent, |ordinal, content| {
            let mut bytes = Vec::new();
            // Some readers stop early; the rest is passed over and still verified.
            content.take(if ordinal % 3 == 0 { 10 } else { u64::MAX }).read_to_end(&mut bytes).map_err(LayerError::Read)?;
            given.push((ordinal, bytes));
            Ok::<_, LayerError>(())
        }).unwrap();
        prop_assert_eq!(given.iter().map(|(ordinal, _)| *ordinal).collect::<Vec<_>>(), wanted);
        for (ordinal, bytes) in given.into_iter().filter(|(ordinal, _)| ordinal % 3 != 0) {
            let entry = index.entries.iter().find(|entry| entry.ordinal == ordinal).unwrap();
            let Body::File(content) = entry.body else { panic!() };
            prop_assert_eq!(Digest::of(&bytes), content.digest);
        }
    }

    #[test]
    fn damaged_index_files_are_errors(seed: u64, at: prop::sample::Index, flip in 1_u8..) {
        let index = indexed(&written(&archivable(seed, 20))).unwrap();
        let mut bytes = index.to_bytes();
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        prop_assert!(LayerIndex::from_bytes(&bytes, &Limits::default()).is_err());
        prop_assert!(LayerIndex::from_bytes(&bytes[..at], &Limits::default()).is_err());
        // With a checksum that matches, anything may come out, but it comes out.
        let body = bytes.len() - 32;
        let checksum = Digest::of(&bytes[..body]);
        bytes[body..].copy_from_slice(checksum.as_bytes());
        let _ = LayerIndex::from_bytes(&bytes, &Limits::default());
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(1));
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn an_index_file_has_the_bytes_that_its_document_shows() {
    let mut writer = LayerWriter::new(Vec::new());
    let mut metadata = Metadata::root_owned(0o755);
    metadata.mtime = Timestamp { seconds: -1, nanoseconds: 5 };
    metadata.xattrs.insert(b"user.a".as_slice().into(), b"b".as_slice().into());
    writer.other::<()>(&path("etc"), &metadata, &Kind::Directory(Directory::new())).unwrap();
    writer.file(&path("etc/hosts"), &Metadata::root_owned(0o644), 3, &mut &b"abc"[..]).unwrap();
    writer.whiteout(&path("old")).unwrap();
    let bytes = indexed(&writer.finish().unwrap()).unwrap().to_bytes();
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert_eq!(hex(&bytes[..9]), "756d69616b4c495801");
    assert_eq!(hex(&bytes[41..bytes.len() - 32]), GOLDEN);
    let unknown = [&bytes[..8], &[2], &bytes[9..]].concat();
    assert_eq!(LayerIndex::from_bytes(&unknown, &Limits::default()), Err(IndexFileError::Version(2)));
    assert_eq!(LayerIndex::from_bytes(b"something else", &Limits::default()), Err(IndexFileError::Magic));
}

/// Everything between diff ID and checksum.
const GOLDEN: &str = concat!(
    "8020", // 4096 bytes
    "03",   // three entries
    "00",
    "00",
    "03657463", // neighbour, shares nothing, `etc`
    "ed03",
    "00",
    "00",
    "01",
    "05", // mode 0755, owner 0:0, mtime -1 and 5 ns
    "01",
    "06757365722e61",
    "0162", // one attribute: user.a = b
    "00",   // directory
    "00",
    "03",
    "062f686f737473", // shares `etc`, then `/hosts`
    "a403",
    "00",
    "00",
    "00",
    "00",
    "00", // mode 0644
    "01",
    "03", // file of 3 bytes
    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    "00",
    "00",
    "036f6c64", // `old`
    "00",
    "00",
    "00",
    "00",
    "00",
    "00",
    "07", // whiteout
);

#[test]
fn another_layer_than_indexed_is_noticed() {
    let layer = |content: &str, name: &str| {
        let mut writer = LayerWriter::new(Vec::new());
        let metadata = Metadata::root_owned(0o644);
        writer.file(&path(name), &metadata, content.len() as u64, &mut content.as_bytes()).unwrap();
        writer.finish().unwrap()
    };
    let index = indexed(&layer("content", "a")).unwrap();
    let second = |layer: &[u8], wanted: &[u32]| {
        let take = |_, _: &mut dyn Read| Ok::<_, LayerError>(());
        for_each_content(layer, &index, wanted, &Limits::default(), &Silent, take)
    };
    assert!(second(&layer("content", "a"), &[0]).is_ok());
    assert!(matches!(second(&layer("CONTENT", "a"), &[0]), Err(LayerError::ContentDigest { ordinal: 0, .. })));
    assert!(matches!(second(&layer("content", "b"), &[0]), Err(LayerError::NotAsIndexed { .. })));
    assert!(matches!(second(&layer("cont", "a"), &[0]), Err(LayerError::NotAsIndexed { .. })));
    assert!(matches!(second(&layer("content", "a"), &[1]), Err(LayerError::NotAsIndexed { ordinal: 1, .. })));
    assert!(second(b"never opened", &[]).is_ok());
}

#[test]
fn the_second_pass_stops_after_the_last_wanted_file() {
    struct Counting<'a>(&'a [u8], &'a std::sync::atomic::AtomicUsize);
    impl Read for Counting<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let count = self.0.read(buffer)?;
            self.1.fetch_add(count, std::sync::atomic::Ordering::Relaxed);
            Ok(count)
        }
    }
    let mut writer = LayerWriter::new(Vec::new());
    for name in 0..40 {
        let content = Chance::new(name).bytes(1 << 20);
        let metadata = Metadata::root_owned(0o644);
        writer.file(&path(&name.to_string()), &metadata, 1 << 20, &mut &content[..]).unwrap();
    }
    let layer = writer.finish().unwrap();
    let index = indexed(&layer).unwrap();
    let read = std::sync::atomic::AtomicUsize::new(0);
    let take = |_, _: &mut dyn Read| Ok::<_, LayerError>(());
    for_each_content(Counting(&layer, &read), &index, &[2], &Limits::default(), &Silent, take).unwrap();
    let read = read.into_inner();
    assert!(read < layer.len() / 4, "{read} of {} bytes were read", layer.len());
}

#[test]
fn layers_stack_with_their_whiteouts() {
    let layer = |files: &[&str], gone: &[&str], opaque: &[&str]| {
        let mut writer = LayerWriter::new(Vec::new());
        for name in files {
            writer.file(&path(name), &Metadata::root_owned(0o644), 1, &mut &b"x"[..]).unwrap();
        }
        gone.iter().for_each(|name| writer.whiteout(&path(name)).unwrap());
        opaque.iter().for_each(|name| writer.opaque(&path(name)).unwrap());
        indexed(&writer.finish().unwrap()).unwrap()
    };
    let layers = [layer(&["a", "d/low", "e/low"], &[], &[]), layer(&["d/up", "e/up"], &["a", "e/low"], &["d"])];
    let tree = flatten(&[&layers[0], &layers[1]], &Limits::default()).unwrap();
    let names: Vec<_> = tree.walk().map(|entry| entry.path.to_string()).collect();
    assert_eq!(names, ["/", "/d", "/d/up", "/e", "/e/up"]);
    let Kind::File(content) = &tree.inode(tree.lookup(&path("e/up")).unwrap()).kind else { panic!() };
    assert_eq!((content.layer, content.ordinal), (1, 1));
}

#[test]
fn cancelling_stops_the_pass() {
    let layer = written(&archivable(1, 40));
    let error = umiak_layer::index(&layer[..], &Limits::default(), &Stopped).unwrap_err();
    assert!(matches!(error, LayerError::Cancelled(_)));
}
