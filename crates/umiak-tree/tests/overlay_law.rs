//! The law of changesets on random trees: what base and upper tree show together is the target.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use proptest::prelude::*;
use umiak_testkit::random::{Bytes, Chance, mutated, tree};
use umiak_tree::{OverlayOptions, Tree, apply, changeset, difference};

fn pair(seed: u64, size: usize, changes: usize) -> (Tree<Bytes>, Tree<Bytes>) {
    let mut chance = Chance::new(seed);
    let base = tree(&mut chance, size).unwrap();
    let target = if chance.once_in(5) { tree(&mut chance, size) } else { mutated(&mut chance, &base, changes) };
    (base, target.unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn base_and_changeset_show_the_target(seed: u64, size in 0_usize..60, changes in 0_usize..12) {
        let (base, target) = pair(seed, size, changes);
        let upper = changeset(&base, &target, OverlayOptions::default()).unwrap();
        let shown = apply(&base, &upper.tree).unwrap();
        prop_assert_eq!(difference(&shown, &target), None);
        prop_assert_eq!(upper.is_empty(), difference(&base, &target).is_none());
    }

    #[test]
    fn without_mtimes_only_mtimes_may_differ(seed: u64, size in 0_usize..40, changes in 0_usize..12) {
        let (base, target) = pair(seed, size, changes);
        let upper = changeset(&base, &target, OverlayOptions { ignore_mtime: true }).unwrap();
        let shown = apply(&base, &upper.tree).unwrap();
        prop_assert_eq!(difference(&timeless(shown), &timeless(target)), None);
        prop_assert_eq!(upper.report.mtime.names, 0);
    }

    #[test]
    fn a_tree_needs_nothing_above_itself(seed: u64, size in 0_usize..60) {
        let (base, _) = pair(seed, size, 0);
        let upper = changeset(&base, &base, OverlayOptions::default()).unwrap();
        prop_assert!(upper.is_empty());
        prop_assert!(upper.tree.is_empty());
    }
}

fn timeless(tree: Tree<Bytes>) -> Tree<Bytes> {
    let ids: Vec<_> = tree.inodes().map(|(id, _)| id).collect();
    let mut builder = tree.into_builder();
    for id in ids {
        builder.inode(id).metadata.mtime = Default::default();
    }
    builder.finish().unwrap()
}
