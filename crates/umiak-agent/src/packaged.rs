//! A pvr state out of the store again, as the package that it came in.
//!
//! The same state is the same bytes. Objects are verified as they are written.

use std::io::Write;

use umiak_pvr::State;
use umiak_repository::package::{ExportReport, Format, write};
use umiak_spec::target::{Kind, TargetApp};
use umiak_spec::{Limits, Observer};
use umiak_store::Store;

use crate::agent::Agent;
use crate::error::{AgentError, Class, SupplyError};
use crate::session::read_journal;

impl Agent {
    /// Writes the pvr state of a kept revision to `output`. `what` is the app's name in the current revision, or first digits of
    /// the state's digest. After an error `output` is no package.
    ///
    /// # Errors
    /// There is no such state; an object is missing or damaged; the output.
    pub fn export_package(
        &self,
        what: &str,
        output: impl Write,
        format: Format,
        observer: &dyn Observer,
    ) -> Result<ExportReport, AgentError> {
        let store = self.reading()?.ok_or_else(|| AgentError::NoSuchImage(what.to_owned()))?;
        let app = self.packaged(&store, what)?.ok_or_else(|| AgentError::NoSuchImage(what.to_owned()))?;
        let failed = |class, source: Box<dyn std::error::Error + Send + Sync>| {
            SupplyError::new(class, format!("cannot export {what}")).because(source)
        };
        let limit = Limits::default().document;
        let bytes = store.document(&app.top.digest, limit)?.ok_or_else(|| AgentError::NoSuchImage(what.to_owned()))?;
        let state = State::parse(&bytes, limit).map_err(|error| failed(Class::Corrupt, error.into()))?;
        let path = |digest: &_| Some(store.blob(digest).ok()??.path().to_owned());
        let written = write(&state, &path, output, format, observer);
        Ok(written.map_err(|error| {
            let damaged =
                matches!(error, umiak_repository::Error::Damaged { .. } | umiak_repository::Error::Missing(_));
            let class = if damaged { Class::Corrupt } else { Class::Environment };
            failed(class, error.into()).hint("umiakd fsck --repair")
        })?)
    }

    /// The app that is meant, of all revisions that are kept.
    pub(crate) fn packaged(&self, store: &Store, what: &str) -> Result<Option<TargetApp>, AgentError> {
        let journal = read_journal(store)?;
        let digits = what.strip_prefix("sha256:").unwrap_or(what);
        for revision in journal.state.kept(&self.policy.rules()) {
            let Some(target) = crate::kept::read(store, &revision)?.map(|kept| kept.target) else { continue };
            let current = journal.state.runs() == Some(revision);
            let is_meant = |app: &&TargetApp| {
                let named = current && app.name == what;
                app.kind == Kind::Pvr && (named || (digits.len() >= 6 && app.top.digest.hex().starts_with(digits)))
            };
            if let Some(app) = target.apps.iter().find(is_meant) {
                return Ok(Some(app.clone()));
            }
        }
        Ok(None)
    }
}
