//! Compose projects: what publishing asks of one, and the services of one that was published.

use std::collections::BTreeMap;
use std::sync::Arc;

use umiak_compose::ComposeLimits;
use umiak_spec::app::BundleIndex;
use umiak_spec::{Descriptor, Digest, ImageReference, Platform, ReadAt, RegistryName};

use super::error::ComposeError;
use super::pack::COMPOSE_FILE;
use super::unpacked::Bundle;
use crate::error::BuildError;

/// Finds the digest that an image of a service means.
pub type Pin<'a> = dyn FnMut(&str, &RegistryName) -> Result<Digest, ComposeError> + 'a;

/// A compose project that can be packed.
pub trait Project {
    /// Pins the images of all services and packs the project with the pinned compose file.
    ///
    /// # Errors
    /// [`BuildError`]: what `pin` says, or what is wrong with the project.
    fn pack(&self, pin: &mut Pin<'_>) -> Result<Packed, BuildError>;
}

/// A project that was packed.
pub struct Packed {
    /// The bundle: a gzip tar.
    pub archive: Arc<dyn ReadAt>,
    /// Its descriptor.
    pub blob: Descriptor,
    /// Its index.
    pub index: BundleIndex,
    /// The pinned compose file in it.
    pub compose: String,
    /// The services, in the order of the compose file.
    pub services: Vec<PackedService>,
    /// What the author should know.
    pub notes: Vec<String>,
}

/// A service of a packed project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackedService {
    /// Its name.
    pub name: String,
    /// `HOST/REPOSITORY@sha256:…`
    pub image: String,
    /// The platform that it asks for, if it does.
    pub platform: Option<Platform>,
}

/// A service of a published project.
pub(super) struct Named {
    pub(super) service: String,
    pub(super) image: RegistryName,
    pub(super) platform: Option<Platform>,
}

/// The services of a bundle, in the order of its compose file. One that only other programs understand is read for its
/// images alone: who published it vouches for the rest.
pub(super) fn services(bundle: &Bundle) -> Result<Vec<Named>, BuildError> {
    let (files, names) = (&bundle.texts, [COMPOSE_FILE.to_owned()]);
    match umiak_compose::Project::read(files, &names, &BTreeMap::new(), &ComposeLimits::default()) {
        Ok(project) => Ok(project.services().iter().map(Named::of).collect()),
        Err(error) => images(bundle).ok_or_else(|| error.into()),
    }
}

impl Named {
    fn of(service: &umiak_compose::Service) -> Self {
        Self { service: service.name.clone(), image: service.image.clone(), platform: service.platform.clone() }
    }
}

/// The images that services name, when nothing but that can be told.
fn images(bundle: &Bundle) -> Option<Vec<Named>> {
    let text = bundle.texts.get(COMPOSE_FILE)?;
    let pairs = umiak_compose::published_services(COMPOSE_FILE, text, &ComposeLimits::default()).ok()?;
    let named = |(service, image): (String, String)| match image.parse() {
        Ok(ImageReference::Bare(image)) => Some(Named { service, image, platform: None }),
        _ => None,
    };
    pairs.into_iter().map(named).collect()
}
