//! What a service may use up, in the words of the service and of `deploy.resources`, and what else `deploy` says.

use umiak_spec::service::{Restart, Service, Swap, Ulimit};

use super::field::Field;
use super::units;

pub(super) const KEYS: &[&str] = &[
    "deploy",
    "cpus",
    "cpu_shares",
    "cpu_quota",
    "cpu_period",
    "cpuset",
    "mem_limit",
    "mem_reservation",
    "memswap_limit",
    "oom_kill_disable",
    "oom_score_adj",
    "pids_limit",
    "shm_size",
    "ulimits",
];

/// The kernel's, in microseconds, where nothing else is said.
const CPU_PERIOD: u64 = 100_000;

pub(super) fn read(service: &mut Service, field: &Field<'_>) {
    let size = |key: &str| field.get(key).and_then(|value| value.size()).filter(|size| *size > 0);
    let (memory, reservation, shm_size) = (size("mem_limit"), size("mem_reservation"), size("shm_size"));
    let resources = &mut service.resources;
    resources.memory = memory;
    resources.memory_reservation = reservation;
    resources.shm_size = shm_size;
    resources.memory_swap = field.get("memswap_limit").and_then(|value| value.parsed("a size or -1", swap)).flatten();
    resources.cpu_nanos = cpu_nanos(field);
    resources.cpu_shares = field.get("cpu_shares").and_then(|value| value.number()).filter(|shares| *shares > 0);
    resources.cpuset = field.get("cpuset").and_then(|value| value.parsed("a list of processors (`0-1,3`)", cpuset));
    resources.pids = field.get("pids_limit").and_then(|value| value.parsed("a number or -1", pids)).flatten();
    let score = field.get("oom_score_adj");
    resources.oom_score_adj = score.and_then(|value| {
        value.parsed("a number from -1000 to 1000", |text| {
            text.parse().ok().filter(|score| (-1000..=1000).contains(score))
        })
    });
    resources.oom_kill_disable = field.get("oom_kill_disable").and_then(|value| value.truth()).unwrap_or_default();
    for (name, value) in field.get("ulimits").iter().flat_map(Field::entries) {
        if let Some(limit) = ulimit(name, &value) {
            resources.ulimits.insert(name.to_owned(), limit);
        }
    }
    if let Some(value) = field.get("deploy") {
        deploy(service, &value);
    }
}

fn swap(text: &str) -> Option<Option<Swap>> {
    match text {
        "-1" => Some(Some(Swap::Unlimited)),
        _ => units::size(text).map(|size| (size > 0).then_some(Swap::Bytes(size))),
    }
}

fn pids(text: &str) -> Option<Option<u64>> {
    // -1 and 0 are no limit.
    if text == "-1" { Some(None) } else { text.parse().ok().map(|count| (count > 0).then_some(count)) }
}

/// `cpus`, or quota and period.
fn cpu_nanos(field: &Field<'_>) -> Option<u64> {
    let said = field.get("cpus").and_then(|value| value.parsed("a number of processors", units::cpus));
    let micros = |key: &str| {
        field.get(key)?.parsed("a time", |text| {
            // Without a unit they are microseconds.
            text.parse().ok().or_else(|| u64::try_from(units::duration(text)?.as_micros()).ok())
        })
    };
    let quota: Option<u64> = match field.get("cpu_quota").and_then(|quota| quota.text()).as_deref() {
        Some("-1") => None,
        _ => micros("cpu_quota"),
    };
    let period = micros("cpu_period").filter(|period| *period > 0).unwrap_or(CPU_PERIOD);
    let of_quota = quota
        .filter(|quota| *quota > 0)
        .map(|quota| u64::try_from(u128::from(quota) * 1_000_000_000 / u128::from(period)).unwrap_or(u64::MAX));
    if said.is_some() && of_quota.is_some() {
        field.refuse("it has `cpus` and `cpu_quota`, which say the same");
    }
    said.filter(|nanos| *nanos > 0).or(of_quota)
}

fn cpuset(text: &str) -> Option<String> {
    let number = |text: &str| text.parse::<u16>().ok();
    let range = |part: &str| match part.split_once('-') {
        None => number(part.trim()).is_some(),
        Some((first, last)) => matches!((number(first.trim()), number(last.trim())), (Some(a), Some(b)) if a <= b),
    };
    text.split(',').all(range).then(|| text.to_owned())
}

fn ulimit(name: &str, value: &Field<'_>) -> Option<Ulimit> {
    let number = |value: Field<'_>| {
        value.parsed("a number, or -1 for no limit", |text| match text {
            "-1" => Some(None),
            _ => text.parse().ok().map(Some),
        })
    };
    let limit = if value.is_map() {
        let (soft, hard) = (value.get("soft"), value.get("hard"));
        if soft.is_none() && hard.is_none() {
            value.refuse("it has neither `soft` nor `hard`");
            return None;
        }
        // One alone: Docker takes the other as 0, which nobody means.
        let (soft, hard) = (soft.clone().or_else(|| hard.clone()), hard.or(soft));
        Ulimit { soft: number(soft?)?, hard: number(hard?)? }
    } else {
        let both = number(value.clone())?;
        Ulimit { soft: both, hard: both }
    };
    limit.check(name).map_err(|error| value.refuse(error.to_string())).ok()
}

/// What `deploy` says about one container; what it says about many machines is passed over.
fn deploy(service: &mut Service, deploy: &Field<'_>) {
    for (key, value) in deploy.entries() {
        match key {
            "resources" => deploy_resources(service, &value),
            "restart_policy" => restart_policy(service, &value),
            "replicas" => {
                if value.number::<u32>().is_some_and(|count| count != 1) {
                    value.leave_to_compose("one container of each service is run");
                }
            }
            "mode" if matches!(value.text().as_deref(), Some("replicated" | "global")) => {}
            "mode" => value.leave_to_compose("jobs are not supported"),
            "endpoint_mode" | "labels" | "rollback_config" | "update_config" | "placement" => {
                value.pass_over("it is about several machines");
            }
            _ if key.starts_with("x-") => {}
            _ => value.refuse("umiak does not know this key"),
        }
    }
}

fn deploy_resources(service: &mut Service, resources: &Field<'_>) {
    for (key, section) in resources.entries() {
        for (name, value) in section.entries() {
            let limits = &mut service.resources;
            match (key, name) {
                ("limits", "cpus") => limits.cpu_nanos = value.parsed("a number of processors", units::cpus),
                ("limits", "memory") => limits.memory = value.size().filter(|size| *size > 0),
                ("limits", "pids") => limits.pids = value.parsed("a number or -1", pids).flatten(),
                ("reservations", "memory") => limits.memory_reservation = value.size().filter(|size| *size > 0),
                ("reservations", "cpus" | "pids") => value.pass_over("nothing else is placed on the device"),
                (_, "generic_resources") => value.pass_over("it is about several machines"),
                (_, "devices") => {
                    value.leave_to_compose("devices of drivers are not supported; name nodes with `devices`");
                }
                _ if name.starts_with("x-") => {}
                _ => value.refuse("umiak does not know this key"),
            }
        }
    }
}

/// Stronger than `restart`, as Compose has it.
fn restart_policy(service: &mut Service, policy: &Field<'_>) {
    let most = policy.get("max_attempts").and_then(|value| value.number()).filter(|most| *most > 0);
    for (key, value) in policy.entries() {
        match key {
            "max_attempts" => {}
            "condition" => {
                let condition = value.parsed("a condition: `none`, `on-failure` or `any`", |text| match text {
                    "none" | "no" => Some(Restart::No),
                    "on-failure" => Some(Restart::OnFailure { most }),
                    "any" | "always" => Some(Restart::Always),
                    "unless-stopped" => Some(Restart::UnlessStopped),
                    _ => None,
                });
                service.restart = condition.unwrap_or_default();
            }
            "delay" | "window" => value.pass_over("the engine waits between starts, longer each time"),
            _ if key.starts_with("x-") => {}
            _ => value.refuse("umiak does not know this key"),
        }
    }
}
