//! The compose file that an engine is given which runs Compose itself (Docker): the project's model with what the device
//! decides, whole and in one file, so that neither the way files are put together nor the environment matters any more.
//!
//! What is changed of what the author wrote:
//!
//! - variables are filled in, files of variables too; profiles were asked before; order and restarts are the caller's
//!   business (`depends_on` and `restart` go, containers are made and not started by Compose);
//! - images are named as the device has them; nothing is built or pulled;
//! - everything that is made has labels; containers, networks and volumes have names of ours, but for those of others
//!   (`external`) and volumes that the author named;
//! - volumes without a name get one, so that they are found again by the next revision;
//! - a root is read-only and memory is at its places, where the device says so;
//! - limits in `deploy` become those of the service, which every Compose heeds.
//!
//! Everything else stays as it is written, also what umiak itself does not understand.

use std::collections::BTreeMap;

use umiak_spec::service::{MountKind, Network, Root, Service, Volume};

use crate::error::{At, ComposeError};
use crate::merge::as_pairs;
use crate::project::Project;
use crate::read::{Variables, bad_template};
use crate::template::{Missing, Template, escaped};
use crate::yaml::{Map, Shape, Value, write};

/// Labels by name.
pub type Labels = BTreeMap<String, String>;

/// What the device decides.
pub struct Placing<'a> {
    /// The services that run, as they were read, with the names of their images on the device.
    pub services: Vec<(&'a Service, String)>,
    /// The variables of the device, as when the services were read.
    pub environment: &'a BTreeMap<String, String>,
    /// The labels of a service's container; for nothing in particular, of networks.
    pub labels: &'a dyn Fn(Option<&Service>) -> Labels,
    /// The name of a volume on the device, and its labels.
    pub volume: &'a dyn Fn(&Volume) -> (String, Labels),
}

/// The keys of a service that have no meaning any more.
const GONE: [&str; 13] = [
    "build",
    "develop",
    "depends_on",
    "restart",
    "profiles",
    "pull_policy",
    "pull_refresh_after",
    "extends",
    "attach",
    "container_name",
    "env_file",
    "scale",
    "provider",
];

/// The file.
///
/// # Errors
/// [`ComposeError`]: a variable that must have a value has none.
pub fn for_compose(project: &Project, placing: &Placing<'_>) -> Result<String, ComposeError> {
    let mut variables = project.own_variables.clone();
    variables.extend(placing.environment.clone());
    let mut model = project.model.clone();
    fill(&mut model, &variables, project)?;
    let here = Value::null_like(&model);
    let Some(root) = model.as_map_mut() else { return Ok(String::new()) };
    root.entries
        .retain(|entry| !(entry.key.starts_with("x-") || ["name", "include", "version"].contains(&&*entry.key)));
    let maker = Maker { here, placing };
    maker.networks(root);
    maker.volumes(root);
    if let Some(services) = root.get_mut("services").and_then(Value::as_map_mut) {
        services.entries.retain(|entry| placing.services.iter().any(|(service, _)| service.name == entry.key));
        for (service, image) in &placing.services {
            if let Some(value) = services.get_mut(&service.name).and_then(Value::as_map_mut) {
                maker.service(value, service, image);
            }
        }
    }
    Ok(write::document(&model))
}

/// Fills in the variables of all texts below; what is left of `$` means nothing.
fn fill(value: &mut Value, variables: &Variables, project: &Project) -> Result<(), ComposeError> {
    let place = value.place(&project.files);
    match &mut value.shape {
        Shape::Map(map) => map.entries.iter_mut().try_for_each(|entry| fill(&mut entry.value, variables, project)),
        Shape::List(list) => list.iter_mut().try_for_each(|item| fill(item, variables, project)),
        Shape::Scalar { text, plain } if text.contains('$') => {
            let template = Template::parse(text).map_err(|reason| bad_template(text, reason).at(place.clone()))?;
            let filled = template
                .fill(&|name| variables.get(name).cloned(), Missing::Empty)
                .map_err(|unset| crate::Problem::NoValue { name: unset.name, message: unset.message }.at(place))?;
            // Nothing is an empty text, not null.
            *plain = *plain && !filled.is_empty();
            *text = escaped(&filled);
            Ok(())
        }
        Shape::Scalar { .. } => Ok(()),
    }
}

struct Maker<'a> {
    /// Where what is added stands, as far as that matters.
    here: Value,
    placing: &'a Placing<'a>,
}

impl Maker<'_> {
    fn text(&self, text: &str) -> Value {
        Value::text_like(&self.here, escaped(text))
    }

    /// A number or truth value.
    fn plain(&self, text: &str) -> Value {
        Value::like(&self.here, Shape::Scalar { text: text.to_owned(), plain: true })
    }

    fn map(&self, pairs: impl IntoIterator<Item = (String, Value)>) -> Value {
        let mut map = Map::default();
        pairs.into_iter().for_each(|(key, value)| map.set(&key, value));
        Value::like(&self.here, Shape::Map(map))
    }

    /// The section of a file, made if it is not there.
    fn section<'m>(&self, map: &'m mut Map, key: &str) -> Option<&'m mut Map> {
        if map.get(key).is_none_or(Value::is_null) {
            map.set(key, self.map([]));
        }
        map.get_mut(key).and_then(Value::as_map_mut)
    }

    /// Networks are the revision's own.
    fn networks(&self, root: &mut Map) {
        let labels = (self.placing.labels)(None);
        let Some(networks) = self.section(root, "networks") else { return };
        if networks.get("default").is_none() {
            networks.set("default", self.map([]));
        }
        for entry in &mut networks.entries {
            if let Some(network) = self.own(&mut entry.value) {
                network.remove("name");
                self.label(network, &labels);
            }
        }
    }

    fn volumes(&self, root: &mut Map) {
        let Some(volumes) = self.section(root, "volumes") else { return };
        for volume in self.placing.services.iter().flat_map(|(service, _)| named(service)) {
            let (name, labels) = (self.placing.volume)(volume);
            // Those that the project does not define are the ones without names.
            let Some(definition) =
                self.section(volumes, &volume.name).map(|_| ()).and_then(|()| volumes.get_mut(&volume.name))
            else {
                continue;
            };
            let Some(definition) = self.own(definition) else { continue };
            if definition.get("name").is_none_or(Value::is_null) {
                definition.set("name", self.text(&name));
            }
            self.label(definition, &labels);
        }
    }

    /// A network or volume that is not of others; without keys that begin with `x-`.
    fn own<'v>(&self, value: &'v mut Value) -> Option<&'v mut Map> {
        if value.is_null() {
            *value = self.map([]);
        }
        let map = value.as_map_mut()?;
        map.entries.retain(|entry| !entry.key.starts_with("x-"));
        let external = map.get("external").is_some_and(|value| value.as_text() != Some("false") && !value.is_null());
        (!external).then_some(map)
    }

    fn label(&self, map: &mut Map, labels: &Labels) {
        let present = map.remove("labels").map(|entry| as_pairs(entry.value)).filter(|labels| !labels.is_null());
        let mut all = present.unwrap_or_else(|| self.map([]));
        if let Some(all) = all.as_map_mut() {
            labels.iter().for_each(|(key, value)| all.set(key, self.text(value)));
        }
        map.set("labels", all);
    }

    fn service(&self, map: &mut Map, service: &Service, image: &str) {
        let unset = unset(map, service);
        let scale = map.get("scale").or_else(|| map.get("deploy")?.at(&["replicas"])).cloned();
        map.entries.retain(|entry| !(entry.key.starts_with("x-") || GONE.contains(&&*entry.key)));
        if let Some(health) = map.get_mut("healthcheck").and_then(Value::as_map_mut) {
            health.entries.retain(|entry| !entry.key.starts_with("x-"));
        }
        map.set("image", self.text(image));
        let env = service.process.env.iter().map(|(name, value)| (name.clone(), self.text(value)));
        map.set("environment", self.map(env.chain(unset.into_iter().map(|name| (name, Value::null_like(&self.here))))));
        self.label(map, &(self.placing.labels)(Some(service)));
        self.deploy(map);
        if let Some(scale) = scale.filter(|scale| scale.as_text().is_some_and(|count| count != "1")) {
            map.set("scale", scale);
        }
        self.mounts(map, service);
        self.aliases(map, service);
        if service.root == Root::ReadOnly {
            map.set("read_only", self.plain("true"));
        }
    }

    /// Limits of one container; devices of drivers stay where they are.
    fn deploy(&self, map: &mut Map) {
        let Some(deploy) = map.remove("deploy") else { return };
        for (way, key) in [
            (["resources", "limits", "cpus"], "cpus"),
            (["resources", "limits", "memory"], "mem_limit"),
            (["resources", "limits", "pids"], "pids_limit"),
            (["resources", "reservations", "memory"], "mem_reservation"),
        ] {
            if let Some(value) = deploy.value.at(&way).filter(|value| !value.is_null()) {
                map.set(key, value.clone());
            }
        }
        if let Some(devices) = deploy.value.at(&["resources", "reservations", "devices"]) {
            let below = |key: &str, value| self.map([(key.to_owned(), value)]);
            map.set("deploy", below("resources", below("reservations", below("devices", devices.clone()))));
        }
    }

    /// Volumes without a name get theirs; directories and memory that the device adds.
    fn mounts(&self, map: &mut Map, service: &Service) {
        let unnamed = |item: &Value| match item.as_map() {
            Some(item) => item.get("type").and_then(Value::as_text) == Some("volume") && item.get("source").is_none(),
            None => item.as_text().is_some_and(|text| !text.contains(':')),
        };
        let mut volumes =
            map.remove("volumes").and_then(|entry| entry.value.as_list().map(<[Value]>::to_vec)).unwrap_or_default();
        volumes.retain(|item| !unnamed(item));
        let mut tmpfs = vec![];
        let written = |key: &str, target: &str| {
            let value = map.get(key)?;
            let items = value.as_list().unwrap_or(std::slice::from_ref(value)).iter();
            let texts = items.filter_map(Value::as_text).map(|text| text.split(':').next().unwrap_or(text));
            texts.into_iter().any(|text| text.trim_end_matches('/') == target).then_some(())
        };
        for mount in &service.mounts {
            match &mount.kind {
                MountKind::Volume(volume) if volume.name.starts_with("anonymous-") => {
                    volumes.push(self.map([
                        ("type".to_owned(), self.text("volume")),
                        ("source".to_owned(), self.text(&volume.name)),
                        ("target".to_owned(), self.text(&mount.target)),
                    ]));
                }
                // Added by the device: what the author binds stands there already, and what is not made is a file of his.
                MountKind::Bind(bind)
                    if bind.create
                        && bind.source.starts_with('/')
                        && !volumes.iter().any(|item| is_at(item, &mount.target)) =>
                {
                    let access = if mount.read_only { ":ro" } else { "" };
                    volumes.push(self.text(&format!("{}:{}{access}", bind.source, mount.target)));
                }
                MountKind::Tmpfs { size: None, mode: Some(mode), options }
                    if options.is_empty()
                        && written("tmpfs", &mount.target).is_none()
                        && !volumes.iter().any(|item| is_at(item, &mount.target)) =>
                {
                    tmpfs.push(self.text(&format!("{}:mode={mode:o}", mount.target)));
                }
                _ => {}
            }
        }
        if !volumes.is_empty() {
            map.set("volumes", Value::like(&self.here, Shape::List(volumes)));
        }
        if !tmpfs.is_empty() {
            let present = map.remove("tmpfs").map(|entry| entry.value);
            let mut all =
                present.map_or(vec![], |value| value.as_list().map_or_else(|| vec![value.clone()], <[Value]>::to_vec));
            all.extend(tmpfs);
            map.set("tmpfs", Value::like(&self.here, Shape::List(all)));
        }
    }

    /// A container's name and links are names on its networks.
    fn aliases(&self, map: &mut Map, service: &Service) {
        let Network::Private(private) = &service.network else { return };
        let present = map.get("networks").cloned();
        if map.get("network_mode").is_some() || private.attached.iter().all(|one| one.aliases.is_empty()) {
            return;
        }
        let mut networks = Map::default();
        for attachment in &private.attached {
            let own =
                present.as_ref().and_then(|present| present.at(&[&attachment.network])).filter(|own| !own.is_null());
            let mut own = own.cloned().unwrap_or_else(|| self.map([]));
            if let Some(own) = own.as_map_mut() {
                own.set(
                    "aliases",
                    Value::like(
                        &self.here,
                        Shape::List(attachment.aliases.iter().map(|name| self.text(name)).collect()),
                    ),
                );
            }
            networks.set(&attachment.network, own);
        }
        map.set("networks", Value::like(&self.here, Shape::Map(networks)));
    }
}

/// Whether an item of `volumes` is mounted at `target`.
fn is_at(item: &Value, target: &str) -> bool {
    let path = match item.as_map() {
        Some(item) => item.get("target").and_then(Value::as_text),
        None => item.as_text().and_then(|text| text.split(':').nth(1)),
    };
    path.is_some_and(|path| path.trim_end_matches('/') == target)
}

/// Names of variables that the author takes away from the image's.
fn unset(map: &Map, service: &Service) -> Vec<String> {
    let environment = map.get("environment").map(|value| as_pairs(value.clone()));
    let entries = environment.as_ref().and_then(Value::as_map).map(|map| map.entries.as_slice()).unwrap_or_default();
    let gone = entries.iter().filter(|entry| entry.value.is_null() && !service.process.env.contains_key(&entry.key));
    gone.map(|entry| entry.key.clone()).collect()
}

fn named(service: &Service) -> impl Iterator<Item = &Volume> {
    service
        .mounts
        .iter()
        .filter_map(|mount| if let MountKind::Volume(volume) = &mount.kind { Some(volume) } else { None })
}
