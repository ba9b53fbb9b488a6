//! Writing the file: lists first, then the project, then blobs by digest.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use umiak_layer::LayerWriter;
use umiak_spec::{DeltaManifest, Digest, Limits, Observer, Platform, media_type};
use umiak_tree::{Metadata, TreePath};

use super::documents::{self, Loaded};
use super::tar::{PHASE, Tar};
use super::{APPS, Carried, CarriedImage, Layers, Piece, naming, project};
use crate::delta::place::Beside;
use crate::error::{BuildError, IoContext as _};

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Bytes of the file.
    pub size: u64,
    /// The compose files that name the images as `docker load` does, in the project's directory; none in a file that
    /// carries deltas.
    pub overrides: Vec<(Platform, String)>,
}

/// Writes the file at `place`, which is replaced when it is whole. A file that is not [`Carried::is_loadable`] has neither
/// the list for `docker load` nor the project's directory.
///
/// # Errors
/// [`BuildError`]; what was at `place` before is there still.
pub fn write(carried: &Carried, place: &Path, limits: &Limits, observer: &dyn Observer) -> Result<Written, BuildError> {
    let blobs = blobs(carried)?;
    observer.expect(PHASE, blobs.values().map(|piece| piece.blob.size).sum());
    let beside = Beside::create(place)?;
    let out = BufWriter::with_capacity(256 << 10, &beside.file);
    let mut tar = Tar { writer: LayerWriter::new(out), place, limits, observer };
    tar.small("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    tar.small("index.json", &documents::index(carried, limits)?)?;
    let mut overrides = Vec::new();
    if carried.is_loadable() {
        tar.small("manifest.json", &documents::docker_manifest(&loaded(carried)))?;
        overrides = project(&mut tar, carried)?;
    }
    for (digest, piece) in &blobs {
        tar.blob(&documents::blob_name(digest), piece)?;
    }
    tar.finish()?;
    let size = beside.file.metadata().at("look at", place)?.len();
    beside.commit()?;
    Ok(Written { size, overrides })
}

/// Everything that lies under its digest, each once.
fn blobs(carried: &Carried) -> Result<BTreeMap<Digest, Piece>, BuildError> {
    let mut blobs = BTreeMap::new();
    let mut put = |piece: Piece| drop(blobs.insert(piece.blob.digest, piece));
    put(carried.manifest.clone());
    carried.blobs.iter().cloned().for_each(&mut put);
    for signed in &carried.signed {
        put(signed.manifest.clone());
        signed.blobs.iter().cloned().for_each(&mut put);
    }
    for image in &carried.images {
        image.documents.iter().cloned().for_each(&mut put);
        put(image.config.clone());
        if let Layers::Full(layers) = &image.layers {
            layers.iter().cloned().for_each(&mut put);
        }
        for draft in image.drafts() {
            let (config, bytes) = DeltaManifest::config();
            put(Piece { blob: config, content: Arc::new(bytes.to_vec()) });
            put(Piece::document(media_type::OCI_MANIFEST, draft.manifest.to_bytes()));
            for (part, content) in draft.manifest.parts.iter().zip(&draft.contents) {
                put(Piece { blob: part.blob.clone(), content: Arc::clone(content) });
            }
        }
    }
    Ok(blobs)
}

/// The images as `docker load` wants them named.
fn loaded(carried: &Carried) -> Vec<Loaded> {
    let image = |image: &CarriedImage| {
        let Layers::Full(layers) = &image.layers else { return None };
        let layers = layers.iter().map(|layer| layer.blob.digest).collect();
        Some(Loaded { name: image.loaded_name()?, config: image.config.blob.digest, layers })
    };
    // An image for arm/v6 may serve arm/v7, too.
    let mut names = BTreeSet::new();
    carried.images.iter().filter_map(image).filter(|image| names.insert(image.name.clone())).collect()
}

/// The project's directory, with the compose files that name its images as `docker load` does.
fn project<W: Write>(tar: &mut Tar<'_, W>, carried: &Carried) -> Result<Vec<(Platform, String)>, BuildError> {
    let (limits, observer) = (tar.limits, tar.observer);
    let root = format!("{APPS}/{}", carried.name);
    for directory in [APPS, &root] {
        tar.directory(&tar.path(directory.as_bytes())?, &Metadata::root_owned(0o755))?;
    }
    let below = |path: &TreePath| [root.as_bytes(), b"/", path.as_bytes()].concat();
    project::each(&carried.project, limits, observer, |entry, content| {
        let path = tar.path(&below(&entry.path))?;
        tar.entry(&path, entry, content, below)
    })?;
    let names = project::names(&carried.project, limits, observer)?;
    let overrides = naming::overrides(carried, &names);
    for file in &overrides {
        tar.small(&format!("{root}/{}", file.name), file.text.as_bytes())?;
    }
    Ok(overrides.into_iter().map(|file| (file.platform, file.name)).collect())
}
