//! What is in the store, as the planner sees it.

use umiak_plan::{Form, LayerFiles, Stored, StoredLayer};
use umiak_store::{LayerRecord, Store, StoreError};

/// Fills in the blobs and layers of the store. A layer whose record cannot be read is not there.
pub(super) fn fill(store: &Store, stored: &mut Stored) -> Result<(), StoreError> {
    for digest in store.blob_list()? {
        if let Some(blob) = store.blob(&digest)? {
            stored.blobs.insert(digest, blob.size());
        }
    }
    for partial in store.partials()? {
        // Never whole: with its last byte it is still to be verified and named, which its fetch does.
        let Some(size) = partial.size else { continue };
        stored.blobs.entry(partial.digest).or_insert(partial.here.min(size.saturating_sub(1)));
    }
    for diff_id in store.layer_list()? {
        if let Ok(Some(record)) = store.layer_record(&diff_id) {
            stored.layers.insert(diff_id, layer(record));
        }
    }
    Ok(())
}

fn layer(record: LayerRecord) -> StoredLayer {
    let files = LayerFiles { image: record.image.bytes, skeleton: record.skeleton.bytes, record: record.bytes() };
    let form = match record.base {
        Some(base) => Form::Patch { base, below: record.below },
        None => Form::Whole,
    };
    StoredLayer { form, files }
}
