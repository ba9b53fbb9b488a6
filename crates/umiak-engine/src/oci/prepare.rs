//! Making a deployment ready: for each service its root, its networks, its volumes, its files, its bundle, the shim's orders.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use umiak_spec::service::{Bind, MountKind, Network, Private, Probe, Service};

use super::bundle::{self, Facts, Node, Source};
use super::network::{Attached, Names};
use super::place::{self, Instance};
use super::shim::{Forward, Orders, locked};
use super::{Oci, control, hosts, inside, network, resolver, root, user, volumes};
use crate::error::At;
use crate::{Deployment, EngineError, Placed, durable};

/// Makes all services of a deployment ready. What runs is left alone. The caller holds the lock.
pub(super) fn all(engine: &Oci, deployment: &Deployment) -> Result<(), EngineError> {
    forget_earlier_start(engine)?;
    let instance = |placed| Instance::of(engine.directories(), deployment, placed);
    let instances = deployment.services.iter().map(instance).collect::<Result<Vec<_>, _>>()?;
    let Some(first) = instances.first() else { return Ok(()) };
    let keeper = |name: &str| first.network_of(name);
    let attached = network::ready(engine.directories(), engine.options.pool, deployment, keeper)?;
    for ((placed, instance), attached) in deployment.services.iter().zip(&instances).zip(&attached) {
        if locked(&instance.directory()).is_none() {
            one(engine, deployment, placed, instance, attached)?;
        }
    }
    network::refresh(engine.directories(), &deployment.app)
}

/// A run directory that is not in memory still has what an earlier start of the device left: none of it is true.
fn forget_earlier_start(engine: &Oci) -> Result<(), EngineError> {
    let note = engine.directories().run.join("boot");
    let boot = place::boot_id();
    match std::fs::read_to_string(&note) {
        Ok(text) if text == boot => return Ok(()),
        Ok(_) => {
            for name in ["services", "networks", "net", "runtime", "volumes", "l"] {
                durable::remove_tree(&engine.directories().run.join(name))?;
            }
        }
        Err(_) => {}
    }
    durable::document(&note, boot.as_bytes())
}

fn one(
    engine: &Oci,
    deployment: &Deployment,
    placed: &Placed,
    instance: &Instance,
    attached: &Attached,
) -> Result<(), EngineError> {
    let service = &placed.service;
    root::ready(instance, placed)?;
    let root_path = instance.root();
    let root = inside::root(&root_path).at("open", &root_path)?;
    let refused = |why: String| EngineError::Service { service: service.name.clone(), why };
    let account = user::look_up(&root, &service.process).map_err(refused)?;
    let cwd = Path::new(&service.process.cwd);
    inside::make_directories(&root, cwd, (account.uid, account.gid))
        .at("make", &root_path.join(cwd.strip_prefix("/").unwrap_or(cwd)))?;
    let mut sources = Vec::with_capacity(service.mounts.len());
    for mount in &service.mounts {
        sources.push(match &mount.kind {
            MountKind::Volume(volume) if volume.above => volumes::above(instance, volume, &root, &mount.target)?,
            MountKind::Volume(volume) => Source::Path(volumes::ready(instance, volume, &root, &mount.target)?),
            MountKind::Bind(bind) => Source::Path(bind_source(deployment, service, bind)?),
            MountKind::Tmpfs { mode, .. } => {
                // runc before 1.2 gives the memory the permissions of the directory that it covers.
                inside::covered(&root, Path::new(&mount.target), mode.unwrap_or(0o1777));
                Source::Memory
            }
        });
    }
    let hostname = hostname(service, engine);
    let facts = Facts {
        host: &engine.host,
        root: root_path,
        account,
        network: attached.keeper.clone(),
        files: files(engine, instance, service, attached, &hostname)?,
        sources,
        nodes: nodes(service).map_err(refused)?,
        cgroup: instance.cgroup(engine.options.systemd_cgroups),
        init: init(engine, service),
        hostname: Some(hostname),
    };
    write(&instance.file("config.json"), &bundle::config(service, &facts))?;
    if let Some(Probe::Exec(args)) = service.health.as_ref().map(|health| &health.probe) {
        let mut process = bundle::process(service, &facts, false);
        process["args"] = serde_json::json!(args);
        write(&instance.file("probe.json"), &process)?;
    }
    write(&instance.file("shim.json"), &orders(engine, instance, service, attached))
}

fn write(path: &Path, document: &impl serde::Serialize) -> Result<(), EngineError> {
    let text = serde_json::to_vec(document).map_err(std::io::Error::other).at("write", path)?;
    durable::document(path, &text)
}

fn hostname(service: &Service, engine: &Oci) -> String {
    let own = service.hostname.clone().unwrap_or_else(|| service.name.clone());
    if service.network == Network::Host { engine.host.hostname.clone() } else { own }
}

/// The files of names and addresses. On the device's own network the device's names hold.
fn files(
    engine: &Oci,
    instance: &Instance,
    service: &Service,
    attached: &Attached,
    hostname: &str,
) -> Result<Vec<(&'static str, PathBuf)>, EngineError> {
    let own = service.network != Network::Host;
    let [hosts_file, name_file, resolver_file] = ["hosts", "hostname", "resolv.conf"].map(|name| instance.file(name));
    let (before, after) = hosts::hosts(service, hostname, attached.address, attached.gateway);
    let device = || std::fs::read_to_string("/etc/hosts").unwrap_or_default();
    let names = match &service.network {
        Network::Host => Names { of: None, before: device(), after },
        Network::Service(other) => Names { of: Some(other.clone()), before, after },
        Network::None | Network::Private(_) => Names { of: Some(service.name.clone()), before, after },
    };
    names.put(engine.options.pool, instance, &hosts_file)?;
    durable::in_place(&name_file, format!("{hostname}\n").as_bytes(), 0o644)?;
    resolver::make(&resolver_file, &service.dns, own)?;
    Ok(vec![("/etc/hosts", hosts_file), ("/etc/hostname", name_file), ("/etc/resolv.conf", resolver_file)])
}

fn bind_source(deployment: &Deployment, service: &Service, bind: &Bind) -> Result<PathBuf, EngineError> {
    let refused = |why: String| EngineError::Service { service: service.name.clone(), why };
    let given = Path::new(&bind.source);
    let path = match (&deployment.project, given.is_absolute()) {
        (_, true) => given.to_owned(),
        (Some(project), false) => project.join(given),
        (None, false) => return Err(refused(format!("there is no project that `{}` could be in", bind.source))),
    };
    if path.exists() {
        return Ok(path);
    }
    if !bind.create {
        return Err(refused(format!("{} is not on this device", path.display())));
    }
    durable::open_directory(&path)?;
    Ok(path)
}

fn nodes(service: &Service) -> Result<Vec<Node>, String> {
    let mut nodes = Vec::new();
    if service.security.privileged {
        nodes.extend(Node::all_of_device());
    }
    for device in &service.security.devices {
        for node in Node::of(device)? {
            nodes.retain(|known: &Node| known.target != node.target);
            nodes.push(node);
        }
    }
    Ok(nodes)
}

fn memory_events(engine: &Oci, instance: &Instance) -> PathBuf {
    let group = instance.cgroup(engine.options.systemd_cgroups);
    let group = group.trim_start_matches('/');
    match engine.host.cgroups.version() {
        Some(2) => Path::new("/sys/fs/cgroup").join(group).join("memory.events"),
        _ => Path::new("/sys/fs/cgroup/memory").join(group).join("memory.oom_control"),
    }
}

fn init(engine: &Oci, service: &Service) -> Option<(PathBuf, Vec<String>)> {
    let (program, arguments) = engine.options.shim.split_first().filter(|_| service.init)?;
    let mut arguments = arguments.to_vec();
    arguments.push("init".to_owned());
    Some((PathBuf::from(program), arguments))
}

fn orders(engine: &Oci, instance: &Instance, service: &Service, attached: &Attached) -> Orders {
    Orders {
        service: service.name.clone(),
        revision: instance.revision().to_owned(),
        container: instance.container(),
        runtime: engine.runtime.clone(),
        // Refused before where it is none.
        stop_signal: control::signal_number(&service.stop_signal).unwrap_or(umiak_mount::signals::TERM),
        stop_grace: service.stop_grace,
        restart: service.restart,
        health: service.health.clone(),
        network: attached.keeper.clone(),
        logs: service.logs,
        log_directory: instance.logs(),
        ports: ports(service, attached),
        stdin: service.process.stdin,
        memory_events: memory_events(engine, instance),
        resolver: Some(instance.file("resolv.conf")),
    }
}

fn ports(service: &Service, attached: &Attached) -> Vec<Forward> {
    let (Network::Private(Private { ports, .. }), Some(address)) = (&service.network, attached.address) else {
        return vec![];
    };
    let mut forwards = Vec::new();
    for port in ports {
        let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let listen = SocketAddr::new(port.host.unwrap_or(any), port.published.unwrap_or(0));
        let forward = Forward { protocol: port.protocol, listen, to: SocketAddr::new(address, port.target) };
        if !forwards.contains(&forward) {
            forwards.push(forward);
        }
    }
    forwards
}
