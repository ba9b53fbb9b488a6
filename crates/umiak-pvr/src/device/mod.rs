//! What a device with an OCI runtime runs of a pvr state: each container as a service, the images of its root in their
//! order, the files that are laid over it; or what is refused, by file and key.
//!
//! ```text
//! device.json, groups.json --> groups: order, goals, when started again
//! NAME/run.json            --> manifest: storage, volumes, goal
//! NAME/lxc.container.conf  --> conf, container, mounts, devices, network: the service
//! _config/NAME/…           --> files above the root
//! ```
//!
//! Guarantees: every member of `run.json` and every line of `lxc.container.conf` has a decision: it stands in the
//! service, it is passed over because nothing would be done differently ([`Device::notes`]), or it is refused. `src.json`
//! is not looked at: signatures leave it out. A state with a system of its own (`bsp/`) is refused, for it would seem to
//! be updated. What it does not do: read objects, judge what an engine can.

mod conf;
mod container;
mod devices;
mod found;
mod groups;
mod manifest;
mod mounts;
mod network;

use std::collections::{BTreeMap, BTreeSet};

use umiak_spec::Digest;
use umiak_spec::service::{MountKind, Service};

pub use found::{Note, Refusal};

use crate::app::{RUN_JSON, is_truthy};
use crate::json::Value;
use crate::state::{Entry, State};
use container::Around;
use found::{At, Found};
use groups::{Goal, Groups};
use manifest::Manifest;

/// The formats of states that are read.
const SPECS: [&str; 2] = [crate::state::SYSTEM_1, "pantavisor-multi-platform@1"];

/// A directory of files that are laid over the roots of containers.
const CONFIG: &str = "_config/";

/// What is to be run of a state.
#[derive(Debug, Clone, Default)]
pub struct Device {
    /// The containers that are started, in the order in which they are.
    pub containers: Vec<Container>,
    /// What cannot be done. Where there is any, nothing is to be run.
    pub refusals: Vec<Refusal>,
    /// What was passed over.
    pub notes: Vec<Note>,
}

/// A container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// What is to run.
    pub service: Service,
    /// The object that says how: its `lxc.container.conf`.
    pub conf: Digest,
    /// The squashfs images of its root, the topmost first.
    pub lowers: Vec<Digest>,
    /// Files that are laid above all of these, by their path in the root; sorted.
    pub files: BTreeMap<String, Entry>,
}

/// The objects that have to be read to know what is to be run: configurations, and the files above roots.
#[must_use]
pub fn documents(state: &State) -> BTreeSet<Digest> {
    let mut wanted: BTreeSet<Digest> = manifests(state).filter_map(|(name, run)| conf(state, name, run)).collect();
    let files = state.entries().iter().filter(|(path, _)| path.as_str().starts_with(CONFIG));
    wanted.extend(files.filter_map(|(_, entry)| match entry {
        Entry::Object(digest) => Some(*digest),
        Entry::Inline(_) => None,
    }));
    wanted
}

/// Reads what is to be run of a state. `text` gives the content of those [`documents`] that are configurations.
#[must_use]
pub fn read(state: &State, text: &dyn Fn(&Digest) -> Option<Vec<u8>>) -> Device {
    let found = Found::default();
    whole(state, &found);
    let groups = Groups::of(state, &found);
    let read: BTreeMap<String, Manifest> = manifests(state)
        .map(|(name, run)| {
            let at = found.at(format!("{name}/{RUN_JSON}"));
            (name.to_owned(), Manifest::read(name, run, &groups, &at))
        })
        .collect();
    let object = |container: &str, volume: &str| match state.get(&format!("{container}/{volume}")) {
        Some(Entry::Object(digest)) => Some(*digest),
        _ => None,
    };
    let pools = pools(state);
    let around = Around { manifests: &read, object: &object, internal: &|pool| pools.get(pool).copied() };
    let mut containers: Vec<(usize, Container)> = vec![];
    for (name, manifest) in read.iter().filter(|(_, manifest)| manifest.goal != Goal::Mounted) {
        let run = found.at(format!("{name}/{RUN_JSON}"));
        containers.extend(one(state, name, manifest, &around, text, &run, &found).map(|one| (manifest.order, one)));
    }
    // Containers of one group in the order of their names, as the state has them.
    containers.sort_by_key(|(order, _)| *order);
    let containers: Vec<Container> = containers.into_iter().map(|(_, container)| container).collect();
    apart(&containers, &found);
    let (refusals, notes) = found.into_inner();
    Device { containers, refusals, notes }
}

fn one(
    state: &State,
    name: &str,
    manifest: &Manifest,
    around: &Around<'_>,
    text: &dyn Fn(&Digest) -> Option<Vec<u8>>,
    run: &At<'_>,
    found: &Found,
) -> Option<Container> {
    let Some(file) = &manifest.config else {
        run.refuse("config", "is missing, and the container is to be started");
        return None;
    };
    let Some(Entry::Object(conf)) = state.get(&format!("{name}/{file}")) else {
        run.refuse("config", format!("the state has no file {name}/{file}"));
        return None;
    };
    let read = text(conf).filter(|bytes| bytes.len() <= conf::MAX_CONF).and_then(|bytes| String::from_utf8(bytes).ok());
    let Some(read) = read else {
        run.refuse("config", format!("{name}/{file} cannot be read as text of at most {} bytes", conf::MAX_CONF));
        return None;
    };
    let at = found.at(format!("{name}/{file}"));
    let (service, lowers) = container::read(name, manifest, around, &read, &at, run);
    Some(Container { service, conf: *conf, lowers, files: files(state, name) })
}

/// The containers: directories at the top with a `run.json`.
fn manifests(state: &State) -> impl Iterator<Item = (&str, &Value)> {
    state.entries().iter().filter_map(|(path, entry)| {
        let name = path.as_str().strip_suffix(RUN_JSON)?.strip_suffix('/').filter(|name| !name.contains('/'))?;
        match entry {
            Entry::Inline(value) if name != BSP && !name.starts_with('_') => Some((name, value)),
            _ => None,
        }
    })
}

fn conf(state: &State, name: &str, run: &Value) -> Option<Digest> {
    match state.get(&format!("{name}/{}", run.get("config")?.as_str()?))? {
        Entry::Object(digest) => Some(*digest),
        Entry::Inline(_) => None,
    }
}

/// The files that are laid over a container's root.
fn files(state: &State, name: &str) -> BTreeMap<String, Entry> {
    let prefix = format!("{CONFIG}{name}/");
    let all = state.entries().iter();
    all.filter_map(|(path, entry)| Some((path.as_str().strip_prefix(&prefix)?.to_owned(), entry.clone()))).collect()
}

/// The directory of the board support.
const BSP: &str = "bsp";

/// What concerns the state as a whole.
fn whole(state: &State, found: &Found) {
    let at = found.at("#spec");
    match state.spec() {
        Some(spec) if SPECS.contains(&spec) => {}
        Some(spec) => at.refuse("", format!("`{spec}` is not read here, but {}", SPECS.join(" and "))),
        None => at.refuse("", "is missing: this is no state of a device"),
    }
    let mut tops = BTreeSet::new();
    for (path, entry) in state.entries() {
        let path = path.as_str();
        let (top, below) = path.split_once('/').unwrap_or((path, ""));
        let first = tops.insert(top);
        match (top, below) {
            (BSP, _) if first => found.at("bsp/").refuse(
                "",
                "kernel and drivers of the device are not replaced here; leave them out of the package: pvr export -p …",
            ),
            (reserved, RUN_JSON) if reserved.starts_with('_') => {
                found.at(path).refuse("", "no container can be called like that: names with `_` in front are the state's own");
            }
            ("_hostconfig" | "_sigs" | "_config" | "_dm" | BSP, _) | (_, "") => {}
            (reserved, _) if reserved.starts_with('_') && first => {
                found.at(format!("{reserved}/")).refuse("", "is not understood here");
            }
            (_, RUN_JSON) if matches!(entry, Entry::Object(_)) => {
                found.at(path).refuse("", "is an object, where a document is wanted");
            }
            (_, "services.json") if inline(entry).is_some_and(is_truthy) => {
                found.at(path).refuse("", "containers are not connected by xconnect here");
            }
            (_, "mdev.json") if inline(entry).is_some_and(is_truthy) => {
                found.at(path).refuse("", "device nodes have the owners and permissions of the device's here");
            }
            _ => {}
        }
    }
    for name in ["storage-mapping.json", "network-mapping.json", "disks.json"] {
        if state.get(name).is_some() {
            found.at(name).pass("", "nothing here has names of disks or networks of the device's");
        }
    }
}

fn inline(entry: &Entry) -> Option<&Value> {
    match entry {
        Entry::Inline(value) => Some(value),
        Entry::Object(_) => None,
    }
}

/// The pools of `device.json`: whether each leads nowhere but to its containers.
fn pools(state: &State) -> BTreeMap<String, bool> {
    let device = state.get("device.json").and_then(inline);
    let pools = device.and_then(|device| device.get("network")?.get("pools")?.as_object());
    let internal = |pool: &Value| pool.get("nat").is_some_and(|nat| *nat == Value::Bool(false));
    pools.into_iter().flatten().map(|(name, pool)| (name.clone(), internal(pool))).collect()
}

/// Volumes of two containers that would lie in one place.
fn apart(containers: &[Container], found: &Found) {
    let mut owners: BTreeMap<&str, &str> = BTreeMap::new();
    for container in containers {
        let name = container.service.name.as_str();
        for mount in &container.service.mounts {
            let MountKind::Volume(volume) = &mount.kind else { continue };
            // Those of another container are named by that one's: it alone is compared.
            let own = volume.name.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'));
            if let Some(other) =
                Some(volume.name.as_str()).filter(|_| own).and_then(|volume| owners.insert(volume, name))
                && other != name
            {
                let why = format!("the container {other} keeps something under the same name");
                found.at(format!("{name}/{RUN_JSON}")).refuse("storage", why);
            }
        }
    }
}
