//! Private networks: a bridge for each network of an app's revision, a cable (veth) to each service on it.
//!
//! ```text
//! pool 10.213.0.0/16    network number n: 10.213.n.0/24, bridge umiak<n> with .1, services from .2 in order of their names
//! service               a namespace of its own: eth0, eth1 … in the order it is attached; the first network that leads
//!                       out has the way out
//! ```
//!
//! Networks are found again by small documents in the run directory; every step finds what is there and leaves it. What
//! leaves the pool is given the device's address (one rule for the whole pool). Two revisions of an app have networks
//! of their own, so the next one can be made ready while the current one runs.

mod link;
mod nat;
mod netlink;

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use umiak_mount::namespace;
use umiak_spec::service::{Network, Private, Service};

use super::place::{self, Directories, short_revision};
use crate::error::At;
use crate::{Deployment, EngineError, durable};

/// Networks at a time: those of the pool.
const NETWORKS_MAX: u8 = 255;

/// Addresses of services in one network.
const SERVICES_MAX: usize = 252;

/// The first two numbers of the addresses that networks are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool(pub u8, pub u8);

impl Default for Pool {
    /// 10.213.0.0/16
    fn default() -> Self {
        Self(10, 213)
    }
}

impl Pool {
    fn address(self, network: u8, host: u8) -> Ipv4Addr {
        Ipv4Addr::new(self.0, self.1, network, host)
    }
}

/// What is noted of a network, in a file named by its number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Noted {
    app: String,
    revision: String,
    name: String,
    boot: String,
}

/// A service's place in its networks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Attached {
    /// The namespace.
    pub keeper: Option<PathBuf>,
    /// Its own address in the first network.
    pub address: Option<IpAddr>,
    /// The device's address there.
    pub gateway: Option<IpAddr>,
    /// Whom it can reach by what names.
    pub others: Vec<(IpAddr, Vec<String>)>,
}

/// Makes the networks of a deployment and attaches its services. The caller holds the engine's lock.
pub(crate) fn ready(
    directories: &Directories,
    pool: Pool,
    deployment: &Deployment,
    keeper: impl Fn(&str) -> PathBuf,
) -> Result<Vec<Attached>, EngineError> {
    let services: Vec<&Service> = deployment.services.iter().map(|placed| &placed.service).collect();
    let plan = Plan::of(&services);
    let mut numbers = Vec::with_capacity(plan.networks.len());
    for network in &plan.networks {
        let number = number(directories, deployment, &network.name)?;
        link::bridge(&bridge(number), pool.address(number, 1)).at("make the network", Path::new(&network.name))?;
        numbers.push(number);
    }
    if plan.networks.iter().any(|network| !network.internal) {
        nat::ready(pool).at("lead out", Path::new("the app's networks"))?;
    }
    let mut all = Vec::with_capacity(services.len());
    for service in &services {
        let mut attached = Attached::default();
        match &service.network {
            Network::Host => {}
            Network::Service(other) => attached.keeper = Some(keeper(other)),
            Network::None | Network::Private(_) => attached.keeper = Some(keeper(&service.name)),
        }
        let own = attached.keeper.clone().filter(|_| !matches!(service.network, Network::Service(_)));
        if let Some(path) = &own {
            durable::directory(path.parent().unwrap_or(path))?;
            namespace::keep_network(path)?;
            plan.attach(pool, &numbers, service, path, &mut attached)?;
        }
        all.push(attached);
    }
    share(&services, &mut all);
    Ok(all)
}

/// A service in another's network sees the names that the other sees.
fn share(services: &[&Service], all: &mut [Attached]) {
    for at in 0..services.len() {
        if let Network::Service(other) = &services[at].network
            && let Some(position) = services.iter().position(|service| service.name == *other)
        {
            let keeper = all[at].keeper.clone();
            all[at] = Attached { keeper, ..all[position].clone() };
        }
    }
}

/// Takes the networks of a revision away. Repeatable.
pub(crate) fn remove(directories: &Directories, app: &str, revision: &str) -> Result<(), EngineError> {
    let short = short_revision(revision)?;
    for (number, noted) in noted(directories) {
        if noted.app == app && noted.revision == short {
            let name = bridge(number);
            link::remove(&name).at("remove the network", Path::new(&name))?;
            durable::remove_file(&document(directories, number))?;
        }
    }
    let ours = format!("{app}+{short}+");
    let keepers = directories.run.join("net");
    for entry in std::fs::read_dir(&keepers).into_iter().flatten().flatten() {
        if entry.file_name().to_str().is_some_and(|name| name.starts_with(&ours)) {
            namespace::drop_network(&entry.path())?;
        }
    }
    Ok(())
}

fn bridge(number: u8) -> String {
    format!("umiak{number}")
}

fn document(directories: &Directories, number: u8) -> PathBuf {
    directories.run.join("networks").join(number.to_string())
}

fn noted(directories: &Directories) -> Vec<(u8, Noted)> {
    let boot = place::boot_id();
    let read = |number| place::read::<Noted>(&document(directories, number)).map(|noted| (number, noted));
    (0..=NETWORKS_MAX).filter_map(read).filter(|(_, noted)| noted.boot == boot).collect()
}

/// The number of a network: the one that it has, else the lowest that is free.
fn number(directories: &Directories, deployment: &Deployment, name: &str) -> Result<u8, EngineError> {
    let revision = short_revision(&deployment.revision)?;
    let noted = noted(directories);
    let own = |one: &Noted| one.app == deployment.app && one.revision == revision && one.name == name;
    if let Some((number, _)) = noted.iter().find(|(_, one)| own(one)) {
        return Ok(*number);
    }
    let free = (0..=NETWORKS_MAX).find(|number| noted.iter().all(|(taken, _)| taken != number));
    let number = free.ok_or_else(|| EngineError::Service {
        service: deployment.app.clone(),
        why: "all 256 networks of this device are in use".to_owned(),
    })?;
    let new = Noted { app: deployment.app.clone(), revision, name: name.to_owned(), boot: place::boot_id() };
    let path = document(directories, number);
    durable::directory(path.parent().unwrap_or(&path))?;
    durable::document(&path, &serde_json::to_vec(&new).unwrap_or_default())?;
    Ok(number)
}

/// The networks of an app and who is on them.
struct Plan {
    networks: Vec<Planned>,
}

struct Planned {
    name: String,
    internal: bool,
    /// Services by name, and the names that they have here.
    members: Vec<(String, Vec<String>)>,
}

impl Plan {
    fn of(services: &[&Service]) -> Self {
        let mut networks: Vec<Planned> = Vec::new();
        for service in services {
            let Network::Private(Private { attached, .. }) = &service.network else { continue };
            for place in attached {
                let mut names = vec![service.name.clone()];
                names.extend(place.aliases.iter().filter(|alias| **alias != service.name).cloned());
                let member = (service.name.clone(), names);
                match networks.iter_mut().find(|network| network.name == place.network) {
                    Some(network) => {
                        network.internal &= place.internal;
                        network.members.push(member);
                    }
                    None => networks.push(Planned {
                        name: place.network.clone(),
                        internal: place.internal,
                        members: vec![member],
                    }),
                }
            }
        }
        networks.sort_by(|a, b| a.name.cmp(&b.name));
        for network in &mut networks {
            network.members.sort();
        }
        Self { networks }
    }

    /// The last number of a service's address in a network.
    fn host(network: &Planned, service: &str) -> Option<u8> {
        let at = network.members.iter().position(|(name, _)| name == service)?;
        u8::try_from(at.min(SERVICES_MAX) + 2).ok().filter(|_| at < SERVICES_MAX)
    }

    fn attach(
        &self,
        pool: Pool,
        numbers: &[u8],
        service: &Service,
        keeper: &Path,
        into: &mut Attached,
    ) -> Result<(), EngineError> {
        let Network::Private(Private { attached, .. }) = &service.network else { return Ok(()) };
        let mut way_out = None;
        for (order, place) in attached.iter().enumerate() {
            let found = self.networks.iter().zip(numbers).find(|(network, _)| network.name == place.network);
            let Some((network, number)) = found else { continue };
            let host = Self::host(network, &service.name).ok_or_else(|| EngineError::Service {
                service: service.name.clone(),
                why: format!("network {} has no address left", network.name),
            })?;
            let gateway = pool.address(*number, 1);
            let cable = link::Cable {
                outside: format!("um{number}v{host}"),
                inside: format!("eth{order}"),
                bridge: bridge(*number),
                address: pool.address(*number, host),
                gateway: (!network.internal && way_out.is_none()).then_some(gateway),
            };
            link::connect(keeper, &cable).at("connect", keeper)?;
            way_out = way_out.or(cable.gateway);
            into.address = into.address.or(Some(cable.address.into()));
            into.gateway = into.gateway.or(Some(gateway.into()));
            for (name, names) in network.members.iter().filter(|(name, _)| *name != service.name) {
                let known = into.others.iter().any(|(_, names)| names.first() == Some(name));
                if let (false, Some(host)) = (known, Self::host(network, name)) {
                    into.others.push((pool.address(*number, host).into(), names.clone()));
                }
            }
        }
        into.gateway = way_out.map(IpAddr::from).or(into.gateway);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use umiak_spec::service::Attachment;

    #[test]
    fn addresses_depend_on_names_only() {
        let service = |name: &str, networks: &[&str]| {
            let mut service = Service::new(name, vec![]);
            let attached = networks.iter().map(|network| Attachment::new(network)).collect();
            service.network = Network::Private(Private { attached, ports: vec![] });
            service
        };
        let (web, db) = (service("web", &["front", "back"]), service("db", &["back"]));
        for order in [[&web, &db], [&db, &web]] {
            let plan = Plan::of(&order);
            let names: Vec<&str> = plan.networks.iter().map(|network| network.name.as_str()).collect();
            assert_eq!(names, ["back", "front"]);
            assert_eq!(Plan::host(&plan.networks[0], "db"), Some(2));
            assert_eq!(Plan::host(&plan.networks[0], "web"), Some(3));
            assert_eq!(Plan::host(&plan.networks[1], "db"), None);
        }
    }
}
