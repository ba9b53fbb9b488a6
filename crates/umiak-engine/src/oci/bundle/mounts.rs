//! The mounts of a bundle: what every container has, then what the service asks, in the order of their targets.

use std::path::PathBuf;

use serde_json::{Value, json};
use umiak_spec::service::{Bind, Mount, MountKind, Propagation, Root, Service, Sharing};

use super::{Facts, INIT_TARGET};

/// Bytes of `/dev/shm` where nothing is said.
const SHM_SIZE: u64 = 64 << 20;

/// Where one of the service's mounts comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// A path on the device.
    Path(PathBuf),
    /// An overlay of one directory: what shows through, what is written, the kernel's own.
    Above { lower: PathBuf, upper: PathBuf, work: PathBuf },
    /// Memory.
    Memory,
}

pub(super) fn all(service: &Service, facts: &Facts<'_>) -> Vec<Value> {
    let taken = |target: &str| service.mounts.iter().any(|mount| mount.target == target);
    let mut mounts: Vec<Value> = usual(service);
    mounts.retain(|mount| mount["destination"].as_str().is_none_or(|target| !taken(target)));
    let read_only = service.root == Root::ReadOnly;
    for (target, source) in facts.files.iter().filter(|(target, _)| !taken(target)) {
        mounts.push(bind(target, source, &["rbind", "rprivate", if read_only { "ro" } else { "rw" }]));
    }
    if let Some((program, _)) = &facts.init {
        mounts.push(bind(INIT_TARGET, program, &["rbind", "rprivate", "ro"]));
    }
    let mut asked: Vec<(&Mount, &Source)> = service.mounts.iter().zip(&facts.sources).collect();
    asked.sort_by(|(a, _), (b, _)| a.target.cmp(&b.target));
    mounts.extend(asked.into_iter().map(|(mount, source)| one(mount, source)));
    mounts
}

fn usual(service: &Service) -> Vec<Value> {
    let privileged = service.security.privileged;
    let safe = ["nosuid", "noexec", "nodev"];
    let fixed = |target: &str, kind: &str, options: &[&str]| json!({"destination": target, "type": kind, "source": kind, "options": options});
    let system = |written: bool| ["nosuid", "noexec", "nodev", if written { "rw" } else { "ro" }];
    let mut mounts = vec![
        fixed("/proc", "proc", &safe),
        fixed("/dev", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        fixed("/dev/pts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
        fixed("/sys", "sysfs", &system(privileged || service.security.writable_sys)),
        fixed("/sys/fs/cgroup", "cgroup", &system(privileged)),
    ];
    // Of the namespace that the service is in; many devices do not have the device's own mounted.
    mounts.push(fixed("/dev/mqueue", "mqueue", &safe));
    if service.namespaces.ipc == Sharing::Host {
        mounts.push(bind("/dev/shm", &PathBuf::from("/dev/shm"), &["rbind"]));
    } else {
        let size = format!("size={}", service.resources.shm_size.unwrap_or(SHM_SIZE));
        mounts.push(fixed("/dev/shm", "tmpfs", &["nosuid", "noexec", "nodev", "mode=1777", &size]));
    }
    mounts
}

fn bind(target: &str, source: &PathBuf, options: &[&str]) -> Value {
    json!({"destination": target, "type": "bind", "source": source, "options": options})
}

fn one(mount: &Mount, source: &Source) -> Value {
    let write = if mount.read_only { "ro" } else { "rw" };
    match (&mount.kind, source) {
        (MountKind::Tmpfs { size, mode, options }, _) => {
            let mut all = vec!["nosuid".to_owned(), "nodev".to_owned(), write.to_owned()];
            all.push(format!("mode={:o}", mode.unwrap_or(0o1777)));
            all.extend(size.map(|size| format!("size={size}")));
            all.extend(options.iter().cloned());
            json!({"destination": mount.target, "type": "tmpfs", "source": "tmpfs", "options": all})
        }
        (MountKind::Bind(Bind { recursive, propagation, .. }), Source::Path(path)) => {
            let how = if *recursive { "rbind" } else { "bind" };
            bind(&mount.target, path, &[how, spread(*propagation, *recursive), write])
        }
        (_, Source::Path(path)) => bind(&mount.target, path, &["rbind", "rprivate", write]),
        (_, Source::Above { lower, upper, work }) => {
            let option = |key: &str, path: &PathBuf| format!("{key}={}", path.display());
            let options =
                [write.to_owned(), option("lowerdir", lower), option("upperdir", upper), option("workdir", work)];
            json!({"destination": mount.target, "type": "overlay", "source": "overlay", "options": options})
        }
        // A volume always has a path; nothing is shown where that were not so.
        (_, Source::Memory) => json!({"destination": mount.target, "type": "tmpfs", "source": "tmpfs"}),
    }
}

fn spread(propagation: Propagation, recursive: bool) -> &'static str {
    match (propagation, recursive) {
        (Propagation::Private, true) => "rprivate",
        (Propagation::Private, false) => "private",
        (Propagation::Slave, true) => "rslave",
        (Propagation::Slave, false) => "slave",
        (Propagation::Shared, true) => "rshared",
        (Propagation::Shared, false) => "shared",
    }
}

/// How mounts spread from and to the service's root, as far as its bind mounts need it.
pub(super) fn root_propagation(service: &Service) -> Option<&'static str> {
    let asked = service.mounts.iter().filter_map(|mount| match &mount.kind {
        MountKind::Bind(bind) => Some(bind.propagation),
        _ => None,
    });
    asked.fold(None, |so_far, propagation| match propagation {
        Propagation::Shared => Some("shared"),
        Propagation::Slave => so_far.or(Some("rslave")),
        Propagation::Private => so_far,
    })
}
