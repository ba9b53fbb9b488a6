//! The two lists at the start of the file: the layout's index, and the one that `docker load` reads.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use umiak_spec::{Descriptor, Digest, Limits, Listing, Referrer, media_type};

use super::{APP_NAME, Carried, CarriedImage, Layers, loaded_name};
use crate::error::BuildError;

/// What containerd calls an image that it reads from a layout.
const IMAGE_NAME: &str = "io.containerd.image.name";

/// index.json: the app first; then the images that are whole, under the names that engines give them; then deltas.
pub(super) fn index(carried: &Carried, limits: &Limits) -> Result<Vec<u8>, BuildError> {
    let mut listing = Listing::default();
    listing.add_named(&carried.tag, &entry(&carried.manifest.blob, APP_NAME, &carried.name));
    for image in carried.images.iter().filter(|image| matches!(image.layers, Layers::Full(_))) {
        // The index, too: an engine that keeps manifests finds what the compose file names.
        for document in image.documents.iter().rev() {
            let name = loaded_name(&image.repository, &document.blob.digest);
            listing.add_named(&name, &entry(&document.blob, IMAGE_NAME, &name));
        }
    }
    let mut refers = |bytes: &[u8], media_type: &str| {
        let referrer =
            Referrer::of(bytes, media_type, limits).map_err(|error| BuildError::Artifact { source: error.into() })?;
        if let Some((_, referrer)) = referrer {
            listing.add(&referrer);
        }
        Ok::<_, BuildError>(())
    };
    for draft in carried.images.iter().flat_map(CarriedImage::drafts) {
        refers(&draft.manifest.to_bytes(), media_type::OCI_MANIFEST)?;
    }
    for signed in carried.signed.iter().filter(|signed| signed.tag.is_none()) {
        refers(&signed.bytes, &signed.manifest.blob.media_type)?;
    }
    for signed in &carried.signed {
        if let Some(tag) = &signed.tag {
            listing
                .add_named(tag, &Referrer { descriptor: signed.manifest.blob.clone(), annotations: BTreeMap::new() });
        }
    }
    Ok(listing.to_bytes())
}

fn entry(descriptor: &Descriptor, annotation: &str, value: &str) -> Referrer {
    let annotations = BTreeMap::from([(annotation.to_owned(), value.to_owned())]);
    Referrer { descriptor: descriptor.clone(), annotations }
}

/// The name of a blob in the file.
pub(super) fn blob_name(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// One image for `docker load`: config, layers and the name that it gets.
pub(super) struct Loaded {
    pub(super) name: String,
    pub(super) config: Digest,
    pub(super) layers: Vec<Digest>,
}

/// manifest.json, as `docker save` writes it.
pub(super) fn docker_manifest(images: &[Loaded]) -> Vec<u8> {
    let image = |image: &Loaded| {
        json!({
            "Config": blob_name(&image.config),
            "RepoTags": [image.name],
            "Layers": image.layers.iter().map(blob_name).collect::<Vec<_>>(),
        })
    };
    Value::Array(images.iter().map(image).collect()).to_string().into_bytes()
}
