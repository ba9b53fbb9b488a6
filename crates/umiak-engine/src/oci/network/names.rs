//! What services of an app are called on its networks, in the file of names (`/etc/hosts`) of each.
//!
//! Who has a place on a network changes while services run: their files are mounted, so they are written and never
//! replaced.

use std::net::IpAddr;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::book::{Book, Numbered};
use crate::oci::place::{self, Directories, Instance};
use crate::oci::sorted_names;
use crate::{EngineError, durable};

/// What a file of names consists of, kept beside it (`names.json`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Names {
    /// The service whose places on networks count: itself, or the one in whose network it lives. None: nobody's.
    pub of: Option<String>,
    /// Lines before the names of others.
    pub before: String,
    /// Lines behind them.
    pub after: String,
}

impl Names {
    /// Notes the parts and writes the file.
    pub(crate) fn put(&self, pool: super::Pool, instance: &Instance, file: &Path) -> Result<(), EngineError> {
        let text = serde_json::to_vec(&(self, pool)).unwrap_or_default();
        durable::document(&instance.file("names.json"), &text)?;
        let networks = Book::of(instance.directories()).of_app(&instance.key.app);
        durable::in_place(file, self.text(pool, &networks, instance.revision()).as_bytes(), 0o644)
    }

    fn text(&self, pool: super::Pool, networks: &[Numbered], revision: &str) -> String {
        let mut text = self.before.clone();
        for (address, names) in self.of.iter().flat_map(|service| others(pool, networks, service, revision)) {
            text.push_str(&format!("{address}\t{}\n", names.join(" ")));
        }
        text + &self.after
    }
}

/// Whom a service can reach by what names, each on the first network that both are on.
fn others(pool: super::Pool, networks: &[Numbered], service: &str, revision: &str) -> Vec<(IpAddr, Vec<String>)> {
    let mut own: Vec<_> = networks
        .iter()
        .filter_map(|network| Some((network.noted.members.get(service)?.seats.get(revision)?.order, network)))
        .collect();
    own.sort_by_key(|(order, _)| *order);
    let mut all: Vec<(IpAddr, Vec<String>)> = Vec::new();
    for (_, network) in own {
        for (name, member) in network.noted.members.iter().filter(|(name, _)| *name != service) {
            let known = all.iter().any(|(_, names)| names.first() == Some(name));
            if let (false, Some(aliases)) = (known, member.aliases(revision)) {
                let mut names = vec![name.clone()];
                names.extend(aliases.iter().filter(|alias| *alias != name).cloned());
                all.push((network.address(pool, member.host).into(), names));
            }
        }
    }
    all
}

/// Brings the files of all services of an app up to date.
pub(crate) fn refresh(directories: &Directories, app: &str) -> Result<(), EngineError> {
    let networks = Book::of(directories).of_app(app);
    let services = directories.run.join("services").join(app);
    for revision in sorted_names(&services) {
        for service in sorted_names(&services.join(&revision)) {
            let instance = services.join(&revision).join(service);
            let Some((names, pool)) = place::read::<(Names, super::Pool)>(&instance.join("names.json")) else {
                continue;
            };
            let (file, text) = (instance.join("hosts"), names.text(pool, &networks, &revision));
            if std::fs::read(&file).is_ok_and(|there| there != text.as_bytes()) {
                durable::in_place(&file, text.as_bytes(), 0o644)?;
            }
        }
    }
    Ok(())
}
