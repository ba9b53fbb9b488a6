//! Transactions: packages in, parts out, and then one target that asks for what came of it.
//!
//! ```text
//! begin (current, a revision, nothing) -> add, remove, … -> commit: the target's app `device` is this state
//!                                                        -> abort
//! ```
//!
//! The semantics are pvtx's (see `umiak_pvr::merge`). Guarantees: a package counts once it was judged from its first byte to
//! its last; a verb is done or nothing of it is, whatever is cut off; nothing that runs is touched: what a commit asks for
//! is planned, fitted, tested and taken back like every other target. Other apps of the target stay.

mod asking;
mod base;
mod record;
mod rules;

use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use umiak_pvr::StatePath;
use umiak_repository::package::Contents;
use umiak_spec::Digest;
use umiak_spec::target::Carrier;
use umiak_store::{Closure, Incoming, Store, StoreOptions};

use crate::agent::Agent;
use crate::error::AgentError;
use crate::outcome::Watcher;
use crate::session::{Session, read_journal};

pub use asking::APP;
use record::Id;
pub use record::{Installed, Transaction};

/// How long a package that came whole waits for whoever changes the device: an update over a slow link takes its time.
const TURN: Duration = Duration::from_secs(6 * 60 * 60);

/// What a transaction begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Base {
    /// The current revision.
    Current,
    /// Nothing.
    Empty,
    /// A revision that is here, by the digits that it begins with.
    Revision(String),
}

/// What packages are judged with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Onto {
    /// The transaction that is open.
    Transaction,
    /// The current revision.
    Current,
    /// Nothing.
    Nothing,
}

impl Agent {
    /// Begins a transaction.
    ///
    /// # Errors
    /// One is begun already; there is no such revision.
    pub fn begin(&self, base: &Base) -> Result<Transaction, AgentError> {
        self.session(|session| {
            if session.store.record(&record::name())?.is_some() {
                return Err(AgentError::InTransaction);
            }
            let transaction = Transaction { id: Some(Id::new()), ..session.base(base)? };
            transaction.write(&session.store)?;
            Ok(transaction)
        })
    }

    /// Adds a package that is a file. `path` is absolute, and the file stays where it is until the next update is staged.
    ///
    /// # Errors
    /// No transaction; what is wrong with the package, by name.
    pub fn add(&self, path: &Path, watcher: &dyn Watcher) -> Result<Installed, AgentError> {
        self.session(|session| {
            session.transaction()?;
            let package = self.supply.package(Some(&session.store), path, watcher);
            session.add(&package?, Carrier::File(path.to_owned()), None)
        })
    }

    /// Adds a package as it comes, however slowly: it is laid aside, and others change the device meanwhile. When it is
    /// whole its objects go into the store and are kept there for the transaction.
    ///
    /// # Errors
    /// No transaction, or another one, where it was ended meanwhile; what is wrong with the package, by name; there is no
    /// room; another process changes the device for hours. The transaction is the one before then. Objects that the
    /// store had taken in before a disk failed are held by nothing: they go when it is pruned.
    pub fn add_stream(&self, input: &mut dyn Read, watcher: &dyn Watcher) -> Result<Installed, AgentError> {
        let store = self.reading()?.ok_or(AgentError::NoTransaction)?;
        // Nothing is read where nobody waits for it.
        let begun = Transaction::read(&store)?.ok_or(AgentError::NoTransaction)?.id;
        let incoming = store.incoming(watcher)?;
        drop(store);
        let package = self.supply.streamed(&incoming, input, watcher)?;
        let session = self.turn(watcher)?;
        if session.transaction()?.id != begun {
            return Err(AgentError::OtherTransaction);
        }
        session.add(&package, Carrier::Stored, Some(&incoming))
    }

    /// Takes out a part: a container's name, `_sigs/NAME.json`, `_config/NAME`. How many files went.
    ///
    /// # Errors
    /// No transaction; there is no such part.
    pub fn take_out(&self, part: &str) -> Result<usize, AgentError> {
        self.session(|session| {
            let mut transaction = session.transaction()?;
            let removed = transaction.take_out(part)?;
            transaction.write(&session.store)?;
            Ok(removed)
        })
    }

    /// The keys that [`Agent::take_out`] would take out.
    ///
    /// # Errors
    /// As for that.
    pub fn parts_of(&self, part: &str) -> Result<Vec<StatePath>, AgentError> {
        let transaction = self.transaction()?.ok_or(AgentError::NoTransaction)?;
        Ok(transaction.state.without(part, &rules::rules)?.removed)
    }

    /// The transaction that is open.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn transaction(&self) -> Result<Option<Transaction>, AgentError> {
        self.reading()?.map_or(Ok(None), |store| Transaction::read(&store))
    }

    /// Makes what was put together the target, and ends the transaction.
    ///
    /// # Errors
    /// No transaction; an object that is nowhere; the policy does not accept the whole. The transaction stays open.
    pub fn commit(&self, watcher: &dyn Watcher) -> Result<Transaction, AgentError> {
        self.session(|session| {
            let mut transaction = session.transaction()?;
            let objects = transaction.state.objects();
            transaction.held.retain(|digest| objects.contains(digest));
            self.ask(&session.store, &transaction, watcher)?;
            // Only now: what an earlier target held is not wanted any more.
            session.hold(&transaction.held)?;
            session.store.remove_record(&record::name())?;
            Ok(transaction)
        })
    }

    /// Ends the transaction and forgets what was put together.
    ///
    /// # Errors
    /// No transaction; the store.
    pub fn abort(&self) -> Result<(), AgentError> {
        self.session(|session| {
            if matches!(session.store.record(&record::name()), Ok(None)) {
                return Err(AgentError::NoTransaction);
            }
            session.store.remove_record(&record::name())?;
            let before = session.held_for_target()?;
            session.hold(&before)
        })
    }

    /// Makes packages, merged one after the other into what runs, the target: a transaction in one step. It works while an
    /// update runs, and beside a transaction that is open.
    ///
    /// # Errors
    /// What is wrong with a package, by name; the policy does not accept the whole. The target is the one before then.
    pub fn install(&self, packages: &[PathBuf], watcher: &dyn Watcher) -> Result<Vec<Installed>, AgentError> {
        let store = self.made()?;
        let current = read_journal(&store)?.state.current;
        let mut transaction = base::of(&store, current)?;
        let installed = self.install_into(&mut transaction, Some(&store), packages, watcher)?;
        if self.gives_up(&store)? {
            watcher.note(
                "what was set before and is not installed yet is given up: umiakd tx puts several packages together",
            );
        }
        self.ask(&store, &transaction, watcher)?;
        Ok(installed)
    }

    /// Judges packages and does nothing with them: what each of them would do to what is there.
    ///
    /// # Errors
    /// What is wrong with a package, by name.
    pub fn judge(&self, packages: &[PathBuf], onto: Onto, watcher: &dyn Watcher) -> Result<Vec<Installed>, AgentError> {
        let store = self.reading()?;
        let mut transaction = match (onto, store.as_ref()) {
            (Onto::Transaction, None) => return Err(AgentError::NoTransaction),
            (Onto::Transaction, Some(store)) => Transaction::read(store)?.ok_or(AgentError::NoTransaction)?,
            (Onto::Current, Some(store)) => base::of(store, read_journal(store)?.state.current)?,
            (Onto::Nothing, _) | (_, None) => Transaction::default(),
        };
        self.install_into(&mut transaction, store.as_ref(), packages, watcher)
    }

    fn install_into(
        &self,
        transaction: &mut Transaction,
        store: Option<&Store>,
        packages: &[PathBuf],
        watcher: &dyn Watcher,
    ) -> Result<Vec<Installed>, AgentError> {
        let install = |path: &PathBuf| {
            let package = self.supply.package(store, path, watcher)?;
            transaction.install(&package, Carrier::File(path.clone()))
        };
        packages.iter().map(install).collect()
    }

    /// One verb. What is wrong with it is told to whoever says it, and is no trouble of the device.
    fn session<T>(&self, work: impl FnOnce(&Session<'_>) -> Result<T, AgentError>) -> Result<T, AgentError> {
        work(&Session::open(self)?)
    }

    /// The store opened for changes, after whoever changes it now.
    fn turn(&self, watcher: &dyn Watcher) -> Result<Session<'_>, AgentError> {
        let begun = self.clock.running();
        let mut told = false;
        loop {
            match Session::open(self) {
                Err(error) if error.is_busy() && self.clock.running().saturating_sub(begun) < TURN => {
                    watcher.check()?;
                    if !std::mem::replace(&mut told, true) {
                        watcher.note(&format!("{error}: the package is whole and waits"));
                    }
                }
                other => return other,
            }
        }
    }

    /// The store for a query, made where there is none yet.
    fn made(&self) -> Result<Store, AgentError> {
        if let Some(store) = self.reading()? {
            return Ok(store);
        }
        drop(Store::open(&self.root, self.disk.clone(), &StoreOptions::UPDATE)?);
        Ok(Store::open(&self.root, self.disk.clone(), &StoreOptions::READ)?)
    }
}

impl Session<'_> {
    fn transaction(&self) -> Result<Transaction, AgentError> {
        Transaction::read(&self.store)?.ok_or(AgentError::NoTransaction)
    }

    fn base(&self, base: &Base) -> Result<Transaction, AgentError> {
        let revision = match base {
            Base::Empty => return Ok(Transaction::default()),
            Base::Current => self.journal.state.current,
            Base::Revision(text) => Some(self.named(text)?),
        };
        base::of(&self.store, revision)
    }

    fn add(&self, package: &Contents, carrier: Carrier, incoming: Option<&Incoming>) -> Result<Installed, AgentError> {
        let before = self.transaction()?;
        let mut transaction = before.clone();
        let installed = transaction.install(package, carrier)?;
        if let Some(incoming) = incoming {
            self.store.take_in(incoming)?;
        }
        let held_before = self.store.closure(&record::name())?.unwrap_or_default().blobs;
        let mut held = self.held_for_target()?;
        held.extend(&transaction.held);
        if let Err(error) = self.hold(&held).and_then(|()| transaction.write(&self.store)) {
            // What cannot be put back now the next verb does. A record that is the one after all needs what is held.
            if self.transaction().is_ok_and(|open| open == before) {
                let _ = self.hold(&held_before);
            }
            return Err(error);
        }
        Ok(installed)
    }

    /// Keeps these objects from being pruned, and those of before no longer.
    fn hold(&self, held: &BTreeSet<Digest>) -> Result<(), AgentError> {
        let before = self.store.closure(&record::name())?;
        if before.as_ref().map_or(held.is_empty(), |before| before.blobs == *held) {
            return Ok(());
        }
        if held.is_empty() {
            return Ok(self.store.remove_ref(&record::name())?);
        }
        Ok(self.store.set_ref(&record::name(), &Closure { blobs: held.clone(), ..Closure::default() })?)
    }

    /// What the target that was asked for wants of what is held.
    fn held_for_target(&self) -> Result<BTreeSet<Digest>, AgentError> {
        let asked = self.agent.target()?.map(|asking| asking.asked).unwrap_or_default();
        let waits = asked.apps.iter().find(|app| app.objects.contains(&Carrier::Stored));
        let held = if waits.is_some() { self.store.closure(&record::name())? } else { None };
        let mut held = held.map(|closure| closure.blobs).unwrap_or_default();
        if let Some(state) = waits.and_then(|app| self.agent.inbox().state(&app.digest?)) {
            let objects = state.objects();
            held.retain(|digest| objects.contains(digest));
        }
        Ok(held)
    }

    /// Whether what is held is wanted neither by a transaction nor by the target: it belongs to the revision that runs by now.
    pub(crate) fn is_let_go(&self) -> Result<bool, AgentError> {
        if self.store.record(&record::name())?.is_some() {
            return Ok(false);
        }
        let wanted = self.held_for_target()?;
        let current = match &self.journal.state.current {
            Some(current) => self.store.closure(&crate::kept::name(current))?.unwrap_or_default(),
            None => Closure::default(),
        };
        Ok(wanted.is_subset(&current.blobs))
    }
}

/// The name of the ref that holds what came without a file.
pub(crate) fn held_name() -> umiak_store::Name {
    record::name()
}
