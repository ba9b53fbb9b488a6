//! What is mounted into a service: `volumes` short and long, `tmpfs`, and the volumes that its image declares.

use umiak_spec::Digest;
use umiak_spec::service::{Bind, ImageDefaults, Mount, MountKind, Persistence, Propagation, Service, Volume};

use super::field::Field;
use super::{units, volumes};
use crate::error::shown;
use crate::paths;

pub(super) const KEYS: &[&str] = &["volumes", "tmpfs"];

/// Where programs write in passing: memory there, when the device makes roots read-only.
const SCRATCH: [(&str, u32); 3] = [("/run", 0o755), ("/tmp", 0o1777), ("/var/tmp", 0o1777)];

pub(super) fn read(service: &mut Service, field: &Field<'_>, image: &ImageDefaults) {
    for item in field.get("volumes").iter().flat_map(Field::items) {
        let mount = if item.is_map() { long(&item) } else { short(&item) };
        if let Some(mount) = mount {
            put(service, mount);
        }
    }
    for item in field.get("tmpfs").iter().flat_map(Field::items) {
        if let Some(mount) = tmpfs(&item) {
            put(service, mount);
        }
    }
    for path in &image.volumes {
        let Some(target) = target(path) else { continue };
        if !service.mounts.iter().any(|mount| mount.target == target) {
            let kind = anonymous(&service.name, &target);
            service.mounts.push(Mount { target, read_only: false, kind });
        }
    }
}

/// A later one takes the place of an earlier one with the same target.
pub(super) fn put(service: &mut Service, mount: Mount) {
    service.mounts.retain(|known| known.target != mount.target);
    service.mounts.push(mount);
}

pub(super) fn add_scratch(service: &mut Service) {
    for (target, mode) in SCRATCH {
        if !service.mounts.iter().any(|mount| mount.target == target) {
            let kind = MountKind::Tmpfs { size: None, mode: Some(mode), options: vec![] };
            service.mounts.push(Mount { target: target.to_owned(), read_only: false, kind });
        }
    }
}

/// A path in the service, clean; not its root.
pub(super) fn target(path: &str) -> Option<String> {
    let clean = clean(path).filter(|clean| clean.len() > 1)?;
    (!path.contains('\0') && path.len() <= 4096).then_some(clean)
}

/// An absolute path without `.`, `..` and needless slashes; none if it leaves the root or is relative.
pub(super) fn clean(path: &str) -> Option<String> {
    let mut parts: Vec<&str> = vec![];
    for part in path.strip_prefix('/')?.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(format!("/{}", parts.join("/")))
}

/// A volume without a name is the service's own, and kept like one with a name: an update must lose nothing.
fn anonymous(service: &str, target: &str) -> MountKind {
    let digest = Digest::of(target.as_bytes()).to_string();
    let hex = digest.rsplit(':').next().unwrap_or_default();
    let name = format!("anonymous-{service}-{}", hex.get(..16).unwrap_or_default());
    MountKind::Volume(Volume { name, persistence: Persistence::Persistent, copy: true, subpath: None, above: false })
}

/// `[SOURCE:]TARGET[:OPTIONS]`
fn short(item: &Field<'_>) -> Option<Mount> {
    let text = item.text()?;
    let parts: Vec<&str> = text.split(':').collect();
    let (source, path, options) = match parts.as_slice() {
        [path] => ("", *path, ""),
        [source, path] => (*source, *path, ""),
        [source, path, options] => (*source, *path, *options),
        _ => {
            item.refuse(format!("`{}` is not a mount: [SOURCE:]TARGET[:OPTIONS]", shown(&text)));
            return None;
        }
    };
    let Some(target) = target(path) else {
        item.refuse(format!("`{}` is not an absolute path below the root", shown(path)));
        return None;
    };
    let mut options = Options::read(item, options)?;
    let kind = if source.is_empty() {
        anonymous(item.reading.service, &target)
    } else if source.starts_with(['.', '/', '~']) || source.contains(['/', '\\']) {
        MountKind::Bind(Bind {
            source: path_on_device(item, source)?,
            create: true,
            recursive: true,
            propagation: options.propagation,
        })
    } else {
        let mut kind = volumes::named(item, source)?;
        if let MountKind::Volume(volume) = &mut kind {
            volume.copy = options.copy;
        } else if !options.copy {
            options.copy = true;
            item.refuse("`nocopy` is for volumes");
        }
        kind
    };
    Some(Mount { target, read_only: options.read_only, kind })
}

/// The options of a short form.
struct Options {
    read_only: bool,
    copy: bool,
    propagation: Propagation,
}

impl Options {
    fn read(item: &Field<'_>, text: &str) -> Option<Self> {
        let mut options = Self { read_only: false, copy: true, propagation: Propagation::Private };
        for word in text.split(',').filter(|word| !word.is_empty()) {
            match word {
                "rw" => {}
                "ro" => options.read_only = true,
                "nocopy" => options.copy = false,
                // Labels of SELinux, which are not set; wishes of other systems.
                "z" | "Z" | "cached" | "delegated" | "consistent" => {}
                _ => match propagation(word) {
                    Some(propagation) => options.propagation = propagation,
                    None => {
                        item.refuse(format!("`{}` is not an option of a mount", shown(word)));
                        return None;
                    }
                },
            }
        }
        Some(options)
    }
}

fn propagation(word: &str) -> Option<Propagation> {
    match word {
        "private" | "rprivate" | "" => Some(Propagation::Private),
        "slave" | "rslave" => Some(Propagation::Slave),
        "shared" | "rshared" => Some(Propagation::Shared),
        _ => None,
    }
}

/// Absolute, or below the project's directory.
pub(super) fn path_on_device(item: &Field<'_>, text: &str) -> Option<String> {
    if let Some(rest) = text.strip_prefix('~') {
        let home = item.reading.variables.get("HOME").filter(|home| home.starts_with('/'));
        return match home.filter(|_| rest.is_empty() || rest.starts_with('/')) {
            Some(home) => Some(paths::join(home, rest.trim_start_matches('/'))),
            None => {
                item.refuse("the device has no HOME for `~`");
                None
            }
        };
    }
    let path = paths::join("", text);
    if path == ".." || path.starts_with("../") {
        item.leave_to_compose(
            "it lies outside of the project, and apps are kept apart: use a volume or an absolute path",
        );
        return None;
    }
    if path.contains('\0') {
        item.refuse("a path has no byte 0");
        return None;
    }
    Some(path)
}

fn long(item: &Field<'_>) -> Option<Mount> {
    let path = item.get("target").and_then(|value| value.text()).unwrap_or_default();
    let Some(target) = target(&path) else {
        item.refuse(format!("its target `{}` is not an absolute path below the root", shown(&path)));
        return None;
    };
    let read_only = item.get("read_only").and_then(|value| value.truth()).unwrap_or_default();
    let source = item.get("source");
    let kind = match item.get("type").and_then(|value| value.text()).as_deref() {
        Some("volume") => {
            let mut kind = match source {
                Some(source) => volumes::named(&source, &source.text()?)?,
                None => anonymous(item.reading.service, &target),
            };
            if let Some(options) = item.get("volume") {
                volume_options(&mut kind, &options);
            }
            kind
        }
        Some("bind") => {
            let Some(source) = source else {
                item.refuse("a bind has a `source`");
                return None;
            };
            let mut bind = Bind {
                source: path_on_device(&source, &source.text()?)?,
                create: true,
                recursive: true,
                propagation: Propagation::Private,
            };
            if let Some(options) = item.get("bind") {
                bind_options(&mut bind, &options);
            }
            MountKind::Bind(bind)
        }
        Some("tmpfs") => {
            let options = item.get("tmpfs");
            let size = options.as_ref().and_then(|options| options.get("size")).and_then(|size| size.size());
            let mode = options.and_then(|options| options.get("mode")).and_then(|mode| self::mode(&mode));
            MountKind::Tmpfs { size: size.filter(|size| *size > 0), mode, options: vec![] }
        }
        Some(kind @ ("image" | "npipe" | "cluster")) => {
            item.leave_to_compose(format!("mounts of type `{kind}` are not supported"));
            return None;
        }
        _ => {
            item.refuse("the type of a mount is `volume`, `bind` or `tmpfs`");
            return None;
        }
    };
    Some(Mount { target, read_only, kind })
}

/// Permissions in octal. Without a 0 in front YAML has them as a decimal number, which nobody means.
pub(super) fn mode(value: &Field<'_>) -> Option<u32> {
    value.parsed("a mode in octal with a 0 in front (`0440`)", |text| {
        text.starts_with('0').then(|| units::permissions(text)).flatten()
    })
}

fn volume_options(kind: &mut MountKind, options: &Field<'_>) {
    for (key, value) in options.entries() {
        match (key, &mut *kind) {
            ("nocopy", MountKind::Volume(volume)) => volume.copy = value.truth() != Some(true),
            ("subpath", MountKind::Volume(volume)) => {
                volume.subpath = value.parsed("a relative path inside of the volume", |text| {
                    let path = paths::join("", text);
                    let inside = !(path.is_empty() || path.starts_with('/') || path == ".." || path.starts_with("../"));
                    inside.then_some(path)
                });
            }
            ("nocopy", _) if value.truth() == Some(false) => {}
            ("labels", _) => value.pass_over("it notes something and changes nothing that runs"),
            _ if key.starts_with("x-") => {}
            _ => value.leave_to_compose("this volume is a directory of the device, which has no such option"),
        }
    }
}

fn bind_options(bind: &mut Bind, options: &Field<'_>) {
    for (key, value) in options.entries() {
        match key {
            "propagation" => bind.propagation = value.parsed("a propagation", propagation).unwrap_or_default(),
            "create_host_path" => bind.create = value.truth().unwrap_or(true),
            "recursive" => match value.text().as_deref() {
                Some("enabled" | "writable") | None => {}
                Some("disabled") => bind.recursive = false,
                Some(_) => value.leave_to_compose("mounts below come along as they are, or not at all"),
            },
            "selinux" => value.pass_over("no label of SELinux is set"),
            _ if key.starts_with("x-") => {}
            _ => value.refuse("umiak does not know this key"),
        }
    }
}

/// `TARGET[:OPTIONS]`, options as mount(8) has them.
fn tmpfs(item: &Field<'_>) -> Option<Mount> {
    let text = item.text()?;
    let (path, words) = text.split_once(':').unwrap_or((&text, ""));
    let Some(target) = target(path) else {
        item.refuse(format!("`{}` is not an absolute path below the root", shown(path)));
        return None;
    };
    let (kind, read_only) = tmpfs_options(item, words)?;
    Some(Mount { target, read_only, kind })
}

/// The options of memory, and whether it is read-only.
pub(super) fn tmpfs_options(item: &Field<'_>, words: &str) -> Option<(MountKind, bool)> {
    let (mut size, mut mode, mut options, mut read_only) = (None, None, vec![], false);
    for word in words.split(',').filter(|word| !word.is_empty()) {
        let (name, value) = word.split_once('=').unwrap_or((word, ""));
        match name {
            "size" => size = Some(units::size(value).filter(|size| *size > 0)),
            "mode" => mode = Some(units::permissions(value)),
            "rw" | "nosuid" | "nodev" => {}
            "ro" => read_only = true,
            "exec" | "noexec" | "suid" | "dev" | "noatime" | "nodiratime" | "relatime" | "strictatime"
                if value.is_empty() =>
            {
                options.push(word.to_owned());
            }
            "uid" | "gid" | "nr_inodes"
                if value.bytes().all(|byte| byte.is_ascii_alphanumeric()) && !value.is_empty() =>
            {
                options.push(word.to_owned());
            }
            _ => {
                item.refuse(format!("`{}` is not an option of a tmpfs", shown(word)));
                return None;
            }
        }
    }
    if matches!(size, Some(None)) || matches!(mode, Some(None)) {
        item.refuse(format!("`{}` has a size or a mode that is none", shown(words)));
        return None;
    }
    Some((MountKind::Tmpfs { size: size.flatten(), mode: mode.flatten(), options }, read_only))
}
