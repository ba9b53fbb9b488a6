//! The choices that a planner goes through, in an order that does not depend on how much room there is.
//!
//! Because the order is fixed and the first choice that fits wins, more room never makes an update fit less. First comes
//! what is fetched least; of equals, what takes nothing away from the device; of equals, what fetches everything at once;
//! of equals, what takes least room in the end.

use std::collections::{BTreeMap, BTreeSet};

use umiak_spec::Digest;

use super::forms;
use super::objects::Objects;
use super::scene::{Part, Scene};

/// Of so many parts every set is tried; of more, those that leave out few or many.
const EVERY_SET: usize = 6;
/// Parts that are looked at: those that save most.
const PARTS: usize = 32;

/// What goes before anything is fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reclaim {
    /// Nothing.
    Nothing,
    /// What belongs to no app: rests of earlier updates.
    Leftovers,
    /// Also apps that neither run nor are kept.
    Obsolete,
}

/// When layers are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Pace {
    /// When everything was fetched.
    Together,
    /// Each when it was fetched, so that only one blob lies there at a time.
    OneByOne,
}

/// Which layers are kept as patches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Patches {
    /// None.
    None,
    /// Those of which somebody told what they take.
    Known,
    /// Also those of a layer that is itself a patch: above what that lies above, where what it takes at most is little.
    Deep,
}

/// What is chosen.
#[derive(Debug, Clone)]
pub(super) struct Choice<'a> {
    /// Parts of deltas that are used.
    pub parts: Vec<Part<'a>>,
    /// Which layers are kept as patches.
    pub patches: Patches,
    /// How objects come.
    pub objects: Objects,
    pub reclaim: Reclaim,
    pub pace: Pace,
}

/// All choices, in groups: a later group is looked at only when nothing of those before it fits; inside one, what takes
/// least room in the end is best.
pub(super) fn groups<'a>(scene: &Scene<'a>) -> Vec<Vec<Choice<'a>>> {
    let mut by_download: BTreeMap<u64, Vec<Vec<Part<'a>>>> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for set in sets(scene) {
        let picked = scene.pick(&set);
        let names: Vec<(Digest, Digest)> = picked.iter().map(|part| (part.delta.digest, part.part.blob)).collect();
        if seen.insert(names) {
            by_download.entry(scene.download(&picked)).or_default().push(picked);
        }
    }
    let known: &[Patches] =
        if scene.wanted.patches.is_empty() { &[Patches::None] } else { &[Patches::Known, Patches::None] };
    let deep = scene.layers.values().any(|missing| forms::deep(scene, missing).is_some());
    // What is only known to take no more than so much is for where nothing else fits.
    let all: &[&[Patches]] = if deep { &[known, &[Patches::Deep]] } else { &[known] };
    let mut groups = Vec::new();
    for sets in by_download.into_values() {
        for (objects, patches, reclaim, pace) in orders(Objects::all(scene), all) {
            let choice =
                |parts: &Vec<Part<'a>>, patches| Choice { parts: parts.clone(), patches, objects, reclaim, pace };
            let of = |parts| patches.iter().map(move |patches| choice(parts, *patches));
            groups.push(sets.iter().flat_map(of).collect());
        }
    }
    groups
}

/// All that is looked at with one set of parts, what costs least pain first.
fn orders<'p>(objects: &[Objects], patches: &[&'p [Patches]]) -> Vec<(Objects, &'p [Patches], Reclaim, Pace)> {
    let mut orders = Vec::new();
    for objects in objects {
        for patches in patches {
            for reclaim in [Reclaim::Nothing, Reclaim::Leftovers, Reclaim::Obsolete] {
                orders.extend([Pace::Together, Pace::OneByOne].map(|pace| (*objects, *patches, reclaim, pace)));
            }
        }
    }
    orders
}

/// Sets of parts that may be used.
fn sets<'a>(scene: &Scene<'a>) -> Vec<Vec<Part<'a>>> {
    let mut parts = scene.usable();
    parts.truncate(PARTS);
    if parts.len() <= EVERY_SET {
        let set = |mask: usize| {
            let in_it = |(bit, part): (usize, &Part<'a>)| (mask >> bit & 1 == 0).then_some(*part);
            parts.iter().enumerate().filter_map(in_it).collect()
        };
        return (0..1_usize << parts.len()).map(set).collect();
    }
    let mut sets: Vec<Vec<Part<'a>>> = (0..=parts.len()).map(|count| parts[..count].to_vec()).collect();
    for left_out in 0..parts.len() {
        sets.push(parts.iter().enumerate().filter(|(index, _)| *index != left_out).map(|(_, part)| *part).collect());
    }
    let mut heavy = parts;
    heavy.sort_by_key(|part| part.part.spool.unwrap_or(u64::MAX).saturating_add(part.part.size));
    sets.extend((0..heavy.len()).map(|count| heavy[..count].to_vec()));
    sets
}
