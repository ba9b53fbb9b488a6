//! Generations: a number in a signature's header that counts releases, so that an older one is told from a newer one.
//!
//! It counts for what the signature is over, not for the name that the signature has in the state: whoever has an old
//! package may call its signature what he likes. What is counted is a part: `maps` for `maps/run.json`, `_config/maps` for
//! `_config/maps/etc/x`, a file at the top for itself; `#spec` is the same in all releases of everybody and has no age,
//! and signatures have none but their own.
//!
//! ```text
//! of a key:   the highest generation that enough of its signers do not contradict (`voices`): as many as have to sign
//! of a part:  the lowest of its keys, for a part is as old as the oldest thing in it
//! ```
//!
//! Guarantee: nothing of a part that was accepted with a generation is accepted with a lower one or with none, unless its
//! signature is in what runs now already. What this does not do: count files that nobody signed.

use std::collections::BTreeMap;

use super::SIGNATURES;

/// What every state has.
const SPEC: &str = "#spec";
/// Where files that are laid over containers are.
const CONFIG: &str = "_config/";

/// How old the signed keys of a state are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Ages(BTreeMap<String, Age>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Age {
    generation: Option<u64>,
    /// Its signature is in what runs.
    stands: bool,
}

impl Ages {
    /// Takes a signed key in.
    pub(super) fn add(&mut self, key: &str, generation: Option<u64>, stands: bool) {
        if key != SPEC && !key.starts_with(SIGNATURES) {
            self.0.insert(key.to_owned(), Age { generation, stands });
        }
    }

    /// What is accepted with them: the generation of each part, where it has one.
    pub(crate) fn accepted(&self) -> BTreeMap<String, u64> {
        let parts = parts(self.0.iter());
        parts.into_iter().filter_map(|(part, generation)| Some((part.to_owned(), generation?))).collect()
    }

    /// The parts that are older than what was accepted before, each with its generation and with the one before.
    pub(crate) fn older(&self, accepted: &BTreeMap<String, u64>) -> Vec<(String, Option<u64>, u64)> {
        let parts = parts(self.0.iter().filter(|(_, age)| !age.stands));
        let older = |(part, found): (&str, Option<u64>)| {
            let before = *accepted.get(part)?;
            (found < Some(before)).then(|| (part.to_owned(), found, before))
        };
        parts.into_iter().filter_map(older).collect()
    }
}

fn parts<'a>(keys: impl Iterator<Item = (&'a String, &'a Age)>) -> BTreeMap<&'a str, Option<u64>> {
    let mut parts = BTreeMap::new();
    for (key, age) in keys {
        let lowest = parts.entry(part(key)).or_insert(age.generation);
        *lowest = (*lowest).min(age.generation);
    }
    parts
}

/// The part that a key belongs to.
fn part(key: &str) -> &str {
    let from = if key.starts_with(CONFIG) { CONFIG.len() } else { 0 };
    key[from..].find('/').map_or(key, |at| &key[..from + at])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ages(signatures: &[(&[&str], Option<u64>, bool)]) -> Ages {
        let mut ages = Ages::default();
        for (keys, generation, stands) in signatures {
            keys.iter().for_each(|key| ages.add(key, *generation, *stands));
        }
        ages
    }

    fn before(parts: &[(&str, u64)]) -> BTreeMap<String, u64> {
        parts.iter().map(|(part, generation)| ((*part).to_owned(), *generation)).collect()
    }

    #[test]
    fn parts_are_what_lies_together() {
        for (key, of) in [
            ("maps/run.json", "maps"),
            ("maps/a/b", "maps"),
            ("_config/maps/etc/x", "_config/maps"),
            ("_config/x", "_config/x"),
            ("device.json", "device.json"),
        ] {
            assert_eq!(part(key), of);
        }
    }

    #[test]
    fn a_part_is_as_old_as_the_oldest_thing_in_it() {
        let all: &[&str] = &["#spec", "maps/run.json", "maps/root"];
        let one = ages(&[(all, Some(7), false)]);
        assert_eq!(one.accepted(), before(&[("maps", 7)]), "what every state has does not count");
        assert_eq!(one.older(&before(&[("maps", 7), ("web", 9)])), []);
        assert_eq!(one.older(&before(&[("maps", 8)])), [("maps".to_owned(), Some(7), 8)]);
        let mixed = ages(&[(&["maps/run.json"], Some(9), false), (&["maps/root"], Some(5), false)]);
        assert_eq!(mixed.accepted(), before(&[("maps", 5)]));
        assert_eq!(mixed.older(&before(&[("maps", 9)])).len(), 1, "a new list beside old contents");
        let signatures = ages(&[(&["_sigs/maps.json"], Some(2), false)]);
        assert_eq!(signatures.accepted(), before(&[]), "those of different makers lie in one directory");
        let none = ages(&[(all, None, false)]);
        assert_eq!(none.accepted(), before(&[]));
        assert_eq!(none.older(&before(&[("maps", 1)])), [("maps".to_owned(), None, 1)], "and none is the oldest");
    }

    #[test]
    fn what_runs_is_not_too_old_for_itself() {
        let runs = ages(&[(&["maps/root"], Some(7), true), (&["web/root"], Some(3), false)]);
        assert_eq!(runs.older(&before(&[("maps", 8), ("web", 3)])), []);
        assert_eq!(runs.older(&before(&[("maps", 8), ("web", 4)])).len(), 1);
    }
}
