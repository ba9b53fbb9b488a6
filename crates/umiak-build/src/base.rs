//! A squashfs image at hand: its tree, with the digest of every file.
//!
//! Guarantees: the digests are those of the very file that was opened (its SHA-256 is the key of the content list).
//! When no list is kept, as with an image that another tool made, every file is read once and the list is kept.

use std::fs::File;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use umiak_spec::{Digest, Limits, Observer, Verified};
use umiak_squashfs::{Base, Digests, Image, StoredContent};
use umiak_tree::{Content, Kind, Tree};

use crate::cache::{Cache, Entry};
use crate::content_list::{self, Record};
use crate::error::{BuildError, IoContext as _};

/// A file's content in a known image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KnownContent {
    stored: StoredContent,
    digest: Digest,
}

impl Content for KnownContent {
    fn size(&self) -> u64 {
        self.stored.size()
    }

    fn digest(&self) -> Digest {
        self.digest
    }
}

/// An image whose every file is known by digest.
pub(crate) struct KnownImage {
    path: PathBuf,
    image: Arc<Image<File>>,
    bytes: u64,
    stored: Tree<StoredContent>,
    digests: Digests,
}

impl KnownImage {
    /// Opens the image at `path`.
    pub(crate) fn open(
        path: &Path,
        cache: &Cache,
        limits: &Limits,
        threads: NonZeroUsize,
        observer: &dyn Observer,
    ) -> Result<Self, BuildError> {
        let wrong = |error| BuildError::unreadable(path, error);
        let file = File::open(path).at("open", path)?;
        let (digest, bytes) = Verified::new(&file).finish().at("read", path)?;
        let image = Arc::new(Image::open(file, limits).map_err(wrong)?);
        let stored = image.tree().map_err(wrong)?;
        let kept = cache.get(Entry::Contents(digest)).and_then(|list| content_list::decode(&list, digest));
        let digests = match kept.and_then(|records| match_records(&stored, &records)) {
            Some(digests) => digests,
            None => {
                let digests = image.digests(&stored, threads, observer).map_err(wrong)?;
                keep(cache, digest, &stored, |id, _| digests.get(id));
                digests
            }
        };
        Ok(Self { path: path.to_owned(), image, bytes, stored, digests })
    }

    /// Where the image is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Length of the image file.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Plain bytes of all distinct contents.
    pub(crate) fn plain_bytes(&self) -> u64 {
        let sizes = self.stored.inodes().filter_map(|(_, inode)| match &inode.kind {
            Kind::File(content) => Some(content.size()),
            _ => None,
        });
        sizes.sum()
    }

    /// The file tree, comparable with others.
    pub(crate) fn tree(&self) -> Result<Tree<KnownContent>, BuildError> {
        self.stored.clone().try_map(|id, stored| match self.digests.get(id) {
            Some(digest) => Ok(KnownContent { stored, digest }),
            None => Err(BuildError::Refused(format!("{} has a file without a digest", self.path.display()))),
        })
    }

    /// The image as a base to copy compressed blocks from.
    pub(crate) fn base(&self) -> Base {
        Base::new(Arc::clone(&self.image), &self.stored, &self.digests)
    }
}

/// Keeps the content list of an image whose tree is known. Failing to keep it costs time later, nothing else.
pub(crate) fn keep<C>(
    cache: &Cache,
    image: Digest,
    tree: &Tree<C>,
    digest: impl Fn(umiak_tree::InodeId, &C) -> Option<Digest>,
) where
    C: HasSize,
{
    let records: Option<Vec<_>> = tree
        .inodes()
        .filter_map(|(id, inode)| match &inode.kind {
            Kind::File(content) => Some((id, content)),
            _ => None,
        })
        .map(|(id, content)| Some(Record { size: content.length(), digest: digest(id, content)? }))
        .collect();
    if let Some(records) = records {
        let _ = cache.put(Entry::Contents(image), &content_list::encode(image, &records));
    }
}

/// Length of a content, whether or not its digest is known.
pub(crate) trait HasSize {
    /// Bytes.
    fn length(&self) -> u64;
}

impl HasSize for StoredContent {
    fn length(&self) -> u64 {
        self.size()
    }
}

impl HasSize for umiak_layer::LayerContent {
    fn length(&self) -> u64 {
        self.size()
    }
}

/// Gives every file inode its record; `None` when the list is not about this tree.
fn match_records(tree: &Tree<StoredContent>, records: &[Record]) -> Option<Digests> {
    let mut records = records.iter();
    let digests = tree
        .inodes()
        .map(|(_, inode)| match &inode.kind {
            Kind::File(stored) => {
                let record = records.next().filter(|record| record.size == stored.size())?;
                Some(Some(record.digest))
            }
            _ => Some(None),
        })
        .collect::<Option<Digests>>()?;
    records.next().is_none().then_some(digests)
}
