//! Which stored layer's compressed blocks stand in for compressing the same contents again.
//!
//! The layer that has most bytes of the new one's contents in its image. It is used only if its image is as it was written, and
//! its blocks are what compressing would give now: then the new image is the same with and without it.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::sync::Arc;

use umiak_layer::Survey;
use umiak_spec::{Digest, Observer};
use umiak_squashfs::{Base, BaseMatch, Digests, ImageWriter};

use super::LayerOptions;
use super::files::{self, IMAGE};
use super::layer::Layer;
use crate::error::StoreError;
use crate::store::Store;

/// Fewer bytes in common are not worth opening a layer.
const WORTH: u64 = 64 << 10;

impl Store {
    /// The best base for a layer, if there is any.
    pub(crate) fn find_base(
        &self,
        survey: &Survey,
        options: &LayerOptions,
        observer: &dyn Observer,
    ) -> Result<Option<Base>, StoreError> {
        let contents = self.contents(&options.limits)?;
        let mut common: BTreeMap<Digest, u64> = BTreeMap::new();
        for content in &survey.skeleton.contents {
            let mut last = None;
            for holder in contents.holders(&content.digest).filter(|holder| *holder != survey.index.diff_id) {
                if last.replace(holder) != Some(holder) {
                    *common.entry(holder).or_default() += content.size;
                }
            }
        }
        drop(contents);
        let best = common.into_iter().filter(|(_, bytes)| *bytes >= WORTH).max_by_key(|(_, bytes)| *bytes);
        let Some((diff_id, _)) = best else { return Ok(None) };
        match self.base(&diff_id, options, observer) {
            Err(error @ StoreError::Cancelled(_)) => Err(error),
            // A layer that cannot be read is for a check to tell; this one is compressed.
            found => Ok(found.unwrap_or(None)),
        }
    }

    fn base(
        &self,
        diff_id: &Digest,
        options: &LayerOptions,
        observer: &dyn Observer,
    ) -> Result<Option<Base>, StoreError> {
        let Some(layer) = self.layer(diff_id, &options.limits)? else { return Ok(None) };
        if files::hash(&files::place(self, diff_id, IMAGE), observer)? != layer.record().image {
            return Ok(None);
        }
        let squashfs = |source| StoreError::Squashfs { diff_id: *diff_id, file: IMAGE, source };
        let probe = ImageWriter::new(Cursor::new(Vec::new()), &options.image()).map_err(squashfs)?;
        let probe = probe.with_base(base_of(&layer)).map_err(squashfs)?;
        Ok((probe.base_match() == Some(BaseMatch::Same)).then(|| base_of(&layer)))
    }
}

fn base_of(layer: &Layer) -> Base {
    let mut digests = vec![None; layer.tree().len()];
    for (number, content) in layer.skeleton().contents.iter().enumerate() {
        let place = layer.inode(number).and_then(|inode| digests.get_mut(inode as usize));
        if let Some(place) = place {
            *place = Some(content.digest);
        }
    }
    Base::new(Arc::clone(layer.image()), layer.tree(), &Digests::from_iter(digests))
}
