//! The one compose file that a device reads: images by digest, nothing to build, a configuration hash for each service.
//!
//! A project of one file keeps its text: what changes is edited where it stands (`edit`), so comments, anchors and order
//! stay. An image is replaced where its value is written, also behind an anchor or in what a merge key names, if nothing
//! but services' images uses that value; else the service gets an `image` of its own. `build` is taken out where it is
//! written. Where edits cannot say it, and in projects of several files, the model is written as one file.
//!
//! Either way the result is read again, and must mean what the project means but for those changes.

mod edit;
mod hash;
mod place;

use std::collections::BTreeMap;

use umiak_spec::Digest;

use crate::error::{At, ComposeError, Place, Problem};
use crate::merge::{as_pairs, settle};
use crate::project::{Project, Service};
use crate::read::{Around, Reader, Variables};
use crate::yaml::{Map, Shape, Value, write};

/// The label that tells a device whether a service's configuration changed.
pub const CONFIG_HASH: &str = "io.compose-spec.config-hash";

/// What the file is called on a device.
const DEVICE_FILE: &str = "docker-compose.yml";

/// A pinned project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pinned {
    /// The text of `docker-compose.yml`.
    pub text: String,
    /// The text is the project's only file with edits; else it was written anew, and comments and anchors are gone.
    pub kept: bool,
    /// The services, in the project's order.
    pub services: Vec<PinnedService>,
}

/// A pinned service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinnedService {
    /// Its name.
    pub name: String,
    /// `<host>/<repository>@sha256:…`
    pub image: String,
    /// SHA-256 of its configuration, image and build settled; in hex what the label says.
    pub config_hash: Digest,
}

impl Project {
    /// The project with its images pinned: `digest` gives the digest of the manifest or index that a service's image
    /// means. It is called once for each service, in order.
    ///
    /// The same project and digests give the same text.
    ///
    /// # Errors
    /// What `digest` returns, and [`ComposeError`].
    pub fn pinned<E: From<ComposeError>>(
        &self,
        mut digest: impl FnMut(&Service) -> Result<Digest, E>,
    ) -> Result<Pinned, E> {
        let mut images = Vec::new();
        for service in self.services() {
            let digest = digest(service)?;
            images.push(format!("{}/{}@{digest}", service.image.host, service.image.repository));
        }
        Ok(self.with_images(&images)?)
    }

    fn with_images(&self, images: &[String]) -> Result<Pinned, ComposeError> {
        let (wanted, services) = self.wanted(images);
        if let [only] = self.files.as_slice() {
            let text = place::edits(only, self, &services).and_then(|edits| edit::apply(&only.text, edits));
            if let Some(text) = text
                && self.means(&text, &wanted).is_ok_and(|same| same)
            {
                return self.checked(text, true, services);
            }
        }
        let text = write::document(&wanted);
        match self.means(&text, &wanted) {
            Ok(true) => self.checked(text, false, services),
            Ok(false) => Err(self.not_the_same("a value differs".into())),
            Err(error) => Err(self.not_the_same(error.to_string())),
        }
    }

    fn not_the_same(&self, reason: String) -> ComposeError {
        let file = self.compose_files().next().unwrap_or(DEVICE_FILE);
        Problem::NotTheSame(reason).at(Place::file(file))
    }

    fn checked(&self, text: String, kept: bool, services: Vec<PinnedService>) -> Result<Pinned, ComposeError> {
        if text.len() as u64 > self.limits.document {
            let limit = self.limits.document;
            return Err(Problem::Limit { what: "bytes in the pinned compose file", limit }.at(Place::file(DEVICE_FILE)));
        }
        Ok(Pinned { text, kept, services })
    }

    /// The model as it has to be.
    fn wanted(&self, images: &[String]) -> (Value, Vec<PinnedService>) {
        let mut model = self.model.clone();
        let mut pinned = Vec::new();
        for (service, image) in self.services().iter().zip(images) {
            let value = model.as_map_mut().and_then(|map| map.get_mut("services")).and_then(Value::as_map_mut);
            let Some(value) = value.and_then(|map| map.get_mut(&service.name)) else { continue };
            let here = value.clone();
            let Some(map) = value.as_map_mut() else { continue };
            map.remove("build");
            if let Some(present) = map.get_mut("image") {
                *present = Value::text_like(present, image.clone());
            }
            let labels = map.remove("labels").map(|entry| entry.value).filter(|labels| !labels.is_null());
            let mut labels = as_pairs(labels.unwrap_or_else(|| Value::like(&here, Shape::Map(Map::default()))));
            if let Some(labels) = labels.as_map_mut() {
                labels.remove(CONFIG_HASH);
            }
            let config_hash = hash::of(map, &labels, self);
            if let Some(labels) = labels.as_map_mut() {
                labels.set(CONFIG_HASH, Value::text_like(&here, config_hash.hex()));
            }
            map.set("labels", labels);
            pinned.push(PinnedService { name: service.name.clone(), image: image.clone(), config_hash });
        }
        (model, pinned)
    }

    /// Whether a text, as a device reads it, means what is wanted. Extensions (`x-`) may differ: they mean nothing.
    fn means(&self, text: &str, wanted: &Value) -> Result<bool, ComposeError> {
        let files = BTreeMap::from([(DEVICE_FILE.to_owned(), text.as_bytes().to_vec())]);
        let mut reader = Reader::new(&files, &self.limits);
        let names = [DEVICE_FILE.to_owned()];
        let variables: Variables = self.own_variables.clone();
        let around = Around { directory: "", variables: &variables, chain: &names };
        let mut model = reader.project(&names, &around)?;
        settle(&mut model);
        Ok(comparable(model).same(&comparable(wanted.clone())))
    }
}

/// Without extensions, labels as maps.
fn comparable(mut model: Value) -> Value {
    let Some(map) = model.as_map_mut() else { return model };
    map.entries.retain(|entry| !entry.key.starts_with("x-"));
    if let Some(services) = map.get_mut("services").and_then(Value::as_map_mut) {
        for service in &mut services.entries {
            if let Some(labels) = service.value.as_map_mut().and_then(|map| map.get_mut("labels")) {
                *labels = as_pairs(labels.clone());
            }
        }
    }
    model
}
