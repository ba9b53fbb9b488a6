//! What each way to deliver a change costs: bytes to send and bytes on the device.
//!
//! What was built is exact. The other way is an estimate from the images at hand: content that goes takes its share
//! of the base away, content that comes costs what it costs in the patch (or the base's average, before anything was
//! built).

/// One way to deliver a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// Bytes that the device has to fetch.
    pub send: u64,
    /// Bytes that the app's squashfs files then take on the device.
    pub keep: u64,
    /// Whether the figures come from a file that was built.
    pub exact: bool,
}

/// Both ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Costs {
    /// `root.squashfs` stays, `root.ovl.squashfs` carries what changed.
    pub patch: Cost,
    /// A fresh `root.squashfs`.
    pub new_base: Cost,
}

/// What an estimate starts from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known {
    /// Bytes of the base's `root.squashfs`, and the plain bytes of the files in it.
    pub base: (u64, u64),
    /// Plain bytes of the target's files.
    pub target_plain: u64,
    /// Plain bytes of content that the patch carries.
    pub patch_plain: u64,
}

/// Squashfs pads to this.
const PADDING: u64 = 4096;

impl Known {
    fn scaled(&self, plain: u64) -> u64 {
        let (bytes, base_plain) = self.base;
        let share = u128::from(bytes) * u128::from(plain) / u128::from(base_plain.max(1));
        u64::try_from(share).unwrap_or(u64::MAX)
    }

    /// Costs before anything was built.
    pub(crate) fn estimate(&self) -> Costs {
        let patch = self.scaled(self.patch_plain).next_multiple_of(PADDING).max(PADDING);
        let fresh = self.scaled(self.target_plain).next_multiple_of(PADDING).max(PADDING);
        self.costs((patch, false), (fresh, false))
    }

    /// Costs when the patch was built.
    pub(crate) fn with_patch(&self, patch: u64) -> Costs {
        self.costs((patch, true), (self.estimate().new_base.send, false))
    }

    /// Costs when the new base was built.
    pub(crate) fn with_new_base(&self, fresh: u64) -> Costs {
        self.costs((self.estimate().patch.send, false), (fresh, true))
    }

    fn costs(&self, patch: (u64, bool), fresh: (u64, bool)) -> Costs {
        Costs {
            patch: Cost { send: patch.0, keep: self.base.0 + patch.0, exact: patch.1 },
            new_base: Cost { send: fresh.0, keep: fresh.0, exact: fresh.1 },
        }
    }
}

impl Costs {
    /// Whether the patch has grown past half of a new base, so that a new base is worth sending.
    #[must_use]
    pub fn patch_has_grown(&self) -> bool {
        self.patch.send > self.new_base.send / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_past_half_of_a_new_base_is_called_large() {
        let known = Known { base: (1_000_000, 4_000_000), target_plain: 4_000_000, patch_plain: 40_000 };
        let costs = known.with_patch(12_288);
        assert_eq!(costs.patch, Cost { send: 12_288, keep: 1_012_288, exact: true });
        assert_eq!(costs.new_base, Cost { send: 1_003_520, keep: 1_003_520, exact: false });
        assert!(!costs.patch_has_grown());
        assert!(known.with_patch(600_000).patch_has_grown());
    }

    #[test]
    fn an_empty_base_divides_nothing_by_zero() {
        let known = Known { base: (4096, 0), target_plain: 0, patch_plain: 0 };
        assert_eq!(known.estimate().patch.send, PADDING);
    }
}
