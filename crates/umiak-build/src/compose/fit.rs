//! What the fit check asks of an app: its blobs, layers and deltas, as far as its documents tell.
//!
//! Guarantees: nothing is fetched here, and nothing is guessed: where an app has no measures, its layers metadata is
//! used, and where it has neither, only the lengths of blobs are known; the planner then answers with bounds. Sizes of
//! blobs are those of the manifests, whatever the metadata says.

use std::collections::BTreeMap;

use umiak_plan::{Blob, BlobKind, Contents, Delta, DeltaPart, Image, Layer, Service, Unpacked};
use umiak_spec::app::measures::{DeltaOf, KnownDelta};
use umiak_spec::{Descriptor, Digest, Platform};

use super::{App, PlatformImage, ServiceImage};
use crate::error::BuildError;

impl App {
    /// What the planner has to know of the app on `platform`.
    ///
    /// # Errors
    /// [`BuildError`]: a service has no image for the platform.
    pub fn for_plan(&self, platform: &Platform) -> Result<umiak_plan::App, BuildError> {
        let service = |service: &super::Service| {
            let found = self.image(service).zip(self.image_on(service, platform));
            let (image, on) = found.ok_or_else(|| self.not_made_for(service, platform))?;
            Ok(Service { name: service.name.clone(), image: self.image_for_plan(image, on) })
        };
        Ok(umiak_plan::App {
            name: self.name.clone(),
            digest: self.descriptor.digest,
            own: self.own(),
            bundle: Some(self.unpacked()),
            services: self.services.iter().map(service).collect::<Result<_, BuildError>>()?,
        })
    }

    /// The deltas that the app's measures name and that lead from images of `bases` to its own on `platform`.
    ///
    /// # Errors
    /// As [`App::for_plan`].
    pub fn deltas_for_plan(&self, platform: &Platform, bases: &[&Self]) -> Result<Vec<Delta>, BuildError> {
        let mut known: BTreeMap<Digest, (String, Vec<Digest>)> = BTreeMap::new();
        for app in bases.iter().copied().chain([self]) {
            for image in app.services.iter().filter_map(|service| app.image_on(service, platform)) {
                let layers = image.image.layers.iter().map(|layer| layer.diff_id.unwrap_or(layer.digest)).collect();
                let from = format!("{} {}", app.name, app.descriptor.digest.short());
                known.extend(image.image.manifest.as_ref().map(|manifest| (manifest.digest, (from, layers))));
            }
        }
        let delta = |delta: &KnownDelta| {
            let ((from, base), (_, target)) = (known.get(&delta.base)?, known.get(&delta.target)?);
            let makes: Vec<Digest> = target.iter().filter(|layer| !base.contains(layer)).copied().collect();
            // The measures tell how long it is as a whole.
            let part = DeltaPart { blob: delta.artifact, size: delta.size, makes, spool: None };
            Some(Delta { digest: delta.artifact, from: from.clone(), base: base.clone(), parts: vec![part] })
        };
        let published = self.measures.iter().flat_map(|measures| &measures.deltas);
        Ok(published.filter(|delta| delta.of == DeltaOf::Image).filter_map(delta).collect())
    }

    fn own(&self) -> Vec<Blob> {
        let of = |kind, document: &Descriptor| Blob::new(kind, document.digest, document.size);
        let manifest = &self.manifest;
        let (config, _) = manifest.form.config();
        let mut own = vec![of(BlobKind::Manifest, &self.descriptor), of(BlobKind::Config, &config)];
        own.push(of(BlobKind::Bundle, &manifest.bundle));
        let meta = [&manifest.bundle_index, &manifest.layers_meta, &manifest.measures];
        own.extend(meta.into_iter().flatten().map(|document| of(BlobKind::Meta, document)));
        own
    }

    /// What the project's directory will hold.
    fn unpacked(&self) -> Unpacked {
        let mut unpacked = Unpacked::default();
        let mut directories = std::collections::BTreeSet::new();
        for file in &self.bundle.files {
            *unpacked.files.entry(file.size).or_default() += 1;
            directories.extend(file.name.match_indices('/').map(|(slash, _)| &file.name[..slash]));
        }
        unpacked.directories = directories.len() as u64;
        unpacked
    }

    fn image_for_plan(&self, image: &ServiceImage, on: &PlatformImage) -> Image {
        let config = on.image.config.text.as_bytes();
        let config = Blob::new(BlobKind::Config, Digest::of(config), config.len() as u64);
        let manifest = on.image.manifest.as_ref();
        let mut manifests: Vec<Blob> =
            manifest.iter().map(|found| Blob::new(BlobKind::Manifest, found.digest, found.size)).collect();
        if manifest.is_none_or(|manifest| manifest.digest != image.descriptor.digest) {
            manifests.push(Blob::new(BlobKind::Index, image.descriptor.digest, image.descriptor.size));
        }
        let layer = |layer: &umiak_registry::Layer| Layer {
            digest: layer.digest,
            size: layer.size,
            diff_id: layer.diff_id.unwrap_or(layer.digest),
            contents: self.contents(layer, &on.platform),
            files: None,
        };
        Image { config, manifests, layers: on.image.layers.iter().map(layer).collect() }
    }

    /// The most that the app's documents tell of a layer.
    fn contents(&self, layer: &umiak_registry::Layer, platform: &Platform) -> Contents {
        let measured = self.measures.as_ref().and_then(|measures| measures.layers.get(&layer.digest));
        if let Some(measured) = measured {
            return measured.into();
        }
        let meta = self.layers_meta.as_ref().and_then(|meta| meta.architectures.get(&platform.architecture));
        let usage = meta.and_then(|meta| {
            let found = meta.layers.get(&layer.digest)?;
            let block_size = u32::try_from(meta.fs_block_size).ok()?;
            Some(Contents::Usage { size: found.size, usage: found.usage, block_size })
        });
        // A blob that is the layer itself tells how long that is.
        let plain = || (layer.diff_id == Some(layer.digest)).then_some(Contents::Expanded(layer.size));
        usage.or_else(plain).unwrap_or_default()
    }

    /// Says that a service has no image for the platform.
    pub(crate) fn not_made_for(&self, service: &super::Service, platform: &Platform) -> BuildError {
        let image = self.image(service);
        super::ComposeError::NotMadeFor {
            image: service.reference.clone(),
            service: service.name.clone(),
            wanted: platform.to_string(),
            offered: image.iter().flat_map(|image| &image.offered).map(ToString::to_string).collect(),
        }
        .into()
    }
}
