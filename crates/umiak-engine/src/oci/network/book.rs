//! What is noted of networks: whose each is, and the place of every service on it.
//!
//! A network is the app's and not a revision's: it is there as long as a service of any revision has a place on it. A
//! service has the same address in every revision; of its cables, one for each revision that is made ready, one is plugged.
//! So services that go on unchanged are found where they were, and find those that were changed.
//!
//! One number is one network of the machine: the kernel makes one bridge of a name, so engines of several stores that take
//! numbers at the same time get different ones. Whose a bridge is says its hardware address, which is made of the run
//! directory's path: a bridge of ours of which nothing is noted was left by a cut, and goes; others' are not touched. Only where no number is
//! left those are taken whose engine's run directory, which is noted at the bridge, is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Pool, link};
use crate::error::At;
use crate::oci::place::{self, Directories};
use crate::{EngineError, durable};

/// The highest number of a network: those of the pool.
const NETWORK_LAST: u8 = 255;

/// How that begins which is noted at a bridge for people; the run directory of its engine ends it, in brackets.
const NOTE: &str = "umiak: network ";

/// The addresses of services in a network.
const HOSTS: std::ops::RangeInclusive<u8> = 2..=253;

/// What makes a network of an app what it is. Another definition is another network.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Definition {
    pub app: String,
    pub name: String,
    /// Whether it leads nowhere but to the app's services.
    pub internal: bool,
}

/// A network, in a file named by its number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Noted {
    #[serde(flatten)]
    pub definition: Definition,
    boot: String,
    /// By service.
    pub members: BTreeMap<String, Member>,
}

/// A service on a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Member {
    /// The last number of its address.
    pub host: u8,
    /// By revision.
    pub seats: BTreeMap<String, Seat>,
    /// The revision whose cable is plugged.
    pub plugged: Option<String>,
}

/// A service of one revision on a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Seat {
    cable: u16,
    /// Which of the service's networks this is, from 0.
    pub order: u16,
    /// Names that it has there besides its own.
    pub aliases: Vec<String>,
}

/// A network with its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Numbered {
    pub number: u8,
    pub noted: Noted,
}

impl Numbered {
    pub(super) fn bridge(&self) -> String {
        bridge(self.number)
    }

    pub(super) fn cable(&self, seat: &Seat) -> String {
        format!("um{}v{}", self.number, seat.cable)
    }

    pub(super) fn address(&self, pool: Pool, host: u8) -> Ipv4Addr {
        pool.address(self.number, host)
    }

    /// The hardware address of a service: the same in every revision, so that nobody remembers a wrong one.
    pub(super) fn hardware(&self, pool: Pool, host: u8) -> link::Hardware {
        [0x02, b'u', pool.0, pool.1, self.number, host]
    }

    /// Takes a place for a service of a revision, or finds the one that it has.
    pub(super) fn seat(&mut self, service: &str, revision: &str, order: u16, aliases: &[String]) -> Option<&Member> {
        let members = &mut self.noted.members;
        let cables: BTreeSet<u16> =
            members.values().flat_map(|one| one.seats.values().map(|seat| seat.cable)).collect();
        if !members.contains_key(service) {
            let taken: BTreeSet<u8> = members.values().map(|one| one.host).collect();
            let host = HOSTS.into_iter().find(|host| !taken.contains(host))?;
            members.insert(service.to_owned(), Member { host, seats: BTreeMap::new(), plugged: None });
        }
        let member = members.get_mut(service)?;
        let cable = match member.seats.get(revision) {
            Some(seat) => seat.cable,
            None => (0..=u16::MAX).find(|cable| !cables.contains(cable))?,
        };
        member.seats.insert(revision.to_owned(), Seat { cable, order, aliases: aliases.to_vec() });
        Some(member)
    }

    /// Gives up the places of a revision; returns the cables that they had.
    pub(super) fn leave(&mut self, revision: &str) -> Vec<String> {
        let mut gone = Vec::new();
        for member in self.noted.members.values_mut() {
            gone.extend(member.seats.remove(revision));
            member.plugged.take_if(|plugged| plugged == revision);
        }
        self.noted.members.retain(|_, member| !member.seats.is_empty());
        gone.iter().map(|seat| self.cable(seat)).collect()
    }
}

impl Member {
    /// The names of the service besides its own as one of `revision` sees it: those of that revision, else those that hold
    /// now. None: it is to be seen once it was started.
    pub(super) fn aliases(&self, revision: &str) -> Option<&[String]> {
        let plugged = || self.seats.get(self.plugged.as_ref()?);
        self.seats.get(revision).or_else(plugged).map(|seat| seat.aliases.as_slice())
    }
}

/// The networks that are noted in a run directory.
pub(super) struct Book<'a> {
    directories: &'a Directories,
}

impl<'a> Book<'a> {
    pub(super) fn of(directories: &'a Directories) -> Self {
        Self { directories }
    }

    /// All networks, in order of their numbers.
    pub(super) fn networks(&self) -> Vec<Numbered> {
        let boot = place::boot_id();
        let read = |number| place::read::<Noted>(&self.document(number)).map(|noted| Numbered { number, noted });
        (0..=NETWORK_LAST).filter_map(read).filter(|network| network.noted.boot == boot).collect()
    }

    /// The networks of an app.
    pub(super) fn of_app(&self, app: &str) -> Vec<Numbered> {
        let mut networks = self.networks();
        networks.retain(|network| network.noted.definition.app == app);
        networks
    }

    /// The network of that definition, with its bridge: the one that is there, else a new one.
    pub(super) fn network(&self, pool: Pool, definition: &Definition) -> Result<Numbered, EngineError> {
        let network = match self.find(definition)? {
            Some(network) => network,
            None => self.take(definition)?,
        };
        let Definition { app, name, .. } = definition;
        let what = format!("{NOTE}{name} of {app} ({})", self.run().display());
        link::bridge(&network.bridge(), pool.address(network.number, 1), &what)
            .at("make the network", Path::new(name))?;
        Ok(network)
    }

    /// The network that has its bridge. What was left by cuts is removed on the way.
    fn find(&self, definition: &Definition) -> Result<Option<Numbered>, EngineError> {
        let links = link::all().at("list", Path::new("network devices"))?;
        let noted = self.networks();
        for number in 0..=NETWORK_LAST {
            let ours = links.get(&bridge(number)).is_some_and(|link| self.owns(number, link));
            if ours && !noted.iter().any(|network| network.number == number) {
                link::remove(&bridge(number)).at("remove the network", Path::new(&bridge(number)))?;
            }
        }
        let Some(network) = noted.into_iter().find(|network| network.noted.definition == *definition) else {
            return Ok(None);
        };
        let number = network.number;
        let there = match links.get(&bridge(number)) {
            Some(link) => self.owns(number, link),
            // Someone took it away, or a cut came before it was made.
            None => self.claim(number)?,
        };
        if !there {
            durable::remove_file(&self.document(number))?;
        }
        Ok(there.then_some(network))
    }

    /// The lowest number that nobody has; if there is none, the lowest that only somebody has who is gone.
    fn take(&self, definition: &Definition) -> Result<Numbered, EngineError> {
        for again in [false, true] {
            if again {
                self.take_from_the_gone()?;
            }
            if let Some(network) = self.take_free(definition)? {
                return Ok(network);
            }
        }
        let why = "all 256 networks of this device are in use".to_owned();
        Err(EngineError::Service { service: definition.app.clone(), why })
    }

    /// Removes bridges that engines made whose run directories are not there any more.
    fn take_from_the_gone(&self) -> Result<(), EngineError> {
        for (name, link) in link::all().at("list", Path::new("network devices"))? {
            let run = link.note.strip_prefix(NOTE).and_then(|rest| rest.strip_suffix(')')?.rsplit_once('('));
            let gone = run.is_some_and(|(_, run)| run.starts_with('/') && !Path::new(run).exists());
            if gone && (0..=NETWORK_LAST).any(|number| bridge(number) == name) {
                link::remove(&name).at("remove the network", Path::new(&name))?;
            }
        }
        Ok(())
    }

    fn take_free(&self, definition: &Definition) -> Result<Option<Numbered>, EngineError> {
        let noted: BTreeSet<u8> = self.networks().iter().map(|network| network.number).collect();
        for number in (0..=NETWORK_LAST).filter(|number| !noted.contains(number)) {
            if self.claim(number)? {
                let noted = Noted { definition: definition.clone(), boot: place::boot_id(), members: BTreeMap::new() };
                let network = Numbered { number, noted };
                self.write(&network)?;
                return Ok(Some(network));
            }
        }
        Ok(None)
    }

    fn claim(&self, number: u8) -> Result<bool, EngineError> {
        let name = bridge(number);
        link::claim(&name, self.hardware(number)).at("make the network", Path::new(&name))
    }

    pub(super) fn write(&self, network: &Numbered) -> Result<(), EngineError> {
        let path = self.document(network.number);
        durable::directory(path.parent().unwrap_or(&path))?;
        durable::document(&path, &serde_json::to_vec(&network.noted).unwrap_or_default())
    }

    /// Takes a network away on which nobody has a place any more.
    pub(super) fn remove(&self, network: &Numbered) -> Result<(), EngineError> {
        let name = network.bridge();
        let links = link::all().at("list", Path::new("network devices"))?;
        if links.get(&name).is_some_and(|link| self.owns(network.number, link)) {
            link::remove(&name).at("remove the network", Path::new(&name))?;
        }
        durable::remove_file(&self.document(network.number))
    }

    fn document(&self, number: u8) -> PathBuf {
        self.directories.run.join("networks").join(number.to_string())
    }

    fn run(&self) -> PathBuf {
        std::path::absolute(&self.directories.run).unwrap_or_else(|_| self.directories.run.clone())
    }

    fn owns(&self, number: u8, link: &link::Interface) -> bool {
        link.hardware == self.hardware(number)
    }

    /// The hardware address of a bridge of ours: locally administered, and made of where we are.
    fn hardware(&self, number: u8) -> link::Hardware {
        let [a, b, c, d] = self.directories.mark();
        [0x06, a, b, c, d, number]
    }
}

fn bridge(number: u8) -> String {
    format!("umiak{number}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network() -> Numbered {
        let definition = Definition { app: "shop".into(), name: "default".into(), internal: false };
        Numbered { number: 7, noted: Noted { definition, boot: String::new(), members: BTreeMap::new() } }
    }

    #[test]
    fn a_service_has_one_address_and_a_cable_for_each_revision() {
        let mut network = network();
        for (service, revision, host, cable) in [
            ("web", "one", 2, "um7v0"),
            ("db", "one", 3, "um7v1"),
            ("web", "two", 2, "um7v2"),
            ("web", "one", 2, "um7v0"),
        ] {
            let member = network.seat(service, revision, 0, &[]).unwrap().clone();
            assert_eq!((member.host, network.cable(&member.seats[revision])), (host, cable.to_owned()));
        }
        assert_eq!(network.leave("one"), ["um7v1", "um7v0"]);
        assert_eq!(network.noted.members.keys().collect::<Vec<_>>(), ["web"]);
        // What is free is given again.
        assert_eq!(network.seat("mail", "two", 0, &[]).unwrap().host, 3);
        assert_eq!(network.leave("two").len(), 2);
        assert!(network.noted.members.is_empty());
    }

    #[test]
    fn a_network_ends_with_its_addresses() {
        let mut network = network();
        for number in 0..HOSTS.len() {
            assert!(network.seat(&format!("s{number}"), "one", 0, &[]).is_some());
        }
        assert!(network.seat("more", "one", 0, &[]).is_none());
        assert_eq!(network.noted.members.len(), HOSTS.len());
    }

    #[test]
    fn names_are_those_of_ones_own_revision_or_those_that_hold() {
        let mut network = network();
        for revision in ["one", "two"] {
            network.seat("web", revision, 0, &[format!("web-{revision}")]);
        }
        let member = network.noted.members.get_mut("web").unwrap();
        assert_eq!(member.aliases("one").unwrap(), ["web-one"]);
        assert_eq!(member.aliases("other"), None, "it was not started yet");
        member.plugged = Some("one".into());
        assert_eq!(member.aliases("other").unwrap(), ["web-one"]);
    }
}
