//! A container: the lines of its `lxc.container.conf`, with its `run.json`, as a service.
//!
//! What a device runs is this file and not `src.json`, which is for who makes the app, and which signatures leave out.

use std::collections::{BTreeMap, BTreeSet};

use umiak_spec::Digest;
use umiak_spec::service::{Capabilities, Identity, Network, Root, Service, Sharing, Ulimit};

use super::conf::{self, Line};
use super::devices::{self, Devices};
use super::found::At;
use super::manifest::Manifest;
use super::{mounts, network};
use crate::app::LXC_OVERLAY;

/// What LXC executes where nothing is said.
const INIT: &str = "/sbin/init";

/// What surrounds a container.
pub(super) struct Around<'a> {
    pub(super) manifests: &'a BTreeMap<String, Manifest>,
    /// The object of a container's volume, if the state has it.
    pub(super) object: &'a dyn Fn(&str, &str) -> Option<Digest>,
    /// Whether a pool of the device leads nowhere else; `None`: there is no such pool.
    pub(super) internal: &'a dyn Fn(&str) -> Option<bool>,
}

/// What is read so far.
struct Draft<'a> {
    name: &'a str,
    around: &'a Around<'a>,
    service: Service,
    lowers: Vec<Digest>,
    devices: Devices,
    network: network::Asked,
    kept: BTreeSet<String>,
    dropped: BTreeSet<String>,
    /// Capabilities were listed that are kept.
    only_kept: bool,
    autodev: bool,
}

/// Reads a container: the service, and the images of its root, the topmost first.
pub(super) fn read(
    name: &str,
    manifest: &Manifest,
    around: &Around<'_>,
    text: &str,
    at: &At<'_>,
    run: &At<'_>,
) -> (Service, Vec<Digest>) {
    let mut service = Service::new(name, vec![INIT.to_owned()]);
    service.restart = manifest.restart;
    service.logs = manifest.logs;
    service.hostname.clone_from(&manifest.hostname);
    service.root = Root::Writable(manifest.overlay);
    // Until the configuration keeps one: LXC gives each container its own.
    service.network = Network::None;
    let mut draft = Draft {
        name,
        around,
        service,
        lowers: vec![],
        devices: Devices::default(),
        network: network::Asked::default(),
        kept: BTreeSet::new(),
        dropped: BTreeSet::new(),
        only_kept: false,
        autodev: true,
    };
    for line in conf::lines(text) {
        match line {
            Ok(line) => draft.line(&line, &at.line(line.number)),
            Err(number) => at.line(number).refuse("", "is not KEY = VALUE"),
        }
    }
    draft.finish(manifest, at, run)
}

impl Draft<'_> {
    fn line(&mut self, line: &Line<'_>, at: &At<'_>) {
        let Line { key, value, .. } = *line;
        if self.network.line(key, value, at)
            || devices::limit(key, value, &mut self.devices, &mut self.service.resources, at)
        {
            return;
        }
        match key {
            "lxc.tty.max" | "lxc.pty.max" => at.pass(key, "terminals are as the runtime makes them"),
            "lxc.log.file" | "lxc.log.level" => at.pass(key, "there is no LXC that would write a log"),
            "lxc.console.path" if value == "none" => {}
            "lxc.rootfs.path" => self.root(value, at),
            "lxc.autodev" => self.autodev = value != "0",
            "lxc.mount.entry" => self.mount(value, at),
            "lxc.mount.auto" => mounts::auto(value, &mut self.service.security, at),
            "lxc.namespace.keep" => self.namespaces(value, at),
            "lxc.cap.drop" | "lxc.cap.keep" => self.capabilities(key, value, at),
            _ if key.starts_with("lxc.init.") || key == "lxc.environment" => self.process(key, value, at),
            _ => self.rest(key, value, at),
        }
    }

    fn process(&mut self, key: &str, value: &str, at: &At<'_>) {
        let process = &mut self.service.process;
        let identity = |value: &str| value.parse().map(Identity::Number).ok();
        match key {
            "lxc.init.cmd" => match conf::words(value) {
                Some(words) if words.is_empty() => process.args = vec![INIT.to_owned()],
                Some(words) => process.args = words,
                None => at.refuse(key, "a quote does not end"),
            },
            "lxc.init.cwd" if value.starts_with('/') => process.cwd = value.to_owned(),
            "lxc.init.uid" => match identity(value) {
                Some(user) => process.user.user = user,
                None => at.refuse(key, "must be a number"),
            },
            "lxc.init.gid" => match identity(value) {
                Some(group) => process.user.group = Some(group),
                None => at.refuse(key, "must be a number"),
            },
            "lxc.environment" => match value.split_once('=') {
                Some((name, value)) => drop(process.env.insert(name.to_owned(), value.to_owned())),
                None => at.refuse(key, "variables of the device are not passed on"),
            },
            "lxc.init.cwd" => at.refuse(key, "must be an absolute path"),
            _ => at.refuse(key, "is not understood here"),
        }
    }

    fn rest(&mut self, key: &str, value: &str, at: &At<'_>) {
        if let Some(name) = key.strip_prefix("lxc.sysctl.") {
            self.service.sysctls.insert(name.to_owned(), value.to_owned());
        } else if let Some(name) = key.strip_prefix("lxc.prlimit.") {
            match ulimit(name, value) {
                Some(limit) => drop(self.service.resources.ulimits.insert(name.to_owned(), limit)),
                None => at.refuse(key, format!("`{value}` is no limit")),
            }
        } else {
            match (key, value) {
                ("lxc.uts.name", name) => self.service.hostname = Some(name.to_owned()),
                ("lxc.signal.halt", signal) => self.service.stop_signal = signal.to_owned(),
                ("lxc.signal.stop", "SIGKILL" | "9") => {}
                ("lxc.no_new_privs", "1") => self.service.security.no_new_privileges = true,
                ("lxc.no_new_privs", "0") => {}
                ("lxc.proc.oom_score_adj", score) if score.parse::<i32>().is_ok() => {
                    self.service.resources.oom_score_adj = score.parse().ok();
                }
                _ => at.refuse(key, "is not understood here"),
            }
        }
    }

    /// `overlayfs:` and directories below `/volumes`, the topmost first, the one that is written last.
    fn root(&mut self, value: &str, at: &At<'_>) {
        const KEY: &str = "lxc.rootfs.path";
        let Some(list) = value.strip_prefix("overlayfs:").or_else(|| value.strip_prefix("overlay:")) else {
            at.refuse(KEY, "only overlayfs is stacked here");
            return;
        };
        let parts: Vec<&str> = list.split(':').collect();
        let Some((upper, lowers)) = parts.split_last().filter(|(_, lowers)| !lowers.is_empty()) else {
            at.refuse(KEY, "names nothing to mount");
            return;
        };
        if *upper != format!("/volumes/{}/{LXC_OVERLAY}/upper", self.name) {
            at.refuse(KEY, format!("writes go to {LXC_OVERLAY} here, not to `{upper}`"));
        }
        for lower in lowers {
            match self.lower(lower) {
                Ok(digest) => self.lowers.push(digest),
                Err(why) => at.refuse(KEY, why),
            }
        }
    }

    fn lower(&self, path: &str) -> Result<Digest, String> {
        let found = path.strip_prefix("/volumes/").and_then(|rest| rest.split_once('/'));
        let Some((container, volume)) = found else { return Err(format!("`{path}` is no volume")) };
        let manifest = self.around.manifests.get(container);
        let manifest = manifest.ok_or_else(|| format!("the state has no container {container}"))?;
        let is = |one: &&String| one.as_str() == volume || one.strip_prefix("dm:") == Some(volume);
        match manifest.volumes.iter().find(is) {
            None => Err(format!("{container} has no volume {volume}")),
            Some(name) if name.starts_with("dm:") => {
                Err(format!("{container} has {name}, and dm-verity is not set up here: objects are verified whole"))
            }
            Some(_) => {
                let object = (self.around.object)(container, volume);
                object.ok_or_else(|| format!("the state has no object {container}/{volume}"))
            }
        }
    }

    fn mount(&mut self, value: &str, at: &At<'_>) {
        let Some(mount) = mounts::entry(value, self.around.manifests, at) else { return };
        if self.service.mounts.iter().any(|known| known.target == mount.target) {
            at.refuse("lxc.mount.entry", format!("{} is mounted twice", mount.target));
            return;
        }
        self.service.mounts.push(mount);
    }

    /// Namespaces of the device that the container is in. It has its own of the others.
    fn namespaces(&mut self, value: &str, at: &At<'_>) {
        for word in value.split_whitespace() {
            let spaces = &mut self.service.namespaces;
            match word {
                // There are no users of a container's own here either.
                "user" => {}
                "net" => self.network.kept = true,
                "ipc" => spaces.ipc = Sharing::Host,
                "pid" => spaces.pid = Sharing::Host,
                "uts" => spaces.uts = Sharing::Host,
                "cgroup" => spaces.cgroup = Sharing::Host,
                other => at.refuse("lxc.namespace.keep", format!("`{other}` is not shared with the device here")),
            }
        }
    }

    fn capabilities(&mut self, key: &str, value: &str, at: &At<'_>) {
        self.only_kept |= key == "lxc.cap.keep";
        let set = if key == "lxc.cap.keep" { &mut self.kept } else { &mut self.dropped };
        for word in value.split_whitespace().filter(|word| *word != "none") {
            match Capabilities::named(word) {
                Ok(name) => drop(set.insert(name)),
                Err(unknown) => at.refuse(key, unknown.to_string()),
            }
        }
    }

    fn finish(mut self, manifest: &Manifest, at: &At<'_>, run: &At<'_>) -> (Service, Vec<Digest>) {
        if self.lowers.is_empty() {
            at.refuse("lxc.rootfs.path", "there is nothing to mount as its root");
        }
        if self.only_kept && !self.dropped.is_empty() {
            at.refuse("lxc.cap.drop", "either capabilities are kept or dropped");
        }
        let own_dev = self.service.mounts.iter().any(|mount| mount.target == "/dev");
        if !self.autodev && !own_dev {
            at.refuse("lxc.autodev", "a /dev that the image brings is not used here");
        }
        let all = vec!["ALL".to_owned()];
        let list = |set: BTreeSet<String>| set.into_iter().collect();
        self.service.security.capabilities = match self.only_kept {
            true => Capabilities { add: list(self.kept), drop: all },
            false => Capabilities { add: all, drop: list(self.dropped) },
        };
        self.service.security.device_rules = self.devices.rules();
        self.service.network = self.network.settle(manifest, self.around.internal, run);
        (self.service, self.lowers)
    }
}

/// `SOFT:HARD`, or one number for both.
fn ulimit(name: &str, value: &str) -> Option<Ulimit> {
    let number = |text: &str| match text.trim() {
        "unlimited" => Some(None),
        digits => digits.parse().ok().map(Some),
    };
    let (soft, hard) = value.split_once(':').unwrap_or((value, value));
    Ulimit { soft: number(soft)?, hard: number(hard)? }.check(name).ok()
}
