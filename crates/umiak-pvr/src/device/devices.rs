//! Control groups: which devices a container may use, and how much of memory, processor and processes.

use umiak_spec::service::{DeviceRule, Resources};

use super::found::At;
use super::mounts::bytes;

/// What is allowed of devices, as the lines of a configuration add up. Nothing said is everything.
#[derive(Debug)]
pub(super) struct Devices {
    all: bool,
    rules: Vec<DeviceRule>,
}

impl Default for Devices {
    fn default() -> Self {
        Self { all: true, rules: vec![] }
    }
}

impl Devices {
    pub(super) fn rules(self) -> Vec<DeviceRule> {
        let everything = DeviceRule { kind: 'a', major: None, minor: None, permissions: "rwm".to_owned() };
        if self.all { vec![everything] } else { self.rules }
    }
}

/// `lxc.cgroup.CONTROLLER` and `lxc.cgroup2.CONTROLLER`; whether it is one of those.
pub(super) fn limit(key: &str, value: &str, devices: &mut Devices, resources: &mut Resources, at: &At<'_>) -> bool {
    let Some(name) = key.strip_prefix("lxc.cgroup.").or_else(|| key.strip_prefix("lxc.cgroup2.")) else { return false };
    let understood = match name {
        "devices.allow" if value == "a" => {
            *devices = Devices::default();
            true
        }
        "devices.deny" if value == "a" => {
            *devices = Devices { all: false, rules: vec![] };
            true
        }
        "devices.allow" => rule(value).map(|rule| devices.rules.push(rule)).is_some(),
        "memory.limit_in_bytes" | "memory.max" => bytes(value).map(|bytes| resources.memory = Some(bytes)).is_some(),
        "memory.soft_limit_in_bytes" => bytes(value).map(|bytes| resources.memory_reservation = Some(bytes)).is_some(),
        "cpu.shares" => value.parse().map(|shares| resources.cpu_shares = Some(shares)).is_ok(),
        "cpuset.cpus" => {
            resources.cpuset = Some(value.to_owned());
            true
        }
        "pids.max" => value.parse().map(|pids| resources.pids = Some(pids)).is_ok(),
        _ => {
            at.refuse(key, "is not understood here");
            return true;
        }
    };
    if !understood {
        at.refuse(key, format!("`{value}` is not understood here"));
    }
    true
}

/// `c 10:200 rwm`, with `*` for any number.
fn rule(text: &str) -> Option<DeviceRule> {
    let mut words = text.split_whitespace();
    let (kind, numbers, permissions) = (words.next()?, words.next()?, words.next()?);
    let (major, minor) = numbers.split_once(':')?;
    let number = |text: &str| match text {
        "*" => Some(None),
        digits => digits.parse().ok().map(Some),
    };
    let letters = !permissions.is_empty() && permissions.chars().all(|letter| "rwm".contains(letter));
    let kind = kind.chars().next().filter(|letter| kind.len() == 1 && "abc".contains(*letter))?;
    (letters && words.next().is_none()).then_some(())?;
    Some(DeviceRule { kind, major: number(major)?, minor: number(minor)?, permissions: permissions.to_owned() })
}
