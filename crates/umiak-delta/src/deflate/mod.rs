//! Deflate streams inside files: opened on both sides so that what changed is seen, and closed again to the bit.
//!
//! A changed byte changes all of a compressed stream behind it. So streams of gzip members, zip entries, PNG pictures and zlib are
//! replaced by what they hold, in place, the delta is taken between the opened files, and the target is compressed again as it is
//! made, by the very encoder that made it: GNU gzip's or zlib's, with the level and settings found by trying. A stream that
//! neither makes, and one that is in the base as it is, stays closed. The format is docs/formats/delta-deflate.md.
//!
//! Not done here: matching, and streams inside of streams.

#[cfg(test)]
mod archives;
mod bits;
mod block;
mod check;
mod codes;
mod directory;
mod encoder;
mod first;
mod huffman;
mod identify;
mod inflate;
#[cfg(test)]
mod laws;
mod layout;
mod pieces;
mod recipe;
mod run;
mod scan;
mod window;

use std::collections::{HashMap, HashSet};
use std::io;

pub use encoder::{Encoder, Family, Strategy};
pub use layout::Layout;
pub use recipe::Recipe;

use identify::Identify;
use run::{Form, Gather};
use scan::Found;

/// Most bytes that a file is opened to; a delta that asks for more is refused.
pub const MAX_OPENED: u64 = 1 << 30;

/// Opening or closing a file failed.
#[derive(Debug, thiserror::Error)]
pub enum DeflateError {
    /// A recipe or layout breaks its own format.
    #[error("the notes on compressed streams are malformed: {0}")]
    Malformed(&'static str),
    /// The streams are not where the notes say, or not what they say.
    #[error("a compressed stream is not what the delta says: {0}")]
    Stream(&'static str),
    /// Reading or writing.
    #[error("cannot read or write while a compressed stream is opened or closed")]
    Io(#[from] io::Error),
}

/// Two files, opened.
#[derive(Debug)]
pub struct Opening {
    /// How the target is closed.
    pub recipe: Recipe,
    /// How the base is opened.
    pub layout: Layout,
    /// The base, opened.
    pub base: Vec<u8>,
    /// The target, opened.
    pub target: Vec<u8>,
    /// Bytes of the target's opened streams, compressed.
    pub packed: u64,
}

/// Whether a file that begins so is likely to be one big stream or archive.
#[must_use]
pub fn may_open(begin: [u8; 4]) -> bool {
    begin.starts_with(&[0x1F, 0x8B]) || [*b"PK\x03\x04", *b"\x89PNG"].contains(&begin)
}

/// About how many bytes an archive of `size` opens to, rather too many.
#[must_use]
pub fn size_guess(size: u64) -> u64 {
    size.saturating_add(size.saturating_mul(4).min(64 << 20))
}

/// Opens both files, where the streams of each that the other does not have hold at most `limit` bytes; `None` when there is no
/// stream worth it.
#[must_use]
pub fn open(base: &[u8], target: &[u8], limit: u64) -> Option<Opening> {
    let base_found = scan::scan(base);
    let target_found = scan::scan(target);
    let base_packed: HashSet<&[u8]> = base_found.iter().map(|found| found.region(base)).collect();
    let target_own = own(&target_found, limit, |found| base_packed.contains(found.region(target)));
    // A stream that the base has more often than the target may be what a changed one came from.
    let mut kept: HashMap<&[u8], usize> = HashMap::new();
    target_found.iter().for_each(|found| *kept.entry(found.region(target)).or_default() += 1);
    let base_own = own(&base_found, limit, |found| {
        let left = kept.get_mut(found.region(base)).filter(|left| **left > 0);
        left.map(|left| *left -= 1).is_some()
    });
    let mut packed = 0;
    let mut identify = Identify::new(target_own.iter().map(|found| found.opened).sum());
    let mut runs = Gather::default();
    for found in target_own {
        if found.form == Form::Directory {
            runs.push(found, None);
        } else if let Some(encoder) = identify.encoder(found, target) {
            runs.push(found, Some(encoder));
            packed += found.region(target).len() as u64;
        }
    }
    let (runs, tail) = runs.finish(target.len());
    let recipe = Recipe::new(runs, tail);
    let mut runs = Gather::default();
    base_own.iter().for_each(|found| runs.push(found, None));
    let layout = Layout::new(runs.finish(base.len()).0);
    if recipe.opened() > MAX_OPENED || !recipe.opens() && !layout.opens() {
        return None;
    }
    let target = recipe.open(target).ok()?;
    let mut opened = Vec::new();
    layout.unwrap(&base, base.len() as u64, &mut opened).ok()?;
    Some(Opening { recipe, layout, base: opened, target, packed })
}

/// The streams that are not `shared`, as many as hold at most `limit` bytes together.
fn own(found: &[Found], limit: u64, mut shared: impl FnMut(&Found) -> bool) -> Vec<&Found> {
    let mut left = limit.min(MAX_OPENED);
    let fits = |found: &&Found| {
        let fits = !shared(found) && found.opened <= left;
        left -= if fits { found.opened } else { 0 };
        fits
    };
    found.iter().filter(fits).collect()
}
