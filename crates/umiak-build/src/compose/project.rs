//! Compose projects: what publishing asks of one, and the services of one that was published.

use std::collections::BTreeMap;
use std::sync::Arc;

use umiak_compose::ComposeLimits;
use umiak_spec::app::BundleIndex;
use umiak_spec::{Descriptor, Digest, Platform, ReadAt, RegistryName};

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

/// The services of a bundle, in the order of its compose file.
pub(super) fn services(bundle: &Bundle) -> Result<Vec<Named>, BuildError> {
    let (files, names) = (&bundle.texts, [COMPOSE_FILE.to_owned()]);
    let project = umiak_compose::Project::read(files, &names, &BTreeMap::new(), &ComposeLimits::default())?;
    let named = |service: &umiak_compose::Service| Named {
        service: service.name.clone(),
        image: service.image.clone(),
        platform: service.platform.clone(),
    };
    Ok(project.services().iter().map(named).collect())
}
