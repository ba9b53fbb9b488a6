//! What a device is to run of a project: each service typed and settled, or refused with the key and its place.
//!
//! Guarantees: every key of every service that runs has a decision. It is understood and stands in the
//! [`Service`], or it is passed over because it has no meaning for what runs ([`Run::notes`] says why), or it is
//! refused ([`Run::refusals`]). Nothing is guessed, nothing ignored. A refusal that only concerns engines which do not
//! run Compose themselves says so. The image's configuration is merged as Docker does.
//!
//! What it does not do: look at what is on the device (users, devices, addresses), or judge what an engine can; an
//! engine's own refusals find their place by [`Run::place`].

mod depends;
mod field;
mod files;
mod health;
mod mounts;
mod networks;
mod placed;
mod ports;
mod process;
mod resources;
mod security;
mod service;
mod units;
mod volumes;
mod words;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use umiak_spec::service::{ImageDefaults, Root, Service};

use crate::error::Place;
use crate::project::Project;
use crate::read::Files;
use crate::yaml::Value;
use field::{Field, Found, Reading};
pub use placed::{Labels, Placing, for_compose};

/// What the device adds to the project.
pub struct Device<'a> {
    /// The files of the project's directory.
    pub files: &'a dyn Files,
    /// The device's variables; they win over the project's `.env`.
    pub environment: &'a BTreeMap<String, String>,
    /// The profiles that are active, besides those of `COMPOSE_PROFILES`. `*` is all.
    pub profiles: &'a BTreeSet<String>,
    /// Whether services may write to their roots where the project does not say (`read_only`). A service with a
    /// read-only root by this rule gets memory at `/run`, `/tmp` and `/var/tmp`, where nothing else is mounted.
    pub root: Root,
}

/// What is to be run.
#[derive(Debug, Clone, Default)]
pub struct Run {
    /// The services that run, in the order of the project. One that was refused something is here without it.
    pub services: Vec<Service>,
    /// What cannot be done.
    pub refusals: Vec<Refusal>,
    /// What was passed over.
    pub notes: Vec<Note>,
    /// Variables that have no value and stand for nothing.
    pub unset: BTreeSet<String>,
    places: BTreeMap<(String, String), Place>,
}

/// A key that is not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The service that has it, or uses what has it.
    pub service: String,
    /// The whole way to it: `services.web.ports[0].mode`.
    pub key: String,
    /// Where it is written.
    pub place: Place,
    /// Why.
    pub why: String,
    /// An engine that runs Compose itself does it.
    pub compose_does: bool,
}

/// A key that is passed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The service.
    pub service: String,
    /// The whole way to it.
    pub key: String,
    /// Why it has no meaning here.
    pub why: &'static str,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.place, self.key, self.why)
    }
}

impl Run {
    /// The refusals that hold for an engine, which runs Compose itself or does not.
    pub fn refused(&self, runs_compose: bool) -> impl Iterator<Item = &Refusal> {
        self.refusals.iter().filter(move |refusal| !(runs_compose && refusal.compose_does))
    }

    /// Where a service has a key of its own (`ports`); where the service is, if the key is not written.
    #[must_use]
    pub fn place(&self, service: &str, key: &str) -> Option<&Place> {
        let at = |key: &str| self.places.get(&(service.to_owned(), key.to_owned()));
        at(key).or_else(|| at(""))
    }
}

/// Reads what is to be run. `images` are the configurations of the services' images, by service; of a service without
/// one nothing is known but what the project says.
#[must_use]
pub fn run(project: &Project, images: &BTreeMap<String, ImageDefaults>, device: &Device<'_>) -> Run {
    let mut variables = project.own_variables.clone();
    variables.extend(device.environment.clone());
    let found = RefCell::new(Found::default());
    let active = active(project, device.profiles, variables.get("COMPOSE_PROFILES"));
    let none = ImageDefaults::default();
    let mut services = vec![];
    for name in &active {
        let Some(value) = project.model.at(&["services", name]) else { continue };
        let reading = Reading { project, files: device.files, variables: &variables, service: name, found: &found };
        let field = Field { reading: &reading, value, key: format!("services.{name}") };
        remember_places(&reading, value);
        services.push(service::read(&field, images.get(name).unwrap_or(&none), device.root));
    }
    finish_dependencies(&mut services, &active, &found);
    let Found { refusals, notes, unset, places } = found.into_inner();
    Run { services, refusals, notes, unset, places }
}

/// The services that run: those without profiles, and those of active ones.
fn active(project: &Project, profiles: &BTreeSet<String>, more: Option<&String>) -> Vec<String> {
    let mut profiles = profiles.clone();
    profiles.extend(more.into_iter().flat_map(|list| list.split(',')).map(|name| name.trim().to_owned()));
    let all = profiles.contains("*");
    let runs = |service: &&crate::Service| {
        all || service.profiles.is_empty() || service.profiles.iter().any(|name| profiles.contains(name))
    };
    project.services().iter().filter(runs).map(|service| service.name.clone()).collect()
}

fn remember_places(reading: &Reading<'_>, service: &Value) {
    let files = &reading.project.files;
    let mut found = reading.found.borrow_mut();
    let mut at = |key: &str, place| found.places.insert((reading.service.to_owned(), key.to_owned()), place);
    at("", service.place(files));
    for entry in service.as_map().map(|map| map.entries.as_slice()).unwrap_or_default() {
        at(&entry.key, entry.value.place(files));
    }
}

/// A dependency on a service that does not run: left out when it may be, else refused.
fn finish_dependencies(services: &mut [Service], active: &[String], found: &RefCell<Found>) {
    for service in services {
        let name = service.name.clone();
        service.depends_on.retain(|needed, dependency| {
            let here = active.contains(needed);
            if !here && dependency.required {
                let mut found = found.borrow_mut();
                let place = |key: &str| found.places.get(&(name.clone(), key.to_owned())).cloned();
                let place = place("depends_on").or_else(|| place("")).unwrap_or_default();
                let why = format!("it needs service `{needed}`, which does not run: no profile of it is active");
                let key = format!("services.{name}.depends_on");
                found.refusals.push(Refusal { service: name.clone(), key, place, why, compose_does: false });
            }
            here
        });
    }
}
