//! The decision about each key of a service: one table, which `every_key_has_a_decision` compares with the schema.

use umiak_spec::service::{ImageDefaults, Logs, Restart, Root, STOP_GRACE, Service, Sharing};

use super::field::Field;
use super::{depends, files, health, mounts, networks, process, resources, security};

/// Reads one service.
pub(super) fn read(field: &Field<'_>, image: &ImageDefaults, unsaid_root: Root) -> Service {
    let mut service = Service { stop_signal: String::new(), ..Service::new(field.reading.service, vec![]) };
    for (key, value) in field.entries() {
        if !(simple(&mut service, key, &value)
            || passed_over(key, &value)
            || left_to_compose(key, &value)
            || joint(key))
        {
            value.refuse("umiak does not know this key");
        }
    }
    process::read(&mut service, field, image);
    networks::read(&mut service, field);
    security::read(&mut service, field);
    resources::read(&mut service, field);
    service.health = health::read(field, image);
    depends::read(&mut service, field);
    mounts::read(&mut service, field, image);
    files::read(&mut service, field);
    root(&mut service, field, unsaid_root);
    if service.stop_signal.is_empty() {
        service.stop_signal = if image.stop_signal.is_empty() { "SIGTERM" } else { &image.stop_signal }.to_owned();
    }
    service
}

/// Keys that stand for one value each. The stop signal is left empty if it is unsaid.
fn simple(service: &mut Service, key: &str, value: &Field<'_>) -> bool {
    match key {
        "init" => service.init = value.truth().unwrap_or_default(),
        "hostname" => service.hostname = value.text(),
        "domainname" => service.domainname = value.text(),
        "tty" => service.process.tty = value.truth().unwrap_or_default(),
        "stdin_open" => service.process.stdin = value.truth().unwrap_or_default(),
        "labels" => {
            service.labels = value.pairs().into_iter().map(|(name, value)| (name, value.unwrap_or_default())).collect();
        }
        "restart" => service.restart = value.parsed("a restart policy", restart).unwrap_or_default(),
        "stop_signal" => service.stop_signal = value.parsed("a signal", signal).unwrap_or_default(),
        "stop_grace_period" => service.stop_grace = value.duration().unwrap_or(STOP_GRACE),
        "pid" => service.namespaces.pid = sharing(value, &["host"]),
        "ipc" => service.namespaces.ipc = sharing(value, &["host", "shareable", "private"]),
        "uts" => service.namespaces.uts = sharing(value, &["host"]),
        "cgroup" => service.namespaces.cgroup = sharing(value, &["host", "private"]),
        "dns" => service.dns.servers = value.texts(),
        "dns_search" => service.dns.search = value.texts(),
        "dns_opt" => service.dns.options = value.texts(),
        "logging" => service.logs = logs(value),
        "scale" => {
            if value.number::<u32>().is_some_and(|count| count != 1) {
                value.leave_to_compose("one container of each service is run");
            }
        }
        _ => return false,
    }
    true
}

/// Keys that are read together with others.
fn joint(key: &str) -> bool {
    let known = [process::KEYS, networks::KEYS, security::KEYS, resources::KEYS, mounts::KEYS, files::KEYS];
    known.iter().any(|keys| keys.contains(&key)) || ["healthcheck", "depends_on", "links", "read_only"].contains(&key)
}

/// Keys without meaning for what runs.
fn passed_over(key: &str, value: &Field<'_>) -> bool {
    let why = match key {
        "image" | "platform" => "what is run was chosen when the target was read",
        "build" | "develop" => "it is about making the image",
        "annotations" | "label_file" => "it notes something and changes nothing that runs",
        "attach" => "there is no terminal to show output on",
        "profiles" => "it says whether the service runs, which was asked before",
        "extends" => "it was followed",
        "pull_policy" | "pull_refresh_after" => "images come with the revision and are never pulled",
        "expose" => "services reach one another at all ports",
        _ if key.starts_with("x-") => "keys that begin with x- are their author's own",
        _ => return false,
    };
    value.pass_over(why);
    true
}

/// Keys that are refused but by engines which run Compose; and those that nothing on a device does.
fn left_to_compose(key: &str, value: &Field<'_>) -> bool {
    let why = match key {
        "blkio_config" | "cpu_rt_period" | "cpu_rt_runtime" | "mem_swappiness" | "storage_opt" => {
            "this limit is not supported"
        }
        "cgroup_parent" => "control groups are placed by the runtime",
        "external_links" => "containers of others are not linked to",
        "gpus" => "devices of drivers are not supported; name nodes with `devices`",
        "mac_address" => "addresses of network cards are not set",
        "models" => "models are not supported",
        "post_start" | "pre_stop" => "hooks are not supported",
        "runtime" => "the runtime is chosen by the device",
        "use_api_socket" => "there is no engine socket to hand in",
        "userns_mode" if value.text().as_deref() == Some("host") => return true,
        "userns_mode" => "user namespaces are not supported",
        "volumes_from" => "name the volumes in each service",
        "isolation" if value.text().as_deref() == Some("default") => return true,
        "cpu_count" | "cpu_percent" | "isolation" | "credential_spec" => {
            value.refuse("it has a meaning on Windows alone");
            return true;
        }
        "provider" => {
            value.refuse("a service that another program provides has nothing to run");
            return true;
        }
        _ => return false,
    };
    value.leave_to_compose(why);
    true
}

fn restart(text: &str) -> Option<Restart> {
    Some(match text.split_once(':') {
        None if text == "no" || text == "false" => Restart::No,
        None if text == "always" => Restart::Always,
        None if text == "unless-stopped" => Restart::UnlessStopped,
        None if text == "on-failure" => Restart::OnFailure { most: None },
        Some(("on-failure", most)) => {
            Restart::OnFailure { most: most.parse().ok().map(|most| (most > 0).then_some(most))? }
        }
        _ => return None,
    })
}

/// A signal's name with its `SIG`, or its number. That the kernel has such a name is the engine's to know.
pub(super) fn signal(text: &str) -> Option<String> {
    if let Ok(number) = text.parse::<u8>() {
        return (1..=64).contains(&number).then(|| number.to_string());
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-".contains(&byte));
    (!name.is_empty() && name.len() <= 10 && plain).then(|| format!("SIG{name}"))
}

fn sharing(value: &Field<'_>, words: &[&str]) -> Sharing {
    let Some(text) = value.text() else { return Sharing::default() };
    match text.as_str() {
        "" => Sharing::Private,
        "host" => Sharing::Host,
        "private" if words.contains(&"private") => Sharing::Private,
        "shareable" if words.contains(&"shareable") => Sharing::Shareable,
        other => match other.split_once(':') {
            Some(("service", name)) if !name.is_empty() => Sharing::Service(name.to_owned()),
            Some(("container", _)) => {
                value.leave_to_compose("namespaces of containers of others are not shared");
                Sharing::default()
            }
            _ => {
                let known = words.iter().map(|word| format!("`{word}`, ")).collect::<String>();
                value.refuse(format!("it must be {known}`service:NAME`"));
                Sharing::default()
            }
        },
    }
}

/// Docker's drivers that keep output in files; their sizes hold for every engine.
fn logs(value: &Field<'_>) -> Logs {
    let mut logs = Logs::default();
    match value.get("driver").and_then(|driver| driver.text()).as_deref() {
        None | Some("" | "json-file" | "local") => {}
        Some("none") => return Logs::NONE,
        Some(other) => {
            let why = format!("output is kept in files; the driver `{}` is not supported", crate::error::shown(other));
            value.get("driver").unwrap_or_else(|| value.clone()).leave_to_compose(why);
            return logs;
        }
    }
    let Some(options) = value.get("options") else { return logs };
    for (name, option) in options.entries() {
        match name {
            "max-size" => logs.size = option.size().filter(|size| *size > 0).unwrap_or(logs.size),
            "max-file" => logs.files = option.number().filter(|files| *files > 0).unwrap_or(logs.files),
            "compress" | "mode" | "max-buffer-size" => {
                option.pass_over("it changes how output is stored, not what is kept");
            }
            _ if name.starts_with("x-") => {}
            "tag" | "labels" | "labels-regex" | "env" | "env-regex" => {
                option.pass_over("it marks output for collectors of logs, which are not there");
            }
            _ => option.leave_to_compose("this option of logs is not supported"),
        }
    }
    logs
}

/// What `read_only` says, or the device.
fn root(service: &mut Service, field: &Field<'_>, unsaid: Root) {
    use umiak_spec::service::Persistence::Revision;
    match field.get("read_only").map(|value| value.truth()) {
        Some(Some(true)) => service.root = Root::ReadOnly,
        Some(Some(false)) => service.root = Root::Writable(Revision),
        Some(None) => {}
        None => {
            service.root = unsaid;
            if unsaid == Root::ReadOnly {
                mounts::add_scratch(service);
            }
        }
    }
    service.mounts.sort_by(|one, other| one.target.cmp(&other.target));
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::BTreeMap;

    use super::super::field::{Found, Reading};
    use super::*;
    use crate::{ComposeLimits, Project};

    #[test]
    fn every_key_has_a_decision() {
        let text =
            "services: {web: {image: a/b@sha256:0000000000000000000000000000000000000000000000000000000000000000}}";
        let files = BTreeMap::from([("compose.yaml".to_owned(), text.as_bytes().to_vec())]);
        let project = Project::read(&files, &[], &BTreeMap::new(), &ComposeLimits::default()).unwrap();
        let value = project.model.at(&["services", "web", "image"]).unwrap();
        let (variables, found) = (BTreeMap::new(), RefCell::new(Found::default()));
        let reading =
            Reading { project: &project, files: &files, variables: &variables, service: "web", found: &found };
        let field = Field { reading: &reading, value, key: String::new() };
        for key in crate::schema::service_keys() {
            let mut service = Service::new("web", vec![]);
            let decisions =
                [simple(&mut service, key, &field), joint(key), passed_over(key, &field), left_to_compose(key, &field)];
            assert_eq!(decisions.iter().filter(|decided| **decided).count(), 1, "{key}: {decisions:?}");
        }
    }

    #[test]
    fn words_of_one_value_are_read() {
        assert_eq!(restart("on-failure:3"), Some(Restart::OnFailure { most: Some(3) }));
        assert_eq!(restart("sometimes"), None);
        for (text, name) in [("SIGTERM", "SIGTERM"), ("quit", "SIGQUIT"), ("9", "9"), ("RTMIN+3", "SIGRTMIN+3")] {
            assert_eq!(signal(text).as_deref(), Some(name));
        }
        assert!(["", "0", "65", "SIG", "a b"].iter().all(|wrong| signal(wrong).is_none()));
    }
}
