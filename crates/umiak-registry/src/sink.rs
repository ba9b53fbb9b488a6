//! The one trait behind all places that artifacts go to, and how a reference finds its place.

use umiak_spec::{DeltaManifest, Descriptor, ImageReference, Limits, Observer, ReadAt, RegistryName, Selector};

use crate::archive_sink::ArchiveSink;
use crate::distribution::Registry;
use crate::error::Error;
use crate::layout_sink::LayoutSink;
use crate::login::PUSH;
use crate::parallel::in_parallel;
use crate::registry_sink::{RegistrySink, check_length};
use crate::source::Context;

/// A place that takes blobs and manifests.
///
/// Whoever puts a manifest has put before what it names. A blob or manifest that was put is there whole or not at all;
/// putting it again does nothing.
pub trait Sink: Sync {
    /// The tag in the reference that the sink was opened by, if it has one.
    fn tag(&self) -> Option<&str>;

    /// Whether what comes over a network may be passed on while it comes: the place keeps what arrived of a blob that was
    /// cut off. Otherwise it is fetched into the cache first, where the next try finds it.
    fn takes_streams(&self) -> bool {
        false
    }

    /// Whether it has a blob, as far as can be told without reading it.
    ///
    /// # Errors
    /// [`Error`].
    fn has_blob(&self, blob: &Descriptor, observer: &dyn Observer) -> Result<bool, Error>;

    /// Stores a blob that is not there. What is read of `content` has the blob's digest, or nothing is stored. `from` is
    /// where it comes from: a registry that has it in another of its repositories need not be sent it.
    ///
    /// # Errors
    /// [`Error`]; of kind `Corrupt` when `content` is not what `blob` says.
    fn send_blob(
        &self,
        blob: &Descriptor,
        content: &dyn ReadAt,
        from: Option<&RegistryName>,
        observer: &dyn Observer,
    ) -> Result<Stored, Error>;

    /// Stores a blob, unless it is there.
    ///
    /// # Errors
    /// As [`Sink::send_blob`].
    fn put_blob(&self, blob: &Descriptor, content: &dyn ReadAt, observer: &dyn Observer) -> Result<Stored, Error> {
        check_length(blob, content)?;
        if self.has_blob(blob, observer)? { Ok(Stored::There) } else { self.send_blob(blob, content, None, observer) }
    }

    /// Stores a manifest or index that another one names, by its digest. Nothing lists it but that other one.
    ///
    /// # Errors
    /// [`Error`].
    fn put_part(&self, bytes: &[u8], media_type: &str, observer: &dyn Observer) -> Result<Descriptor, Error>;

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
    /// It was not, and the registry had it in another of its repositories: nothing was sent.
    Mounted,
}

/// The sink that `reference` names; a bare name is a registry's. Layouts are made if they are not there, archives are
/// replaced when [`Sink::finish`] is called.
///
/// # Errors
/// Places that cannot be written to. Registries are not asked yet.
pub fn open_sink(reference: &ImageReference, context: &Context) -> Result<Box<dyn Sink>, Error> {
    open_sink_from(reference, None, context)
}

/// The same for what comes from `source`: if that is another repository of the same registry, reading there is asked for,
/// too, so that blobs need not be sent.
///
/// # Errors
/// As [`open_sink`].
pub fn open_sink_from(
    reference: &ImageReference,
    source: Option<&ImageReference>,
    context: &Context,
) -> Result<Box<dyn Sink>, Error> {
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
            let from = source.and_then(registry_name).filter(|from| from.host == name.host);
            let registry = Registry::new(name, reference.name(), context, PUSH);
            Box::new(RegistrySink::new(registry.reading(from.map(|from| from.repository.as_str()))))
        }
        ImageReference::DockerArchive { .. } | ImageReference::Daemon(_) | ImageReference::RootFs { .. } => {
            let text = format!("{reference} cannot be written to: say a registry, oci: or oci-archive:");
            return Err(Error::Unsupported(text));
        }
    })
}

/// The registry that a reference names.
pub(crate) fn registry_name(reference: &ImageReference) -> Option<&RegistryName> {
    match reference {
        ImageReference::Registry(name) | ImageReference::Bare(name) => Some(name),
        _ => None,
    }
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
