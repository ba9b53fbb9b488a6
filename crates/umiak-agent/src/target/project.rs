//! The project of a Compose App: which images its services name, and what they are to run as.

use std::collections::BTreeMap;

use umiak_compose::run::{Device, run};
use umiak_compose::{ComposeError, ComposeLimits, Project};
use umiak_spec::service::{ImageDefaults, Root, Service};
use umiak_spec::{ImageReference, Platform, RegistryName};

use super::bundle::Bundle;
use super::content::{Content, Made};
use super::error::ResolveError;
use crate::sources::Sources;

/// The compose file of a bundle.
const COMPOSE_FILE: &str = "docker-compose.yml";

/// A service and the image that it names.
pub(crate) struct Named {
    pub service: String,
    pub image: RegistryName,
    /// The platform that it asks for, whatever the device is.
    pub platform: Option<Platform>,
}

/// The services of a bundle, in the order of its compose file. One that only other programs understand is read for its
/// images alone.
pub(crate) fn named(bundle: &Bundle) -> Result<Vec<Named>, ComposeError> {
    let limits = ComposeLimits::default();
    match Project::read(&bundle.texts, &[COMPOSE_FILE.to_owned()], &BTreeMap::new(), &limits) {
        Ok(project) => {
            let named = project.services().iter().map(|service| Named {
                service: service.name.clone(),
                image: service.image.clone(),
                platform: service.platform.clone(),
            });
            Ok(named.collect())
        }
        Err(error) => {
            let text = bundle.texts.get(COMPOSE_FILE).map_or(&[][..], Vec::as_slice);
            let Ok(pairs) = umiak_compose::published_services(COMPOSE_FILE, text, &limits) else {
                return Err(error);
            };
            let named = pairs.into_iter().map(|(service, image)| match image.parse() {
                Ok(ImageReference::Bare(image)) => Some(Named { service, image, platform: None }),
                _ => None,
            });
            named.collect::<Option<_>>().ok_or(error)
        }
    }
}

/// What the services of an app of images are to run as, in the order of the compose file.
///
/// # Errors
/// [`ResolveError::Refused`]: each key that nobody here does, by name and place.
pub(crate) fn services(content: &Content, sources: &Sources) -> Result<Vec<Service>, ResolveError> {
    let name = &content.app.name;
    let (texts, environment) = match &content.made {
        Made::Compose(app) => (app.bundle.texts.clone(), &sources.environment),
        Made::Image(_) => (BTreeMap::from([(COMPOSE_FILE.to_owned(), alone(name).into_bytes())]), &sources.environment),
        // Its services are read with the state: they come with their roots.
        Made::Pvr(_) => return Ok(Vec::new()),
    };
    let unusable = |error: ComposeError| ResolveError::Project { app: name.clone(), source: error.into() };
    let files = [COMPOSE_FILE.to_owned()];
    let project = Project::read(&texts, &files, environment, &ComposeLimits::default()).map_err(unusable)?;
    let mut images: BTreeMap<String, ImageDefaults> = BTreeMap::new();
    for image in content.images() {
        let defaults = ImageDefaults::of(&image.image.config);
        let what = || format!("the configuration of the image of {}", image.service);
        let defaults = defaults.map_err(|source| ResolveError::Document { what: what(), source })?;
        images.insert(image.service.clone(), defaults);
    }
    let device = Device { files: &texts, environment, profiles: &sources.profiles, root: Root::ReadOnly };
    let found = run(&project, &images, &device);
    let refusals: Vec<String> = found.refused(sources.runs_compose).map(ToString::to_string).collect();
    if !refusals.is_empty() {
        return Err(ResolveError::Refused { app: name.clone(), refusals });
    }
    Ok(found.services)
}

/// The project of an image that runs alone.
fn alone(name: &str) -> String {
    format!("services:\n  \"{name}\":\n    image: \"{name}\"\n    restart: unless-stopped\n")
}
