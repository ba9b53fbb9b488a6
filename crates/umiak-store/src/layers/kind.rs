//! What the rest of the store asks of layers: whether one is here, what keeps what alive, how one goes.

use std::collections::BTreeSet;
use std::path::PathBuf;

use umiak_spec::{Digest, Observer};

use crate::check::Depth;
use crate::durable;
use crate::error::StoreError;
use crate::store::Store;

/// Where the layer `diff_id` is, or would be.
pub(crate) fn path(store: &Store, diff_id: &Digest) -> PathBuf {
    store.root.join("layers").join(diff_id.hex())
}

/// Whether the layer is here whole, by a look that is cheap.
pub(crate) fn has(store: &Store, diff_id: &Digest) -> bool {
    path(store, diff_id).is_dir()
}

/// Whether the layers of a chain (bottom first), which are all here, can be mounted above each other as they are kept.
pub(crate) fn stacks(_store: &Store, _chain: &[Digest]) -> bool {
    true
}

/// The layers that this one cannot be used without: the base of a patch.
pub(crate) fn needs(_store: &Store, _diff_id: &Digest) -> BTreeSet<Digest> {
    BTreeSet::new()
}

/// The layers that are here, sorted, whole or not.
pub(crate) fn list(store: &Store) -> Result<Vec<Digest>, StoreError> {
    let names = durable::entries(&store.place("layers"))?;
    Ok(names.iter().filter_map(|name| Digest::from_hex(name).ok()).collect())
}

/// Removes the layer; then it is durably gone.
pub(crate) fn remove(store: &Store, diff_id: &Digest) -> Result<(), StoreError> {
    store.discard(&path(store, diff_id))
}

/// What is wrong with a layer that is here, in one clause; `None` when nothing is.
pub(crate) fn check(
    _store: &Store,
    _diff_id: &Digest,
    _depth: Depth,
    _observer: &dyn Observer,
) -> Result<Option<String>, StoreError> {
    Ok(None)
}
