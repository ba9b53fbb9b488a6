//! What to mount for a stack of layers.
//!
//! The law: mounting what [`Store::root`] names with overlayfs shows exactly the tree that the layers mean together
//! ([`umiak_layer::flatten`], [`umiak_layer::as_shown`]). Most stacks are their images, one above the other. Where that would show
//! something else, the difference is written once as one more image, to lie on top; whether that is needed is not
//! guessed but found by comparing both trees, and remembered for the images at hand.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use umiak_layer::{LayerContent, LayerIndex, as_shown, flatten, lower};
use umiak_spec::{Digest, Observer, Sha256};
use umiak_tree::{OverlayError, OverlayOptions, Tree, apply, changeset};

use super::LayerOptions;
use super::files::{self, IMAGE};
use super::kind;
use super::marks;
use super::record::{FileRecord, LayerRecord};
use super::top;
use crate::durable;
use crate::error::StoreError;
use crate::sealed;
use crate::store::Store;

/// What was found for a stack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct StackRecord {
    /// The images, bottom first.
    pub(crate) images: Vec<Digest>,
    /// What lies on top of them.
    pub(crate) top: Option<FileRecord>,
}

/// One image of a stack.
struct Image {
    path: PathBuf,
    digest: Digest,
}

impl Store {
    /// The images to stack with overlayfs for these layers (bottom first), the topmost image first. Where the store is open
    /// for changes, what is missing for it is made.
    ///
    /// # Errors
    /// [`StoreError::NoLayer`]; [`StoreError::Stack`] for layers that make no tree; [`StoreError::Overlay`] for a tree that overlayfs
    /// cannot show; [`StoreError::DamagedLayer`]; the file system.
    pub fn root(
        &self,
        diff_ids: &[Digest],
        options: &LayerOptions,
        observer: &dyn Observer,
    ) -> Result<Vec<PathBuf>, StoreError> {
        let Some(last) = diff_ids.last() else { return Ok(Vec::new()) };
        let records = self.stack_records(diff_ids)?;
        let images = self.images(diff_ids, &records)?;
        let (document, top) = places(self, diff_ids, last);
        let digests: Vec<Digest> = images.iter().map(|image| image.digest).collect();
        let found = match known(&document, &digests, &top)? {
            Some(found) => found,
            None => self.find_top(diff_ids, &records, digests, options, observer)?,
        };
        let mut paths: Vec<PathBuf> = images.into_iter().rev().map(|image| image.path).collect();
        if found.top.is_some() {
            paths.insert(0, top);
        }
        Ok(paths)
    }

    fn stack_records(&self, diff_ids: &[Digest]) -> Result<Vec<LayerRecord>, StoreError> {
        let record = |diff_id: &Digest| self.layer_record(diff_id)?.ok_or(StoreError::NoLayer(*diff_id));
        diff_ids.iter().map(record).collect()
    }

    /// The images of the layers, bottom first.
    fn images(&self, diff_ids: &[Digest], records: &[LayerRecord]) -> Result<Vec<Image>, StoreError> {
        let mut images = Vec::with_capacity(records.len());
        let image = |diff_id: &Digest, digest| Image { path: files::place(self, diff_id, IMAGE), digest };
        for (number, record) in records.iter().enumerate() {
            if let Some(base) = record.base {
                if record.below != diff_ids[..number] {
                    let why = "it is a patch for other layers below".to_owned();
                    return Err(StoreError::DamagedLayer { diff_id: record.diff_id, why });
                }
                let whole = self.layer_record(&base)?.ok_or(StoreError::NoLayer(base))?;
                images.push(image(&base, whole.image.digest));
            }
            images.push(image(&record.diff_id, record.image.digest));
        }
        Ok(images)
    }

    /// Compares what would be shown with what is meant, makes the top if there must be one, and remembers it.
    fn find_top(
        &self,
        diff_ids: &[Digest],
        records: &[LayerRecord],
        images: Vec<Digest>,
        options: &LayerOptions,
        observer: &dyn Observer,
    ) -> Result<StackRecord, StoreError> {
        let last = diff_ids.last().copied().ok_or(StoreError::NoLayer(Digest::of(&[])))?;
        let stack = Stack { store: self, records, options, observer };
        let top = stack.difference(last)?;
        let (document, place) = places(self, diff_ids, &last);
        let top = match top {
            None => None,
            Some(tree) => {
                let staged = self.stage_file()?;
                top::write(self, &staged, &tree, records, options, observer)?;
                let record = files::hash(staged.path(), observer)?;
                staged.publish(&place)?;
                // What is said of it must not be there without it.
                self.sync_names(durable::parent(&place))?;
                Some(record)
            }
        };
        let found = StackRecord { images, top };
        let mut json = serde_json::to_vec(&found).expect("numbers and digests are JSON");
        json.push(b'\n');
        self.write_sealed(&document, &json)?;
        Ok(found)
    }
}

/// Document and top of a stack.
fn places(store: &Store, diff_ids: &[Digest], last: &Digest) -> (PathBuf, PathBuf) {
    let chain = chain_id(diff_ids).hex();
    let directory = kind::path(store, last);
    (directory.join(format!("{chain}.stack")), directory.join(format!("{chain}.top")))
}

/// The chain ID of the OCI image specification.
pub(crate) fn chain_id(diff_ids: &[Digest]) -> Digest {
    let mut layers = diff_ids.iter();
    let first = layers.next().copied().unwrap_or_else(|| Digest::of(&[]));
    layers.fold(first, |chain, layer| {
        let mut hash = Sha256::new();
        hash.update(format!("sha256:{} sha256:{}", chain.hex(), layer.hex()).as_bytes());
        hash.finish()
    })
}

/// What was found before, if that was for these images and is still there.
fn known(document: &Path, images: &[Digest], top: &Path) -> Result<Option<StackRecord>, StoreError> {
    let body = match sealed::read(document) {
        Ok(Some(body)) => body,
        // It can be found again.
        Ok(None) | Err(StoreError::DamagedDocument { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    let Ok(found) = serde_json::from_slice::<StackRecord>(&body) else { return Ok(None) };
    let length = |path: &Path| File::open(path).and_then(|file| file.metadata()).map(|metadata| metadata.len()).ok();
    let there = found.top.is_none_or(|record| length(top) == Some(record.bytes));
    Ok(Some(found).filter(|found| found.images == images && there))
}

/// Layers whose trees are compared.
struct Stack<'a> {
    store: &'a Store,
    records: &'a [LayerRecord],
    options: &'a LayerOptions,
    observer: &'a dyn Observer,
}

impl Stack<'_> {
    /// What has to lie on top; nothing when the images show what is meant.
    fn difference(&self, last: Digest) -> Result<Option<Tree<LayerContent>>, StoreError> {
        let stack = |source| StoreError::Stack { diff_id: last, source };
        let overlay = |source| StoreError::Overlay { diff_id: last, source };
        let limits = &self.options.limits;
        let mut indexes: Vec<LayerIndex> = Vec::with_capacity(self.records.len());
        let mut trees = Vec::new();
        for (number, record) in (0_u32..).zip(self.records) {
            self.observer.check()?;
            let layer = self.store.layer(&record.diff_id, limits)?.ok_or(StoreError::NoLayer(record.diff_id))?;
            let index = layer.index(self.observer)?;
            match record.base {
                None => trees.push(lower(&index, number, limits).map_err(stack)?),
                Some(base) => {
                    let base = self.store.layer(&base, limits)?.ok_or(StoreError::NoLayer(base))?;
                    trees.push(lower(&base.index(self.observer)?, number, limits).map_err(stack)?);
                    trees.push(top::tree_of(&Arc::new(layer), number)?);
                }
            }
            indexes.push(index);
        }
        let meant = flatten(&indexes.iter().collect::<Vec<_>>(), limits).map_err(stack)?;
        drop(indexes);
        let meant = as_shown(meant).map_err(|source| stack(source.into()))?;
        let mut shown = None;
        for tree in &trees {
            let above = match shown {
                None => Tree::empty(tree.inode(umiak_tree::InodeId::ROOT).metadata.clone()),
                Some(shown) => shown,
            };
            shown = Some(apply(&above, tree).map_err(|source| stack(source.into()))?);
        }
        let Some(shown) = shown else { return Ok(None) };
        let upper = changeset(&shown, &meant, OverlayOptions::default()).map_err(overlay)?;
        let bare = marks::bare(&trees);
        if upper.is_empty() && bare.is_empty() {
            return Ok(None);
        }
        marks::with_directories(upper.tree, &meant, &bare).map(Some).map_err(|error| overlay(OverlayError::from(error)))
    }
}
