//! A revision placed on this device: which services, from which roots, and under whose name each runs.
//!
//! A service that is the same in two revisions is not started again: it goes on under the name of the revision that
//! started it. Where each lives is therefore written down with the revision (its [`Places`]), so that the way back, and the
//! first start after a reboot, find its volumes where they were.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use umiak_engine::{Deployment, Placed};
use umiak_spec::Digest;
use umiak_spec::service::{MountKind, Network, Service, Sharing, start_order};

use crate::supply::{Described, Part, Root};
use crate::verdict::Expected;

/// Where the services of a revision live: by app, by service.
pub(crate) type Places = BTreeMap<String, BTreeMap<String, Place>>;

/// Where one service lives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Place {
    /// The revision that started it, as engines are told it: twelve digits.
    pub revision: String,
    /// Digest of everything that makes it what it is: another one means another container.
    pub print: Digest,
}

/// The services of all apps of a revision, each where it lives.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Arrangement {
    /// By app; the services in the order in which they start.
    pub apps: BTreeMap<String, Vec<Settled>>,
}

/// A service that is settled: what engines are told of it, and where it lives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settled {
    pub part: Part,
    pub project: Option<Digest>,
    pub place: Place,
}

/// What makes a service what it is.
fn print(part: &Part, project: Option<Digest>) -> Digest {
    // A relative bind shows files of the project: another project is another service.
    let bound = part.service.mounts.iter().any(|mount| match &mount.kind {
        MountKind::Bind(bind) => !bind.source.starts_with('/'),
        MountKind::Volume(_) | MountKind::Tmpfs { .. } => false,
    });
    let project = project.filter(|_| bound);
    let text = serde_json::to_vec(&(&part.service, part.image, &part.root, project))
        .expect("a service can be written as JSON");
    Digest::of(&text)
}

/// The services of an app that go on as they are, with where they live.
fn staying<'d>(
    described: &'d Described,
    current: Option<&BTreeMap<String, Place>>,
    networks_last: bool,
) -> BTreeMap<&'d str, Place> {
    let mut staying: BTreeMap<&str, Place> = BTreeMap::new();
    for part in &described.parts {
        let name = part.service.name.as_str();
        let place = current.and_then(|services| services.get(name));
        if let Some(place) = place.filter(|place| place.print == print(part, described.project)) {
            staying.insert(name, place.clone());
        }
    }
    loop {
        let apart = |part: &&Part| {
            let others = |name: &str| described.parts.iter().any(|other| other.service.name == name);
            let moves = |name: &str| others(name) && !staying.contains_key(name);
            let service = &part.service;
            // It is to be started again when the other is, or lives in the other's namespaces, or the other in its own.
            let told = service.depends_on.iter().any(|(name, dependency)| dependency.restart && moves(name));
            let inside = hosts(service).any(moves);
            let outside = |other: &Service| hosts(other).any(|name| name == service.name);
            let meets = |other: &Service| {
                !networks_last && networks(service).any(|one| networks(other).any(|another| one == another))
            };
            let mut others = described.parts.iter().map(|part| &part.service);
            let tied = others.any(|other| moves(&other.name) && (outside(other) || meets(other)));
            told || inside || tied
        };
        let torn = described.parts.iter().filter(|part| staying.contains_key(part.service.name.as_str())).find(apart);
        match torn.map(|part| part.service.name.as_str()) {
            Some(name) => staying.remove(name),
            None => return staying,
        };
    }
}

/// The app's networks that a service is attached to. Where an engine makes them for each revision, with the names and
/// addresses of that one, services that talk to each other there have to live under the same.
fn networks(service: &Service) -> impl Iterator<Item = &str> {
    let attached = if let Network::Private(private) = &service.network { private.attached.as_slice() } else { &[] };
    attached.iter().map(|one| one.network.as_str())
}

/// The services whose namespaces a service lives in.
pub(crate) fn hosts(service: &Service) -> impl Iterator<Item = &str> {
    let network = if let Network::Service(name) = &service.network { Some(name.as_str()) } else { None };
    let spaces = &service.namespaces;
    let shared = [&spaces.pid, &spaces.ipc, &spaces.uts, &spaces.cgroup].into_iter().filter_map(|space| match space {
        Sharing::Service(name) => Some(name.as_str()),
        Sharing::Private | Sharing::Host | Sharing::Shareable => None,
    });
    network.into_iter().chain(shared)
}

impl Arrangement {
    /// Settles the services of a new revision: those that are the same in `current` stay where they are, unless one that
    /// they cannot be apart from does not. `networks_last`: as the engine says.
    pub(crate) fn settle(
        revision: &Digest,
        described: &BTreeMap<String, Described>,
        current: &Places,
        networks_last: bool,
    ) -> Self {
        let stay = |(app, described)| (String::as_str(app), staying(described, current.get(app), networks_last));
        let kept: BTreeMap<&str, BTreeMap<&str, Place>> = described.iter().map(stay).collect();
        Self::with(described, |app, part, project| {
            let same = kept.get(app).and_then(|services| services.get(part.service.name.as_str())).cloned();
            same.unwrap_or_else(|| Place { revision: revision.short(), print: print(part, project) })
        })
    }

    /// The arrangement of a revision whose places were written down.
    pub(crate) fn settled(revision: &Digest, described: &BTreeMap<String, Described>, places: &Places) -> Self {
        let place = |app: &str, part: &Part, project| {
            let found = places.get(app).and_then(|services| services.get(&part.service.name)).cloned();
            found.unwrap_or_else(|| Place { revision: revision.short(), print: print(part, project) })
        };
        Self::with(described, place)
    }

    fn with(described: &BTreeMap<String, Described>, place: impl Fn(&str, &Part, Option<Digest>) -> Place) -> Self {
        let mut apps = BTreeMap::new();
        for (app, described) in described {
            let services: Vec<Service> = described.parts.iter().map(|part| part.service.clone()).collect();
            let parts = start_order(&services)
                .into_iter()
                .filter_map(|service| described.parts.iter().find(|part| part.service.name == service.name));
            let settled = parts.map(|part| Settled {
                part: part.clone(),
                project: described.project,
                place: place(app, part, described.project),
            });
            apps.insert(app.clone(), settled.collect());
        }
        Self { apps }
    }

    /// Where its services live.
    pub(crate) fn places(&self) -> Places {
        let services = |settled: &Vec<Settled>| {
            settled.iter().map(|one| (one.part.service.name.clone(), one.place.clone())).collect()
        };
        self.apps.iter().map(|(app, settled)| (app.clone(), services(settled))).collect()
    }

    /// All services with what is expected of them.
    pub(crate) fn expected(&self) -> Vec<Expected<'_>> {
        let mut all = Vec::new();
        for (app, settled) in &self.apps {
            all.extend(settled.iter().map(|one| Expected {
                app,
                revision: &one.place.revision,
                service: &one.part.service,
            }));
        }
        all
    }

    /// The revisions under whose names services of an app live.
    pub(crate) fn groups(&self, app: &str) -> BTreeSet<&str> {
        self.apps.get(app).into_iter().flatten().map(|one| one.place.revision.as_str()).collect()
    }

    /// What an engine is told of those services of an app that live under one revision's name.
    pub(crate) fn deployment<E>(
        &self,
        app: &str,
        revision: &str,
        lowers: impl Fn(&Root) -> Result<Vec<PathBuf>, E>,
        project: impl Fn(&Digest) -> PathBuf,
    ) -> Result<Deployment, E> {
        let mut services = Vec::new();
        let mut unpacked = None;
        for one in self.apps.get(app).into_iter().flatten().filter(|one| one.place.revision == revision) {
            let Part { service, image, root } = &one.part;
            services.push(Placed { service: service.clone(), image: *image, lowers: lowers(root)? });
            unpacked = one.project.as_ref().map(&project);
        }
        Ok(Deployment { app: app.to_owned(), revision: revision.to_owned(), services, project: unpacked })
    }
}

/// The places that any of these names, by app: what must not be taken away from an engine.
pub(crate) fn occupied<'p>(places: impl IntoIterator<Item = &'p Places>) -> BTreeSet<(&'p str, &'p str)> {
    let mut found = BTreeSet::new();
    for places in places {
        for (app, services) in places {
            found.extend(services.values().map(|place| (app.as_str(), place.revision.as_str())));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(command: &str) -> BTreeMap<String, Described> {
        let service = |name: &str, command: &str| {
            let image = Digest::of(b"image");
            // In the network `default`, both.
            Part { service: Service::new(name, vec![command.to_owned()]), image, root: Root::Layers(vec![image]) }
        };
        let parts = vec![service("db", "db"), service("web", command)];
        BTreeMap::from([("shop".to_owned(), Described { parts, project: None })])
    }

    #[test]
    fn who_is_the_same_stays_where_networks_last() {
        let (base, target) = (Digest::of(b"base"), Digest::of(b"target"));
        let before = Arrangement::settle(&base, &described("one"), &Places::new(), true).places();
        for (networks_last, place) in [(true, &base), (false, &target)] {
            let after = Arrangement::settle(&target, &described("two"), &before, networks_last).places();
            assert_eq!(after["shop"]["db"].revision, place.short(), "{networks_last}");
            assert_eq!(after["shop"]["web"].revision, target.short());
        }
    }
}
