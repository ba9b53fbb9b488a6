//! A layer as a patch above the stored layer whose place it takes.
//!
//! ```text
//! shown(image of the base above the layers below)  ─┐
//!                                                   ├─ umiak_tree::patch ─ image of the patch
//! shown(what the image would be, above the same)   ─┘
//! ```
//!
//! It is kept so where the base is here and whole, the layers below are here, the two differ in ways that overlayfs can show with
//! contents of the layer alone, and the contents of the patch are at most half of the layer's. Contents that the base's image has are
//! read there; every other one is in the patch or in the skeleton's file, as in a whole layer.
//!
//! The law, which `umiak_tree::patch` keeps: in the stack that the patch is for, nobody can tell it from the whole layer.

use std::collections::{BTreeSet, HashMap};

use umiak_layer::{LayerContent, Survey, lower};
use umiak_spec::{Digest, Limits, Observer};
use umiak_tree::{Kind, Metadata, Tree, apply, patch};

use super::ingest::Form;
use super::layer::Layer;
use super::{Keep, LayerOptions, LayerReport, LayerSource, kind};
use crate::error::StoreError;
use crate::store::Store;

/// A patch whose contents are more than the layer's divided by this is not worth it: it keeps its base alive.
const WORTH: u64 = 2;

impl Store {
    /// What is to be written of a layer that was surveyed. `tree` is the layer as a tree of its own.
    pub(crate) fn form<'a>(
        &self,
        survey: &'a Survey,
        tree: Tree<LayerContent>,
        keep: &Keep,
        options: &LayerOptions,
        observer: &dyn Observer,
    ) -> Result<Form<'a>, StoreError> {
        if let Keep::Patch { base, below } = keep
            && let Some(Patched { tree, held }) = self.patch(&tree, base, below, &options.limits, observer)?
        {
            return Ok(Form { survey, tree, below: held, above: Some((*base, below.clone())) });
        }
        Ok(Form { survey, tree, below: HashMap::new(), above: None })
    }

    /// The patch; `None` when there is none or it is not worth it.
    fn patch(
        &self,
        target: &Tree<LayerContent>,
        base: &Digest,
        below: &[Digest],
        limits: &Limits,
        observer: &dyn Observer,
    ) -> Result<Option<Patched>, StoreError> {
        let base = match self.layer(base, limits) {
            Ok(Some(layer)) if layer.record().is_whole() => layer,
            // A damaged base is for a check to tell; this layer does without.
            Ok(_) | Err(StoreError::DamagedLayer { .. } | StoreError::Squashfs { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut shown = Tree::empty(Metadata::root_owned(0o755));
        for diff_id in below {
            let Some(layer) = self.layer(diff_id, limits)? else { return Ok(None) };
            let tree = own_tree(&layer, limits, observer)?;
            shown = apply(&shown, &tree).map_err(|error| stack(diff_id, error))?;
        }
        let base_tree = own_tree(&base, limits, observer)?;
        let whole = weight(target);
        // What cannot be a patch is kept whole: that is no failure.
        let Ok(patched) = patch(shown, base_tree, target.clone()) else { return Ok(None) };
        if weight(&patched.tree).saturating_mul(WORTH) > whole {
            return Ok(None);
        }
        Ok(Some(Patched { tree: patched.tree, held: held(&base) }))
    }

    /// Keeps a layer that is here in another form: a patch becomes whole when its base is to go or it is wanted above other layers, a
    /// whole layer becomes a patch. One that is kept so already is left as it is. Nothing else is needed than what is stored.
    ///
    /// # Errors
    /// [`StoreError::NoLayer`]; [`StoreError::DamagedLayer`]; as [`Store::ingest_layer`]: what was here is left as it is then.
    pub fn convert_layer(
        &self,
        diff_id: &Digest,
        keep: &Keep,
        options: &LayerOptions,
        observer: &dyn Observer,
    ) -> Result<LayerReport, StoreError> {
        self.updating()?;
        let layer = self.layer(diff_id, &options.limits)?.ok_or(StoreError::NoLayer(*diff_id))?;
        let record = layer.record();
        let is_kept_so = match keep {
            Keep::Whole => record.is_whole(),
            Keep::Patch { base, below } => record.base.as_ref() == Some(base) && record.below == *below,
        };
        // A base is no patch, and a layer is no patch of itself.
        let stays = match keep {
            Keep::Whole => false,
            Keep::Patch { base, .. } => base == diff_id || !kind::patches_of(self, diff_id)?.is_empty(),
        };
        if is_kept_so || stays {
            return Ok(LayerReport { record: record.clone(), was_here: true, copied_bytes: 0 });
        }
        let layer = std::sync::Arc::new(layer);
        self.replace_layer(diff_id, &layer as &dyn LayerSource, keep, options, observer)
    }
}

/// A patch that is to be written.
struct Patched {
    tree: Tree<LayerContent>,
    /// Which file of the base's image has each content.
    held: HashMap<Digest, u32>,
}

/// What the layer is by itself, in whichever form it is kept.
fn own_tree(layer: &Layer, limits: &Limits, observer: &dyn Observer) -> Result<Tree<LayerContent>, StoreError> {
    let diff_id = layer.record().diff_id;
    lower(&layer.index(observer)?, 0, limits).map_err(|source| StoreError::Stack { diff_id, source })
}

fn stack(diff_id: &Digest, error: umiak_tree::TreeError) -> StoreError {
    StoreError::Stack { diff_id: *diff_id, source: error.into() }
}

/// Bytes of the distinct contents of a tree.
fn weight(tree: &Tree<LayerContent>) -> u64 {
    let files = tree.inodes().filter_map(|(_, inode)| match &inode.kind {
        Kind::File(content) => Some((content.digest, content.size)),
        _ => None,
    });
    files.collect::<BTreeSet<_>>().iter().map(|(_, size)| size).sum()
}

/// The files of a whole layer's image, by digest.
fn held(layer: &Layer) -> HashMap<Digest, u32> {
    let contents = layer.skeleton().contents.iter().enumerate();
    contents.filter_map(|(number, content)| Some((content.digest, layer.inode(number)?))).collect()
}
