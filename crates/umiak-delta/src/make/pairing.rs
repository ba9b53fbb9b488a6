//! Which source each content of the target is made from.
//!
//! Equal content first, from the place that continues the run; then candidates for a patch: the same path, the path
//! without its digits, the most alike, the same base name.

use std::collections::HashMap;

use umiak_spec::{Digest, Observer};

use super::sketch::{Sketches, sketch};
use crate::DeltaError;
use crate::container::{Bases, Container};
use crate::piece::read_all;

/// What can be said of a content before any bytes are matched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pair {
    /// It is this source.
    Equal(usize),
    /// It is the earlier content of the target.
    Again(usize),
    /// It may be like these sources; the first is the best guess.
    Like(Vec<usize>),
}

/// Pairs every content of `target`.
///
/// # Errors
/// A container cannot be read; cancelled.
pub fn pair(bases: &Bases<'_>, target: &dyn Container, observer: &dyn Observer) -> Result<Vec<Pair>, DeltaError> {
    let names = Names::new(bases);
    let mut seen: HashMap<Digest, usize> = HashMap::new();
    let mut pairs = Vec::new();
    let mut expected = 1;
    for (number, part) in target.parts().contents.iter().enumerate() {
        let pair = if let Some(source) = names.equal(bases, &part.digest, &part.name, expected) {
            expected = source + 1;
            Pair::Equal(source)
        } else if let Some(earlier) = seen.get(&part.digest) {
            Pair::Again(*earlier)
        } else {
            seen.insert(part.digest, number);
            let like = names.like(&part.name);
            expected = like.first().map_or(expected, |source| source + 1);
            Pair::Like(like)
        };
        pairs.push(pair);
    }
    find_alike(bases, target, &mut pairs, &names, observer)?;
    Ok(pairs)
}

/// Sources by what they are called and what they hold.
struct Names<'a> {
    digests: HashMap<Digest, Vec<usize>>,
    paths: HashMap<&'a [u8], usize>,
    stripped: HashMap<Vec<u8>, usize>,
    last: HashMap<&'a [u8], usize>,
}

impl<'a> Names<'a> {
    /// Of sources with one path the last counts: it is in the upper layer.
    fn new(bases: &Bases<'a>) -> Self {
        let mut names =
            Self { digests: HashMap::new(), paths: HashMap::new(), stripped: HashMap::new(), last: HashMap::new() };
        for number in 1..bases.count() {
            let Some(part) = bases.part(number) else { continue };
            names.digests.entry(part.digest).or_default().push(number);
            names.paths.insert(&part.name, number);
            names.stripped.insert(without_digits(&part.name), number);
            names.last.insert(base_name(&part.name), number);
        }
        names
    }

    /// A source with this content: the one that follows the last used, or of this path, or the nearest.
    fn equal(&self, bases: &Bases<'_>, digest: &Digest, name: &[u8], expected: usize) -> Option<usize> {
        let numbers = self.digests.get(digest)?;
        if numbers.contains(&expected) {
            return Some(expected);
        }
        let named = numbers.iter().find(|number| bases.part(**number).is_some_and(|part| part.name == name));
        named.or_else(|| numbers.iter().min_by_key(|number| number.abs_diff(expected))).copied()
    }

    /// By name only.
    fn like(&self, name: &[u8]) -> Vec<usize> {
        let path = self.paths.get(name).or_else(|| self.stripped.get(&without_digits(name)));
        path.into_iter().copied().collect()
    }
}

fn without_digits(name: &[u8]) -> Vec<u8> {
    name.iter().copied().filter(|byte| !byte.is_ascii_digit()).collect()
}

fn base_name(name: &[u8]) -> &[u8] {
    name.rsplit(|byte| *byte == b'/').next().unwrap_or(name)
}

/// For contents that no path leads to: the most alike source, then one of the same base name.
fn find_alike(
    bases: &Bases<'_>,
    target: &dyn Container,
    pairs: &mut [Pair],
    names: &Names<'_>,
    observer: &dyn Observer,
) -> Result<(), DeltaError> {
    let lonely = |pair: &Pair| matches!(pair, Pair::Like(like) if like.is_empty());
    if !pairs.iter().any(lonely) || bases.count() <= 1 {
        return Ok(());
    }
    let mut sketches = Sketches::default();
    for (digest, numbers) in sorted(&names.digests) {
        observer.check()?;
        let Some(number) = numbers.first() else { continue };
        let (bytes, size) = bases.open(*number)?;
        let _ = digest;
        sketches.add(u32::try_from(*number).unwrap_or(u32::MAX), &sketch(&read_all(&bytes, size.min(MOST))?));
    }
    for (number, pair) in pairs.iter_mut().enumerate() {
        observer.check()?;
        if !lonely(pair) {
            continue;
        }
        let Some(part) = target.parts().contents.get(number) else { continue };
        let bytes = read_all(&target.content(number)?, part.size.min(MOST))?;
        let alike = sketches.most_alike(&sketch(&bytes)).map(|number| number as usize);
        let named = names.last.get(base_name(&part.name)).copied();
        let mut like: Vec<usize> = alike.into_iter().chain(named).collect();
        like.dedup();
        *pair = Pair::Like(like);
    }
    Ok(())
}

/// Bytes of a file that its sketch is made of.
const MOST: u64 = 64 << 20;

/// In the order of the sources, so that hashing by chance decides nothing.
fn sorted(digests: &HashMap<Digest, Vec<usize>>) -> Vec<(&Digest, &Vec<usize>)> {
    let mut all: Vec<_> = digests.iter().collect();
    all.sort_unstable_by_key(|(_, numbers)| numbers.first().copied());
    all
}
