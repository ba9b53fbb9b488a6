//! What an update is asked, what it tells while it runs, and what came of it.

use serde::{Deserialize, Serialize};
use umiak_spec::{Cancelled, Digest, Observer};

use crate::supply::Planned;

/// How an update is to be done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UpdateOptions {
    /// Stop when the target is staged: nothing of what runs is touched.
    pub stage_only: bool,
    /// Also a revision that failed before.
    pub again: bool,
    /// Do not wait for an app that asks to wait.
    pub now: bool,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Outcome {
    /// The device runs what is asked for.
    UpToDate {
        /// The current revision.
        revision: Digest,
    },
    /// The target is staged; it is switched to when that is asked for.
    Staged {
        /// The revision.
        revision: Digest,
    },
    /// The target is staged, and an app asks to wait.
    Held {
        /// The revision.
        revision: Digest,
        /// The app that asks.
        app: String,
        /// For how many seconds more it may.
        seconds: u64,
    },
    /// The target was tested and is current.
    Committed {
        /// The revision.
        revision: Digest,
        /// What was current before.
        previous: Option<Digest>,
        /// For how long the services of each app did not run.
        stopped: Vec<AppStopped>,
    },
    /// The target failed, and what ran before runs again.
    RolledBack {
        /// The revision that failed.
        failed: Digest,
        /// What runs.
        current: Option<Digest>,
        /// Why.
        why: String,
    },
}

/// For how long an app's services did not run in a switch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppStopped {
    /// The app.
    pub app: String,
    /// From its first service's stop to its last one's start, in milliseconds.
    pub milliseconds: u64,
}

/// What happens in an update, in the order in which it does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "happening", rename_all = "kebab-case")]
pub enum Happening {
    /// An update that was cut off goes on.
    Resumed {
        /// With this revision.
        revision: Digest,
        /// In words: `a revision is being tested`.
        phase: String,
    },
    /// Everything but starting is done.
    Staged {
        /// The revision.
        revision: Digest,
        /// How long staging took, in milliseconds.
        milliseconds: u64,
    },
    /// The switch waits for an app that asked for it.
    Holding {
        /// The app.
        app: String,
    },
    /// A service stops.
    Stopping {
        /// The app.
        app: String,
        /// The service.
        service: String,
    },
    /// A service starts.
    Starting {
        /// The app.
        app: String,
        /// The service.
        service: String,
    },
    /// An app was switched.
    Switched(AppStopped),
    /// The testing window: told when something changes.
    Testing {
        /// Services that are healthy.
        healthy: usize,
        /// Services there are.
        services: usize,
        /// Seconds that the window lasts.
        window: u64,
    },
    /// The verdict was good.
    Committed {
        /// The revision.
        revision: Digest,
        /// What was current before.
        previous: Option<Digest>,
    },
    /// The verdict was bad.
    Failed {
        /// The revision.
        revision: Digest,
        /// Why.
        why: String,
    },
    /// What ran before runs again.
    Returned {
        /// What runs.
        revision: Option<Digest>,
    },
}

/// Is told what happens besides the progress of bytes.
pub trait Watcher: Observer {
    /// Something happened.
    fn happened(&self, happening: &Happening);

    /// What is going to be fetched, before the first byte of it is.
    fn planned(&self, planned: &Planned);
}

/// A watcher that tells nobody and never cancels.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silently;

impl Observer for Silently {
    fn expect(&self, _: &'static str, _: u64) {}
    fn advance(&self, _: &'static str, _: u64) {}
    fn note(&self, _: &str) {}
    fn check(&self) -> Result<(), Cancelled> {
        Ok(())
    }
}

impl Watcher for Silently {
    fn happened(&self, _: &Happening) {}
    fn planned(&self, _: &Planned) {}
}
