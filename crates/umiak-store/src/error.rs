//! What can go wrong in the store, and the little that ties an `io::Error` to what was attempted.

use std::io;
use std::path::{Path, PathBuf};

use umiak_delta::DeltaError;
use umiak_layer::LayerError;
use umiak_spec::{Cancelled, Digest};
use umiak_tree::{OverlayError, StackError};

use crate::closure::Missing;

/// Why an operation of the store failed. Unless a variant says otherwise the store is as it was before.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The system refused something.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was attempted: `read`, `create`, …
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The directory holds something else than a store, or nothing and nobody asked to make one.
    #[error("{} is not a store of umiak", .0.display())]
    NotAStore(PathBuf),
    /// The store was made by a later umiak, in a way that this one cannot use.
    #[error("the store {} needs {}, which this umiak does not know", path.display(), needs.join(", "))]
    TooNew {
        /// The store.
        path: PathBuf,
        /// The version or the features, as the format file names them.
        needs: Vec<String>,
    },
    /// Another process has the store.
    #[error("the store {} is in use{}", path.display(), holder.map_or_else(String::new, |pid| format!(" by process {pid}")))]
    Busy {
        /// The store.
        path: PathBuf,
        /// The process that updates, where that is known.
        holder: Option<u32>,
    },
    /// A change was asked of a store that was opened for reading.
    #[error("the store was opened for reading")]
    OpenedForReading,
    /// Not a name for a ref or a record: see [`crate::Name`].
    #[error("`{0}` cannot be the name of a ref or record")]
    BadName(String),
    /// A document of the store (a ref, a record) and its copy are both damaged.
    #[error("{} is damaged, and so is its copy: {why}", path.display())]
    DamagedDocument {
        /// The first of the two files.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A blob's bytes are not what its name says. Nothing was made of them.
    #[error("the bytes of {} are wrong: their digest is {}", wanted.short(), found.short())]
    WrongDigest {
        /// The digest that was promised.
        wanted: Digest,
        /// The digest of what came.
        found: Digest,
    },
    /// A blob has another length than was promised.
    #[error("{} has {found} bytes, expected {wanted}", digest.short())]
    WrongLength {
        /// The blob.
        digest: Digest,
        /// The length that was promised.
        wanted: u64,
        /// What came; one more than `wanted` stands for any more.
        found: u64,
    },
    /// Something is larger than its limit.
    #[error("{what} has more than {limit} bytes")]
    TooLarge {
        /// What.
        what: String,
        /// The limit in bytes.
        limit: u64,
    },
    /// A blob that another thread is ingesting.
    #[error("{} is being ingested already", .0.short())]
    BeingIngested(Digest),
    /// A write of this ingest failed: it has to be opened again.
    #[error("an earlier write of {} failed", .0.short())]
    Broken(Digest),
    /// A ref was refused because not all that it names is here.
    #[error("{} of its objects are missing, the first is {}", .0.count(), .0.first())]
    Incomplete(Missing),
    /// There is less space than was to be reserved.
    #[error("cannot reserve {wanted} bytes: {free} are free")]
    NoSpace {
        /// Bytes that were to be reserved.
        wanted: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// Space is reserved already; there is one reservation at a time.
    #[error("space is reserved already")]
    AlreadyReserved,
    /// A layer that came is no layer that can be kept, or could not be read.
    #[error("cannot take in layer {}", diff_id.short())]
    Layer {
        /// Its diff ID.
        diff_id: Digest,
        /// What is wrong with it.
        source: LayerError,
    },
    /// Layers that cannot be stacked.
    #[error("the layers up to {} make no tree", diff_id.short())]
    Stack {
        /// The topmost one.
        diff_id: Digest,
        /// Why.
        source: StackError,
    },
    /// Layers whose tree overlayfs cannot show.
    #[error("the layers up to {} cannot be mounted", diff_id.short())]
    Overlay {
        /// The topmost one.
        diff_id: Digest,
        /// Why.
        source: OverlayError,
    },
    /// A squashfs image of a layer could not be written or read.
    #[error("cannot use {} of layer {}", file, diff_id.short())]
    Squashfs {
        /// The layer.
        diff_id: Digest,
        /// Which file of it.
        file: &'static str,
        /// Why not.
        source: umiak_squashfs::Error,
    },
    /// A layer that is here is not what it was when it was taken in.
    #[error("layer {} is damaged: {why}", diff_id.short())]
    DamagedLayer {
        /// The layer.
        diff_id: Digest,
        /// What is wrong, in one clause.
        why: String,
    },
    /// A delta that is damaged, of other bases, or whose sources cannot be read.
    #[error("cannot make layer {} by its delta", diff_id.short())]
    Delta {
        /// The layer that was to be made.
        diff_id: Digest,
        /// Why not.
        source: Box<DeltaError>,
    },
    /// Contents that a delta starts from and that are nowhere in the store.
    #[error("{count} files that the delta to layer {} starts from are not here", diff_id.short())]
    MissingContents {
        /// The layer that was to be made.
        diff_id: Digest,
        /// How many.
        count: usize,
        /// Their bytes.
        bytes: u64,
    },
    /// A delta to a blob that is damaged, or whose source cannot be read.
    #[error("cannot make the object {} by its delta", digest.short())]
    BlobDelta {
        /// The blob that was to be made.
        digest: Digest,
        /// Why not.
        source: Box<DeltaError>,
    },
    /// The squashfs image that a delta starts from or makes.
    #[error("cannot put the object {} together", digest.short())]
    BlobImage {
        /// The blob that was to be made.
        digest: Digest,
        /// Why not.
        source: Box<umiak_squashfs::Error>,
    },
    /// A delta to a blob takes more of the disk than it may: [`crate::Room`].
    #[error("the object {} cannot be made: {what} would take more than the {limit} bytes that were counted for it", digest.short())]
    Exceeds {
        /// The blob that was to be made.
        digest: Digest,
        /// What is too large.
        what: &'static str,
        /// Bytes that it may have.
        limit: u64,
    },
    /// What a delta starts from is here, and is not what its name says.
    #[error("the object {} cannot be made: {}, which its delta starts from, is damaged", digest.short(), base.short())]
    DamagedBase {
        /// The blob that was to be made.
        digest: Digest,
        /// The blob that is damaged.
        base: Digest,
    },
    /// A blob that is not here.
    #[error("blob {} is not here", .0.short())]
    NoBlob(Digest),
    /// A layer that is not here.
    #[error("layer {} is not here", .0.short())]
    NoLayer(Digest),
    /// The work was stopped on request.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

impl StoreError {
    /// Whether the disk is full: no bytes, no inodes or no quota left.
    #[must_use]
    pub fn is_full(&self) -> bool {
        use io::ErrorKind::{QuotaExceeded, StorageFull};
        matches!(self, Self::NoSpace { .. }) || is_caused(self, &|kind| matches!(kind, StorageFull | QuotaExceeded))
    }

    /// Whether the file system does not let itself be written to.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        use io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem};
        is_caused(self, &|kind| matches!(kind, ReadOnlyFilesystem | PermissionDenied))
    }
}

/// Whether what the system said, under whatever it was wrapped in, is such a kind.
fn is_caused(error: &(dyn std::error::Error + 'static), kind: &dyn Fn(io::ErrorKind) -> bool) -> bool {
    if let Some(said) = error.downcast_ref::<io::Error>() {
        if kind(said.kind()) {
            return true;
        }
        if let Some(inside) = said.get_ref() {
            return is_caused(inside, kind);
        }
    }
    error.source().is_some_and(|source| is_caused(source, kind))
}

/// Adds what was attempted to an `io::Result`.
pub(crate) trait IoContext<T> {
    fn at(self, action: &'static str, path: &Path) -> Result<T, StoreError>;
}

impl<T> IoContext<T> for io::Result<T> {
    fn at(self, action: &'static str, path: &Path) -> Result<T, StoreError> {
        self.map_err(|source| StoreError::Io { action, path: path.to_owned(), source })
    }
}
