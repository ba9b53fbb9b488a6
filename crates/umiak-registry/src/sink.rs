//! The one trait behind all places that artifacts go to, and how a reference finds its place.

use umiak_spec::{DeltaManifest, Descriptor, ImageReference, Limits, Observer, ReadAt, Selector};

use crate::archive_sink::ArchiveSink;
use crate::distribution::Registry;
use crate::error::Error;
use crate::layout_sink::LayoutSink;
use crate::login::PUSH;
use crate::parallel::in_parallel;
use crate::registry_sink::RegistrySink;
use crate::source::Context;

/// A place that takes blobs and manifests.
///
/// Whoever puts a manifest has put before what it names. A blob or manifest that was put is there whole or not at all;
/// putting it again does nothing.
pub trait Sink: Sync {
    /// The tag in the reference that the sink was opened by, if it has one.
    fn tag(&self) -> Option<&str>;

    /// Stores a blob, unless it is there. What is read of `content` has the blob's digest, or nothing is stored.
    ///
    /// # Errors
    /// [`Error`]; of kind `Corrupt` when `content` is not what `blob` says.
    fn put_blob(&self, blob: &Descriptor, content: &dyn ReadAt, observer: &dyn Observer) -> Result<Stored, Error>;

    /// Stores a manifest or index by its digest, and gives it the tag, if one is given. One with a subject is found by
    /// [`crate::Source::referrers`] from then on, whatever the place knows of referrers.
    ///
    /// # Errors
    /// [`Error`].
    fn put_manifest(
        &self,
        bytes: &[u8],
        media_type: &str,
        tag: Option<&str>,
        observer: &dyn Observer,
    ) -> Result<Descriptor, Error>;

    /// Ends the work. Before that, an archive is not there yet.
    ///
    /// # Errors
    /// [`Error`].
    fn finish(self: Box<Self>, _: &dyn Observer) -> Result<(), Error> {
        Ok(())
    }
}

/// Whether a blob had to be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// It was there before.
    There,
    /// It was not.
    New,
}

/// The sink that `reference` names; a bare name is a registry's. Layouts are made if they are not there, archives are
/// replaced when [`Sink::finish`] is called.
///
/// # Errors
/// Places that cannot be written to. Registries are not asked yet.
pub fn open_sink(reference: &ImageReference, context: &Context) -> Result<Box<dyn Sink>, Error> {
    let tag = |selector: &Option<Selector>| match selector {
        Some(Selector::Tag(tag)) => Some(tag.clone()),
        _ => None,
    };
    Ok(match reference {
        ImageReference::Layout { path, selector } => Box::new(LayoutSink::open(path, tag(selector), context.limits)?),
        ImageReference::OciArchive { path, selector } => {
            Box::new(ArchiveSink::open(path, tag(selector), context.limits)?)
        }
        ImageReference::Registry(name) | ImageReference::Bare(name) => {
            Box::new(RegistrySink::new(Registry::new(name, reference.name(), context, PUSH)))
        }
        ImageReference::DockerArchive { .. } | ImageReference::Daemon(_) | ImageReference::RootFs { .. } => {
            let text = format!("{reference} cannot be written to: say a registry, oci: or oci-archive:");
            return Err(Error::Unsupported(text));
        }
    })
}

/// Stores a delta: its blobs, `parallel` at a time, then its manifest. `contents` are those of [`DeltaManifest::parts`],
/// in their order.
///
/// # Errors
/// [`Error`]; the manifest is stored only when everything else is.
pub fn put_delta(
    sink: &dyn Sink,
    delta: &DeltaManifest,
    contents: &[&dyn ReadAt],
    tag: Option<&str>,
    parallel: usize,
    observer: &dyn Observer,
) -> Result<Descriptor, Error> {
    let inconsistent = |reason: String| Error::Inconsistent { name: "the delta".into(), reason };
    delta.check(&Limits::default()).map_err(|error| inconsistent(error.to_string()))?;
    if contents.len() != delta.parts.len() {
        return Err(inconsistent(format!("it has {} parts, and {} are at hand", delta.parts.len(), contents.len())));
    }
    let (config, bytes) = DeltaManifest::config();
    sink.put_blob(&config, &bytes, observer)?;
    in_parallel(&delta.parts, parallel, |number, part| {
        let content = contents.get(number).ok_or(umiak_spec::Cancelled)?;
        sink.put_blob(&part.blob, *content, observer)
    })?;
    sink.put_manifest(&delta.to_bytes(), umiak_spec::media_type::OCI_MANIFEST, tag, observer)
}
