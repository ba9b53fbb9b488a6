//! `run.json` of a container: what it keeps, how far it has to come, what it needs of the device.
//!
//! Every member has a decision: it is understood, passed over because nothing would be done differently, or refused.

use std::collections::BTreeMap;

use umiak_spec::service::{Logs, Persistence, Restart};

use super::found::{At, number};
use super::groups::{Goal, Groups, RESTART_POLICY, recovery};
use crate::app::{LXC_OVERLAY, is_truthy};
use crate::json::Value;

/// The format that is read.
const SPEC: &str = "service-manifest-run@1";

/// Files of a log that is kept, where its size is said.
const LOG_FILES: u32 = 2;

/// A container as its `run.json` has it.
#[derive(Debug, Clone)]
pub(super) struct Manifest {
    /// The file that says what is executed.
    pub(super) config: Option<String>,
    /// Place of its group in the order.
    pub(super) order: usize,
    pub(super) goal: Goal,
    pub(super) restart: Restart,
    /// What it keeps, by name.
    pub(super) storage: BTreeMap<String, Persistence>,
    /// What it writes to its root.
    pub(super) overlay: Persistence,
    /// Squashfs images, the root's among them.
    pub(super) volumes: Vec<String>,
    pub(super) logs: Logs,
    pub(super) pool: Option<Pool>,
    pub(super) hostname: Option<String>,
    /// `host` or `none`, where `network` says so.
    pub(super) network_mode: Option<String>,
}

/// A network of the device.
#[derive(Debug, Clone)]
pub(super) struct Pool {
    pub(super) name: String,
}

impl Manifest {
    pub(super) fn read(name: &str, document: &Value, groups: &Groups, at: &At<'_>) -> Self {
        let (order, group) = groups.last().map_or((0, None), |(order, group)| (order, Some(group)));
        let mut manifest = Self {
            config: None,
            order,
            goal: group.map_or(Goal::Started, |group| group.goal),
            restart: group.map_or(Restart::Always, |group| group.restart),
            storage: BTreeMap::new(),
            overlay: Persistence::Boot,
            volumes: vec![],
            logs: Logs::default(),
            pool: None,
            hostname: None,
            network_mode: None,
        };
        let members = at.members("", document);
        let of = |wanted: &str| members.iter().find(|(key, _)| *key == wanted).map(|(_, value)| *value);
        // The group first: what is said beside it goes above it.
        for key in ["runlevel", "group"] {
            if let Some(value) = of(key) {
                manifest.group(key, value, groups, at);
            }
        }
        for (key, value) in &members {
            manifest.member(name, key, value, at);
        }
        if of("#spec").is_none() {
            at.refuse("#spec", format!("is missing; {SPEC} is read here"));
        }
        if manifest.goal == Goal::Ready {
            at.refuse("status_goal", "READY is told to a Pantavisor, and there is none here");
        }
        manifest
    }

    fn group(&mut self, key: &str, value: &Value, groups: &Groups, at: &At<'_>) {
        let Some(name) = at.text(key, value) else { return };
        match groups.get(name) {
            Some((order, group)) => (self.order, self.goal, self.restart) = (order, group.goal, group.restart),
            None => at.refuse(key, format!("the device has no group `{name}`")),
        }
    }

    fn member(&mut self, name: &str, key: &str, value: &Value, at: &At<'_>) {
        match key {
            "#spec" if value.as_str() == Some(SPEC) => {}
            "#spec" => at.refuse(key, format!("only {SPEC} is read here")),
            "name" if value.as_str() == Some(name) => {}
            "name" => at.refuse(key, format!("is not that of its directory, `{name}`")),
            "type" if value.as_str() == Some("lxc") => {}
            "type" => at.refuse(key, "only `lxc` is read here"),
            "config" => self.config = at.text(key, value).map(str::to_owned),
            "group" | "runlevel" => {}
            "status_goal" => match at.text(key, value).map(|text| (text, Goal::parse(text))) {
                Some((_, Some(goal))) => self.goal = goal,
                Some((text, None)) => at.refuse(key, format!("`{text}` is not MOUNTED, STARTED or READY")),
                None => {}
            },
            "restart_policy" => at.pass(key, RESTART_POLICY),
            "auto_recovery" => self.restart = recovery(key, value, at),
            "storage" => self.storage(value, at),
            "root-volume" => self.volumes.extend(at.text(key, value).map(str::to_owned)),
            "volumes" => {
                let names = at.items(key, value).iter().filter_map(|one| at.text(key, one));
                self.volumes.extend(names.map(str::to_owned));
            }
            "network" => self.network(value, at),
            "logs" => self.logs(value, at),
            "drivers" => drivers(value, at),
            "services" => services(value, at),
            "roles" => roles(value, at),
            "exports" if is_truthy(value) => at.refuse(key, "nothing is exported to other containers here"),
            "conditions" if is_truthy(value) => at.refuse(key, "conditions are not looked at here"),
            "automodfw" if is_truthy(value) => at.refuse(key, "the device's modules and firmware are not shown here"),
            "remount" if is_truthy(value) => at.refuse(key, "mounts are not changed afterwards here"),
            "dev-log" if is_truthy(value) => at.refuse(key, "there is no /dev/log here"),
            "exports" | "conditions" | "automodfw" | "remount" | "dev-log" => {}
            _ => at.refuse(key, "is not understood here"),
        }
    }

    fn storage(&mut self, value: &Value, at: &At<'_>) {
        for (name, entry) in at.members("storage", value) {
            let key = format!("storage.{name}");
            // What is not said lives as long as the start of the device.
            let mut kept = Persistence::Boot;
            for (member, value) in at.members(&key, entry) {
                let whole = format!("{key}.{member}");
                match (member, value.as_str()) {
                    ("persistence", Some("permanent")) => kept = Persistence::Persistent,
                    ("persistence", Some("revision")) => kept = Persistence::Revision,
                    ("persistence", Some("boot")) => kept = Persistence::Boot,
                    ("persistence", _) => at.refuse(whole, "is not permanent, revision or boot"),
                    ("disk", Some("")) => {}
                    ("disk", _) => at.refuse(whole, "there are no named disks here"),
                    _ => at.refuse(whole, "is not understood here"),
                }
            }
            if name == LXC_OVERLAY {
                self.overlay = kept;
            } else {
                self.storage.insert(name.to_owned(), kept);
            }
        }
    }

    fn network(&mut self, value: &Value, at: &At<'_>) {
        let mut mode = None;
        for (member, value) in at.members("network", value) {
            let key = format!("network.{member}");
            match member {
                "pool" => self.pool = at.text(&key, value).map(|name| Pool { name: name.to_owned() }),
                "hostname" => self.hostname = at.text(&key, value).map(str::to_owned),
                "mode" => mode = at.text(&key, value),
                "ip" | "mac" => at.refuse(key, "addresses are given by the engine, not fixed"),
                _ => at.refuse(key, "is not understood here"),
            }
        }
        match mode {
            None | Some("pool") => {}
            Some(mode @ ("host" | "none")) => self.network_mode = Some(mode.to_owned()),
            Some(other) => at.refuse("network.mode", format!("`{other}` is not pool, host or none")),
        }
    }

    fn logs(&mut self, value: &Value, at: &At<'_>) {
        for entry in at.items("logs", value) {
            let members = at.members("logs", entry);
            let is = |kind: &str| members.iter().any(|(name, _)| *name == kind);
            if is("file") {
                at.refuse("logs.file", "only what a container prints is kept here");
            } else if is("console") {
                let size = members.iter().find(|(name, _)| *name == "maxsize").map(|(_, value)| number(value));
                match size {
                    Some(Some(size)) => self.logs = Logs { size, files: LOG_FILES },
                    Some(None) => at.refuse("logs.maxsize", "must be a number of bytes"),
                    None => {}
                }
            } else if is("lxc") {
                at.pass("logs.lxc", "there is no LXC that would write one");
            } else {
                at.refuse("logs", "one is of neither file, lxc nor console");
            }
        }
    }
}

fn drivers(value: &Value, at: &At<'_>) {
    for (kind, list) in at.members("drivers", value) {
        let key = format!("drivers.{kind}");
        match (kind, is_truthy(list)) {
            (_, false) => {}
            ("optional", true) => at.pass(key, "kernel modules are the device's own affair"),
            ("required" | "manual", true) => at.refuse(key, "kernel modules are not loaded here"),
            _ => at.refuse(key, "is not understood here"),
        }
    }
}

fn services(value: &Value, at: &At<'_>) {
    for (kind, list) in at.members("services", value) {
        let key = format!("services.{kind}");
        match (kind, is_truthy(list)) {
            (_, false) => {}
            ("optional", true) => at.pass(key, "containers are not connected by xconnect here"),
            _ => at.refuse(key, "containers are not connected by xconnect here"),
        }
    }
}

fn roles(value: &Value, at: &At<'_>) {
    for role in at.items("roles", value) {
        if role.as_str() != Some("nobody") {
            at.refuse("roles", "there is no Pantavisor here whose socket a role would open");
        }
    }
}
