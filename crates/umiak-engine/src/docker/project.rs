//! The project of a deployment as the one file that Compose is given: read again from its directory on the device, with
//! the images, names and labels that are ours.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use umiak_compose::run::{Labels, Placing, for_compose};
use umiak_compose::{ComposeLimits, Files, Project};
use umiak_spec::Digest;
use umiak_spec::service::{Service, Volume};

use super::name;
use crate::{Deployment, EngineError, Placed};

/// What Compose is given.
pub(super) struct Text {
    pub file: String,
    /// Of the file; what was made from the same is as it must be.
    pub digest: String,
    /// Where relative paths begin.
    pub directory: PathBuf,
}

pub(super) fn text(deployment: &Deployment, environment: &BTreeMap<String, String>) -> Result<Text, EngineError> {
    let failed = |why: String| EngineError::Service {
        service: deployment.services.first().map(|placed| placed.service.name.clone()).unwrap_or_default(),
        why,
    };
    let directory = deployment.project.clone();
    let directory = directory.ok_or_else(|| failed("Docker runs compose projects, and this app is none".into()))?;
    let files = Directory(&directory);
    let project = Project::read(&files, &[], environment, &ComposeLimits::default());
    let project = project.map_err(|error| failed(error.to_string()))?;
    let file = |made_from: &str| {
        let labels = |service: Option<&Service>| labels(deployment, service, made_from);
        let volume = |volume: &Volume| {
            let (app, revision) = (&deployment.app, &deployment.revision);
            (name::volume(app, revision, volume), name::of_volume(app, revision, volume))
        };
        let image = |placed: &Placed| name::image(&placed.image);
        let services = deployment.services.iter().map(|placed| (&placed.service, image(placed))).collect();
        for_compose(&project, &Placing { services, environment, labels: &labels, volume: &volume })
    };
    let plain = file("").map_err(|error| failed(error.to_string()))?;
    let digest = Digest::of(plain.as_bytes()).to_string();
    let file = file(&digest).map_err(|error| failed(error.to_string()))?;
    Ok(Text { file, digest, directory })
}

fn labels(deployment: &Deployment, service: Option<&Service>, made_from: &str) -> Labels {
    let (app, revision) = (&deployment.app, &deployment.revision);
    let placed =
        service.and_then(|service| deployment.services.iter().find(|placed| placed.service.name == service.name));
    let Some(placed) = placed else { return name::of_revision(app, revision) };
    let mut labels = name::of_service(app, revision, &placed.service, &placed.image);
    labels.insert(name::MADE_FROM.to_owned(), made_from.to_owned());
    labels
}

/// The files of a directory on this device.
struct Directory<'a>(&'a Path);

impl Files for Directory<'_> {
    fn read(&self, path: &str, limit: u64) -> io::Result<Option<Vec<u8>>> {
        let file = match File::open(self.0.join(path)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut bytes = vec![];
        file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }
}
