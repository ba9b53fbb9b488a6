//! Private networks: a bridge for each network of an app, a cable (veth) to each service on it.
//!
//! ```text
//! pool 10.213.0.0/16    network number n: 10.213.n.0/24, bridge umiak<n> with .1, services from .2
//! service               a namespace of its own in each revision: eth0, eth1 … in the order it is attached; the first
//!                       network that leads out has the way out
//! ```
//!
//! Networks are the app's ([`book`]): the next revision is made ready with cables that are not plugged, and starting one of
//! its services plugs its cable in place of the one before, under the same address. Everything is found again by small
//! documents in the run directory; every step finds what is there and leaves it. What leaves the pool is given the
//! device's address (one rule for the whole pool). There is no IPv6 on these networks.

mod book;
mod link;
mod names;
mod nat;
mod netlink;

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use umiak_mount::namespace;
use umiak_spec::service::{Network, Private, Service};

use super::place::{Directories, Instance, short_revision};
use crate::error::At;
use crate::{Deployment, EngineError, durable};
use book::{Book, Definition, Numbered};
pub(crate) use names::{Names, refresh};

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

/// A service's place in its networks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Attached {
    /// The namespace.
    pub keeper: Option<PathBuf>,
    /// Its own address in the first network.
    pub address: Option<IpAddr>,
    /// The device's address there.
    pub gateway: Option<IpAddr>,
}

/// Makes the networks of a deployment and lays cables to its services. The caller holds the engine's lock.
pub(crate) fn ready(
    directories: &Directories,
    pool: Pool,
    deployment: &Deployment,
    keeper: impl Fn(&str) -> PathBuf,
) -> Result<Vec<Attached>, EngineError> {
    let services: Vec<&Service> = deployment.services.iter().map(|placed| &placed.service).collect();
    let book = Book::of(directories);
    let mut networks = Vec::new();
    for definition in definitions(&deployment.app, &services) {
        networks.push(book.network(pool, &definition)?);
    }
    if networks.iter().any(|network| !network.noted.definition.internal) {
        nat::ready(pool).at("lead out", Path::new("the app's networks"))?;
    }
    let revision = short_revision(&deployment.revision)?;
    // All places are taken and noted before the first cable: what a cut leaves is found again.
    for service in &services {
        for (order, place) in (0..).zip(attached(service)) {
            let network = find(&mut networks, &place.network, place.internal);
            let taken = network.map(|network| network.seat(&service.name, &revision, order, &place.aliases).is_some());
            if taken == Some(false) {
                let why = format!("network {} has no address left", place.network);
                return Err(EngineError::Service { service: service.name.clone(), why });
            }
        }
    }
    networks.iter().try_for_each(|network| book.write(network))?;
    let mut all = Vec::with_capacity(services.len());
    for service in &services {
        let mut place = Attached::default();
        match &service.network {
            Network::Host => {}
            Network::Service(other) => place.keeper = Some(keeper(other)),
            Network::None | Network::Private(_) => {
                let path = keeper(&service.name);
                durable::directory(path.parent().unwrap_or(&path))?;
                namespace::keep_network(&path)?;
                lay(pool, &mut networks, service, &revision, &path, &mut place)?;
                place.keeper = Some(path);
            }
        }
        all.push(place);
    }
    share(&services, &mut all);
    Ok(all)
}

/// Lays the cables of a service into its namespace.
fn lay(
    pool: Pool,
    networks: &mut [Numbered],
    service: &Service,
    revision: &str,
    keeper: &Path,
    into: &mut Attached,
) -> Result<(), EngineError> {
    let mut way_out = None;
    for (order, place) in attached(service).iter().enumerate() {
        let Some(network) = find(networks, &place.network, place.internal) else { continue };
        let Some(member) = network.noted.members.get(&service.name) else { continue };
        let Some(seat) = member.seats.get(revision) else { continue };
        let gateway = network.address(pool, 1);
        let cable = link::Cable {
            outside: network.cable(seat),
            inside: format!("eth{order}"),
            address: network.address(pool, member.host),
            hardware: network.hardware(pool, member.host),
            gateway: (!place.internal && way_out.is_none()).then_some(gateway),
        };
        link::lay(keeper, &cable).at("connect", keeper)?;
        way_out = way_out.or(cable.gateway);
        into.address = into.address.or(Some(cable.address.into()));
        into.gateway = into.gateway.or(Some(gateway.into()));
    }
    into.gateway = way_out.map(IpAddr::from).or(into.gateway);
    Ok(())
}

/// A service in another's network has the addresses that the other has.
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

/// Plugs the cables of a service that is started next, in place of those of another revision of it. The caller holds the
/// engine's lock.
pub(crate) fn plug(directories: &Directories, instance: &Instance) -> Result<(), EngineError> {
    let (key, revision) = (&instance.key, instance.revision());
    let book = Book::of(directories);
    let mut changed = false;
    for mut network in book.of_app(&key.app) {
        let Some(member) = network.noted.members.get(&key.service) else { continue };
        let Some(seat) = member.seats.get(revision) else { continue };
        let name = network.cable(seat);
        for (_, other) in member.seats.iter().filter(|(other, _)| *other != revision) {
            link::pull(&network.cable(other)).at("disconnect", Path::new(&network.cable(other)))?;
        }
        link::plug(&name, &network.bridge()).at("connect", Path::new(&name))?;
        if member.plugged.as_deref() != Some(revision) {
            changed = true;
            let plugged = Some(revision.to_owned());
            network.noted.members.entry(key.service.clone()).and_modify(|member| member.plugged = plugged);
            book.write(&network)?;
        }
    }
    if changed { refresh(directories, &key.app) } else { Ok(()) }
}

/// Takes away what a revision has of networks, and networks that nobody is on any more. Repeatable.
pub(crate) fn remove(directories: &Directories, app: &str, revision: &str) -> Result<(), EngineError> {
    let short = short_revision(revision)?;
    let book = Book::of(directories);
    for mut network in book.of_app(app) {
        // The cables first: what is not noted any more is not found again.
        for cable in network.leave(&short) {
            link::remove(&cable).at("remove", Path::new(&cable))?;
        }
        if network.noted.members.is_empty() { book.remove(&network)? } else { book.write(&network)? }
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

/// The networks that services are attached to, each once.
fn definitions(app: &str, services: &[&Service]) -> Vec<Definition> {
    let places = services.iter().flat_map(|service| attached(service));
    let mut all: Vec<Definition> = places
        .map(|place| Definition { app: app.to_owned(), name: place.network.clone(), internal: place.internal })
        .collect();
    all.sort();
    all.dedup();
    all
}

fn attached(service: &Service) -> &[umiak_spec::service::Attachment] {
    if let Network::Private(Private { attached, .. }) = &service.network { attached } else { &[] }
}

fn find<'n>(networks: &'n mut [Numbered], name: &str, internal: bool) -> Option<&'n mut Numbered> {
    networks.iter_mut().find(|one| one.noted.definition.name == name && one.noted.definition.internal == internal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use umiak_spec::service::Attachment;

    #[test]
    fn a_network_is_what_its_definition_says() {
        let service = |name: &str, networks: &[(&str, bool)]| {
            let mut service = Service::new(name, vec![]);
            let attached =
                networks.iter().map(|(name, internal)| Attachment { internal: *internal, ..Attachment::new(name) });
            service.network = Network::Private(Private { attached: attached.collect(), ports: vec![] });
            service
        };
        let (web, db) = (service("web", &[("front", false), ("back", true)]), service("db", &[("back", true)]));
        let definitions = definitions("shop", &[&web, &db]);
        let names: Vec<_> = definitions.iter().map(|one| (one.name.as_str(), one.internal)).collect();
        assert_eq!(names, [("back", true), ("front", false)]);
    }
}
