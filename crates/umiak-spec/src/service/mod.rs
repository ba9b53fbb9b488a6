//! A service: what a runtime is asked to run, whatever the document was that asked for it.
//!
//! Compose projects and pvr's state documents are read into this one description; an engine runs it or names what it
//! cannot do. Everything is a value with its unit in the type or the name, settled: variables are filled in, the image's
//! configuration is merged, defaults are written out. What stays open is what only the root file system can tell (the
//! numbers of a user's name) and what belongs to the device (where a volume lies). Nothing here runs anything.
//!
//! Keys: an engine that refuses something names it by the key that a compose file has for it, see [`key`].

mod health;
mod image;
mod mount;
mod network;
mod process;
mod resources;
mod security;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use health::{Health, Probe};
pub use image::{ImageDefaults, ImageHealth};
pub use mount::{Bind, Mount, MountKind, Persistence, Propagation, Root, Volume};
pub use network::{Attachment, Network, Port, Private, Protocol};
pub use process::{Identity, Process, User};
pub use resources::{Resources, Swap, Ulimit, UlimitError};
pub use security::{CAPABILITIES, Capabilities, DEFAULT_CAPABILITIES, Device, DeviceRule, Security, UnknownCapability};

/// How long a service may take to stop before it is killed, where nothing else is said: ten seconds, as Docker has it.
pub const STOP_GRACE: Duration = Duration::from_secs(10);

/// One service of an app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Its name in the app.
    pub name: String,
    /// What is executed, as whom, with what around it.
    pub process: Process,
    /// Whether it may write to its root.
    pub root: Root,
    /// Whether a small first process forwards signals and collects orphans.
    pub init: bool,
    /// The host name it sees; none: the engine's choice. Without meaning on the host's network.
    pub hostname: Option<String>,
    /// The domain name it sees.
    pub domainname: Option<String>,
    /// What it has of the network.
    pub network: Network,
    /// Names that it can look up besides, with their addresses; `host-gateway` stands for the device.
    pub extra_hosts: Vec<(String, String)>,
    /// Name servers, search domains and options in place of the device's, if any.
    pub dns: Dns,
    /// What is mounted into its root; targets are absolute, clean and different from one another.
    pub mounts: Vec<Mount>,
    /// What it may do.
    pub security: Security,
    /// Whose process identifiers and System V objects it sees.
    pub namespaces: Namespaces,
    /// Kernel parameters of its namespaces.
    pub sysctls: BTreeMap<String, String>,
    /// What it may use up.
    pub resources: Resources,
    /// When it is started again.
    pub restart: Restart,
    /// The signal that asks it to stop: a name (`SIGTERM`) or a number.
    pub stop_signal: String,
    /// How long it may take to stop before it is killed.
    pub stop_grace: Duration,
    /// How it is found to be healthy; none: it is when it runs.
    pub health: Option<Health>,
    /// How much of what it prints is kept.
    pub logs: Logs,
    /// What must be there before it starts.
    pub depends_on: BTreeMap<String, Dependency>,
    /// What its author noted about it. Without meaning for engines.
    pub labels: BTreeMap<String, String>,
}

/// Name resolution in place of the device's. Empty: the device's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dns {
    /// Addresses of name servers.
    pub servers: Vec<String>,
    /// Domains to look in.
    pub search: Vec<String>,
    /// Options of `resolv.conf`.
    pub options: Vec<String>,
}

/// Whose namespace something is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sharing {
    /// Its own.
    #[default]
    Private,
    /// The device's.
    Host,
    /// Its own, which other services may share (System V objects only).
    Shareable,
    /// That of another service of the app.
    Service(String),
}

/// Namespaces besides the network's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespaces {
    /// Process identifiers.
    pub pid: Sharing,
    /// System V objects and POSIX queues.
    pub ipc: Sharing,
    /// Host and domain name.
    pub uts: Sharing,
    /// Control groups.
    pub cgroup: Sharing,
}

/// When a service that ended is started again. An engine waits between starts, longer each time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Restart {
    /// Never.
    #[default]
    No,
    /// Whenever it ends, and after a reboot.
    Always,
    /// The same, unless it was stopped by hand.
    UnlessStopped,
    /// When it ends with another code than 0.
    OnFailure {
        /// So many times; none: without end.
        most: Option<u32>,
    },
}

/// How much of a service's output is kept: `size` bytes in each of `files` files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Logs {
    /// Bytes of one file. 0: nothing is kept.
    pub size: u64,
    /// Files, the one that is being written included.
    pub files: u32,
}

impl Logs {
    /// Nothing is kept.
    pub const NONE: Self = Self { size: 0, files: 0 };
}

impl Default for Logs {
    /// Two files of 1 MiB: enough for the reason of a failure, and no flash is filled by a chatty service.
    fn default() -> Self {
        Self { size: 1 << 20, files: 2 }
    }
}

/// What a service waits for before it starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dependency {
    /// How far the other must be.
    pub condition: Condition,
    /// Whether this one is started again when the other is.
    pub restart: bool,
    /// Whether it is an error that the other is not there.
    pub required: bool,
}

/// How far a service must be before another starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Condition {
    /// It was started.
    Started,
    /// It is healthy.
    Healthy,
    /// It ended with code 0.
    Completed,
}

impl Service {
    /// A service that does nothing special: `args` as root in a private network, with engines' usual rights.
    #[must_use]
    pub fn new(name: &str, args: Vec<String>) -> Self {
        Self {
            name: name.to_owned(),
            process: Process { args, ..Process::default() },
            root: Root::default(),
            init: false,
            hostname: None,
            domainname: None,
            network: Network::default(),
            extra_hosts: vec![],
            dns: Dns::default(),
            mounts: vec![],
            security: Security::default(),
            namespaces: Namespaces::default(),
            sysctls: BTreeMap::new(),
            resources: Resources::default(),
            restart: Restart::default(),
            stop_signal: "SIGTERM".to_owned(),
            stop_grace: STOP_GRACE,
            health: None,
            logs: Logs::default(),
            depends_on: BTreeMap::new(),
            labels: BTreeMap::new(),
        }
    }
}

/// Services in an order in which each comes after those that it depends on; the given order where it does not matter.
/// Those that wait for one another keep the given order behind all others: whoever reads them refuses circles before.
#[must_use]
pub fn start_order(services: &[Service]) -> Vec<&Service> {
    let present = |name: &String| services.iter().any(|service| service.name == *name);
    let mut left: Vec<&Service> = services.iter().collect();
    let mut order: Vec<&Service> = Vec::with_capacity(services.len());
    while !left.is_empty() {
        let ready = |service: &&Service| {
            let mut needed = service.depends_on.keys().chain(shared(service)).filter(|name| present(name));
            needed.all(|name| *name == service.name || order.iter().any(|done| done.name == *name))
        };
        match left.iter().position(ready) {
            Some(at) => order.push(left.remove(at)),
            None => order.append(&mut left),
        }
    }
    order
}

/// The services whose namespaces a service shares: they must run when it starts.
fn shared(service: &Service) -> impl Iterator<Item = &String> {
    let spaces = &service.namespaces;
    let network = if let Network::Service(name) = &service.network { Some(name) } else { None };
    let of = |sharing: &'_ Sharing| matches!(sharing, Sharing::Service(_));
    let named = [&spaces.pid, &spaces.ipc, &spaces.uts, &spaces.cgroup].into_iter().filter(move |one| of(one));
    network.into_iter().chain(named.filter_map(|sharing| match sharing {
        Sharing::Service(name) => Some(name),
        _ => None,
    }))
}

/// The keys by which engines name what they refuse: those of a compose file's service.
pub mod key {
    /// `tty`
    pub const TTY: &str = "tty";
    /// `networks`
    pub const NETWORKS: &str = "networks";
    /// `ports`
    pub const PORTS: &str = "ports";
    /// `extra_hosts`
    pub const EXTRA_HOSTS: &str = "extra_hosts";
    /// `volumes`
    pub const VOLUMES: &str = "volumes";
    /// `sysctls`
    pub const SYSCTLS: &str = "sysctls";
    /// `ulimits`
    pub const ULIMITS: &str = "ulimits";
    /// `pid`
    pub const PID: &str = "pid";
    /// `ipc`
    pub const IPC: &str = "ipc";
    /// `uts`
    pub const UTS: &str = "uts";
    /// `cgroup`
    pub const CGROUP: &str = "cgroup";
    /// `mem_limit`
    pub const MEMORY: &str = "mem_limit";
    /// `cpus`
    pub const CPUS: &str = "cpus";
    /// `cpuset`
    pub const CPUSET: &str = "cpuset";
    /// `pids_limit`
    pub const PIDS: &str = "pids_limit";
    /// `healthcheck`
    pub const HEALTHCHECK: &str = "healthcheck";
    /// `restart`
    pub const RESTART: &str = "restart";
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str, needs: &[&str]) -> Service {
        let mut service = Service::new(name, vec!["/bin/true".into()]);
        let wait = Dependency { condition: Condition::Started, restart: false, required: true };
        service.depends_on = needs.iter().map(|name| ((*name).to_owned(), wait)).collect();
        service
    }

    fn order(services: &[Service]) -> String {
        start_order(services).iter().map(|service| service.name.as_str()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn what_is_needed_comes_first() {
        let services = [named("web", &["api", "absent"]), named("api", &["db"]), named("db", &[]), named("log", &[])];
        assert_eq!(order(&services), "db api web log");
        let mut sharing = [named("a", &[]), named("b", &[])];
        sharing[0].network = Network::Service("b".into());
        assert_eq!(order(&sharing), "b a");
        sharing[1].namespaces.pid = Sharing::Service("a".into());
        assert_eq!(order(&sharing), "a b", "a circle keeps the given order");
    }

    #[test]
    fn a_service_survives_being_written_down() {
        let mut service = named("web", &["db"]);
        service.restart = Restart::OnFailure { most: Some(3) };
        service.network = Network::Service("vpn".into());
        service.namespaces.ipc = Sharing::Shareable;
        service.health = Some(Health::new(Probe::Tcp { port: 80 }));
        let text = serde_json::to_string(&service).unwrap();
        assert_eq!(serde_json::from_str::<Service>(&text).unwrap(), service);
    }
}
