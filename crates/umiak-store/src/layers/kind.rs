//! What the rest of the store asks of layers: whether one is here, what keeps what alive, how one goes.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::durable;
use crate::error::StoreError;
use crate::store::Store;
use umiak_spec::Digest;

use super::files;
use super::record::LayerRecord;

/// Where the layer `diff_id` is, or would be.
pub(crate) fn path(store: &Store, diff_id: &Digest) -> PathBuf {
    store.root.join("layers").join(diff_id.hex())
}

/// Whether the layer is here whole, by a look that is cheap.
pub(crate) fn has(store: &Store, diff_id: &Digest) -> bool {
    path(store, diff_id).is_dir()
}

/// Whether the layers of a chain (bottom first), which are all here, can be mounted above each other as they are kept: a patch
/// lies above the layers that it was made for.
pub(crate) fn stacks(store: &Store, chain: &[Digest]) -> bool {
    chain.iter().enumerate().all(|(number, layer)| match files::record(store, layer) {
        Ok(Some(LayerRecord { base: Some(base), below, .. })) => below == chain[..number] && is_whole(store, &base),
        // What is damaged is told by a check.
        Ok(_) | Err(_) => true,
    })
}

/// Whether the layer is here and no patch.
pub(crate) fn is_whole(store: &Store, diff_id: &Digest) -> bool {
    matches!(files::record(store, diff_id), Ok(Some(record)) if record.is_whole())
}

/// The patches that are mounted above this layer's image.
pub(crate) fn patches_of(store: &Store, diff_id: &Digest) -> Result<Vec<Digest>, StoreError> {
    let layers = list(store)?;
    Ok(layers.into_iter().filter(|layer| needs(store, layer).contains(diff_id)).collect())
}

/// The layers that this one cannot be used without: the base of a patch.
pub(crate) fn needs(store: &Store, diff_id: &Digest) -> BTreeSet<Digest> {
    files::record(store, diff_id).ok().flatten().and_then(|record| record.base).into_iter().collect()
}

/// Whether it is unknown what the layer needs: it is here and its record cannot be read.
pub(crate) fn is_unclear(store: &Store, diff_id: &Digest) -> bool {
    has(store, diff_id) && !matches!(files::record(store, diff_id), Ok(Some(_)))
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

/// The documents of the layer `diff_id`, to be mended after a crash: names in its directory.
pub(crate) fn documents(store: &Store, diff_id: &Digest) -> Result<Vec<String>, StoreError> {
    let names = durable::entries(&path(store, diff_id))?;
    let plain = names.iter().map(|name| name.strip_suffix('~').unwrap_or(name));
    let mut documents: Vec<String> =
        plain.filter(|name| *name == files::RECORD || name.ends_with(STACK)).map(str::to_owned).collect();
    documents.sort_unstable();
    documents.dedup();
    Ok(documents)
}

/// How the names of documents about stacks end.
pub(crate) const STACK: &str = ".stack";

pub(crate) use super::check::check;
