//! The agent: what it is made of, and its verbs.

use std::path::PathBuf;
use std::sync::Arc;

use umiak_engine::{Engine, LogQuery, LogSink};
use umiak_spec::Digest;
use umiak_spec::target::Asked;
use umiak_store::{Access, Disk, Store, StoreError, StoreOptions};

use crate::clock::Clock;
use crate::error::AgentError;
use crate::inbox::{Asking, Inbox};
use crate::journal::Entry;
use crate::outcome::{Outcome, UpdateOptions, Watcher};
use crate::policy::Policy;
use crate::session::{Session, read_journal};
use crate::supply::Supply;
use crate::trouble;
use crate::update::Checked;

/// What an agent is made of.
pub struct Parts {
    /// The store's directory: `/var/lib/umiak`.
    pub root: PathBuf,
    /// A directory that a reboot empties: `/run/umiak`. Troubles are written there as well, for when the disk cannot be
    /// written to; apps ask to wait there.
    pub run: PathBuf,
    /// Where projects are unpacked, each made again where it is not whole: `/var/lib/umiak/projects`.
    pub projects: PathBuf,
    /// Durable operations: the kernel, or what a test puts before it.
    pub disk: Arc<dyn Disk>,
    /// Runs services.
    pub engine: Arc<dyn Engine>,
    /// Knows where revisions come from.
    pub supply: Arc<dyn Supply>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// What the owner chose.
    pub policy: Policy,
}

/// The agent of one device.
///
/// Verbs that change something take the store's one updater lock; another process that has it makes them fail with
/// [`StoreError::Busy`] and change nothing. [`Agent::set_target`] and the queries always work.
pub struct Agent {
    pub(crate) root: PathBuf,
    pub(crate) run: PathBuf,
    pub(crate) projects: PathBuf,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) supply: Arc<dyn Supply>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) policy: Policy,
}

impl Agent {
    /// An agent; touches nothing.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let Parts { root, run, projects, disk, engine, supply, clock, policy } = parts;
        Self { root, run, projects, disk, engine, supply, clock, policy }
    }

    /// What the owner chose.
    #[must_use]
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The directory of the store.
    #[must_use]
    pub fn root(&self) -> &std::path::Path {
        &self.root
    }

    /// Sets what the device should run. The last one counts; an update that runs turns to it when it can.
    ///
    /// # Errors
    /// It cannot be written down.
    pub fn set_target(&self, asked: &Asked) -> Result<(), AgentError> {
        if !self.root.join("format").exists() {
            drop(Store::open(&self.root, self.disk.clone(), &StoreOptions::UPDATE)?);
        }
        self.inbox().write(asked, self.clock.plausible_date()).map_err(AgentError::Inbox)
    }

    /// What the device should run, as it was asked for.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn target(&self) -> Result<Option<Asking>, AgentError> {
        self.inbox().read().map_err(AgentError::Inbox)
    }

    pub(crate) fn inbox(&self) -> Inbox<'_> {
        Inbox::new(&self.root, &*self.disk)
    }

    /// Plans the update to the target and changes nothing: documents are fetched to read them, and nothing is written down.
    ///
    /// # Errors
    /// No target, not found, no network, refused by the engine. That it does not fit is no error.
    pub fn check(&self, watcher: &dyn Watcher) -> Result<Checked, AgentError> {
        self.work("check", |session| session.check(watcher))
    }

    /// Brings the device to the target: whatever was under way first, then the target that was set last.
    ///
    /// # Errors
    /// What ran before still runs, or runs again; the reason is kept for [`Agent::status`].
    pub fn update(&self, options: &UpdateOptions, watcher: &dyn Watcher) -> Result<Outcome, AgentError> {
        self.work("update", |session| session.update(options, watcher))
    }

    /// The first thing after a start: sees that what should run runs, and brings what was being switched, tested or taken
    /// back to its end. `None`: nothing was.
    ///
    /// Where the disk cannot be written to, the current revision is started nevertheless, and the error is returned.
    ///
    /// # Errors
    /// Services of the current revision do not start, or the journal cannot be written.
    pub fn resume(&self, watcher: &dyn Watcher) -> Result<Option<Outcome>, AgentError> {
        let result = self.work("resume", |session| session.resume(watcher));
        match result {
            Err(AgentError::Store(StoreError::Busy { .. })) => result,
            Err(AgentError::Store(_)) => self.start_unwritten(watcher).and(result),
            other => other,
        }
    }

    /// Goes back to the previous revision, or to another that is in the store. What runs now is not begun again by itself.
    /// Needs no network.
    ///
    /// # Errors
    /// There is none, or not all of it is here any more.
    pub fn rollback(&self, revision: Option<&str>, watcher: &dyn Watcher) -> Result<Outcome, AgentError> {
        self.work("rollback", |session| session.rollback(revision, watcher))
    }

    /// The revision that [`Agent::rollback`] would go back to.
    ///
    /// # Errors
    /// As for that: there is none, or not all of it is here any more.
    pub fn way_back(&self, revision: Option<&str>) -> Result<Digest, AgentError> {
        self.work("rollback", |session| session.way_back(revision))
    }

    /// The revision whose digest begins like `text`.
    ///
    /// # Errors
    /// There is none, or there are several.
    pub fn named(&self, text: &str) -> Result<Digest, AgentError> {
        self.work("pin", |session| session.named(text))
    }

    /// Keeps a revision (none: the current one) until [`Agent::unpin`].
    ///
    /// # Errors
    /// There is no such revision.
    pub fn pin(&self, revision: Option<&str>) -> Result<Digest, AgentError> {
        self.work("pin", |session| session.pin(revision))
    }

    /// Does not keep a revision (none: the current one) any longer than retention says.
    ///
    /// # Errors
    /// There is no such revision.
    pub fn unpin(&self, revision: Option<&str>) -> Result<Digest, AgentError> {
        self.work("unpin", |session| session.unpin(revision))
    }

    /// What happened, the latest last.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn history(&self) -> Result<Vec<Entry>, AgentError> {
        self.reading()?.map_or(Ok(vec![]), |store| read_journal(&store).map(|journal| journal.history))
    }

    /// Hands lines of services' output to `sink`.
    ///
    /// # Errors
    /// The engine's.
    pub fn logs(
        &self,
        app: &str,
        service: Option<&str>,
        query: &LogQuery,
        sink: &mut dyn LogSink,
    ) -> Result<(), AgentError> {
        Ok(self.engine.logs(app, service, query, sink)?)
    }

    /// The store for a query; `None` where there is no store yet.
    pub(crate) fn reading(&self) -> Result<Option<Store>, AgentError> {
        let options = StoreOptions { access: Access::Read, ..StoreOptions::READ };
        match Store::open(&self.root, self.disk.clone(), &options) {
            Ok(store) => Ok(Some(store)),
            Err(StoreError::NotAStore(path)) if !path.join("format").exists() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Does something that changes the device, and keeps the reason when it fails.
    pub(crate) fn work<T>(
        &self,
        doing: &str,
        work: impl FnOnce(&mut Session<'_>) -> Result<T, AgentError>,
    ) -> Result<T, AgentError> {
        let mut session = match Session::open(self) {
            Ok(session) => session,
            Err(error) => {
                trouble::keep(self, None, doing, &error);
                return Err(error);
            }
        };
        let result = work(&mut session);
        if let Err(error) = &result {
            trouble::keep(self, Some(&session.store), doing, error);
        }
        result
    }
}
