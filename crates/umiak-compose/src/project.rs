//! A compose project as it is published: its services, and the model that they were read into.
//!
//! What variables mean. At publish the values are filled in that publishing needs (`image`, `platform`, `profiles`, the
//! paths of `include` and `extends`); a variable without value and default is an error there. All other values keep
//! their variables, which the device fills in from its environment and the bundle's `.env`. The variables that are left
//! are listed in [`Project::variables`]. In an included file, what only its own `env_file` or `.env` defines is filled in
//! at publish, because the device reads neither.

use std::collections::BTreeMap;

use umiak_spec::{ImageReference, Platform, RegistryName};

use crate::error::{At, ComposeError, Place, Problem};
use crate::limits::ComposeLimits;
use crate::merge::settle;
use crate::read::{Around, Files, Reader, Variables};
use crate::yaml::{Syntax, Value};
use crate::{check, paths};

/// What Compose looks for, in this order.
const NAMES: [&str; 4] = ["compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"];
/// What it puts over that.
const OVERRIDES: [&str; 4] =
    ["compose.override.yml", "compose.override.yaml", "docker-compose.override.yml", "docker-compose.override.yaml"];
/// The variables of the project.
const ENV: &str = ".env";

/// A project that was read and is consistent.
#[derive(Debug, Clone)]
pub struct Project {
    pub(crate) files: Vec<Syntax>,
    pub(crate) model: Value,
    pub(crate) limits: ComposeLimits,
    /// The variables of `.env`, without the environment's.
    pub(crate) own_variables: Variables,
    /// Digests of the files of variables that services name.
    pub(crate) env_files: BTreeMap<String, umiak_spec::Digest>,
    services: Vec<Service>,
    variables: BTreeMap<String, Variable>,
}

/// One service of a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// Its image, variables filled in.
    pub image: RegistryName,
    /// The platform that it asks for, if it does.
    pub platform: Option<Platform>,
    /// The profiles that start it; none: always. It is published whatever they are.
    pub profiles: Vec<String>,
    /// The services that it needs first.
    pub depends_on: Vec<String>,
    /// Where the image is named.
    pub place: Place,
}

/// A variable that is left to the device.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Variable {
    /// Somewhere it has no default.
    pub required: bool,
    /// The project's `.env` gives it a value, so that the device has one.
    pub in_env: bool,
}

impl Project {
    /// Reads a project as Compose does. `names` are the compose files, relative to where `files` begins, which should be
    /// the directory of the first of them; without any, those of `COMPOSE_FILE`, else the standard names with their
    /// override. `environment` wins over the project's `.env`.
    ///
    /// # Errors
    /// [`ComposeError`], which names the place.
    pub fn read(
        files: &dyn Files,
        names: &[String],
        environment: &BTreeMap<String, String>,
        limits: &ComposeLimits,
    ) -> Result<Self, ComposeError> {
        let mut reader = Reader::new(files, limits);
        let own_variables = reader.variables(ENV, environment)?.unwrap_or_default();
        let mut variables = own_variables.clone();
        variables.extend(environment.clone());
        let names = chosen(files, names, &variables)?;
        let around = Around { directory: "", variables: &variables, chain: &names };
        let mut model = reader.project(&names, &around)?;
        settle(&mut model);
        let left = check::variables(&model, &own_variables, &reader.read)?;
        let services = services(&reader, &model, &variables)?;
        check::references(&model, &reader.read)?;
        check::dependencies(&services)?;
        let env_files = env_files(&reader, &model, &variables)?;
        let files = reader.read;
        Ok(Self { files, model, limits: *limits, own_variables, env_files, services, variables: left })
    }

    /// The services, in the order of the files.
    #[must_use]
    pub fn services(&self) -> &[Service] {
        &self.services
    }

    /// The project's name, if a file gives one; variables as written.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.model.at(&["name"]).and_then(Value::as_text)
    }

    /// The compose files that were read, in the order of reading. But for `docker-compose.yml` they have no place in a
    /// bundle: Compose on the device would take them for the project, or put them over it.
    pub fn compose_files(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(|syntax| syntax.file.as_str())
    }

    /// The variables that the device has to fill in.
    #[must_use]
    pub fn variables(&self) -> &BTreeMap<String, Variable> {
        &self.variables
    }
}

/// The files of the project.
fn chosen(files: &dyn Files, names: &[String], variables: &Variables) -> Result<Vec<String>, ComposeError> {
    if !names.is_empty() {
        return Ok(names.iter().map(|name| paths::join("", name)).collect());
    }
    if let Some(list) = variables.get("COMPOSE_FILE").filter(|list| !list.is_empty()) {
        let separator = variables.get("COMPOSE_PATH_SEPARATOR").map_or(":", String::as_str);
        let separator = if separator.is_empty() { ":" } else { separator };
        return Ok(list.split(separator).map(|name| paths::join("", name)).collect());
    }
    let first = |names: &[&str]| {
        for name in names {
            let found = files.read(name, 0).map_err(|error| Problem::Read(error).at(Place::file(name)))?;
            if found.is_some() {
                return Ok(Some((*name).to_owned()));
            }
        }
        Ok(None)
    };
    let main = first(&NAMES)?;
    let main =
        main.ok_or_else(|| Problem::NoProject(NAMES.map(str::to_owned).into()).at(Place::file("the project")))?;
    Ok([Some(main), first(&OVERRIDES)?].into_iter().flatten().collect())
}

fn services(reader: &Reader<'_>, model: &Value, variables: &Variables) -> Result<Vec<Service>, ComposeError> {
    let none = || Problem::NoServices.at(model.place(&reader.read));
    let map = model.at(&["services"]).and_then(Value::as_map).ok_or_else(none)?;
    if map.entries.is_empty() {
        return Err(none());
    }
    map.entries.iter().map(|entry| service(reader, &entry.key, &entry.value, variables)).collect()
}

fn service(reader: &Reader<'_>, name: &str, value: &Value, variables: &Variables) -> Result<Service, ComposeError> {
    let name = name.to_owned();
    let has = |key: &str| value.at(&[key]).is_some_and(|value| !value.is_null());
    let Some(image) = value.at(&["image"]).filter(|image| image.as_text().is_some_and(|text| !text.is_empty())) else {
        let builds = has("build");
        return Err(Problem::NoImage { service: name, builds }.at(value.place(&reader.read)));
    };
    let place = image.place(&reader.read);
    let text = reader.fill(image, variables)?;
    let wrong = |source| Problem::Image { service: name.clone(), source }.at(place.clone());
    let image = match text.parse() {
        Ok(ImageReference::Bare(image)) => image,
        Ok(_) => return Err(wrong(umiak_spec::ReferenceError::Name(crate::error::shown(&text)))),
        Err(source) => return Err(wrong(source)),
    };
    let platform = match value.at(&["platform"]).filter(|platform| !platform.is_null()) {
        None => None,
        Some(platform) => {
            let parsed = reader.fill(platform, variables)?.parse();
            let wrong = |source| Problem::Platform { service: name.clone(), source }.at(platform.place(&reader.read));
            Some(parsed.map_err(wrong)?)
        }
    };
    let profiles = value.at(&["profiles"]).and_then(Value::as_list).unwrap_or(&[]);
    let profiles = profiles.iter().map(|profile| reader.fill(profile, variables)).collect::<Result<_, _>>()?;
    let depends_on = check::needed(value);
    Ok(Service { name, image, platform, profiles, depends_on, place })
}

/// What is in the files of variables that services name: it is part of what they run with.
fn env_files(
    reader: &Reader<'_>,
    model: &Value,
    variables: &Variables,
) -> Result<BTreeMap<String, umiak_spec::Digest>, ComposeError> {
    let mut digests = BTreeMap::new();
    let services = model.at(&["services"]).and_then(Value::as_map);
    for service in services.iter().flat_map(|map| &map.entries) {
        for item in check::env_files(&service.value) {
            let Ok(path) = reader.fill(item, variables) else { continue };
            let path = paths::join("", &path);
            if digests.contains_key(&path) {
                continue;
            }
            let bytes = reader.files.read(&path, reader.limits.variables);
            if let Some(bytes) = bytes.map_err(|error| Problem::Read(error).at(item.place(&reader.read)))? {
                digests.insert(path, umiak_spec::Digest::of(&bytes));
            }
        }
    }
    Ok(digests)
}
