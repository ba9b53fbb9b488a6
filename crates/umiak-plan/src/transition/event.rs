//! What may happen to a device, and why something may not.

use umiak_spec::Digest;

/// What happened, or is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A revision is to become current. One that failed is refused unless `again`.
    Begin {
        /// The revision.
        target: Digest,
        /// Also if it failed before.
        again: bool,
    },
    /// The target is whole in the store and everything but starting was done.
    Staged,
    /// Staging did not succeed (no network, no space, refused): the current revision goes on as it was. Not a failure of
    /// the revision: it is tried again when it is asked for again.
    GaveUp,
    /// The target is not wanted any more.
    Dropped,
    /// The staged target is to be switched to.
    Go,
    /// All services of the target were started.
    Switched,
    /// The verdict is good.
    Good,
    /// The verdict is bad, or switching failed.
    Bad {
        /// Why, for people.
        why: String,
    },
    /// The machine was started since the last event.
    Boot,
    /// What ran before runs again.
    Returned,
    /// A person does not want the current revision: it is marked as failed, so that it is not begun again by itself.
    Disliked {
        /// Which: the current revision when it was said.
        revision: Digest,
        /// Why, for people.
        why: String,
    },
    /// Keep a revision.
    Pin(Digest),
    /// Do not keep it any more.
    Unpin(Digest),
    /// A revision is not in the store any more.
    Forget(Digest),
}

/// Why an event is refused in a state; nothing changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Another update is being switched, tested or taken back.
    #[error("revision {} is being switched to or tested: there has to be a verdict first", .0.short())]
    Busy(Digest),
    /// The revision failed before.
    #[error("revision {} failed before and is not tried again: {why}", .revision.short())]
    Failed {
        /// The revision.
        revision: Digest,
        /// Why it failed.
        why: String,
    },
    /// The revision is current already.
    #[error("revision {} is what this device runs", .0.short())]
    Current(Digest),
    /// The event does not belong to the phase.
    #[error("`{event}` cannot happen while {phase}")]
    OutOfTurn {
        /// The event, in a word.
        event: &'static str,
        /// The phase, in words.
        phase: &'static str,
    },
    /// The revision is in use and cannot be forgotten.
    #[error("revision {} is in use", .0.short())]
    InUse(Digest),
}
