//! What the device has: control groups, seccomp, its name and architecture.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use umiak_mount::table::Table;

/// Facts of the device that bundles depend on.
#[derive(Debug, Clone)]
pub(crate) struct Host {
    pub cgroups: Cgroups,
    pub seccomp: bool,
    /// As Rust names it.
    pub architecture: &'static str,
    pub hostname: String,
    /// Whether low ports can be opened to all in a network namespace (Linux 4.11).
    pub low_ports: bool,
}

/// Control groups as they are mounted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Cgroups {
    version: Option<u8>,
    controllers: BTreeSet<String>,
    /// Whether swap is counted.
    pub counts_swap: bool,
    /// Version 1 with a version 2 beside it that still owns controllers: some runtimes refuse it.
    pub hybrid: Option<String>,
}

impl Host {
    pub(crate) fn look() -> Self {
        let hostname = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Self {
            cgroups: Cgroups::look(),
            seccomp: Path::new("/proc/sys/kernel/seccomp").exists(),
            architecture: std::env::consts::ARCH,
            hostname,
            low_ports: Path::new("/proc/sys/net/ipv4/ip_unprivileged_port_start").exists(),
        }
    }
}

impl Cgroups {
    fn look() -> Self {
        let table = Table::read().unwrap_or_default();
        let words = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let point = Path::new("/sys/fs/cgroup");
        let first_of = |kind: &str| table.mounts().iter().find(|mount| mount.kind == kind);
        if table.at(point).is_some_and(|mount| mount.kind == "cgroup2") {
            let controllers = words("/sys/fs/cgroup/cgroup.controllers");
            return Self {
                version: Some(2),
                controllers: controllers.split_whitespace().map(str::to_owned).collect(),
                counts_swap: Path::new("/proc/swaps").exists(),
                hybrid: None,
            };
        }
        if first_of("cgroup").is_none() {
            return Self::default();
        }
        let legacy = table.mounts().iter().filter(|mount| mount.kind == "cgroup");
        let controllers = legacy.flat_map(|mount| mount.super_options.split(',').map(str::to_owned)).collect();
        let unified = first_of("cgroup2").map(|mount| mount.point.to_string_lossy().into_owned());
        let owns = |point: &String| !words(&format!("{point}/cgroup.controllers")).trim().is_empty();
        Self {
            version: Some(1),
            controllers,
            counts_swap: Path::new("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes").exists(),
            hybrid: unified.filter(owns),
        }
    }

    /// 1 or 2; none: there are no control groups.
    pub(crate) fn version(&self) -> Option<u8> {
        self.version
    }

    pub(crate) fn has(&self, controller: &str) -> bool {
        self.controllers.contains(controller)
    }

    #[cfg(test)]
    pub(crate) fn fake(version: u8, controllers: &[&str]) -> Self {
        let controllers = controllers.iter().map(|name| (*name).to_owned()).collect();
        Self { version: Some(version), controllers, counts_swap: false, hybrid: None }
    }
}
