//! What this engine does not do, by key; on this device.

use std::path::Path;

use umiak_spec::service::{MountKind, Network, Private, Protocol, Restart, Service, Sharing, key};

use super::bundle;
use super::host::Host;
use super::place::check_name;
use crate::Refused;

pub(super) fn all(service: &Service, host: &Host) -> Vec<Refused> {
    let mut refused = Vec::new();
    let mut no = |key: &str, why: &str| refused.push(Refused::new(key, why));
    if check_name(&service.name).is_err() {
        no("name", "a service's name has letters, digits, `.`, `_`, `-` only here, 128 at most");
    }
    if service.process.tty {
        no(key::TTY, "there is no terminal here");
    }
    network(service, &mut no);
    namespaces(service, &mut no);
    for mount in &service.mounts {
        if let MountKind::Volume(volume) = &mount.kind
            && check_name(&volume.name).is_err()
        {
            no(key::VOLUMES, "a volume's name has letters, digits, `.`, `_`, `-` only here, 128 at most");
        }
    }
    if let Restart::OnFailure { most: Some(0) } = service.restart {
        no(key::RESTART, "no times is `no`");
    }
    if super::control::signal_number(&service.stop_signal).is_none() {
        no("stop_signal", "there is no such signal");
    }
    refused.extend(bundle::lacking(service, &host.cgroups).into_iter().map(|(key, why)| Refused::new(key, why)));
    refused
}

fn network(service: &Service, no: &mut impl FnMut(&str, &str)) {
    let Network::Private(Private { attached, ports }) = &service.network else { return };
    if attached.iter().any(|place| place.address.is_some()) {
        no(key::NETWORKS, "addresses are given by this engine, not fixed");
    }
    if ports.iter().any(|port| port.protocol == Protocol::Sctp) {
        no(key::PORTS, "SCTP is not passed on");
    }
    if ports.iter().any(|port| port.published.is_none()) {
        no(key::PORTS, "the device's port must be said");
    }
    if !ports.is_empty() && attached.is_empty() {
        no(key::PORTS, "nothing is passed on to a service without a network");
    }
}

fn namespaces(service: &Service, no: &mut impl FnMut(&str, &str)) {
    let spaces = &service.namespaces;
    let of_another = |sharing: &Sharing| matches!(sharing, Sharing::Service(_));
    for (key, sharing) in
        [(key::PID, &spaces.pid), (key::IPC, &spaces.ipc), (key::UTS, &spaces.uts), (key::CGROUP, &spaces.cgroup)]
    {
        if of_another(sharing) {
            no(key, "services do not share this namespace here");
        }
    }
    let network_of_own = bundle::has_own_network(service) || matches!(service.network, Network::Service(_));
    let of_device = service.sysctls.keys().any(|name| {
        let needs_network = name.starts_with("net.") && !network_of_own;
        let needs_ipc = is_ipc(name) && spaces.ipc == Sharing::Host;
        let neither = !name.starts_with("net.") && !is_ipc(name);
        needs_network || needs_ipc || neither || !is_there(name)
    });
    if of_device {
        no(key::SYSCTLS, "only parameters of the service's own network and of its System V objects can be set");
    }
}

fn is_ipc(name: &str) -> bool {
    let single = ["kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall", "kernel.shmmax"];
    let more = ["kernel.shmmni", "kernel.shm_rmid_forced"];
    single.contains(&name) || more.contains(&name) || name.starts_with("fs.mqueue.")
}

fn is_there(name: &str) -> bool {
    let plain = !name.contains("..") && !name.contains('/');
    plain && (name.starts_with("net.") || Path::new("/proc/sys").join(name.replace('.', "/")).exists())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::host::Cgroups;
    use umiak_spec::service::{Attachment, Port, Swap};

    fn host() -> Host {
        let cgroups = Cgroups::fake(2, &["cpu", "pids"]);
        Host { cgroups, seccomp: true, architecture: "x86_64", hostname: "device".into(), low_ports: true }
    }

    fn keys(change: impl FnOnce(&mut Service)) -> Vec<String> {
        let mut service = Service::new("web", vec!["/bin/true".into()]);
        change(&mut service);
        all(&service, &host()).into_iter().map(|refused| refused.key).collect()
    }

    #[test]
    fn what_is_not_done_is_named() {
        assert!(keys(|_| ()).is_empty());
        assert_eq!(keys(|service| service.process.tty = true), [key::TTY]);
        assert_eq!(keys(|service| service.resources.memory = Some(1 << 20)), [key::MEMORY], "no controller here");
        assert!(keys(|service| service.resources.pids = Some(5)).is_empty());
        assert_eq!(keys(|service| service.resources.memory_swap = Some(Swap::Bytes(5))), ["memswap_limit"]);
        assert_eq!(keys(|service| service.namespaces.pid = Sharing::Service("db".into())), [key::PID]);
        assert_eq!(keys(|service| service.stop_signal = "SIGNOTHING".into()), ["stop_signal"]);
        let sysctl = |name: &str| {
            let name = name.to_owned();
            keys(move |service| drop(service.sysctls.insert(name, "1".into())))
        };
        assert_eq!(sysctl("vm.swappiness"), [key::SYSCTLS]);
        assert!(sysctl("net.core.somaxconn").is_empty());
        let port = |published, protocol| {
            let port = Port { host: None, published, target: 80, protocol };
            keys(move |service| {
                let attached = vec![Attachment::new("default")];
                service.network = Network::Private(Private { attached, ports: vec![port] });
            })
        };
        assert!(port(Some(80), Protocol::Udp).is_empty());
        assert_eq!(port(Some(80), Protocol::Sctp), [key::PORTS]);
        assert_eq!(port(None, Protocol::Tcp), [key::PORTS]);
    }
}
