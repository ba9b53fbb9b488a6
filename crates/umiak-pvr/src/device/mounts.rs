//! `lxc.mount.entry` and `lxc.mount.auto`: what a container finds below its root.

use std::collections::BTreeMap;

use umiak_spec::service::{Bind, Mount, MountKind, Propagation, Security, Volume};

use super::conf::field;
use super::found::At;
use super::manifest::Manifest;

const KEY: &str = "lxc.mount.entry";
const AUTO: &str = "lxc.mount.auto";

/// The device's file of name servers, of which every container here has one of its own.
const RESOLVER: &str = "/etc/resolv.conf";

/// The options of one entry.
#[derive(Debug, Default)]
struct Options {
    bind: bool,
    recursive: bool,
    read_only: bool,
    optional: bool,
    size: Option<u64>,
    mode: Option<u32>,
    /// Those that only memory can have here.
    memory: Vec<String>,
    unknown: Vec<String>,
}

impl Options {
    fn parse(text: &str) -> Self {
        let mut options = Self::default();
        for word in text.split(',').filter(|word| !word.is_empty()) {
            match word.split_once('=') {
                None => options.word(word),
                Some(("create", "dir" | "file")) => {}
                Some(("mode", mode)) => match u32::from_str_radix(mode, 8) {
                    Ok(mode) => options.mode = Some(mode & 0o7777),
                    Err(_) => options.unknown.push(word.to_owned()),
                },
                Some(("size", size)) => match bytes(size) {
                    Some(size) => options.size = Some(size),
                    None => options.unknown.push(word.to_owned()),
                },
                Some(_) => options.unknown.push(word.to_owned()),
            }
        }
        options
    }

    fn word(&mut self, word: &str) {
        match word {
            "bind" => self.bind = true,
            "rbind" => (self.bind, self.recursive) = (true, true),
            "ro" => self.read_only = true,
            "rw" | "defaults" | "relatime" => {}
            "optional" => self.optional = true,
            "nodev" | "nosuid" | "noexec" | "noatime" | "nodiratime" | "strictatime" | "sync" => {
                self.memory.push(word.to_owned());
            }
            _ => self.unknown.push(word.to_owned()),
        }
    }
}

/// Bytes, perhaps with one of the kernel's suffixes.
pub(super) fn bytes(text: &str) -> Option<u64> {
    let (digits, shift) = match text.char_indices().last()? {
        (at, 'k' | 'K') => (&text[..at], 10),
        (at, 'm' | 'M') => (&text[..at], 20),
        (at, 'g' | 'G') => (&text[..at], 30),
        _ => (text, 0),
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// Reads an entry; `None` where nothing is to be mounted, or it was refused.
pub(super) fn entry(value: &str, manifests: &BTreeMap<String, Manifest>, at: &At<'_>) -> Option<Mount> {
    let fields: Vec<String> = value.split_whitespace().map(field).collect();
    let [source, target, kind, options_text, ..] = fields.as_slice() else {
        at.refuse(KEY, "is not SOURCE TARGET TYPE OPTIONS");
        return None;
    };
    let Some(target) = absolute(target) else {
        at.refuse(KEY, format!("cannot be mounted at `{target}`"));
        return None;
    };
    let options = Options::parse(options_text);
    if kind != "overlay" && !options.unknown.is_empty() {
        at.refuse(KEY, format!("option `{}` is not done here", options.unknown.join(",")));
        return None;
    }
    let kind = match (kind.as_str(), options.bind) {
        ("tmpfs", false) => {
            // Memory never has devices nor programs with the rights of others here.
            let said = options.memory.iter().filter(|word| !matches!(word.as_str(), "nodev" | "nosuid"));
            let mode = options.mode.or(Some(0o1777));
            MountKind::Tmpfs { size: options.size, mode, options: said.cloned().collect() }
        }
        ("none" | "bind", true) => bound(source, &target, &options, manifests, at)?,
        ("overlay", false) => MountKind::Volume(above(options_text, &target, manifests, at)?),
        (other, _) => {
            at.refuse(KEY, format!("file systems of type `{other}` are not mounted here"));
            return None;
        }
    };
    Some(Mount { target, read_only: options.read_only, kind })
}

/// A target with a slash before it and none behind it.
fn absolute(target: &str) -> Option<String> {
    let inner = target.trim_matches('/');
    let clean = !inner.is_empty() && inner.split('/').all(|name| !matches!(name, "" | "." | ".."));
    clean.then(|| format!("/{inner}"))
}

fn bound(
    source: &str,
    target: &str,
    options: &Options,
    manifests: &BTreeMap<String, Manifest>,
    at: &At<'_>,
) -> Option<MountKind> {
    if source == RESOLVER && target == RESOLVER {
        // Each container here has one that is made of the device's.
        return None;
    }
    if let Some(volume) = source.strip_prefix("/volumes/") {
        return self::volume(volume, options, manifests, at).map(MountKind::Volume);
    }
    if options.optional || !options.memory.is_empty() {
        let optional = options.optional.then_some("optional");
        let asked: Vec<&str> = options.memory.iter().map(String::as_str).chain(optional).collect();
        at.refuse(KEY, format!("option `{}` is not done here for what is of the device", asked.join(",")));
        return None;
    }
    let Some(source) = Some(source).filter(|source| *source == "/").map(str::to_owned).or_else(|| host(source)) else {
        at.refuse(KEY, format!("there is no `{source}` here"));
        return None;
    };
    let propagation = Propagation::Private;
    Some(MountKind::Bind(Bind { source, create: false, recursive: options.recursive, propagation }))
}

/// A volume that lies above what the container's root has at `target`: `lowerdir=/volumes/NAME/root.squashfs/TARGET`,
/// `upperdir=/volumes/NAME/KEY/upper`. What shows through is all of the root here, patches included.
fn above(options: &str, target: &str, manifests: &BTreeMap<String, Manifest>, at: &At<'_>) -> Option<Volume> {
    let (mut lower, mut upper, mut unknown) = (None, None, vec![]);
    for word in options.split(',').filter(|word| !word.is_empty()) {
        match word.split_once('=') {
            Some(("lowerdir", path)) => lower = Some(path),
            Some(("upperdir", path)) => upper = Some(path),
            Some(("workdir", _)) | Some(("create", "dir")) => {}
            _ => unknown.push(word),
        }
    }
    let shown = lower.and_then(|path| path.strip_prefix("/volumes/")?.splitn(3, '/').nth(2));
    let kept = upper.and_then(|path| path.strip_prefix("/volumes/")?.strip_suffix("/upper"));
    let (Some(kept), true, true) = (kept, shown.and_then(absolute).as_deref() == Some(target), unknown.is_empty())
    else {
        at.refuse(KEY, format!("only what is kept is laid above {target} here, and above that alone"));
        return None;
    };
    let volume = volume(kept, &Options::default(), manifests, at)?;
    Some(Volume { above: true, ..volume })
}

/// A path of the device; what only a Pantavisor has is none.
fn host(source: &str) -> Option<String> {
    let source = absolute(source).filter(|_| source.starts_with('/'))?;
    let of_pantavisor = ["/exports", "/pv", "/pantavisor", "/storage", "/configs"];
    let below = |top: &&str| source.strip_prefix(*top).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    (!of_pantavisor.iter().any(below)).then_some(source)
}

/// What stands behind `/volumes/`: a container, what it keeps, perhaps a directory in that.
fn volume(path: &str, options: &Options, manifests: &BTreeMap<String, Manifest>, at: &At<'_>) -> Option<Volume> {
    let mut parts = path.trim_end_matches('/').splitn(3, '/');
    let (container, name) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let subpath = parts.next().map(str::to_owned);
    let manifest = manifests.get(container);
    if let Some(persistence) = manifest.and_then(|manifest| manifest.storage.get(name)) {
        if !options.memory.is_empty() {
            at.refuse(KEY, format!("option `{}` is not done here for what is kept", options.memory.join(",")));
            return None;
        }
        return Some(Volume {
            name: format!("{container}.{name}"),
            persistence: *persistence,
            copy: false,
            subpath,
            above: false,
        });
    }
    let image = manifest.is_some_and(|manifest| manifest.volumes.iter().any(|volume| volume == name));
    match (image, options.optional) {
        (true, _) => at.refuse(KEY, format!("the volume {name} of {container} is not mounted beside its root here")),
        (false, true) => at.pass(KEY, "it is optional, and there is none"),
        (false, false) => at.refuse(KEY, format!("no run.json keeps {name} for {container}")),
    }
    None
}

/// `lxc.mount.auto`.
pub(super) fn auto(value: &str, security: &mut Security, at: &At<'_>) {
    for word in value.split_whitespace() {
        match word {
            // `/proc` that can be written but where it is the device's; `/sys` that cannot; control groups as they are.
            "proc" | "proc:mixed" | "sys" | "sys:ro" | "sys:mixed" => {}
            "cgroup" | "cgroup:mixed" | "cgroup:ro" | "cgroup:force" | "cgroup:mixed:force" | "cgroup:ro:force" => {}
            "proc:rw" => security.unmasked_paths = true,
            "sys:rw" => security.writable_sys = true,
            other => at.refuse(AUTO, format!("`{other}` is not done here")),
        }
    }
}
