//! What packages are merged into: the state of the app `device` of a revision.

use umiak_pvr::State;
use umiak_spec::target::{Carrier, Kind, MAX_OBJECTS, Origin, TargetApp};
use umiak_spec::{Digest, Limits};
use umiak_store::Store;

use super::APP;
use super::record::Transaction;
use crate::error::{AgentError, Class, SupplyError};
use crate::kept;

/// The beginning of a transaction: a revision's state; an empty one where there is no revision, or it has none.
pub(super) fn of(store: &Store, revision: Option<Digest>) -> Result<Transaction, AgentError> {
    let Some(revision) = revision else { return Ok(Transaction::default()) };
    let target = kept::must(store, &revision)?.target;
    let nothing = Transaction { base: Some(revision), ..Transaction::default() };
    let Some(app) = target.app(APP) else { return Ok(nothing) };
    if app.kind != Kind::Pvr {
        let what = format!("the app {APP} is no pvr state: nothing can be merged into it");
        return Err(SupplyError::new(Class::Usage, what).hint("umiakd target set --replace PACKAGE").into());
    }
    let unreadable = |why: String| AgentError::Unreadable { revision, why };
    let limit = Limits::default().document;
    let bytes = store.document(&app.top.digest, limit)?;
    let bytes = bytes.ok_or_else(|| unreadable("its state is not on this device".to_owned()))?;
    let state = State::parse(&bytes, limit).map_err(|error| unreadable(error.to_string()))?;
    Ok(Transaction { state, objects: carriers(app), ..nothing })
}

/// Where its objects came from: all of them are in the store, and these are for when one has to come again.
fn carriers(app: &TargetApp) -> Vec<Carrier> {
    let own = match &app.origin {
        Origin::Package(path) if app.objects.is_empty() => Some(Carrier::File(path.clone())),
        _ => None,
    };
    let files = app.objects.iter().filter(|carrier| **carrier != Carrier::Stored).cloned();
    own.into_iter().chain(files).take(MAX_OBJECTS).collect()
}
