//! An app before it is published: its project packed, its images pinned, its platforms chosen.
//!
//! Guarantees: nothing was stored anywhere; each tag was asked for once; the same project, images and flags give the same
//! draft. What this does not do: fetch layers.

use std::collections::BTreeMap;

use umiak_registry::{Layer, Source};
use umiak_spec::app::measures::KnownDelta;
use umiak_spec::app::{AppManifest, BundleIndex, Form, LayersIndex, LayersMeta, OCTET_STREAM, app_name};
use umiak_spec::{Descriptor, Digest, ImageReference, Platform};

use super::Work;
use super::app::Service;
use super::error::ComposeError;
use super::images::{Places, PlatformImage, ServiceImage};
use super::pins::{Pinned, PinnedImages, Pins};
use super::platforms::{AppPlatform, Wanted, best, by_architecture, common};
use super::project::{Packed, PackedService, Project};
use super::read::asked;
use crate::error::BuildError;

/// How an app is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// The artifact form without layers indexes, which every registry takes, with umiak's measures.
    #[default]
    Umiak,
    /// As composectl does it: the same without the measures.
    Foundries,
    /// As compose-publish does it: the legacy form, with layers indexes. Registries from distribution 2.8 on refuse it.
    FoundriesLegacy,
}

/// What is to be published.
pub struct Request<'a> {
    /// Where: with a tag.
    pub app: &'a ImageReference,
    /// The project.
    pub project: &'a dyn Project,
    /// How.
    pub format: Format,
    /// For which architectures; empty: for all that every service has.
    pub wanted: &'a [Wanted],
    /// Digests that are known.
    pub pinned: PinnedImages,
    /// Layers metadata that was measured before, for all architectures: then no layer is fetched, and the app has no
    /// measures of umiak's.
    pub layers_meta: Option<LayersMeta>,
}

/// An app that is ready to be measured and stored.
pub struct Draft {
    /// Where it goes.
    pub app: ImageReference,
    /// What it is called on devices.
    pub name: String,
    /// The tag that it gets.
    pub tag: String,
    /// How it is published.
    pub format: Format,
    /// The services, in the order of the compose file.
    pub services: Vec<Service>,
    /// Their images, each once.
    pub images: Vec<ServiceImage>,
    /// What it is made for.
    pub platforms: Vec<AppPlatform>,
    /// The project: pinned and packed.
    pub packed: Packed,
    /// Deltas that are published for its images, to be named in the measures.
    pub deltas: Vec<KnownDelta>,
    /// Metadata that was measured before.
    pub(super) layers_meta: Option<LayersMeta>,
    /// Where the layers of each image come from, in the order of `images`.
    pub(super) sources: Vec<Box<dyn Source>>,
}

/// A layer that some service has.
#[derive(Debug, Clone)]
pub(super) struct UsedLayer {
    pub(super) layer: Layer,
    /// The image that has it.
    pub(super) image: usize,
}

impl Format {
    /// The form of the manifest.
    #[must_use]
    pub const fn form(self) -> Form {
        match self {
            Self::Umiak | Self::Foundries => Form::Artifact,
            Self::FoundriesLegacy => Form::Legacy,
        }
    }
}

impl Work<'_> {
    /// Pins, packs and chooses.
    ///
    /// # Errors
    /// [`BuildError`].
    pub fn draft(&self, request: Request<'_>) -> Result<Draft, BuildError> {
        let tag = tag(request.app)?;
        let places = Places { sources: self.sources, app: request.app };
        let mut pins = Pins::new(&places, request.pinned, self.observer);
        let packed = request.project.pack(&mut |service, image| pins.pin(service, image))?;
        let mut pins = pins.finish();
        let (mut services, mut images, mut sources) = (Vec::new(), Vec::new(), Vec::new());
        let mut known: BTreeMap<String, usize> = BTreeMap::new();
        for PackedService { name, image: reference, platform } in &packed.services {
            let image = match (known.get(reference), pins.remove(reference)) {
                (Some(at), _) => *at,
                (None, Some(pin)) => {
                    let same = packed.services.iter().filter(|service| service.image == *reference);
                    let own: Vec<&Platform> = same.filter_map(|service| service.platform.as_ref()).collect();
                    images.push(self.pinned(name, &pin, &|offered| asked(request.wanted, &own, offered))?);
                    sources.push(pin.source);
                    known.insert(reference.clone(), images.len() - 1);
                    images.len() - 1
                }
                (None, None) => return Err(BuildError::Refused(format!("the image of {name} was not pinned"))),
            };
            services.push(Service {
                name: name.clone(),
                reference: reference.clone(),
                platform: platform.clone(),
                image,
            });
        }
        if services.is_empty() {
            return Err(ComposeError::NoServices.into());
        }
        let platforms = common(&images, &services, request.wanted)?;
        let draft = Draft {
            app: request.app.clone(),
            name: app_name(request.app),
            tag,
            format: request.format,
            services,
            images,
            platforms,
            packed,
            deltas: Vec::new(),
            layers_meta: request.layers_meta,
            sources,
        };
        draft.check(self)?;
        Ok(draft)
    }

    fn pinned(
        &self,
        service: &str,
        pin: &Pinned,
        wanted: &(dyn Fn(&Platform) -> bool + Sync),
    ) -> Result<ServiceImage, BuildError> {
        let name = format!("{}/{}", pin.name.host, pin.name.repository);
        let reader = self.reader(&name, pin.source.as_ref(), wanted);
        Ok(reader.read(&pin.top.0, &pin.top.1).map_err(|source| ComposeError::Image {
            image: pin.reference.clone(),
            services: vec![service.to_owned()],
            source: Box::new(source),
        })?)
    }
}

/// An app is published under a tag: its digest is what comes out.
fn tag(app: &ImageReference) -> Result<String, ComposeError> {
    use umiak_spec::Selector;
    let wrong = |reason| Err(ComposeError::Name { name: app.to_string(), reason });
    match app {
        ImageReference::Registry(name) | ImageReference::Bare(name) => match (&name.tag, &name.digest) {
            (_, Some(_)) => wrong("its digest is what publishing gives; name a tag"),
            (Some(tag), None) => Ok(tag.clone()),
            (None, None) => wrong("it has no tag, such as :1.0"),
        },
        ImageReference::Layout { selector, .. } | ImageReference::OciArchive { selector, .. } => match selector {
            Some(Selector::Tag(tag)) => Ok(tag.clone()),
            _ => wrong("it has no tag, such as :1.0"),
        },
        _ => wrong("apps are published to registries, layouts and archives of layouts"),
    }
}

impl Draft {
    /// What an engine on `platform` runs as `service`.
    #[must_use]
    pub fn image_on(&self, service: &Service, platform: &Platform) -> Option<&PlatformImage> {
        let platforms = &self.images.get(service.image)?.platforms;
        platforms.get(best(service.on(platform), platforms)?)
    }

    /// What went wrong with the layers of an image, with the services that it is for.
    pub(super) fn blame(&self, image: usize, error: BuildError) -> BuildError {
        let BuildError::Source(source) = error else { return error };
        let services = self.services.iter().filter(|service| service.image == image);
        let services = services.map(|service| service.name.clone()).collect();
        let image = self.images.get(image).map(|image| image.reference.clone()).unwrap_or_default();
        ComposeError::Image { image, services, source: Box::new(source) }.into()
    }

    /// The layers of all platforms, each once.
    pub(super) fn layers(&self) -> Result<BTreeMap<Digest, UsedLayer>, ComposeError> {
        let mut used: BTreeMap<Digest, UsedLayer> = BTreeMap::new();
        for (image, layers) in self.platforms.iter().flat_map(|platform| self.on(platform)) {
            for layer in &layers.image.layers {
                let new = || UsedLayer { layer: layer.clone(), image };
                let known = used.entry(layer.digest).or_insert_with(new);
                if known.layer.size != layer.size {
                    let name = |at: usize| self.images.get(at).map(|image| image.reference.clone());
                    return Err(ComposeError::Sizes {
                        blob: layer.digest,
                        first: name(known.image).unwrap_or_default(),
                        one: known.layer.size,
                        second: name(image).unwrap_or_default(),
                        other: layer.size,
                    });
                }
            }
        }
        Ok(used)
    }

    /// What is run on a platform, by service: the position of the image, and what of it.
    fn on<'d>(&'d self, platform: &'d AppPlatform) -> impl Iterator<Item = (usize, &'d PlatformImage)> {
        let chosen = |(service, chosen): (&Service, &usize)| {
            Some((service.image, self.images.get(service.image)?.platforms.get(*chosen)?))
        };
        self.services.iter().zip(&platform.images).filter_map(chosen)
    }

    /// Layers by architecture, with the layers below each, where it was first seen there.
    pub(super) fn by_architecture(&self) -> BTreeMap<String, BTreeMap<Digest, (Layer, usize)>> {
        let mut by = BTreeMap::new();
        for (architecture, platforms) in by_architecture(&self.platforms) {
            let layers: &mut BTreeMap<_, _> = by.entry(architecture.to_owned()).or_default();
            for (_, image) in platforms.into_iter().flat_map(|platform| self.on(platform)) {
                for (below, layer) in image.image.layers.iter().enumerate() {
                    layers.entry(layer.digest).or_insert_with(|| (layer.clone(), below));
                }
            }
        }
        by
    }

    /// Bytes of the blobs of all layers.
    #[must_use]
    pub fn layers_size(&self) -> u64 {
        self.layers().map_or(0, |layers| layers.values().fold(0, |sum, used| sum.saturating_add(used.layer.size)))
    }

    /// The layers index of each architecture, for the legacy form.
    pub(super) fn layers_indexes(&self) -> Result<Vec<LayersIndex>, ComposeError> {
        let descriptor = |layer: &Layer| Descriptor::new(layer.media_type.clone(), layer.digest, layer.size);
        let index = |(architecture, layers): (String, BTreeMap<Digest, (Layer, usize)>)| {
            LayersIndex::new(&architecture, layers.values().map(|(layer, _)| descriptor(layer)))
        };
        let refused = |source| ComposeError::App { app: self.app.to_string(), source: Box::new(source) };
        self.by_architecture().into_iter().map(index).collect::<Result<_, _>>().map_err(refused)
    }

    /// The manifest without metadata.
    pub(super) fn manifest(&self) -> Result<AppManifest, ComposeError> {
        let form = self.format.form();
        let bundle = &self.packed.blob;
        let mut manifest = AppManifest::new(form, bundle.digest, bundle.size);
        match form {
            Form::Legacy => {
                manifest.layers_indexes = self.layers_indexes()?.iter().map(LayersIndex::entry).collect();
            }
            Form::Artifact => manifest.bundle_index = Some(document(&self.packed.index.to_bytes())),
        }
        Ok(manifest)
    }

    /// Fails early for what would fail late.
    fn check(&self, work: &Work<'_>) -> Result<(), ComposeError> {
        self.layers()?;
        let refused = |source| ComposeError::App { app: self.app.to_string(), source: Box::new(source) };
        if let Some(meta) = &self.layers_meta {
            meta.restrict(&self.archive_sizes()).map_err(refused)?;
        }
        self.manifest()?.publishable(&work.limits).map_err(refused)
    }

    /// Digests and blob sizes by architecture.
    pub(super) fn archive_sizes(&self) -> BTreeMap<String, BTreeMap<Digest, u64>> {
        let sizes = |layers: BTreeMap<Digest, (Layer, usize)>| {
            layers.into_iter().map(|(digest, (layer, _))| (digest, layer.size)).collect()
        };
        self.by_architecture().into_iter().map(|(name, layers)| (name, sizes(layers))).collect()
    }

    /// The index of the bundle.
    #[must_use]
    pub fn bundle_index(&self) -> &BundleIndex {
        &self.packed.index
    }
}

/// The descriptor of a small document of an app.
pub(super) fn document(bytes: &[u8]) -> Descriptor {
    Descriptor::new(OCTET_STREAM, Digest::of(bytes), bytes.len() as u64)
}
