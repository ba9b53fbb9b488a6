//! From a draft to an app in a registry: layers measured, blobs stored, the manifest, and last the tag.
//!
//! Guarantees: what a manifest names is stored before it; nobody sees anything of the app until its tag is written, and
//! an interrupted run leaves at most blobs that nothing names. The same draft gives the same bytes.

use std::collections::BTreeMap;

use umiak_registry::{ErrorKind, Sink, in_parallel, open_sink};
use umiak_spec::app::measures::{Document, MeasuredLayer, Measures, ServiceImage};
use umiak_spec::app::{AppManifest, ArchitectureMeta, Form, LayerMeta, LayersMeta};
use umiak_spec::media_type::{OCI_INDEX, OCI_MANIFEST};
use umiak_spec::{Descriptor, Digest, ReadAt};

use super::Work;
use super::draft::{Draft, Format, UsedLayer, document};
use super::error::ComposeError;
use super::images::PlatformImage;
use crate::error::BuildError;
use crate::measure::Measuring;

/// Bytes of the blocks that `usage` counts for: those of the file systems that the existing tools measure on.
const BLOCK: u64 = 4096;
/// Blobs sent at a time.
const PARALLEL: usize = 4;

/// An app that was published.
#[derive(Debug, Clone)]
pub struct Published {
    /// The manifest; the digest is the app's.
    pub descriptor: Descriptor,
    /// What the manifest says.
    pub manifest: AppManifest,
    /// The layers metadata.
    pub layers_meta: LayersMeta,
    /// umiak's measures, if they are published.
    pub measures: Option<Measures>,
}

/// What the layers of a draft take.
struct Measured {
    layers_meta: LayersMeta,
    measures: Option<Measures>,
}

impl Work<'_> {
    /// Measures the layers and stores the app.
    ///
    /// # Errors
    /// [`BuildError`].
    pub fn publish(&self, draft: &Draft) -> Result<Published, BuildError> {
        let measured = self.measure(draft)?;
        let (mut manifest, meta) = (draft.manifest()?, measured.layers_meta.to_bytes());
        manifest.layers_meta = Some(document(&meta));
        let measures = measured.measures.as_ref().map(Measures::to_bytes);
        manifest.measures = measures.as_deref().map(document);
        manifest
            .publishable(&self.limits)
            .map_err(|source| ComposeError::App { app: draft.app.to_string(), source: Box::new(source) })?;
        let index = draft.packed.index.to_bytes();
        let (config, empty) = manifest.form.config();
        let mut blobs: Vec<(Descriptor, &dyn ReadAt)> =
            vec![(manifest.bundle.clone(), draft.packed.archive.as_ref()), (document(&meta), &meta), (config, &empty)];
        if manifest.bundle_index.is_some() {
            blobs.push((document(&index), &index));
        }
        if let Some(bytes) = &measures {
            blobs.push((document(bytes), bytes));
        }
        let sink = open_sink(&draft.app, self.sources)?;
        let descriptor = self.store(sink.as_ref(), draft, &manifest, &blobs)?;
        sink.finish(self.observer)?;
        Ok(Published { descriptor, manifest, layers_meta: measured.layers_meta, measures: measured.measures })
    }

    fn store(
        &self,
        sink: &dyn Sink,
        draft: &Draft,
        manifest: &AppManifest,
        blobs: &[(Descriptor, &dyn ReadAt)],
    ) -> Result<Descriptor, BuildError> {
        in_parallel(blobs, PARALLEL, |_, (blob, bytes)| sink.put_blob(blob, *bytes, self.observer))?;
        if manifest.form == Form::Legacy {
            for index in draft.layers_indexes()? {
                sink.put_manifest(&index.to_bytes(), OCI_INDEX, None, self.observer)
                    .map_err(|error| refused(draft, error))?;
            }
        }
        sink.put_manifest(&manifest.to_bytes(), OCI_MANIFEST, Some(&draft.tag), self.observer)
            .map_err(|error| refused(draft, error))
    }

    fn measure(&self, draft: &Draft) -> Result<Measured, BuildError> {
        if let Some(meta) = &draft.layers_meta {
            let restricted = meta.restrict(&draft.archive_sizes());
            let layers_meta = restricted
                .map_err(|source| ComposeError::App { app: draft.app.to_string(), source: Box::new(source) })?;
            return Ok(Measured { layers_meta, measures: None });
        }
        let used = draft.layers()?;
        let layers = self.layers(draft, &used)?;
        let mut layers_meta = LayersMeta::default();
        for (architecture, digests) in draft.by_architecture() {
            let meta = |(digest, (layer, below)): (Digest, (umiak_registry::Layer, usize))| {
                let measure = &layers.get(&digest)?.measure;
                let usage = measure.usage(BLOCK, below)?;
                Some((digest, LayerMeta { size: measure.size, usage, archive_size: Some(layer.size) }))
            };
            let layers = digests.into_iter().filter_map(meta).collect();
            layers_meta.architectures.insert(architecture, ArchitectureMeta { fs_block_size: BLOCK, layers });
        }
        let measures = (draft.format == Format::Umiak).then(|| Measures {
            platforms: platforms(draft),
            layers,
            deltas: draft.deltas.clone(),
        });
        Ok(Measured { layers_meta, measures })
    }

    /// All layers measured, each from the source of an image that has it.
    fn layers(
        &self,
        draft: &Draft,
        used: &BTreeMap<Digest, UsedLayer>,
    ) -> Result<BTreeMap<Digest, MeasuredLayer>, BuildError> {
        let measuring = Measuring {
            cache: Some(&self.sources.cache),
            device: self.device && draft.format == Format::Umiak,
            limits: self.limits,
            threads: self.threads,
            observer: self.observer,
        };
        let mut measured = BTreeMap::new();
        for (image, source) in draft.sources.iter().enumerate() {
            let of_image = used.values().filter(|used| used.image == image);
            let layers: Vec<_> = of_image.map(|used| used.layer.clone()).collect();
            measured.extend(measuring.layers(source.as_ref(), &layers).map_err(|error| draft.blame(image, error))?);
        }
        Ok(measured)
    }
}

/// The services by platform, as the measures name them.
fn platforms(draft: &Draft) -> BTreeMap<umiak_spec::Platform, BTreeMap<String, ServiceImage>> {
    let service = |image: &PlatformImage| {
        let manifest = image.image.manifest.as_ref()?;
        let config = image.image.config.text.as_bytes();
        Some(ServiceImage {
            manifest: Document { digest: manifest.digest, size: manifest.size },
            config: Document { digest: Digest::of(config), size: config.len() as u64 },
            layers: image.image.layers.iter().map(|layer| layer.digest).collect(),
        })
    };
    let on = |platform: &umiak_spec::Platform| {
        let named = |named: &super::Service| Some((named.name.clone(), service(draft.image_on(named, platform)?)?));
        draft.services.iter().filter_map(named).collect()
    };
    draft.platforms.iter().map(|on_it| (on_it.platform.clone(), on(&on_it.platform))).collect()
}

/// A registry that holds manifests against the specification says 400 to the legacy form.
fn refused(draft: &Draft, error: umiak_registry::Error) -> BuildError {
    let legacy = draft.format == Format::FoundriesLegacy;
    match &error {
        umiak_registry::Error::Status { status: 400 | 415 | 422, .. } if legacy => {
            ComposeError::Refused { app: draft.app.to_string(), source: Box::new(error) }.into()
        }
        _ if error.kind() == ErrorKind::Cancelled => BuildError::Cancelled(umiak_spec::Cancelled),
        _ => error.into(),
    }
}
