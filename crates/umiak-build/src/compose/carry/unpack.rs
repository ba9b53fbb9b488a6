//! From a file that carries an app to what runs it: the project's directory and an archive for `docker load`.
//!
//! ```text
//! whole image in the file ------------------------------> config, layers as they are --+
//! delta in the file + its base, here or in the daemon --> layers made, verified -------+--> images.tar
//! project in the file, a compose file with the names that `docker load` gives ------------> the app's directory
//! ```
//!
//! Guarantees: what is made has the image ID that the app's publisher pinned; a directory that is there is whole.

use std::collections::{BTreeMap, BTreeSet};
use std::io::BufWriter;
use std::path::Path;

use umiak_layer::LayerWriter;
use umiak_registry::{BlobFile, Image, Source};
use umiak_spec::{Descriptor, Digest, ImageReference, media_type};
use umiak_tree::TreePath;

use super::directory::Fresh;
use super::documents::{self, Loaded};
use super::project::{self, What};
use super::tar::Tar;
use super::{Piece, naming};
use crate::delta::Work;
use crate::delta::place::Beside;
use crate::error::{BuildError, IoContext as _};

/// The archive for `docker load`, in the directory that is unpacked to.
const IMAGES: &str = "images.tar";

/// One image that is wanted.
pub struct Wanted {
    /// Who uses it.
    pub services: Vec<String>,
    /// What it will be called in the daemon.
    pub name: String,
    /// Where it is: in the file, by its manifest's digest.
    pub image: ImageReference,
    /// What it may be made from if it is not whole, in the order in which they are tried.
    pub bases: Vec<ImageReference>,
}

/// What was unpacked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unpacked {
    /// Bytes of the archive for `docker load`.
    pub images_size: u64,
    /// Images in it.
    pub images: usize,
    /// Those of them that were made from deltas.
    pub rebuilt: usize,
    /// The compose file that names the images, in the project's directory.
    pub compose_file: String,
}

/// Fills the directory `place`, which must be absent or empty: `images.tar` and the project in a directory `name`.
///
/// # Errors
/// [`BuildError`]; `place` is as it was.
pub fn unpack(
    work: &Work<'_>,
    name: &str,
    project: &BlobFile,
    wanted: &[Wanted],
    place: &Path,
) -> Result<Unpacked, BuildError> {
    let mut fresh = Fresh::create(place)?;
    let archive = fresh.path().join(IMAGES);
    let (images_size, rebuilt) = images(work, wanted, &archive)?;
    let compose_file = unpack_project(work, name, project, wanted, &mut fresh)?;
    fresh.commit()?;
    Ok(Unpacked { images_size, images: wanted.len(), rebuilt, compose_file })
}

fn unpack_project(
    work: &Work<'_>,
    name: &str,
    project: &BlobFile,
    wanted: &[Wanted],
    fresh: &mut Fresh,
) -> Result<String, BuildError> {
    let (limits, observer) = (&work.limits, work.observer);
    let path = |bytes: &[u8]| {
        let path = [name.as_bytes(), b"/", bytes].concat();
        TreePath::from_archive(&path, limits).map_err(std::io::Error::other).at("unpack", Path::new(name))
    };
    project::each(project, limits, observer, |entry, content| {
        let (path_here, mode) = (path(entry.path.as_bytes())?, entry.metadata.mode);
        match &entry.what {
            What::Directory => fresh.directory(&path_here, mode),
            What::File(_) => fresh.file(&path_here, mode, content),
            What::HardLink(target) => fresh.hard_link(&path_here, &path(target.as_bytes())?),
            What::Symlink(target) => fresh.symlink(&path_here, target),
        }
    })?;
    let names = project::names(project, limits, observer)?;
    let services =
        wanted.iter().flat_map(|image| image.services.iter().map(|service| (service.as_str(), image.name.clone())));
    let text = naming::override_text(services.collect::<BTreeMap<_, _>>());
    let file = naming::override_name(&names, None);
    fresh.file(&path(file.as_bytes())?, 0o644, &mut text.as_bytes())?;
    Ok(file)
}

/// Writes the archive for `docker load`: one image after the other, so that what was made for one is gone before the next.
fn images(work: &Work<'_>, wanted: &[Wanted], archive: &Path) -> Result<(u64, usize), BuildError> {
    let beside = Beside::create(archive)?;
    let out = BufWriter::with_capacity(256 << 10, &beside.file);
    let mut tar = Tar { writer: LayerWriter::new(out), place: archive, limits: &work.limits, observer: work.observer };
    let (mut loaded, mut written, mut rebuilt) = (Vec::new(), BTreeSet::new(), 0);
    for image in wanted {
        let found = find(work, image)?;
        rebuilt += usize::from(found.rebuilt);
        let layers: Vec<Digest> = found.layers.iter().map(|layer| layer.blob.digest).collect();
        loaded.push(Loaded { name: image.name.clone(), config: found.config.blob.digest, layers });
        for piece in found.layers.iter().chain([&found.config]) {
            if written.insert(piece.blob.digest) {
                tar.blob(&documents::blob_name(&piece.blob.digest), piece)?;
            }
        }
    }
    tar.small("manifest.json", &documents::docker_manifest(&loaded))?;
    tar.finish()?;
    let size = beside.file.metadata().at("look at", archive)?.len();
    beside.commit()?;
    Ok((size, rebuilt))
}

/// An image at hand.
struct AtHand {
    config: Piece,
    layers: Vec<Piece>,
    rebuilt: bool,
}

/// The image as it is in the file, or made from a delta.
fn find(work: &Work<'_>, wanted: &Wanted) -> Result<AtHand, BuildError> {
    let source = umiak_registry::open_watched(&wanted.image, work.sources, work.observer)?;
    let image = source.resolve_watched(&[], work.observer)?;
    let config = Piece::document(media_type::OCI_CONFIG, image.config.text.as_bytes().to_vec());
    if let Some(layers) = whole(work, source.as_ref(), &image)? {
        return Ok(AtHand { config, layers, rebuilt: false });
    }
    let mut tried = Vec::new();
    for base in bases(work, wanted)? {
        match work.rebuild_image(&base, &wanted.image, &[]) {
            Ok(made) => {
                let layers = made.layers.into_iter().map(|layer| {
                    let size = layer.bytes.len().at("look at a layer in", work.scratch)?;
                    Ok(Piece { blob: Descriptor::new(layer.media_type, layer.digest, size), content: layer.bytes })
                });
                return Ok(AtHand { config, layers: layers.collect::<Result<_, BuildError>>()?, rebuilt: true });
            }
            Err(error) if is_another_base(&error) => tried.push(format!("{base}: {error}")),
            Err(error) => return Err(error),
        }
    }
    let known = work.offered_bases(&wanted.image)?;
    Err(BuildError::NoBase { image: wanted.name.clone(), known, tried })
}

/// All layers, if all are in the file.
fn whole(work: &Work<'_>, source: &dyn Source, image: &Image) -> Result<Option<Vec<Piece>>, BuildError> {
    let mut layers = Vec::new();
    for layer in &image.layers {
        match source.fetch(layer, work.observer) {
            Ok(blob) => layers.push(Piece {
                blob: Descriptor::new(layer.media_type.clone(), layer.digest, layer.size),
                content: std::sync::Arc::new(blob),
            }),
            Err(error) if error.is_missing_file() => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Some(layers))
}

/// Those that were named; where none was, what the daemon may have under the image IDs that the deltas start from.
fn bases(work: &Work<'_>, wanted: &Wanted) -> Result<Vec<ImageReference>, BuildError> {
    if !wanted.bases.is_empty() {
        return Ok(wanted.bases.clone());
    }
    let local = |id: &Digest| format!("docker-daemon:{id}").parse().map_err(BuildError::Reference);
    work.offered_bases(&wanted.image)?.iter().map(local).collect()
}

/// Whether another base may do where this one does not.
fn is_another_base(error: &BuildError) -> bool {
    match error {
        BuildError::NoDelta { .. } | BuildError::NotTheBase { .. } => true,
        BuildError::Source(error) => matches!(error, umiak_registry::Error::NotFound { .. }) || error.is_missing_file(),
        _ => false,
    }
}
