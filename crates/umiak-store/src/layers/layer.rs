//! A stored layer that is open: its contents at random, its skeleton, its tar, what it means.
//!
//! Memory: about 250 bytes a file, and the blocks that squashfs readers keep (2 MiB each, three of them at most).

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use umiak_layer::{Archive, LayerError, LayerIndex, Skeleton, reindex};
use umiak_spec::{Digest, Limits, Observer, Sha256};
use umiak_squashfs::StoredContent;
use umiak_tree::{InodeId, Kind, Tree, TreePath};

use super::LayerSource;
use super::content::Content;
use super::files::{self, CHECKING, IMAGE, OpenImage, SKELETON};
use super::kind;
use super::record::LayerRecord;
use super::skeleton::{self, Rest};
use super::table::Place;
use crate::error::StoreError;
use crate::store::Store;

/// A layer that is open for reading.
pub struct Layer {
    record: LayerRecord,
    rest: Rest,
    image: Mounted,
    base: Option<Mounted>,
    limits: Limits,
}

/// An image and its tree.
pub(crate) struct Mounted {
    pub(crate) image: OpenImage,
    pub(crate) tree: Tree<StoredContent>,
    /// Inodes by number.
    pub(crate) ids: Vec<InodeId>,
}

impl Mounted {
    pub(crate) fn open(directory: &Path, diff_id: &Digest, limits: &Limits) -> Result<Self, StoreError> {
        let image = files::open(directory, diff_id, IMAGE, limits)?;
        let tree = image.tree().map_err(|source| StoreError::Squashfs { diff_id: *diff_id, file: IMAGE, source })?;
        let ids = tree.inodes().map(|(id, _)| id).collect();
        Ok(Self { image, tree, ids })
    }

    /// The content of file number `inode`.
    pub(crate) fn content(&self, inode: u32) -> Option<Content> {
        let id = self.ids.get(usize::try_from(inode).ok()?)?;
        match &self.tree.inode(*id).kind {
            Kind::File(stored) => Some(Content::in_image(&self.image, stored.clone())),
            _ => None,
        }
    }
}

impl Store {
    /// Opens the layer `diff_id`; `None` when it is not here.
    ///
    /// # Errors
    /// It is damaged in a way that shows at once; the file system.
    pub fn layer(&self, diff_id: &Digest, limits: &Limits) -> Result<Option<Layer>, StoreError> {
        let Some(record) = self.layer_record(diff_id)? else { return Ok(None) };
        self.layer_at(&kind::path(self, diff_id), record, limits).map(Some)
    }

    /// The layer in a directory, which need not have its name yet.
    pub(crate) fn layer_at(&self, directory: &Path, record: LayerRecord, limits: &Limits) -> Result<Layer, StoreError> {
        let rest = Rest::open(directory, &record.diff_id, limits)?;
        let image = Mounted::open(directory, &record.diff_id, limits)?;
        let base = record.base.map(|base| Mounted::open(&kind::path(self, &base), &base, limits)).transpose()?;
        let layer = Layer { record, rest, image, base, limits: *limits };
        layer.agree()?;
        Ok(layer)
    }

    /// The record of the layer `diff_id`; `None` when it is not here.
    ///
    /// # Errors
    /// [`StoreError::DamagedLayer`]; the file system.
    pub fn layer_record(&self, diff_id: &Digest) -> Result<Option<LayerRecord>, StoreError> {
        files::record(self, diff_id)
    }

    /// The layers that are here, sorted.
    ///
    /// # Errors
    /// The file system.
    pub fn layer_list(&self) -> Result<Vec<Digest>, StoreError> {
        kind::list(self)
    }

    /// The tar of a layer, bit for bit; for a damaged layer what comes is not the layer, or an error.
    ///
    /// # Errors
    /// [`StoreError::NoLayer`]; it is damaged; the file system.
    pub fn layer_reader(&self, diff_id: &Digest, limits: &Limits) -> Result<Box<dyn Read + Send>, StoreError> {
        let layer = self.layer(diff_id, limits)?.ok_or(StoreError::NoLayer(*diff_id))?;
        Ok(Box::new(Arc::new(layer).tar()))
    }
}

impl Layer {
    /// What it is kept as.
    #[must_use]
    pub fn record(&self) -> &LayerRecord {
        &self.record
    }

    /// How the tar is put together. The names of contents are empty.
    #[must_use]
    pub fn skeleton(&self) -> &Skeleton {
        &self.rest.table.skeleton
    }

    /// The skeleton's bytes in the form that deltas see.
    #[must_use]
    pub fn skeleton_bytes(&self) -> Content {
        self.rest.bytes.clone()
    }

    /// Content `number` of the tar.
    #[must_use]
    pub fn content(&self, number: usize) -> Option<Content> {
        match *self.rest.table.places.get(number)? {
            Place::Own => self.rest.hidden.get(&u32::try_from(number).ok()?).cloned(),
            Place::Image(inode) => self.image.content(inode),
            Place::Base(inode) => self.base.as_ref()?.content(inode),
        }
    }

    /// Whether content `number` lies in the layer's own image.
    pub(crate) fn inode(&self, number: usize) -> Option<u32> {
        match self.rest.table.places.get(number) {
            Some(Place::Image(inode)) => Some(*inode),
            _ => None,
        }
    }

    /// The tree of the image, as it is mounted.
    #[must_use]
    pub fn tree(&self) -> &Tree<StoredContent> {
        &self.image.tree
    }

    /// The content of the image's file number `inode`.
    pub(crate) fn image_content(&self, inode: u32) -> Option<Content> {
        self.image.content(inode)
    }

    /// From now on so many bytes of decompressed blocks of its contents are kept, of a patch twice.
    pub(crate) fn keep(&self, bytes: usize) {
        self.image.image.keep(bytes);
        if let Some(base) = &self.base {
            base.image.keep(bytes);
        }
    }

    pub(crate) fn image(&self) -> &OpenImage {
        &self.image.image
    }

    /// The name under which content `number` is found in the image, for people.
    #[must_use]
    pub fn name(&self, number: usize) -> Option<TreePath> {
        let id = *self.image.ids.get(usize::try_from(self.inode(number)?).ok()?)?;
        self.image.tree.walk().find(|entry| entry.id == id).map(|entry| entry.path)
    }

    /// The uncompressed tar.
    pub fn tar(self: Arc<Self>) -> impl Read + Send + use<> {
        let skeleton = Arc::new(self.skeleton().clone());
        let bytes = self.rest.bytes.reader();
        Archive::new(skeleton, bytes, move |number| self.open_content(number))
    }

    fn open_content<'a>(&self, number: usize) -> io::Result<Box<dyn Read + Send + 'a>> {
        let missing = || io::Error::new(io::ErrorKind::InvalidData, format!("content {number} of the layer is lost"));
        Ok(Box::new(self.content(number).ok_or_else(missing)?.reader()))
    }

    /// What the layer means, made of the skeleton: contents of the image are not read.
    ///
    /// # Errors
    /// [`StoreError::Layer`].
    pub fn index(&self, observer: &dyn Observer) -> Result<LayerIndex, StoreError> {
        self.rest.index(&self.record.diff_id, &self.limits, observer)
    }

    /// Reads the whole tar and compares it with the diff ID.
    ///
    /// # Errors
    /// [`StoreError::DamagedLayer`]; [`StoreError::Cancelled`].
    pub fn verify(self: &Arc<Self>, observer: &dyn Observer) -> Result<(), StoreError> {
        let (mut tar, mut hash, mut piece) = (Arc::clone(self).tar(), Sha256::new(), vec![0; 256 << 10]);
        let damaged = |why: String| StoreError::DamagedLayer { diff_id: self.record.diff_id, why };
        loop {
            observer.check()?;
            match tar.read(&mut piece) {
                Ok(0) => break,
                Ok(count) => {
                    hash.update(&piece[..count]);
                    observer.advance(CHECKING, count as u64);
                }
                Err(error) => return Err(damaged(format!("its tar cannot be read: {error}"))),
            }
        }
        let found = hash.finish();
        if found == self.record.diff_id {
            return Ok(());
        }
        Err(damaged(format!("its tar has the digest {}", found.short())))
    }

    /// The files agree with each other as far as shows without reading contents.
    fn agree(&self) -> Result<(), StoreError> {
        for (number, content) in self.skeleton().contents.iter().enumerate() {
            let found = self.content(number).map(|found| found.size());
            if found != Some(content.size) {
                let why = format!("content {number} is not where its skeleton says");
                return Err(StoreError::DamagedLayer { diff_id: self.record.diff_id, why });
            }
        }
        Ok(())
    }
}

impl LayerSource for Arc<Layer> {
    fn open(&self) -> io::Result<Box<dyn Read + Send + '_>> {
        Ok(Box::new(Arc::clone(self).tar()))
    }
}

impl Rest {
    /// What the layer means.
    pub(crate) fn index(
        &self,
        diff_id: &Digest,
        limits: &Limits,
        observer: &dyn Observer,
    ) -> Result<LayerIndex, StoreError> {
        let skeleton = &self.table.skeleton;
        let open = |number: usize| -> io::Result<Box<dyn Read + Send + '_>> {
            let own = u32::try_from(number).ok().and_then(|number| self.hidden.get(&number));
            Ok(match own {
                Some(content) => Box::new(content.reader()),
                None => Box::new(io::repeat(0)),
            })
        };
        let bare = Archive::new(skeleton, self.bytes.reader(), open);
        let others: &BTreeMap<u32, Digest> = &self.table.others;
        reindex(bare, skeleton, others, limits, observer).map_err(|error| match error {
            LayerError::Cancelled(cancelled) => cancelled.into(),
            source => StoreError::Layer { diff_id: *diff_id, source },
        })
    }

    /// What is in the skeleton's file, and what is wrong with that.
    pub(crate) fn open(directory: &Path, diff_id: &Digest, limits: &Limits) -> Result<Self, StoreError> {
        let image = files::open(directory, diff_id, SKELETON, limits)?;
        skeleton::read(&image, diff_id)
    }
}
