//! Where the bytes of a delta go: what each content of the target takes of it.
//!
//! Contents share streams, and a stream is compressed as a whole. What a content takes of the blob is therefore its
//! share of each stream by decoded bytes: exact together, near the truth for each. It is found out by applying the
//! delta; nothing is verified but the frames, as always.

use umiak_spec::{Observer, ReadAt};

use crate::apply::{self, Scratch, Space};
use crate::container::Container;
use crate::plan::Origin;
use crate::streams::{Kind, Lane, StreamId};
use crate::{Delta, DeltaError};

/// One content of the target, and what it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// Where it comes from.
    pub origin: Origin,
    /// Bytes.
    pub size: u64,
    /// Its share of the delta in bytes; nothing for what the base has.
    pub packed: u64,
}

/// What the contents of the target take, in the target's order. `space` gets them and is of no use afterwards, but
/// that a tar is whole in it.
///
/// # Errors
/// As [`crate::apply()`].
pub fn costs(
    delta: &Delta<impl ReadAt>,
    bases: &[&dyn Container],
    space: &dyn Space,
    scratch: &dyn Scratch,
    observer: &dyn Observer,
) -> Result<Vec<Cost>, DeltaError> {
    let ids: Vec<StreamId> =
        Lane::ALL[1..].iter().flat_map(|lane| Kind::ALL.map(|kind| StreamId { lane: *lane, kind })).collect();
    let entry = |id: &StreamId| delta.index().streams.iter().find(|stream| stream.id == *id);
    let sizes: Vec<(u64, u64)> =
        ids.iter().map(|id| entry(id).map_or((0, 0), |entry| (entry.stored, entry.plain))).collect();
    let mut costs = Vec::new();
    let mut before = 0;
    apply::watch(delta, bases, space, scratch, observer, |step, used| {
        // Rounding is of sums, so that all shares together are the streams.
        let until: u64 = ids.iter().zip(&sizes).map(|(id, sizes)| share(used(*id), *sizes)).sum();
        costs.push(Cost { origin: step.origin, size: step.size, packed: until - before });
        before = until;
    })?;
    Ok(costs)
}

/// `used` of `plain` bytes, in stored ones.
fn share(used: u64, (stored, plain): (u64, u64)) -> u64 {
    let share = u128::from(used) * u128::from(stored) / u128::from(plain.max(1));
    u64::try_from(share).unwrap_or(stored)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up() {
        assert_eq!([0, 1, 50, 99, 100].map(|used| share(used, (10, 100))), [0, 0, 5, 9, 10]);
        assert_eq!(share(u64::MAX, (u64::MAX, u64::MAX)), u64::MAX);
        assert_eq!(share(0, (0, 0)), 0);
    }
}
