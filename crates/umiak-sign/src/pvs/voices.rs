//! Who speaks for the files of a state: for each key the signatures that are over it, and those that leave it out by name.
//!
//! A signer is a name of the policy and a key at once. An authority is one signer, however many of its certificates sign; a key is
//! one signer, whatever authorities vouch for it.
//!
//! Guarantee: signers are counted by file. A signature that was carried here from elsewhere counts for what it is over, and
//! makes nothing else better signed. What this does not do: verify; only signatures that hold are to be added.

use std::collections::{BTreeMap, BTreeSet};

use umiak_spec::Digest;

use super::generation::Ages;
use super::selection::Selected;
use crate::MAX_SIGNATURES;

/// A signature that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Voice {
    /// The policy's name for who made it.
    pub signer: String,
    /// What tells the key from others.
    pub key: Digest,
    /// The generation in its header.
    pub generation: Option<u64>,
    /// It is in what runs.
    pub stands: bool,
}

/// Signatures, by their places in the list: a bit for each.
type Set = u64;

const _: () = assert!(MAX_SIGNATURES <= Set::BITS as usize);

/// What signatures say of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Said {
    signed: Set,
    left: Set,
}

/// Who speaks for what of a state.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Voices {
    voices: Vec<Voice>,
    keys: BTreeMap<String, Said>,
}

impl Voices {
    /// Takes a signature in, with what it selects; those beyond [`MAX_SIGNATURES`] say nothing.
    pub(super) fn add(&mut self, voice: Voice, selected: &Selected<'_>) {
        if self.voices.len() == MAX_SIGNATURES {
            return;
        }
        let own = 1 << self.voices.len();
        self.voices.push(voice);
        for key in &selected.protected {
            self.keys.entry((*key).to_owned()).or_default().signed |= own;
        }
        for key in &selected.excluded {
            self.keys.entry((*key).to_owned()).or_default().left |= own;
        }
    }

    /// Whether somebody signed this key.
    pub(super) fn signed(&self, key: &str) -> bool {
        self.keys.get(key).is_some_and(|said| said.signed != 0)
    }

    /// Whether somebody signed this key, or left it out by name.
    pub(crate) fn speak_for(&self, key: &str) -> bool {
        self.keys.contains_key(key)
    }

    /// How many signers there are.
    pub(crate) fn signers(&self) -> usize {
        signers(&self.voices.iter().collect::<Vec<_>>())
    }

    /// Those of `keys` that fewer than `enough` signers speak for: the least number that there is, and the keys with it.
    pub(crate) fn fewest<'k>(
        &self,
        keys: impl Iterator<Item = &'k str>,
        enough: usize,
    ) -> Option<(usize, Vec<&'k str>)> {
        let mut counted = BTreeMap::new();
        let mut fewest: Option<(usize, Vec<&str>)> = None;
        for key in keys {
            let Said { signed, left } = self.keys.get(key).copied().unwrap_or_default();
            let count = *counted.entry(signed | left).or_insert_with(|| signers(&self.of(signed | left)));
            match &mut fewest {
                _ if count >= enough => {}
                Some((least, _)) if *least < count => {}
                Some((least, keys)) if *least == count => keys.push(key),
                _ => fewest = Some((count, vec![key])),
            }
        }
        fewest
    }

    /// How old the signed keys are: of each the highest generation that `agree` of its signers do not contradict.
    pub(crate) fn ages(&self, agree: usize) -> Ages {
        let mut counted = BTreeMap::new();
        let mut ages = Ages::default();
        for (key, said) in self.keys.iter().filter(|(_, said)| said.signed != 0) {
            let (generation, stands) = *counted.entry(said.signed).or_insert_with(|| {
                let voices = self.of(said.signed);
                (agreed(&voices, agree), voices.iter().any(|voice| voice.stands))
            });
            ages.add(key, generation, stands);
        }
        ages
    }

    fn of(&self, set: Set) -> Vec<&Voice> {
        self.voices.iter().enumerate().filter(|(at, _)| set >> at & 1 == 1).map(|(_, voice)| voice).collect()
    }
}

/// The highest generation that so many signers do not contradict: they say it, or a higher one, or none at all. Where they are
/// fewer, all of them.
fn agreed(voices: &[&Voice], agree: usize) -> Option<u64> {
    let agree = agree.min(signers(voices));
    let mut said: Vec<u64> = voices.iter().filter_map(|voice| voice.generation).collect();
    said.sort_unstable_by(|one, other| other.cmp(one));
    said.into_iter().find(|generation| {
        let agrees = |voice: &&&Voice| voice.generation.is_none_or(|own| own >= *generation);
        signers(&voices.iter().filter(agrees).copied().collect::<Vec<_>>()) >= agree
    })
}

/// How many of these signatures there are, at most, of which no two have the name or the key in common: the size of a maximum
/// matching of names and keys (Kuhn's algorithm).
fn signers(voices: &[&Voice]) -> usize {
    let mut keys: BTreeMap<&str, BTreeSet<Digest>> = BTreeMap::new();
    for voice in voices {
        keys.entry(&voice.signer).or_default().insert(voice.key);
    }
    let mut taken = BTreeMap::new();
    keys.keys().filter(|name| places(name, &keys, &mut taken, &mut BTreeSet::new())).count()
}

/// Finds a key for a name that nobody has, or whose holder can take another one. No deeper than there are names.
fn places<'v>(
    name: &'v str,
    keys: &BTreeMap<&'v str, BTreeSet<Digest>>,
    taken: &mut BTreeMap<Digest, &'v str>,
    asked: &mut BTreeSet<Digest>,
) -> bool {
    keys.get(name).into_iter().flatten().any(|key| {
        let free = asked.insert(*key)
            && match taken.get(key).copied() {
                Some(holder) => places(holder, keys, taken, asked),
                None => true,
            };
        if free {
            taken.insert(*key, name);
        }
        free
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn voice(signer: &str, key: &str, generation: Option<u64>) -> Voice {
        Voice { signer: signer.to_owned(), key: Digest::of(key.as_bytes()), generation, stands: false }
    }

    fn count(pairs: &[(&str, &str)]) -> usize {
        let voices: Vec<Voice> = pairs.iter().map(|(signer, key)| voice(signer, key, None)).collect();
        signers(&voices.iter().collect::<Vec<_>>())
    }

    #[test]
    fn a_signer_is_a_name_and_a_key() {
        assert_eq!(count(&[]), 0);
        assert_eq!(count(&[("a", "1"), ("a", "1")]), 1, "twice the same");
        assert_eq!(count(&[("a", "1"), ("a", "2")]), 1, "two certificates of one authority");
        assert_eq!(count(&[("a", "1"), ("b", "1")]), 1, "one key, for which two authorities vouch");
        assert_eq!(count(&[("a", "1"), ("b", "2")]), 2);
        // The first name has to give its first key away.
        assert_eq!(count(&[("a", "1"), ("a", "2"), ("b", "1")]), 2);
        assert_eq!(count(&[("a", "1"), ("a", "2"), ("b", "3"), ("c", "3")]), 2, "three names and three keys");
        assert_eq!(count(&[("a", "1"), ("a", "2"), ("b", "2"), ("b", "3"), ("c", "1")]), 3);
    }

    fn voices(signatures: &[(Voice, &[&str], &[&str])]) -> Voices {
        let mut voices = Voices::default();
        for (voice, protected, excluded) in signatures {
            let selected =
                Selected { payload: String::new(), protected: protected.to_vec(), excluded: excluded.to_vec() };
            voices.add(voice.clone(), &selected);
        }
        voices
    }

    #[test]
    fn signers_are_counted_by_file() {
        let one = (voice("a", "1", None), &["evil/run.json", "#spec"][..], &["evil/src.json"][..]);
        let two = (voice("b", "2", None), &["#spec"][..], &["evil/src.json"][..]);
        let voices = voices(&[one, two]);
        assert_eq!(voices.signers(), 2);
        let all = || ["#spec", "evil/run.json", "evil/src.json", "nobody"].into_iter();
        assert_eq!(voices.fewest(all().take(3), 2), Some((1, vec!["evil/run.json"])));
        assert_eq!(voices.fewest(all(), 2), Some((0, vec!["nobody"])));
        assert_eq!(voices.fewest(all().take(3), 1), None);
        assert_eq!(voices.fewest(all().take(3), 3), Some((1, vec!["evil/run.json"])));
        assert!(voices.speak_for("evil/src.json") && !voices.signed("evil/src.json") && !voices.speak_for("nobody"));
    }

    #[test]
    fn a_generation_is_one_that_enough_signers_do_not_contradict() {
        let agreed = |signatures: &[(&str, Option<u64>)], agree| {
            let voices: Vec<Voice> =
                signatures.iter().map(|(signer, generation)| voice(signer, signer, *generation)).collect();
            agreed(&voices.iter().collect::<Vec<_>>(), agree)
        };
        assert_eq!(agreed(&[("a", Some(9)), ("b", Some(5))], 1), Some(9));
        assert_eq!(agreed(&[("a", Some(9)), ("b", Some(5))], 2), Some(5), "one of two cannot make a release newer");
        assert_eq!(agreed(&[("a", Some(9)), ("a", Some(8)), ("b", Some(5))], 2), Some(5));
        assert_eq!(agreed(&[("a", Some(9)), ("b", None)], 2), Some(9), "who counts nothing contradicts nobody");
        assert_eq!(agreed(&[("a", None), ("b", Some(5))], 2), Some(5), "nor takes back what others say");
        assert_eq!(agreed(&[("a", Some(9)), ("b", Some(7)), ("c", Some(5))], 2), Some(7));
        assert_eq!(agreed(&[("a", Some(9))], 2), Some(9), "where there are fewer, all of them");
        assert_eq!((agreed(&[("a", None)], 1), agreed(&[], 2)), (None, None));
    }
}
