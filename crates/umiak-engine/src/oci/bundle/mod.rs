//! The bundle: what a service asks, as the `config.json` of the OCI runtime specification (1.0).
//!
//! Pure: everything that must be looked up on the device or in the root was looked up before and is in [`Facts`]. Follows
//! what Docker gives a container, so that an image behaves as its author saw it, with two differences that make a device
//! calm: the root is read-only unless the service says otherwise, and a service's host name is its own name.

mod linux;
mod mounts;
mod seccomp;

use std::path::PathBuf;

use serde_json::{Value, json};
use umiak_spec::service::{Network, Root, Service, Sharing};

pub(crate) use linux::{Node, lacking};
pub(crate) use mounts::Source;

use super::host::Host;
use super::user::Account;

/// What was looked up for a service.
#[derive(Debug, Clone)]
pub(crate) struct Facts<'a> {
    pub host: &'a Host,
    /// Where the stack is mounted.
    pub root: PathBuf,
    pub account: Account,
    /// The host name, where it has one of its own.
    pub hostname: Option<String>,
    /// The network namespace to join; none: the device's.
    pub network: Option<PathBuf>,
    /// Files of ours that stand for files of the image: target and source.
    pub files: Vec<(&'static str, PathBuf)>,
    /// For each of the service's mounts, in their order, where it comes from.
    pub sources: Vec<Source>,
    /// Device nodes that it gets.
    pub nodes: Vec<Node>,
    /// The container's control group.
    pub cgroup: String,
    /// The program that is the first process where the service wants one, on the device, with its arguments.
    pub init: Option<(PathBuf, Vec<String>)>,
}

/// Where the program for the first process is shown.
pub(crate) const INIT_TARGET: &str = "/.umiak-init";

/// The whole document.
pub(crate) fn config(service: &Service, facts: &Facts<'_>) -> Value {
    let read_only = service.root == Root::ReadOnly;
    let mut config = json!({
        "ociVersion": "1.0.2",
        "process": process(service, facts, true),
        "root": {"path": facts.root, "readonly": read_only},
        "mounts": mounts::all(service, facts),
        "linux": linux::all(service, facts),
    });
    if let Some(name) = facts.hostname.as_ref().filter(|_| service.namespaces.uts == Sharing::Private) {
        config["hostname"] = json!(name);
    }
    config
}

/// The process: of the service itself, or of a probe in it (`first`: no).
pub(crate) fn process(service: &Service, facts: &Facts<'_>, first: bool) -> Value {
    let account = &facts.account;
    let mut args = Vec::new();
    if let Some((_, more)) = facts.init.as_ref().filter(|_| first) {
        args.push(INIT_TARGET.to_owned());
        args.extend(more.iter().cloned());
    }
    args.extend(service.process.args.iter().cloned());
    let mut process = json!({
        "terminal": false,
        "user": {"uid": account.uid, "gid": account.gid, "additionalGids": account.groups},
        "args": args,
        "env": environment(service, facts),
        "cwd": service.process.cwd,
        "capabilities": linux::capabilities(service, account.uid),
        "noNewPrivileges": service.security.no_new_privileges,
    });
    if !service.resources.ulimits.is_empty() {
        process["rlimits"] = linux::rlimits(&service.resources.ulimits);
    }
    // Said in any case: what the agent and the shim have of this is not the service's.
    process["oomScoreAdj"] = json!(service.resources.oom_score_adj.unwrap_or(0));
    process
}

fn environment(service: &Service, facts: &Facts<'_>) -> Vec<String> {
    let mut env = service.process.env.clone();
    let mut usual = |key: &str, value: String| {
        env.entry(key.to_owned()).or_insert(value);
    };
    usual("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned());
    usual("HOME", facts.account.home.clone().unwrap_or_else(|| "/".to_owned()));
    if let Some(name) = &facts.hostname {
        usual("HOSTNAME", name.clone());
    }
    env.into_iter().map(|(key, value)| format!("{key}={value}")).collect()
}

/// Whether a service has files for names and addresses of its own.
pub(crate) fn has_own_network(service: &Service) -> bool {
    matches!(service.network, Network::Private(_) | Network::None)
}

#[cfg(test)]
mod tests;
