//! What no ref holds, and its removal: first as a plan, then as a deed.
//!
//! Order: refs that go are gone durably before anything that they held is touched; a layer that needs another goes before
//! it. Nothing is planned while a ref cannot be read, and no layer goes while that of a held one cannot.
//! What a plan names and a ref has come to hold since stays.

use std::collections::BTreeSet;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::PoisonError;

use umiak_spec::Digest;

use crate::check::Object;
use crate::durable;
use crate::error::StoreError;
use crate::ingest::Partial;
use crate::layers;
use crate::name::Name;
use crate::store::Store;

/// What a [`PrunePlan`] is asked for.
#[derive(Debug, Clone, Default)]
pub struct PruneRequest {
    /// Refs that are to go with all that only they hold.
    pub refs: BTreeSet<Name>,
    /// Blobs, partial blobs and layers to keep beside what the remaining refs hold: what an update under way has fetched
    /// or still wants.
    pub keep: BTreeSet<Digest>,
}

/// Something that pruning removes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prunable {
    /// A blob, a partial blob or a layer.
    pub object: Object,
    /// Bytes that it takes on the disk, in whole blocks.
    pub bytes: u64,
}

/// What pruning would remove.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PrunePlan {
    /// Refs.
    pub refs: Vec<Name>,
    /// Objects, in the order in which they go.
    pub objects: Vec<Prunable>,
}

impl PrunePlan {
    /// Bytes on the disk that it gives back.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.objects.iter().map(|object| object.bytes).sum()
    }
}

/// What pruning removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Objects.
    pub objects: usize,
    /// Bytes on the disk.
    pub bytes: u64,
}

/// What refs hold, with what that needs.
struct Held {
    blobs: BTreeSet<Digest>,
    layers: BTreeSet<Digest>,
}

impl Store {
    /// What would go.
    ///
    /// # Errors
    /// [`StoreError::DamagedDocument`] for a ref that cannot be read; the file system.
    pub fn prune_plan(&self, request: &PruneRequest) -> Result<PrunePlan, StoreError> {
        let held = self.held(request)?;
        let mut objects = Vec::new();
        for Partial { digest, .. } in self.partials()? {
            if !request.keep.contains(&digest) {
                let bytes = on_disk(&self.place("ingest").join(digest.hex()))?;
                objects.push(Prunable { object: Object::Partial(digest), bytes });
            }
        }
        let gone = |held: &BTreeSet<Digest>, found: Vec<Digest>| {
            found.into_iter().filter(|digest| !held.contains(digest)).collect()
        };
        let blobs: Vec<Digest> = gone(&held.blobs, self.blob_list()?);
        for digest in blobs {
            objects.push(Prunable { object: Object::Blob(digest), bytes: on_disk(&self.blob_path(&digest))? });
        }
        let mut layers: Vec<Digest> = gone(&held.layers, layers::kind::list(self)?);
        layers.sort_by_key(|layer| layers::kind::needs(self, layer).is_empty());
        for digest in layers {
            let bytes = on_disk(&layers::kind::path(self, &digest))?;
            objects.push(Prunable { object: Object::Layer(digest), bytes });
        }
        let refs = self.refs()?.into_iter().filter(|name| request.refs.contains(name)).collect();
        Ok(PrunePlan { refs, objects })
    }

    /// Removes what `plan` names, as soon as nobody reads.
    ///
    /// # Errors
    /// [`StoreError::Busy`] when somebody reads for long; the file system. What was removed by then stays so, and the rest can
    /// be pruned again.
    pub fn prune(&self, plan: &PrunePlan) -> Result<Pruned, StoreError> {
        self.updating()?;
        let _alone = self.locks.exclude_readers(self.options.wait_for_readers)?;
        for name in &plan.refs {
            self.remove_ref(name)?;
        }
        let held = self.held(&PruneRequest::default())?;
        let ingesting = self.ingesting.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut pruned = Pruned::default();
        for Prunable { object, bytes } in &plan.objects {
            let gone = match object {
                Object::Blob(digest) if !held.blobs.contains(digest) => self.remove_blob(digest)?,
                Object::Layer(digest) if !held.layers.contains(digest) => self.remove_layer(digest)?,
                Object::Partial(digest) if !ingesting.contains(digest) => self.forget_partial(digest).map(|()| true)?,
                _ => false,
            };
            if gone {
                pruned.objects += 1;
                pruned.bytes += bytes;
            }
        }
        self.sync_names(&self.blobs())?;
        self.settle()?;
        Ok(pruned)
    }

    fn held(&self, request: &PruneRequest) -> Result<Held, StoreError> {
        let mut held = Held { blobs: request.keep.clone(), layers: request.keep.clone() };
        for name in self.refs()? {
            if !request.refs.contains(&name)
                && let Some(closure) = self.closure(&name)?
            {
                held.layers.extend(closure.all_layers());
                held.blobs.extend(closure.blobs);
            }
        }
        // A damaged layer may be a patch, and its base what it is repaired with.
        if held.layers.iter().any(|layer| layers::kind::is_unclear(self, layer)) {
            held.layers.extend(layers::kind::list(self)?);
        }
        let mut unseen: Vec<Digest> = held.layers.iter().copied().collect();
        while let Some(layer) = unseen.pop() {
            unseen.extend(layers::kind::needs(self, &layer).into_iter().filter(|needed| held.layers.insert(*needed)));
        }
        Ok(held)
    }

    /// Whether there was one. The caller makes it durable.
    pub(crate) fn remove_blob(&self, digest: &Digest) -> Result<bool, StoreError> {
        let path = self.blob_path(digest);
        if !path.exists() {
            return Ok(false);
        }
        durable::remove_tree(&*self.disk, &path).map(|()| true)
    }

    pub(crate) fn remove_layer(&self, diff_id: &Digest) -> Result<bool, StoreError> {
        if !layers::kind::path(self, diff_id).exists() {
            return Ok(false);
        }
        layers::kind::remove(self, diff_id).map(|()| true)
    }
}

/// Bytes that a file or a directory with all that is in it takes; 0 when it has gone meanwhile.
fn on_disk(path: &Path) -> Result<u64, StoreError> {
    let Ok(metadata) = fs::symlink_metadata(path) else { return Ok(0) };
    let taken = |metadata: &Metadata| metadata.blocks().saturating_mul(512);
    let mut bytes = taken(&metadata);
    if metadata.is_dir() {
        for name in durable::entries(path)? {
            bytes += on_disk(&path.join(name))?;
        }
    }
    Ok(bytes)
}
