//! What the tests of this crate share.

#![allow(clippy::unwrap_used, dead_code, reason = "a test may panic, and not every test uses everything")]

use umiak_layer::{LayerError, LayerIndex, LayerWriter, flatten, index};
use umiak_spec::{Limits, Silent};
use umiak_testkit::random::{Bytes, Chance, tree};
use umiak_tree::{Kind, Tree, TreePath};

pub fn path(text: &str) -> TreePath {
    TreePath::from_archive(text.as_bytes(), &Limits::default()).unwrap()
}

pub fn indexed(layer: &[u8]) -> Result<LayerIndex, LayerError> {
    index(layer, &Limits::default(), &Silent)
}

/// A random tree without sockets, which archives do not have.
pub fn archivable(seed: u64, size: usize) -> Tree<Bytes> {
    let made = tree(&mut Chance::new(seed), size).unwrap();
    let ids: Vec<_> = made.inodes().map(|(id, _)| id).collect();
    let mut builder = made.into_builder();
    for id in ids {
        let inode = builder.inode(id);
        if inode.kind == Kind::Socket {
            inode.kind = Kind::Fifo;
        }
    }
    builder.finish().unwrap()
}

pub fn written(tree: &Tree<Bytes>) -> Vec<u8> {
    let mut writer = LayerWriter::new(Vec::new());
    writer.tree(tree, |content| Ok(std::io::Cursor::new(content.0.to_vec()))).unwrap();
    writer.finish().unwrap()
}

/// The tree that one layer holds.
pub fn tree_of(layer: &[u8]) -> Tree<umiak_layer::LayerContent> {
    flatten(&[&indexed(layer).unwrap()], &Limits::default()).unwrap()
}

/// One tar header with a correct checksum and the padded content behind it.
pub fn member(name: &str, kind: u8, size: usize, edit: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let mut block = vec![0; 512];
    block[..name.len()].copy_from_slice(name.as_bytes());
    block[100..107].copy_from_slice(b"0000644");
    block[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
    block[156] = kind;
    block[257..265].copy_from_slice(b"ustar\x0000");
    edit(&mut block);
    seal(&mut block);
    block
}

/// Writes the checksum of a header block.
pub fn seal(block: &mut [u8]) {
    block[148..156].copy_from_slice(b"        ");
    let sum: u32 = block[..512].iter().map(|byte| u32::from(*byte)).sum();
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
}

/// `member` with `content` behind it.
pub fn with_content(name: &str, kind: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = member(name, kind, content.len(), |_| {});
    bytes.extend(content);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}
