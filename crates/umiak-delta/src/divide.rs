//! Large contents are divided, so that matching needs no more memory for a disk image than for a large program.
//!
//! Where a content is cut depends on its bytes, not on how far they are from its beginning: what is inserted moves the cuts behind it along.
//! Base and target are divided by the same rule, which is in `docs/formats/delta-containers.md`.

use std::io;
use std::sync::{Arc, LazyLock};

use umiak_spec::{Digest, Observer, ReadAt, Sha256, Stretch};

use crate::container::{Container, Part, Parts, Shape};

/// How contents are divided.
#[derive(Clone, Copy)]
struct Rule {
    /// Contents up to this many bytes stay whole.
    whole: u64,
    /// No cut comes before this many bytes.
    least: u64,
    /// A cut comes after this many bytes at the latest.
    most: u64,
    /// Bits of the rolling hash that must be zero where a cut is.
    zeros: u32,
}

/// What the format says; one place of 64 Mi is a cut.
const RULE: Rule = Rule { whole: 224 << 20, least: 8 << 20, most: 128 << 20, zeros: 26 };

/// Cuts are at multiples of it, so that padding stays as it is.
const GRAIN: u64 = 512;

/// What the rolling hash adds for each byte.
static GEAR: LazyLock<[u64; 256]> = LazyLock::new(|| {
    std::array::from_fn(|byte| {
        let digest = Digest::of(&[u8::try_from(byte).unwrap_or(u8::MAX)]);
        digest.as_bytes().iter().take(8).rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
    })
});

/// A content, and where it begins in the bytes that it is read from.
pub struct Placed {
    /// First byte.
    pub offset: u64,
    /// What it is.
    pub part: Part,
}

/// Divides those of `contents`, which are read from `bytes`, that are too large to be matched whole.
///
/// # Errors
/// `bytes` cannot be read, or the observer cancels.
pub fn divide(contents: Vec<Placed>, bytes: &dyn ReadAt, observer: &dyn Observer) -> io::Result<Vec<Placed>> {
    by_rule(RULE, contents, bytes, observer)
}

fn by_rule(rule: Rule, contents: Vec<Placed>, bytes: &dyn ReadAt, observer: &dyn Observer) -> io::Result<Vec<Placed>> {
    let mut divided = Vec::new();
    for content in contents {
        if content.part.size <= rule.whole {
            divided.push(content);
        } else {
            pieces(rule, &content, bytes, observer, &mut divided)?;
        }
    }
    Ok(divided)
}

/// A file as it is: one content, or several if it is large.
pub struct Divided<R> {
    bytes: R,
    /// Where each content begins.
    offsets: Vec<u64>,
    parts: Parts,
}

impl<R: ReadAt> Divided<R> {
    /// `bytes`, which have this digest; a large file is read once to see where it is divided.
    ///
    /// # Errors
    /// `bytes` cannot be read, or the observer cancels.
    pub fn new(bytes: R, name: &[u8], digest: Digest, observer: &dyn Observer) -> io::Result<Self> {
        let size = bytes.len()?;
        let part = Part { name: name.to_vec(), size, digest, spacing: 1 };
        let contents = if size > 0 { vec![Placed { offset: 0, part }] } else { Vec::new() };
        let divided = divide(contents, &bytes, observer)?;
        let (offsets, contents) = divided.into_iter().map(|content| (content.offset, content.part)).unzip();
        let parts = Parts { shape: Shape::Raw, size, digest, skeleton: 0, contents };
        Ok(Self { bytes, offsets, parts })
    }
}

impl<R: ReadAt> Container for Divided<R> {
    fn parts(&self) -> &Parts {
        &self.parts
    }

    fn skeleton(&self) -> io::Result<Arc<dyn ReadAt + '_>> {
        Ok(Arc::new(&[] as &'static [u8]))
    }

    fn content(&self, number: usize) -> io::Result<Arc<dyn ReadAt + '_>> {
        let place = self.offsets.get(number).zip(self.parts.contents.get(number));
        let (offset, part) = place.ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(Stretch { bytes: &self.bytes, offset: *offset, size: part.size }))
    }
}

/// The pieces of one content. Skeleton stays before the first, padding behind the last.
fn pieces(
    rule: Rule,
    content: &Placed,
    bytes: &dyn ReadAt,
    observer: &dyn Observer,
    out: &mut Vec<Placed>,
) -> io::Result<()> {
    let (mut start, mut spacing) = (0, content.part.spacing | 1);
    let mut cutter = Cutter::new(rule);
    let mut buffer = vec![0; 256 << 10];
    let mut at = 0;
    while at < content.part.size {
        observer.check()?;
        let length = usize::try_from(content.part.size - at).unwrap_or(usize::MAX).min(buffer.len());
        bytes.read_exact_at(&mut buffer[..length], content.offset + at)?;
        let mut rest = &buffer[..length];
        while !rest.is_empty() {
            let (taken, cut) = cutter.take(rest);
            rest = &rest[taken..];
            at += taken as u64;
            if cut || at == content.part.size {
                if at == content.part.size && content.part.spacing & 1 == 0 {
                    spacing &= !1;
                }
                let digest = std::mem::replace(&mut cutter, Cutter::new(rule)).hash.finish();
                // Pieces go together by what they hold: a number in the name would pair those of one rank.
                let name = [content.part.name.as_slice(), b"#", digest.short().as_bytes()].concat();
                let part = Part { name, size: at - start, digest, spacing };
                out.push(Placed { offset: content.offset + start, part });
                (start, spacing) = (at, 1);
            }
        }
    }
    Ok(())
}

/// Looks for the next cut.
struct Cutter {
    rule: Rule,
    hash: Sha256,
    rolling: u64,
    size: u64,
    /// A cut was found, and waits for the next multiple of [`GRAIN`].
    found: bool,
}

impl Cutter {
    fn new(rule: Rule) -> Self {
        Self { rule, hash: Sha256::new(), rolling: 0, size: 0, found: false }
    }

    /// How many of `bytes` belong to the piece, and whether it ends with them.
    fn take(&mut self, bytes: &[u8]) -> (usize, bool) {
        let mut taken = bytes.len();
        let mut cut = false;
        for (at, byte) in bytes.iter().enumerate() {
            self.rolling = (self.rolling << 1).wrapping_add(GEAR[usize::from(*byte)]);
            self.size += 1;
            self.found |= self.size >= self.rule.least && self.rolling >> (64 - self.rule.zeros) == 0;
            if self.size.is_multiple_of(GRAIN) && (self.found || self.size >= self.rule.most) {
                (taken, cut) = (at + 1, true);
                break;
            }
        }
        self.hash.update(&bytes[..taken]);
        (taken, cut)
    }
}

#[cfg(test)]
mod tests {
    use umiak_spec::Silent;

    use super::*;

    fn content(bytes: &[u8], spacing: u64) -> Vec<Placed> {
        let (size, digest) = (bytes.len() as u64, Digest::of(bytes));
        vec![Placed { offset: 0, part: Part { name: b"disk".to_vec(), size, digest, spacing } }]
    }

    fn noise(size: usize, mut seed: u64) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(size);
        while bytes.len() < size {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            bytes.extend_from_slice(&(seed >> 16).to_le_bytes()[..4]);
        }
        bytes
    }

    #[test]
    fn what_is_inserted_moves_the_cuts_along() {
        let rule = Rule { whole: 500_000, least: 20 << 10, most: 200 << 10, zeros: 16 };
        let base = noise(900_100, 5);
        let mut target = base.clone();
        target.splice(1000..1000, *b"seven kilobytes no, some bytes more");
        let divided = |bytes: &[u8]| by_rule(rule, content(bytes, 1024), &bytes.to_vec(), &Silent).unwrap();
        let (base_parts, target_parts) = (divided(&base), divided(&target));
        assert_eq!(base_parts.len(), target_parts.len());
        assert!(base_parts.len() > 2, "{}", base_parts.len());
        for (base, target) in base_parts.iter().zip(&target_parts) {
            assert!(base.offset.abs_diff(target.offset) <= 1024, "{} {}", base.offset, target.offset);
            assert!(base.part.size <= rule.most);
        }
        // Skeleton comes before the first piece, padding behind the last.
        let spacings: Vec<u64> = base_parts.iter().map(|placed| placed.part.spacing).collect();
        assert_eq!((spacings[0], spacings[1], spacings[spacings.len() - 1]), (1025, 1, 0));
        let mut end = 0;
        for placed in &base_parts {
            assert_eq!(placed.offset, end);
            end += placed.part.size;
            let from = usize::try_from(placed.offset).unwrap();
            let size = usize::try_from(placed.part.size).unwrap();
            assert_eq!(placed.part.digest, Digest::of(&base[from..from + size]));
        }
        assert_eq!(end, base.len() as u64);
    }

    #[test]
    fn what_is_not_large_stays_whole() {
        let bytes = noise(100_000, 7);
        let whole = divide(content(&bytes, 6), &bytes, &Silent).unwrap();
        assert_eq!((whole.len(), whole[0].part.spacing), (1, 6));
    }
}
