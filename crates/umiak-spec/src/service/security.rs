//! What a service may do.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// The rights of a service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Security {
    /// Everything: all capabilities, all devices, no seccomp filter, nothing masked.
    pub privileged: bool,
    /// Capabilities, from the engines' usual ones.
    pub capabilities: Capabilities,
    /// No filter of system calls; else the engine's default one.
    pub seccomp_unconfined: bool,
    /// Nothing that it executes may gain rights.
    pub no_new_privileges: bool,
    /// Whether the paths in `/proc` and `/sys` that engines mask are shown.
    pub unmasked_paths: bool,
    /// Whether `/sys` can be written, and is shown whole. Control groups in it stay as they are.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub writable_sys: bool,
    /// Devices that it gets besides the usual ones.
    pub devices: Vec<Device>,
    /// Rules for devices that may come later.
    pub device_rules: Vec<DeviceRule>,
}

/// What is added to the usual capabilities and taken from them; `ALL` is all. Names are [`CAPABILITIES`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// Added.
    pub add: Vec<String>,
    /// Taken away.
    pub drop: Vec<String>,
}

/// A name that is no capability.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no capability `{0}`")]
pub struct UnknownCapability(pub String);

/// The capabilities of Linux, in the order of their numbers.
pub const CAPABILITIES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// Those that engines usually give.
pub const DEFAULT_CAPABILITIES: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SYS_CHROOT",
    "CAP_MKNOD",
    "CAP_AUDIT_WRITE",
    "CAP_SETFCAP",
];

impl Capabilities {
    /// The name as the kernel has it, of `NET_ADMIN`, `cap_net_admin` or `all` (`ALL`).
    ///
    /// # Errors
    /// [`UnknownCapability`].
    pub fn named(text: &str) -> Result<String, UnknownCapability> {
        let upper = text.to_ascii_uppercase();
        if upper == "ALL" {
            return Ok(upper);
        }
        let full = if upper.starts_with("CAP_") { upper } else { format!("CAP_{upper}") };
        let unknown = || UnknownCapability(text.chars().take(100).collect());
        CAPABILITIES.contains(&full.as_str()).then_some(full).ok_or_else(unknown)
    }

    /// What is left. `ALL` added: all but those taken away; `ALL` taken away: those added; else the usual ones without
    /// those taken away, and those added. So Docker has it.
    #[must_use]
    pub fn effective(&self) -> BTreeSet<&str> {
        let all = |list: &[String]| list.iter().any(|name| name == "ALL");
        let kept = |name: &&str| !self.drop.iter().any(|dropped| dropped == name);
        let added = self.add.iter().map(String::as_str);
        match (all(&self.add), all(&self.drop)) {
            (true, _) => CAPABILITIES.into_iter().filter(kept).collect(),
            (false, true) => added.collect(),
            (false, false) => DEFAULT_CAPABILITIES.into_iter().filter(kept).chain(added).collect(),
        }
    }
}

/// A device node that the service gets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// On the device: a node, or a directory of such.
    pub source: String,
    /// In the service.
    pub target: String,
    /// What it may do with it: of `r`, `w`, `m`.
    pub permissions: String,
}

/// Access to devices by their numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRule {
    /// `c`, `b` or `a` (both).
    pub kind: char,
    /// Major number; none: any.
    pub major: Option<u32>,
    /// Minor number; none: any.
    pub minor: Option<u32>,
    /// Of `r`, `w`, `m`.
    pub permissions: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(add: &[&str], drop: &[&str]) -> usize {
        let named = |list: &[&str]| list.iter().map(|name| Capabilities::named(name).unwrap()).collect();
        Capabilities { add: named(add), drop: named(drop) }.effective().len()
    }

    #[test]
    fn capabilities_are_added_and_taken() {
        assert_eq!(left(&[], &[]), 14);
        assert_eq!(left(&["net_admin"], &["CAP_MKNOD", "chown"]), 13);
        assert_eq!(left(&["NET_ADMIN"], &["all"]), 1);
        assert_eq!(left(&["ALL"], &["sys_admin"]), 40);
        assert_eq!(left(&["ALL", "sys_admin"], &["sys_admin"]), 40);
        assert_eq!(left(&["ALL"], &["ALL"]), 41);
        assert_eq!(Capabilities::named("net_admn"), Err(UnknownCapability("net_admn".into())));
    }
}
