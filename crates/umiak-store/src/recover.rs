//! What opening a store for changes puts right after a crash or a power cut.
//!
//! First everything visible is made durable, so that nothing which a killed process had renamed and not synced is
//! relied on and then lost. Then what was unfinished goes: staging, the reserve, partial blobs that are whole elsewhere, what
//! a sender brought who is there no more. A damaged or stale file of a document is made again from the other one.

use std::path::Path;

use umiak_spec::Digest;

use crate::durable;
use crate::error::{IoContext as _, StoreError};
use crate::format::DIRECTORIES;
use crate::incoming;
use crate::layers;
use crate::sealed;
use crate::store::Store;

/// What opening a store found and put right.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Unfinished things that were removed: names relative to the store.
    pub removed: Vec<String>,
    /// Documents of which a damaged, lost or stale file was made again from its copy.
    pub mended: Vec<String>,
    /// Documents that are damaged still, with the reason.
    pub damaged: Vec<String>,
}

pub(crate) fn recover(store: &Store) -> Result<Recovered, StoreError> {
    let root = &store.root;
    store.disk.sync_all(root).at("sync", root)?;
    let mut recovered = Recovered::default();
    for directory in DIRECTORIES {
        durable::make_directories(&*store.disk, &root.join(directory))?;
    }
    clear_staging(store, &mut recovered)?;
    recovered.removed.extend(incoming::clear(store)?);
    let reserve = store.space.path();
    if reserve.exists() {
        store.disk.unlink(reserve).at("remove", reserve)?;
        recovered.removed.push("reserve".to_owned());
    }
    clear_ingest(store, &mut recovered)?;
    mend(store, root, &["format".to_owned()], &mut recovered);
    for directory in ["refs", "records"] {
        let names: Vec<String> = sealed::list(&root.join(directory))?.iter().map(ToString::to_string).collect();
        mend(store, &root.join(directory), &names, &mut recovered);
    }
    for diff_id in layers::kind::list(store)? {
        let names = layers::kind::documents(store, &diff_id)?;
        mend(store, &layers::kind::path(store, &diff_id), &names, &mut recovered);
    }
    Ok(recovered)
}

fn clear_staging(store: &Store, recovered: &mut Recovered) -> Result<(), StoreError> {
    let staging = store.place("staging");
    for name in durable::entries(&staging)? {
        durable::remove_tree(&*store.disk, &staging.join(&name))?;
        recovered.removed.push(format!("staging/{name}"));
    }
    Ok(())
}

/// Partial blobs whose blob is here, and what is not a partial blob.
fn clear_ingest(store: &Store, recovered: &mut Recovered) -> Result<(), StoreError> {
    let ingest = store.place("ingest");
    for name in durable::entries(&ingest)? {
        let partial = Digest::from_hex(&name).ok().filter(|_| ingest.join(&name).join("bytes").is_file());
        if partial.is_none_or(|digest| store.has_blob(&digest)) {
            durable::remove_tree(&*store.disk, &ingest.join(&name))?;
            recovered.removed.push(format!("ingest/{name}"));
        }
    }
    Ok(())
}

/// A document that cannot be mended now (a full disk) is no reason not to open the store: one file of it is good.
fn mend(store: &Store, directory: &Path, names: &[String], recovered: &mut Recovered) {
    for name in names {
        let path = directory.join(name);
        let shown = path.strip_prefix(&store.root).unwrap_or(&path).display().to_string();
        match store.mend_sealed(&path) {
            Ok(false) => {}
            Ok(true) => recovered.mended.push(shown),
            Err(error) => recovered.damaged.push(format!("{shown}: {error}")),
        }
    }
}
