//! Layers and blobs made by deltas from what is stored. Blobs are in `blob`; of layers the uncompressed tar is never on the disk.
//!
//! ```text
//! delta blob ─┐                                     ┌─ first pass: diff ID
//! base layers ┼─ parts made of it ─ spool ─┐        ├─ second pass: image, skeleton
//!   or names ─┘  parts that stay ──────────┴─ tar ──┘
//!                where they are, in the base's image
//! ```
//!
//! The bases are stored layers, by diff ID; where one of them is not here, its contents by digest, anywhere in the store, if the
//! names of the delta are at hand. Only what the delta makes is spooled, in a file that is gone afterwards.
//!
//! Guarantees: a layer gets its name as [`Store::ingest_layer`] gives it, so what was made was compared with the diff ID. A base that is
//! missing is told before anything is made; a damaged one is a failure, never another layer. Memory: what
//! [`mod@umiak_delta::apply`] takes, the tables of the bases (about 250 bytes a file), and until everything that changed is
//! made 24 MiB of blocks of their images.

mod blob;
mod gathered;
mod image;
mod room;
mod scratch;
mod stored;

use std::io::{self, Read};
use std::sync::Arc;

use umiak_delta::apply::{Spool, SpooledTar, spool};
use umiak_delta::container::{Container, Shape};
use umiak_delta::{Delta, DeltaError, Space};
use umiak_spec::{Digest, Observer, ReadAt};

use crate::error::StoreError;
use crate::layers::{Contents, Keep, Layer, LayerOptions, LayerReport, LayerSource};
use crate::store::Store;
pub use blob::MadeBlob;
use gathered::Gathered;
pub use gathered::NamedSources;
pub use image::SpooledImage;
pub use room::Room;
use scratch::Scratches;
use stored::StoredTar;

/// Bytes of decompressed blocks of all bases that are kept while changed contents are made: a program is made of pieces
/// of another from anywhere in it.
const SOURCES: usize = 24 << 20;

/// A delta that makes a layer.
#[derive(Clone, Copy)]
pub struct LayerDelta<'a> {
    /// The blob, whose digest was compared.
    pub blob: &'a dyn ReadAt,
    /// The names of its sources (docs/formats/delta-artifact.md), whose digest was compared. Needed where a base is not here.
    pub names: Option<&'a dyn ReadAt>,
}

/// A layer that was made by a delta.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// What it is kept as.
    pub layer: LayerReport,
    /// Bytes that lay beside while it was made.
    pub spooled: u64,
}

impl Store {
    /// Makes the layer `diff_id`, which the delta must say that it makes, and takes it in. One that is here already is left as it is.
    ///
    /// # Errors
    /// [`StoreError::NoLayer`] for a base that is not here, and without names; [`StoreError::MissingContents`] with them;
    /// [`StoreError::Delta`]; as [`Store::ingest_layer`]. Nothing of it is left then.
    pub fn apply_delta(
        &self,
        diff_id: &Digest,
        delta: LayerDelta<'_>,
        keep: &Keep,
        options: &LayerOptions,
        observer: &dyn Observer,
    ) -> Result<Applied, StoreError> {
        self.updating()?;
        match self.layer_here(diff_id)? {
            Some(layer) => Ok(Applied { layer, spooled: 0 }),
            None => self.replace_by_delta(diff_id, delta, keep, options, observer),
        }
    }

    /// The same in place of what is here of the layer, which is damaged.
    ///
    /// # Errors
    /// As [`Store::apply_delta`]; what was here is left as it is then.
    pub fn replace_by_delta(
        &self,
        diff_id: &Digest,
        delta: LayerDelta<'_>,
        keep: &Keep,
        options: &LayerOptions,
        observer: &dyn Observer,
    ) -> Result<Applied, StoreError> {
        self.updating()?;
        let failed = failing(*diff_id);
        let opened = Delta::open(delta.blob).map_err(&failed)?;
        let target = opened.index().target;
        if target.digest != *diff_id {
            return Err(StoreError::WrongDigest { wanted: *diff_id, found: target.digest });
        }
        if target.shape != Shape::Tar {
            return Err(failed(DeltaError::Malformed("a layer is a tar")));
        }
        let scratches = Scratches::new(self, u64::MAX);
        let wanted: Vec<Digest> = opened.index().bases.iter().map(|base| base.digest).collect();
        let materials = self.materials(diff_id, &wanted, delta.names, &scratches, options, observer)?;
        let bases = materials.containers();
        let space = scratches.file().map_err(|error| failed(error.into()))?;
        materials.keep(SOURCES);
        let spool = spool(&opened, &bases, &space, &scratches, observer).map_err(&failed)?;
        // From here on they are read in order.
        materials.keep(0);
        let tar = Made::new(&spool, &bases, &space).map_err(&failed)?;
        let layer = self.replace_layer(diff_id, &tar, keep, options, observer)?;
        Ok(Applied { layer, spooled: scratches.most() })
    }

    /// What a delta starts from: stored layers, or what its names find.
    fn materials<'s>(
        &'s self,
        diff_id: &Digest,
        wanted: &[Digest],
        names: Option<&dyn ReadAt>,
        scratches: &Scratches,
        options: &LayerOptions,
        observer: &dyn Observer,
    ) -> Result<Materials<'s>, StoreError> {
        let mut stored = Vec::new();
        for base in wanted {
            // One that shows at once that it is damaged is as good as missing: its contents may be elsewhere.
            let layer = match self.layer(base, &options.limits) {
                Err(StoreError::DamagedLayer { .. } | StoreError::Squashfs { .. }) if names.is_some() => None,
                layer => layer?,
            };
            let Some(layer) = layer else {
                let names = names.ok_or(StoreError::NoLayer(*base))?;
                let contents = Arc::new(self.contents(&options.limits)?);
                let gathered = gathered::gather(diff_id, wanted, names, &contents, scratches, options)?;
                return Ok(Materials::Gathered(gathered));
            };
            stored.push(StoredTar::new(Arc::new(layer), observer).map_err(|error| failing(*diff_id)(error.into()))?);
        }
        Ok(Materials::Stored(stored))
    }
}

/// What a delta starts from.
enum Materials<'s> {
    Stored(Vec<StoredTar>),
    Gathered(Vec<Gathered<'s>>),
}

impl Materials<'_> {
    /// From now on about so many bytes of decompressed blocks are kept of all bases together.
    fn keep(&self, bytes: usize) {
        match self {
            Self::Stored(bases) => bases.iter().for_each(|base| base.keep(bytes / bases.len().max(1))),
            Self::Gathered(bases) => bases.iter().for_each(|base| base.keep(bytes)),
        }
    }

    fn containers(&self) -> Vec<&dyn Container> {
        match self {
            Self::Stored(bases) => bases.iter().map(|base| base as &dyn Container).collect(),
            Self::Gathered(bases) => bases.iter().map(|base| base as &dyn Container).collect(),
        }
    }
}

/// The tar that was made, as a source of a layer.
struct Made<'a>(SpooledTar<'a>);

impl<'a> Made<'a> {
    fn new(spool: &'a Spool, bases: &'a [&'a dyn Container], space: &'a dyn Space) -> Result<Self, DeltaError> {
        SpooledTar::new(spool, bases, space).map(Self)
    }
}

impl LayerSource for Made<'_> {
    fn open(&self) -> io::Result<Box<dyn Read + Send + '_>> {
        Ok(Box::new(self.0.reader()))
    }
}

fn failing(diff_id: Digest) -> impl Fn(DeltaError) -> StoreError {
    move |error| match error {
        DeltaError::Cancelled(cancelled) => cancelled.into(),
        source => StoreError::Delta { diff_id, source: Box::new(source) },
    }
}
