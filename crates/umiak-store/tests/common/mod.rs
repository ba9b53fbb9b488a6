//! Layers, sound and strange, and a store to put them into.

#![allow(clippy::unwrap_used, dead_code, reason = "a test may panic, and not every test uses everything")]

pub mod images;

use std::path::Path;
use std::sync::{Arc, LazyLock};

use proptest::prelude::*;
use umiak_layer::LayerWriter;
use umiak_spec::Limits;
use umiak_store::{RealDisk, Store, StoreOptions};
use umiak_testkit::random::{Bytes, Chance, tree};
use umiak_tree::{Kind, Tree};

/// The usual limits.
pub static LIMITS: LazyLock<Limits> = LazyLock::new(Limits::default);

pub fn open(path: &Path) -> Store {
    Store::open(path, Arc::new(RealDisk), &StoreOptions::UPDATE).unwrap()
}

/// A tree as a layer; sockets, which layers do not have, become pipes.
pub fn layer(tree: &Tree<Bytes>) -> Vec<u8> {
    let ids: Vec<_> = tree.inodes().map(|(id, _)| id).collect();
    let mut builder = tree.clone().into_builder();
    for id in ids {
        let inode = builder.inode(id);
        if inode.kind == Kind::Socket {
            inode.kind = Kind::Fifo;
        }
    }
    let mut writer = LayerWriter::new(Vec::new());
    writer.tree(&builder.finish().unwrap(), |content| Ok(std::io::Cursor::new(content.0.to_vec()))).unwrap();
    writer.finish().unwrap()
}

pub fn written(seed: u64, size: usize) -> Vec<u8> {
    layer(&tree(&mut Chance::new(seed), size).unwrap())
}

/// One tar header with a right checksum.
pub fn member(name: &str, kind: u8, size: usize, edit: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let mut block = vec![0; 512];
    block[..name.len()].copy_from_slice(name.as_bytes());
    block[100..107].copy_from_slice(b"0000644");
    block[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
    block[156] = kind;
    block[257..265].copy_from_slice(b"ustar\x0000");
    edit(&mut block);
    block[148..156].copy_from_slice(b"        ");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    block
}

/// The same with `content` behind it.
pub fn with_content(name: &str, kind: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = member(name, kind, content.len(), |_| {});
    bytes.extend(content);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

/// A sparse file of old GNU: 700 bytes from 1024 on, 4096 in all.
pub fn sparse(name: &str, byte: u8) -> Vec<u8> {
    let mut bytes = member(name, b'S', 700, |header| {
        header[386..397].copy_from_slice(b"00000002000");
        header[398..409].copy_from_slice(b"00000001274");
        header[483..494].copy_from_slice(b"00000010000");
    });
    bytes.extend([byte; 700]);
    bytes.extend([0; 324]);
    bytes
}

/// A link of either kind.
pub fn link(name: &str, kind: u8, target: &str) -> Vec<u8> {
    member(name, kind, 0, |header| header[157..157 + target.len()].copy_from_slice(target.as_bytes()))
}

const NAMES: [&str; 9] = ["a", "b", "d/", "d/a", "d/e/b", ".wh.a", "d/.wh..wh..opq", "d/.wh.e", "l/a"];

/// A piece of an archive, mostly sound.
pub fn piece() -> impl Strategy<Value = Vec<u8>> {
    let name = proptest::sample::select(NAMES.as_slice());
    let body = proptest::collection::vec(any::<u8>(), 0..1500);
    let few = prop_oneof![Just(vec![1; 600]), Just(vec![2; 600]), Just(b"twice".to_vec())];
    let kind = prop_oneof![6 => Just(b'0'), 1 => Just(b'\0'), 1 => Just(b'7'), 2 => Just(b'5'), 1 => Just(b'V')];
    let file = (name.clone(), kind, prop_oneof![body.clone(), few]).prop_map(|(name, kind, body)| {
        let kind = if name.ends_with('/') && kind != b'V' { b'5' } else { kind };
        if kind == b'5' { with_content(name, kind, b"") } else { with_content(name, kind, &body) }
    });
    let target = proptest::sample::select(["a", "b", "d", "d/a", "gone"].as_slice());
    let links = (name, any::<bool>(), target)
        .prop_map(|(name, hard, target)| link(name.trim_end_matches('/'), if hard { b'1' } else { b'2' }, target));
    let records =
        prop_oneof![Just(&b"12 size=100\n"[..]), Just(&b"11 path=zz\n"[..]), Just(&b"21 mtime=1700000000.5\n"[..])];
    let records = records.prop_map(|records: &[u8]| with_content("pax", b'x', records));
    prop_oneof![
        8 => file, 3 => links, 1 => any::<u8>().prop_map(|byte| sparse("sparse", byte)), 1 => records,
        1 => body, 1 => Just(vec![0; 512]),
    ]
}

/// Pieces as one archive, with damage.
pub fn cut_piece(
    pieces: Vec<Vec<u8>>,
    damage: Vec<(prop::sample::Index, u8)>,
    cut: Option<prop::sample::Index>,
) -> Vec<u8> {
    let mut archive = pieces.concat();
    archive.push(0);
    for (place, byte) in damage {
        *place.get_mut(&mut archive) = byte;
    }
    if let Some(cut) = cut {
        archive.truncate(cut.index(archive.len()));
    }
    archive
}

/// Paths that a random layer speaks of: files below directories, below links, below what other layers hide.
const PATHS: [&str; 16] =
    ["a", "b", "d/", "d/a", "d/e/", "d/e/b", "d/e/f/c", "l", "l/a", "l/e/b", "m/", "m/x", "m/e/y", "./", "z", "d/e/f/"];

/// A random layer of strange habits: no directories where there should be, links that lead elsewhere, marks of all kinds.
pub fn strange(chance: &mut Chance) -> Vec<u8> {
    let mut tar = Vec::new();
    for _ in 0..1 + chance.below(9) {
        let path = *chance.pick(&PATHS);
        let bare = path.trim_end_matches('/');
        let (directory, name) = bare.rsplit_once('/').map_or(("", bare), |(directory, name)| (directory, name));
        let slash = if directory.is_empty() { "" } else { "/" };
        let mode = [&b"0000644"[..], b"0000700", b"0001777"][chance.below(3)];
        let dated = |header: &mut [u8]| {
            header[100..107].copy_from_slice(mode);
            header[136..147].copy_from_slice(b"14000000000");
        };
        let to = ["d", "m", "a", "/d/e", "gone"][chance.below(5)];
        let same = ["a", "d/a", "m/x", "d/e/b"][chance.below(4)];
        match chance.below(12) {
            0 if bare != "." => tar.extend(member(&format!("{directory}{slash}.wh.{name}"), b'0', 0, |_| {})),
            1 if path.ends_with('/') => tar.extend(member(&format!("{bare}/.wh..wh..opq"), b'0', 0, |_| {})),
            2 if bare != "." => tar.extend(link(bare, b'2', to)),
            3 if bare != "." => tar.extend(link(bare, b'1', same)),
            _ if path.ends_with('/') => tar.extend(member(path, b'5', 0, dated)),
            _ => {
                let content = chance.bytes(1);
                tar.extend(member(path, b'0', 1, dated));
                tar.extend(content);
                tar.resize(tar.len().next_multiple_of(512), 0);
            }
        }
    }
    tar.extend([0; 1024]);
    tar
}
