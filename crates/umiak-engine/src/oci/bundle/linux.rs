//! The part of a bundle that only Linux has: namespaces, control groups, devices, capabilities, what is masked.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use umiak_spec::service::{CAPABILITIES, Device, DeviceRule, Network, Service, Sharing, Swap, Ulimit};

use super::{Facts, mounts, seccomp};
use crate::oci::host::Cgroups;

/// Microseconds that a share of processor time is counted in.
const CPU_PERIOD: u64 = 100_000;

/// Hidden, as they tell of the device or change it.
const MASKED: [&str; 11] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/firmware",
];

/// Shown, not to be written.
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Device nodes that every container has: major, minor. Terminals are by range.
const USUAL_NODES: [(u32, Option<u32>); 9] = [
    (1, Some(3)),
    (1, Some(5)),
    (1, Some(7)),
    (1, Some(8)),
    (1, Some(9)),
    (5, Some(0)),
    (5, Some(1)),
    (5, Some(2)),
    (136, None),
];

/// A device node as it is on the device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    /// In the service.
    pub target: String,
    /// `c` or `b`.
    pub kind: char,
    pub major: u32,
    pub minor: u32,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// Of `r`, `w`, `m`.
    pub access: String,
}

pub(super) fn all(service: &Service, facts: &Facts<'_>) -> Value {
    let security = &service.security;
    let mut linux = json!({
        "cgroupsPath": facts.cgroup,
        "namespaces": namespaces(service, facts),
        "resources": resources(service, facts),
        "devices": facts.nodes.iter().map(node).collect::<Vec<_>>(),
    });
    if !security.privileged {
        if !security.unmasked_paths {
            let hidden = |path: &&str| !(security.writable_sys && path.starts_with("/sys/"));
            linux["maskedPaths"] = MASKED.into_iter().filter(hidden).collect();
            linux["readonlyPaths"] = json!(READ_ONLY);
        }
        if !security.seccomp_unconfined && facts.host.seccomp {
            let given = security.capabilities.effective();
            linux["seccomp"] = seccomp::filter(&given, facts.host.architecture);
        }
    }
    let sysctls = sysctls(service, facts);
    if !sysctls.is_empty() {
        linux["sysctl"] = json!(sysctls);
    }
    if let Some(propagation) = mounts::root_propagation(service) {
        linux["rootfsPropagation"] = json!(propagation);
    }
    linux
}

fn namespaces(service: &Service, facts: &Facts<'_>) -> Vec<Value> {
    let spaces = &service.namespaces;
    let own = |sharing: &Sharing| *sharing != Sharing::Host;
    let mut list = vec![json!({"type": "mount"})];
    list.extend(own(&spaces.pid).then(|| json!({"type": "pid"})));
    list.extend(own(&spaces.ipc).then(|| json!({"type": "ipc"})));
    list.extend(own(&spaces.uts).then(|| json!({"type": "uts"})));
    // On version 1 engines show the device's own groups.
    let cgroup = own(&spaces.cgroup) && facts.host.cgroups.version() == Some(2);
    list.extend(cgroup.then(|| json!({"type": "cgroup"})));
    list.extend(facts.network.as_ref().map(|path| json!({"type": "network", "path": path})));
    list
}

fn sysctls(service: &Service, facts: &Facts<'_>) -> BTreeMap<String, String> {
    let mut sysctls = BTreeMap::new();
    if matches!(service.network, Network::Private(_)) && facts.network.is_some() && facts.host.low_ports {
        // As with Docker, port 80 of a network of one's own needs no capability.
        sysctls.insert("net.ipv4.ip_unprivileged_port_start".to_owned(), "0".to_owned());
    }
    sysctls.extend(service.sysctls.clone());
    sysctls
}

pub(super) fn capabilities(service: &Service, uid: u32) -> Value {
    let known = all_capabilities();
    let given: Vec<&str> = if service.security.privileged {
        known
    } else {
        let given = service.security.capabilities.effective();
        // All is what there is; one that is asked for by its name and is not there, the runtime says itself.
        let all = service.security.capabilities.add.iter().any(|name| name == "ALL");
        given.into_iter().filter(|name| !all || known.contains(name)).collect()
    };
    if uid == 0 {
        json!({"bounding": given, "effective": given, "permitted": given})
    } else {
        // What the kernel leaves a user who is not root when it executes a program.
        json!({"bounding": given})
    }
}

/// All that can be given here: a name that this kernel does not know, or that we ourselves may not have, makes runtimes fail.
fn all_capabilities() -> Vec<&'static str> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let bounds = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("CapBnd:")?.trim(), 16).ok());
    let bounds = bounds.unwrap_or(u64::MAX);
    CAPABILITIES.into_iter().enumerate().filter(|(bit, _)| bounds >> bit & 1 == 1).map(|(_, name)| name).collect()
}

pub(super) fn rlimits(ulimits: &BTreeMap<String, Ulimit>) -> Value {
    let number = |limit: Option<u64>| limit.unwrap_or(u64::MAX);
    let one = |(name, limit): (&String, &Ulimit)| {
        let kind = format!("RLIMIT_{}", name.to_ascii_uppercase());
        json!({"type": kind, "soft": number(limit.soft), "hard": number(limit.hard)})
    };
    ulimits.iter().map(one).collect()
}

fn resources(service: &Service, facts: &Facts<'_>) -> Value {
    let asked = &service.resources;
    let cgroups = &facts.host.cgroups;
    let mut resources = json!({"devices": device_rules(service, &facts.nodes)});
    let mut memory = json!({});
    if let Some(bytes) = asked.memory {
        memory["limit"] = json!(bytes);
        let swap = match asked.memory_swap {
            Some(Swap::Bytes(all)) => i64::try_from(all).ok(),
            Some(Swap::Unlimited) => Some(-1),
            // What nobody asked for is left out where the kernel does not count swap.
            None => i64::try_from(bytes.saturating_mul(2)).ok().filter(|_| cgroups.counts_swap),
        };
        if let Some(swap) = swap {
            memory["swap"] = json!(swap);
        }
    }
    if let Some(bytes) = asked.memory_reservation {
        memory["reservation"] = json!(bytes);
    }
    if asked.oom_kill_disable {
        memory["disableOOMKiller"] = json!(true);
    }
    let mut cpu = json!({});
    if let Some(nanos) = asked.cpu_nanos {
        let quota = u128::from(nanos) * u128::from(CPU_PERIOD) / 1_000_000_000;
        cpu["period"] = json!(CPU_PERIOD);
        // The kernel refuses less than a millisecond.
        cpu["quota"] = json!(u64::try_from(quota).unwrap_or(u64::MAX).max(1000));
    }
    if let Some(shares) = asked.cpu_shares {
        cpu["shares"] = json!(shares);
    }
    if let Some(cpus) = &asked.cpuset {
        cpu["cpus"] = json!(cpus);
    }
    for (key, value) in [("memory", memory), ("cpu", cpu)] {
        if value.as_object().is_some_and(|object| !object.is_empty()) {
            resources[key] = value;
        }
    }
    if let Some(limit) = asked.pids {
        resources["pids"] = json!({"limit": limit});
    }
    resources
}

fn device_rules(service: &Service, nodes: &[Node]) -> Vec<Value> {
    if service.security.privileged {
        return vec![json!({"allow": true, "access": "rwm"})];
    }
    let mut rules = vec![json!({"allow": false, "access": "rwm"})];
    // Nodes may be made; opening them is another matter.
    rules.extend(["c", "b"].map(|kind| json!({"allow": true, "type": kind, "access": "m"})));
    rules.extend(USUAL_NODES.map(|(major, minor)| rule("c", Some(major), minor, "rwm")));
    let kind = |letter: char| if letter == 'b' { "b" } else { "c" };
    rules.extend(nodes.iter().map(|n| rule(kind(n.kind), Some(n.major), Some(n.minor), &n.access)));
    for DeviceRule { kind, major, minor, permissions } in &service.security.device_rules {
        let kinds: &[&str] = match kind {
            'b' => &["b"],
            'c' => &["c"],
            _ => &["c", "b"],
        };
        rules.extend(kinds.iter().map(|kind| rule(kind, *major, *minor, permissions)));
    }
    rules
}

fn rule(kind: &str, major: Option<u32>, minor: Option<u32>, access: &str) -> Value {
    let mut rule = json!({"allow": true, "type": kind, "access": access});
    if let Some(major) = major {
        rule["major"] = json!(major);
    }
    if let Some(minor) = minor {
        rule["minor"] = json!(minor);
    }
    rule
}

fn node(node: &Node) -> Value {
    json!({
        "path": node.target,
        "type": node.kind.to_string(),
        "major": node.major,
        "minor": node.minor,
        "fileMode": node.mode,
        "uid": node.uid,
        "gid": node.gid,
    })
}

impl Node {
    /// The nodes that `device` stands for on this device: itself, or all in a directory.
    pub(crate) fn of(device: &Device) -> Result<Vec<Self>, String> {
        let mut nodes = Vec::new();
        collect(device.source.as_ref(), &device.target, &device.permissions, 0, &mut nodes)?;
        Ok(nodes)
    }
}

impl Node {
    /// Every node below `/dev`, for a privileged service. Terminals and what every container has anyway are its own.
    pub(crate) fn all_of_device() -> Vec<Self> {
        let mut nodes = Vec::new();
        // What cannot be looked at cannot be given.
        let _ = collect("/dev".as_ref(), "/dev", "rwm", 0, &mut nodes);
        let own = |target: &str| {
            let usual = ["null", "zero", "full", "random", "urandom", "tty", "console", "ptmx"];
            let name = target.trim_start_matches("/dev/");
            usual.contains(&name) || ["pts/", "shm/", "mqueue/"].iter().any(|start| name.starts_with(start))
        };
        nodes.retain(|node| !own(&node.target));
        nodes
    }
}

/// Directories below `/dev` are this deep at most, and have this many nodes.
const DEPTH_MAX: usize = 8;
const NODES_MAX: usize = 4096;

fn collect(
    source: &std::path::Path,
    target: &str,
    access: &str,
    depth: usize,
    into: &mut Vec<Node>,
) -> Result<(), String> {
    use std::os::unix::fs::{FileTypeExt, MetadataExt};
    let meta = std::fs::metadata(source).map_err(|error| format!("device {}: {error}", source.display()))?;
    let kind = meta.file_type();
    if kind.is_dir() && depth < DEPTH_MAX {
        let entries = std::fs::read_dir(source).map_err(|error| format!("device {}: {error}", source.display()))?;
        for entry in entries.flatten().take(NODES_MAX) {
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            // Links and sockets in a directory of devices are none; what goes while it is looked at is gone.
            if entry.file_type().is_ok_and(|kind| kind.is_dir() || kind.is_char_device() || kind.is_block_device()) {
                let _ = collect(&entry.path(), &format!("{target}/{name}"), access, depth + 1, into);
            }
        }
        return Ok(());
    }
    if !kind.is_char_device() && !kind.is_block_device() {
        return Err(format!("{} is no device", source.display()));
    }
    if into.len() < NODES_MAX {
        into.push(Node {
            target: target.to_owned(),
            kind: if kind.is_block_device() { 'b' } else { 'c' },
            major: rustix::fs::major(meta.rdev()),
            minor: rustix::fs::minor(meta.rdev()),
            mode: meta.mode() & 0o7777,
            uid: meta.uid(),
            gid: meta.gid(),
            access: access.to_owned(),
        });
    }
    Ok(())
}

/// What a service asks of control groups that this kernel does not have, by key.
pub(crate) fn lacking(service: &Service, cgroups: &Cgroups) -> Vec<(&'static str, String)> {
    use umiak_spec::service::key;
    let asked = &service.resources;
    let mut lacking = Vec::new();
    let mut need = |wanted: bool, key: &'static str, controller: &str| {
        if wanted && !cgroups.has(controller) {
            lacking.push((key, format!("this kernel has no control group `{controller}` in use")));
        }
    };
    need(asked.memory.is_some() || asked.memory_reservation.is_some(), key::MEMORY, "memory");
    need(asked.cpu_nanos.is_some() || asked.cpu_shares.is_some(), key::CPUS, "cpu");
    need(asked.cpuset.is_some(), key::CPUSET, "cpuset");
    need(asked.pids.is_some(), key::PIDS, "pids");
    if matches!(asked.memory_swap, Some(Swap::Bytes(_))) && !cgroups.counts_swap {
        lacking.push(("memswap_limit", "this kernel does not count swap".to_owned()));
    }
    if asked.oom_kill_disable && cgroups.version() == Some(2) {
        lacking.push(("oom_kill_disable", "control groups of version 2 do not have it".to_owned()));
    }
    lacking
}
