//! The state of a device, and what follows from it without anything happening: the duty, what runs, what is kept.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use umiak_spec::Digest;

/// Failed revisions that are remembered; the one that failed longest ago is forgotten first.
pub const REMEMBERED: usize = 32;

/// Committed revisions before the previous one that are remembered (not kept: see [`Rules::older`]).
pub const OLDER: usize = 64;

/// Bytes of a reason that are kept.
pub const REASON: usize = 2048;

/// What is under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "lowercase", deny_unknown_fields)]
pub enum Phase {
    /// Nothing: the current revision runs.
    Rest,
    /// A target is planned, fetched, verified and made ready beside the current revision, which runs untouched.
    Staging {
        /// The revision on its way.
        target: Digest,
    },
    /// A target is whole in the store and ready to start. The current revision runs untouched.
    Staged {
        /// The revision that is ready.
        target: Digest,
    },
    /// Services of the current revision stop, those of the target start.
    Switching {
        /// The revision that is being started.
        target: Digest,
        /// How often the machine was started in this phase and the next.
        boots: u32,
    },
    /// All services of the target were started; they are watched.
    Testing {
        /// The revision under test.
        target: Digest,
        /// How often the machine was started in this phase and the one before.
        boots: u32,
    },
    /// The target failed: its services stop, what ran before is started again.
    Returning {
        /// The revision that failed.
        failed: Digest,
        /// Why.
        why: String,
    },
}

/// Why a revision is not tried again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failure {
    /// The reason, for people.
    pub why: String,
    /// Counts up with each failure: which one is the oldest.
    pub order: u64,
}

/// Limits that are a policy's affair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// How often the machine may be started while a target is switched to or tested; at the next start it is given up.
    pub boots: u32,
    /// How many committed revisions are kept besides current, previous and pinned ones.
    pub older: usize,
}

impl Default for Rules {
    fn default() -> Self {
        Self { boots: 3, older: 0 }
    }
}

/// Everything that decides what a device runs and does next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// The committed revision; `None` on a device that has run nothing yet.
    pub current: Option<Digest>,
    /// The one that was current before.
    pub previous: Option<Digest>,
    /// Those before, the latest first; at most [`OLDER`].
    pub older: Vec<Digest>,
    /// Revisions that a person wants to keep.
    pub pinned: BTreeSet<Digest>,
    /// Revisions that failed; at most [`REMEMBERED`].
    pub failed: BTreeMap<Digest, Failure>,
    /// What is under way.
    pub phase: Phase,
}

impl Default for State {
    fn default() -> Self {
        Self {
            current: None,
            previous: None,
            older: vec![],
            pinned: BTreeSet::new(),
            failed: BTreeMap::new(),
            phase: Phase::Rest,
        }
    }
}

/// What is to be done in a state. Each can be done again after a cut at any point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Duty {
    /// See that the current revision runs; remove what nothing needs.
    Rest,
    /// Plan, fetch, verify and make the target ready.
    Stage(Digest),
    /// The target waits to be switched to.
    Hold(Digest),
    /// Stop what the target replaces, start the target.
    Switch(Digest),
    /// Watch the target until there is a verdict.
    Watch(Digest),
    /// Stop this revision and start what ran before.
    Return(Digest),
}

impl State {
    /// What is to be done now.
    #[must_use]
    pub const fn duty(&self) -> Duty {
        match &self.phase {
            Phase::Rest => Duty::Rest,
            Phase::Staging { target } => Duty::Stage(*target),
            Phase::Staged { target } => Duty::Hold(*target),
            Phase::Switching { target, .. } => Duty::Switch(*target),
            Phase::Testing { target, .. } => Duty::Watch(*target),
            Phase::Returning { failed, .. } => Duty::Return(*failed),
        }
    }

    /// The revision that should run now; `None` where nothing should.
    #[must_use]
    pub const fn runs(&self) -> Option<Digest> {
        match &self.phase {
            Phase::Switching { target, .. } | Phase::Testing { target, .. } => Some(*target),
            Phase::Rest | Phase::Staging { .. } | Phase::Staged { .. } | Phase::Returning { .. } => self.current,
        }
    }

    /// The revision on its way to become current.
    #[must_use]
    pub const fn target(&self) -> Option<Digest> {
        match &self.phase {
            Phase::Rest | Phase::Returning { .. } => None,
            Phase::Staging { target }
            | Phase::Staged { target }
            | Phase::Switching { target, .. }
            | Phase::Testing { target, .. } => Some(*target),
        }
    }

    /// Whether services of a target may be running: no other target can be begun before there is a verdict.
    #[must_use]
    pub const fn is_exposed(&self) -> bool {
        matches!(self.phase, Phase::Switching { .. } | Phase::Testing { .. } | Phase::Returning { .. })
    }

    /// The revisions that must stay in the store whole: nothing of them may be pruned.
    #[must_use]
    pub fn kept(&self, rules: &Rules) -> BTreeSet<Digest> {
        let mut kept = self.pinned.clone();
        kept.extend(self.current);
        kept.extend(self.previous);
        kept.extend(self.target());
        kept.extend(self.older.iter().take(rules.older));
        kept
    }

    /// Every revision that the state names.
    #[must_use]
    pub fn named(&self) -> BTreeSet<Digest> {
        let mut named = self.kept(&Rules { boots: 0, older: OLDER });
        named.extend(self.failed.keys());
        if let Phase::Returning { failed, .. } = &self.phase {
            named.insert(*failed);
        }
        named
    }
}
