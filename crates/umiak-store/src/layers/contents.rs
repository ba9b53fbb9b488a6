//! Every content that is stored, by the first half of its SHA-256.
//!
//! Made of the tables of all layers and the names of all blobs when it is asked for, and held only as long as an update
//! needs it: 24 bytes a content. Layers that cannot be read are left out. It is a picture of its moment: what goes meanwhile is
//! not found.

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use umiak_spec::{Digest, Limits};

use super::content::Content;
use super::files::KEPT;
use super::kind;
use super::layer::Layer;
use super::skeleton::Rest;
use super::table::Place;
use crate::error::StoreError;
use crate::store::Store;

/// Bytes of a digest that a content is looked up by.
pub(crate) const PREFIX: usize = 16;

/// Layers that are kept open between look-ups.
const MOST_OPEN: usize = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    prefix: [u8; PREFIX],
    /// Number of the layer; behind the layers come the blobs.
    holder: u32,
    content: u32,
}

/// See [`Store::contents`].
pub struct Contents<'s> {
    store: &'s Store,
    limits: Limits,
    rows: Vec<Row>,
    layers: Vec<Digest>,
    blobs: Vec<Digest>,
    open: Mutex<BTreeMap<u32, Arc<Layer>>>,
    /// Bytes of blocks that each of them keeps.
    kept: AtomicUsize,
}

impl Store {
    /// An index of everything that is stored.
    ///
    /// # Errors
    /// The file system.
    pub fn contents(&self, limits: &Limits) -> Result<Contents<'_>, StoreError> {
        let (mut layers, mut rows) = (Vec::new(), Vec::new());
        for diff_id in kind::list(self)? {
            let Ok(rest) = Rest::open(&kind::path(self, &diff_id), &diff_id, limits) else { continue };
            let holder = u32::try_from(layers.len()).unwrap_or(u32::MAX);
            for (number, (content, place)) in (0_u32..).zip(rest.table.skeleton.contents.iter().zip(&rest.table.places))
            {
                // What lies in a base is found there.
                if !matches!(place, Place::Base(_)) {
                    rows.push(Row { prefix: prefix(&content.digest), holder, content: number });
                }
            }
            layers.push(diff_id);
        }
        let blobs = self.blob_list()?;
        for (number, digest) in (0_u32..).zip(&blobs) {
            let holder = u32::try_from(layers.len()).unwrap_or(u32::MAX);
            rows.push(Row { prefix: prefix(digest), holder, content: number });
        }
        rows.sort_unstable();
        rows.shrink_to_fit();
        let (open, kept) = (Mutex::default(), AtomicUsize::new(KEPT));
        Ok(Contents { store: self, limits: *limits, rows, layers, blobs, open, kept })
    }
}

pub(crate) fn prefix(digest: &Digest) -> [u8; PREFIX] {
    let mut prefix = [0; PREFIX];
    prefix.copy_from_slice(&digest.as_bytes()[..PREFIX]);
    prefix
}

impl Contents<'_> {
    /// How many there are, each counted as often as it is stored.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Nothing is stored.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// A content whose SHA-256 begins with `prefix`, and the digest that it should have. It was not read to see whether it has.
    #[must_use]
    pub fn find(&self, prefix: &[u8; PREFIX]) -> Option<(Digest, Content)> {
        self.all(prefix).next()
    }

    /// All places where such a content is stored, one after the other.
    pub fn all(&self, prefix: &[u8; PREFIX]) -> impl Iterator<Item = (Digest, Content)> {
        self.rows_of(prefix).iter().filter_map(|row| self.open(row))
    }

    /// Whether a content of this name is stored, by a look that opens nothing.
    #[must_use]
    pub fn has(&self, prefix: &[u8; PREFIX]) -> bool {
        !self.rows_of(prefix).is_empty()
    }

    /// From now on so many bytes of decompressed blocks are kept of all layers together.
    pub(crate) fn keep(&self, bytes: usize) {
        let each = bytes / MOST_OPEN;
        self.kept.store(each, Ordering::Relaxed);
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.values().for_each(|layer| layer.keep(each));
    }

    fn rows_of(&self, prefix: &[u8; PREFIX]) -> &[Row] {
        let start = self.rows.partition_point(|row| row.prefix < *prefix);
        let end = self.rows.partition_point(|row| row.prefix <= *prefix);
        &self.rows[start..end]
    }

    /// The layers that have a content of this digest.
    pub(crate) fn holders(&self, digest: &Digest) -> impl Iterator<Item = Digest> {
        self.rows_of(&prefix(digest)).iter().filter_map(|row| self.layers.get(row.holder as usize).copied())
    }

    /// A layer that has a content of this name.
    pub(crate) fn holder(&self, prefix: &[u8; PREFIX]) -> Option<Digest> {
        self.rows_of(prefix).iter().find_map(|row| self.layers.get(row.holder as usize).copied())
    }

    fn open(&self, row: &Row) -> Option<(Digest, Content)> {
        let Some(diff_id) = self.layers.get(row.holder as usize) else {
            let digest = *self.blobs.get(row.content as usize)?;
            let file = File::open(self.store.blob_path(&digest)).ok()?;
            let size = file.metadata().ok()?.len();
            return Some((digest, Content::blob(file, size)));
        };
        let layer = self.layer(row.holder, diff_id)?;
        let number = row.content as usize;
        let digest = layer.skeleton().contents.get(number)?.digest;
        Some((digest, layer.content(number)?))
    }

    fn layer(&self, number: u32, diff_id: &Digest) -> Option<Arc<Layer>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(layer) = open.get(&number) {
            return Some(Arc::clone(layer));
        }
        let layer = Arc::new(self.store.layer(diff_id, &self.limits).ok()??);
        layer.keep(self.kept.load(Ordering::Relaxed));
        if open.len() >= MOST_OPEN {
            open.pop_first();
        }
        open.insert(number, Arc::clone(&layer));
        Some(layer)
    }
}
