//! The law of layer patches on random stacks: with the patch above the base, every stack shows what it showed with the target.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use proptest::prelude::*;
use umiak_testkit::random::{Bytes, Chance, mutated, tree};
use umiak_tree::{Content, Kind, OverlayOptions, PatchError, Tree, apply, changeset, difference, patch};

/// Layers: what is below, merged; the base and the target of a patch above it; a layer above both.
struct Stack {
    below: Tree<Bytes>,
    base: Tree<Bytes>,
    target: Tree<Bytes>,
    above: Tree<Bytes>,
}

fn layer(chance: &mut Chance, below: &Tree<Bytes>, changes: usize) -> Tree<Bytes> {
    let shown = mutated(chance, below, changes).unwrap();
    changeset(below, &shown, OverlayOptions::default()).unwrap().tree
}

fn stack(seed: u64, size: usize, changes: usize) -> Stack {
    let mut chance = Chance::new(seed);
    let below = tree(&mut chance, size).unwrap();
    let base = layer(&mut chance, &below, changes);
    let target = if chance.once_in(3) {
        layer(&mut chance, &below, changes)
    } else {
        // As releases are: mostly what the base is.
        let shown = mutated(&mut chance, &apply(&below, &base).unwrap(), changes).unwrap();
        changeset(&below, &shown, OverlayOptions::default()).unwrap().tree
    };
    let above = layer(&mut chance, &apply(&below, &target).unwrap(), changes);
    Stack { below, base, target, above }
}

fn mounted(layers: &[&Tree<Bytes>]) -> Tree<Bytes> {
    let bottom = layers[0].clone();
    layers[1..].iter().fold(bottom, |below, above| apply(&below, above).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_patch_above_its_base_shows_the_target(seed: u64, size in 0_usize..50, changes in 0_usize..12) {
        let Stack { below, base, target, above } = stack(seed, size, changes);
        match patch(below.clone(), base.clone(), target.clone()) {
            Ok(patch) => {
                let shown = mounted(&[&below, &base, &patch.tree]);
                prop_assert_eq!(difference(&shown, &mounted(&[&below, &target])), None);
                let shown = mounted(&[&below, &base, &patch.tree, &above]);
                prop_assert_eq!(difference(&shown, &mounted(&[&below, &target, &above])), None);
                let has = |digest| target.inodes().any(|(_, inode)| matches!(&inode.kind, Kind::File(file) if file.digest() == digest));
                for (_, inode) in patch.tree.inodes() {
                    if let Kind::File(file) = &inode.kind {
                        prop_assert!(has(file.digest()));
                    }
                }
            }
            Err(PatchError::Below(path)) => {
                // The target leaves this file to the layers below, and the base does not.
                let shown = mounted(&[&below, &target]);
                let id = shown.lookup(&path).unwrap();
                let lower = below.lookup(&path).or_else(|| below.inodes().find(|(_, inode)| *inode == shown.inode(id)).map(|(id, _)| id));
                prop_assert!(lower.is_some(), "{}", path);
            }
            Err(error) => prop_assert!(false, "{}", error),
        }
    }

    #[test]
    fn a_layer_above_itself_needs_nothing(seed: u64, size in 0_usize..50, changes in 0_usize..12) {
        let Stack { below, base, .. } = stack(seed, size, changes);
        prop_assert!(patch(below, base.clone(), base).unwrap().tree.is_empty());
    }
}

#[test]
fn most_replaced_layers_have_a_patch() {
    let patched = (0..300).filter(|seed| {
        let Stack { below, base, target, .. } = stack(*seed, 40, 6);
        patch(below, base, target).is_ok()
    });
    let patched = patched.count();
    assert!(patched > 150 && patched < 300, "{patched} of 300");
}
