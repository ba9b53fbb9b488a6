//! What an owner may choose: how long a target is tested, how often it may be tried, what is kept.

use std::time::Duration;

use umiak_plan::transition::Rules;

/// Times, counts and limits of one device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// How long the services of a target have to stay healthy before it is committed.
    pub window: Duration,
    /// How much longer services may take to become healthy: the window ends then at the latest.
    pub patience: Duration,
    /// How often a service may be started again by its restart policy within the window.
    pub restarts: u32,
    /// How often the machine may be started during switch and testing window.
    pub boots: u32,
    /// Committed revisions that are kept besides current, previous and pinned ones.
    pub older: usize,
    /// For how long an app may ask to wait with the switch.
    pub hold: Duration,
    /// How long starting one service may wait for those it depends on.
    pub dependency: Duration,
    /// Whether what no kept revision needs is removed after a commit.
    pub prune: bool,
    /// How often services are looked at in the testing window.
    pub look: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            window: Duration::from_secs(60),
            patience: Duration::from_secs(300),
            restarts: 2,
            boots: 3,
            older: 0,
            hold: Duration::from_secs(3600),
            dependency: Duration::from_secs(300),
            prune: true,
            look: Duration::from_millis(500),
        }
    }
}

impl Policy {
    /// What of it the transition table needs.
    #[must_use]
    pub const fn rules(&self) -> Rules {
        Rules { boots: self.boots, older: self.older }
    }
}
