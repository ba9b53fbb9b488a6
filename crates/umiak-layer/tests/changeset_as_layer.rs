//! A changeset says the same as a layer: whiteout devices become `.wh.` entries, opaque attributes become opaque marks,
//! and stacking that layer on the base gives the target. Ties together the changesets of umiak-tree, the writer, the
//! reader and the stacking of layers.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::collections::BTreeMap;

use common::{archivable, indexed, written};
use proptest::prelude::*;
use umiak_layer::{LayerWriter, flatten};
use umiak_spec::Limits;
use umiak_testkit::random::{Bytes, Chance, mutated};
use umiak_tree::{Kind, OPAQUE_XATTR, OverlayOptions, Tree, changeset, difference};

/// The layer of an overlayfs upper tree, its whiteouts and marks before or after the entries.
fn as_layer(upper: &Tree<Bytes>, marks_first: bool) -> Vec<u8> {
    let mut writer = LayerWriter::new(Vec::new());
    let write_marks = |writer: &mut LayerWriter<Vec<u8>>| {
        for entry in upper.walk() {
            if entry.inode.kind.is_whiteout() {
                writer.whiteout(&entry.path).unwrap();
            } else if entry.inode.metadata.xattrs.contains_key(OPAQUE_XATTR) {
                writer.opaque(&entry.path).unwrap();
            }
        }
    };
    if marks_first {
        write_marks(&mut writer);
    }
    let mut firsts = BTreeMap::new();
    for entry in upper.walk().filter(|entry| !entry.inode.kind.is_whiteout()) {
        let mut metadata = entry.inode.metadata.clone();
        metadata.xattrs.remove(OPAQUE_XATTR);
        match (&entry.inode.kind, firsts.get(&entry.id)) {
            (_, Some(first)) => writer.hard_link(&entry.path, &metadata, first).unwrap(),
            (Kind::File(content), None) => {
                writer.file(&entry.path, &metadata, content.0.len() as u64, &mut &content.0[..]).unwrap();
            }
            (kind, None) => writer.other(&entry.path, &metadata, kind).unwrap(),
        }
        if !entry.inode.kind.is_directory() {
            firsts.entry(entry.id).or_insert(entry.path);
        }
    }
    if !marks_first {
        write_marks(&mut writer);
    }
    writer.finish().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 80, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn base_and_changeset_layer_stack_to_the_target(seed: u64, size in 0_usize..50, changes in 0_usize..10, marks_first: bool) {
        let base = archivable(seed, size);
        let target = mutated(&mut Chance::new(!seed), &base, changes).unwrap();
        // A change may bring a socket, which archives do not have.
        prop_assume!(target.inodes().all(|(_, inode)| inode.kind != Kind::Socket));
        let upper = changeset(&base, &target, OverlayOptions::default()).unwrap();
        let layers = [indexed(&written(&base)).unwrap(), indexed(&as_layer(&upper.tree, marks_first)).unwrap()];
        let stacked = flatten(&[&layers[0], &layers[1]], &Limits::default()).unwrap();
        prop_assert_eq!(difference(&stacked, &target), None);
    }
}
