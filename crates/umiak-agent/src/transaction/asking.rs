//! From a state that was put together to the target that asks for it.

use std::collections::BTreeSet;
use std::path::PathBuf;

use umiak_spec::target::{Asked, AskedApp, Carrier, Kind, Origin};
use umiak_spec::{Digest, Limits};
use umiak_store::Store;

use super::record::Transaction;
use crate::agent::Agent;
use crate::error::{AgentError, Class, SupplyError};
use crate::kept;
use crate::outcome::Watcher;
use crate::session::read_journal;

/// The app that packages are merged into, which is what a package is called that nobody calls otherwise.
pub const APP: &str = "device";

impl Agent {
    /// Sets the target to what was put together, beside the other apps that were asked for.
    pub(super) fn ask(
        &self,
        store: &Store,
        transaction: &Transaction,
        watcher: &dyn Watcher,
    ) -> Result<(), AgentError> {
        if let Some((digest, key)) = transaction.missing(store) {
            let what =
                format!("the object {} for `{key}` is on this device no more, and in no package", digest.short());
            return Err(SupplyError::new(Class::Corrupt, what).hint("add a package that has it").into());
        }
        let state = &transaction.state;
        self.supply.merged(store, state, &places_of(transaction), watcher)?;
        let mut asked = self.asked_before(store)?;
        asked.apps.retain(|app| !is_device(app));
        if state.entries().is_empty() {
            return self.set_target(&asked);
        }
        let bytes = state.canonical().into_bytes();
        let digest = Digest::of(&bytes);
        asked.apps.push(AskedApp {
            name: Some(APP.to_owned()),
            origin: Origin::Package(self.inbox().state_path(&digest)),
            objects: places_of(transaction),
            digest: Some(digest),
        });
        let kept = self.states_of_kept(store)?;
        let at = self.clock.plausible_date();
        self.inbox().write_with_state(&asked, at, &digest, &bytes, &kept).map_err(AgentError::Inbox)
    }

    /// Whether a state that was put together before was asked for and does not run.
    pub(super) fn gives_up(&self, store: &Store) -> Result<bool, AgentError> {
        let asked = self.target()?.map(|asking| asking.asked).unwrap_or_default();
        let Some(wanted) = asked.apps.iter().find(|app| is_device(app)).and_then(|app| app.digest) else {
            return Ok(false);
        };
        let current = read_journal(store)?.state.current;
        let target = current.map(|current| kept::must(store, &current)).transpose()?.map(|kept| kept.target);
        Ok(target.and_then(|target| target.app(APP).map(|app| app.top.digest)) != Some(wanted))
    }

    /// What was asked last; where nothing was, what runs.
    fn asked_before(&self, store: &Store) -> Result<Asked, AgentError> {
        if let Some(asking) = self.target()? {
            return Ok(asking.asked);
        }
        let Some(current) = read_journal(store)?.state.current else { return Ok(Asked::default()) };
        let target = kept::must(store, &current)?.target;
        Asked::parse(&target.to_bytes(), &Limits::default())
            .map_err(|error| AgentError::Unreadable { revision: current, why: error.to_string() })
    }

    /// The files of states that kept revisions came from: a damaged state comes again from its file.
    fn states_of_kept(&self, store: &Store) -> Result<BTreeSet<PathBuf>, AgentError> {
        let mut states = BTreeSet::new();
        for revision in read_journal(store)?.state.kept(&self.policy.rules()) {
            // One that cannot be read is for `fsck` to tell.
            let target = kept::read(store, &revision).ok().flatten().map(|kept| kept.target);
            let apps = target.into_iter().flat_map(|target| target.apps).filter(|app| app.kind == Kind::Pvr);
            states.extend(apps.filter_map(|app| app.origin.path().map(std::path::Path::to_owned)));
        }
        Ok(states)
    }
}

/// Where objects are; the store, where no file is known any more. Never none: it tells a state that was put together.
fn places_of(transaction: &Transaction) -> Vec<Carrier> {
    if transaction.objects.is_empty() { vec![Carrier::Stored] } else { transaction.objects.clone() }
}

/// Whether an app that was asked for is the one that packages are merged into.
fn is_device(app: &AskedApp) -> bool {
    match &app.name {
        Some(name) => name == APP,
        None => matches!(app.origin, Origin::Package(_)),
    }
}
