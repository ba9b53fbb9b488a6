//! Bundles: what a service asks arrives in the runtime's document.

use std::collections::BTreeMap;

use umiak_spec::service::{Mount, MountKind, Swap, Ulimit};

use super::*;
use crate::oci::host::Cgroups;

fn host(version: u8) -> Host {
    let cgroups = Cgroups::fake(version, &["memory", "cpu", "pids"]);
    Host { cgroups, seccomp: true, architecture: "x86_64", hostname: "device".into(), low_ports: true }
}

fn facts(host: &Host) -> Facts<'_> {
    Facts {
        host,
        root: "/run/umiak/root".into(),
        account: Account { uid: 0, gid: 0, groups: vec![7], home: Some("/root".into()) },
        hostname: Some("web".into()),
        network: Some("/run/umiak/net/a".into()),
        files: vec![("/etc/hosts", "/h".into())],
        sources: vec![],
        nodes: vec![],
        cgroup: "/umiak/a".into(),
        init: None,
    }
}

fn service() -> Service {
    Service::new("web", vec!["/bin/server".into(), "-v".into()])
}

fn targets(config: &Value) -> Vec<&str> {
    config["mounts"].as_array().unwrap().iter().map(|mount| mount["destination"].as_str().unwrap()).collect()
}

#[test]
fn the_usual_service_is_locked_in() {
    let host = host(2);
    let config = config(&service(), &facts(&host));
    assert_eq!(config["root"]["readonly"], true);
    assert_eq!(config["hostname"], "web");
    assert_eq!(config["process"]["capabilities"]["effective"].as_array().unwrap().len(), 14);
    assert_eq!(config["process"]["args"], json!(["/bin/server", "-v"]));
    let env: Vec<&str> = config["process"]["env"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(env.contains(&"HOME=/root") && env.iter().any(|one| one.starts_with("PATH=")));
    assert_eq!(config["linux"]["seccomp"]["defaultAction"], "SCMP_ACT_ERRNO");
    assert!(config["linux"]["maskedPaths"].as_array().unwrap().iter().any(|path| path == "/proc/kcore"));
    let kinds: Vec<&str> =
        config["linux"]["namespaces"].as_array().unwrap().iter().map(|one| one["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["mount", "pid", "ipc", "uts", "cgroup", "network"]);
    assert_eq!(config["linux"]["resources"]["devices"][0], json!({"allow": false, "access": "rwm"}));
    assert!(targets(&config).contains(&"/etc/hosts"));
}

#[test]
fn a_privileged_one_is_not() {
    let host = host(1);
    let mut service = service();
    service.security.privileged = true;
    let config = config(&service, &facts(&host));
    assert!(config["linux"].get("seccomp").is_none() && config["linux"].get("maskedPaths").is_none());
    assert_eq!(config["linux"]["resources"]["devices"], json!([{"allow": true, "access": "rwm"}]));
    assert!(
        config["process"]["capabilities"]["effective"].as_array().unwrap().iter().any(|one| one == "CAP_SYS_ADMIN")
    );
    let kinds = config["linux"]["namespaces"].as_array().unwrap();
    assert!(kinds.iter().all(|one| one["type"] != "cgroup"), "version 1 shows the device's groups");
}

#[test]
fn a_service_may_have_all_capabilities_and_write_to_sys() {
    let host = host(2);
    let mut service = service();
    service.security.capabilities.add = vec!["ALL".to_owned()];
    service.security.capabilities.drop = vec!["CAP_CHOWN".to_owned()];
    service.security.writable_sys = true;
    let config = config(&service, &facts(&host));
    let given = config["process"]["capabilities"]["bounding"].as_array().unwrap();
    assert!(given.iter().all(|one| one != "CAP_CHOWN"));
    let own = std::fs::read_to_string("/proc/self/status").unwrap();
    let own = own.lines().find_map(|line| line.strip_prefix("CapBnd:")).unwrap().trim();
    let own = u64::from_str_radix(own, 16).unwrap();
    assert_eq!(given.len(), (own & !1).count_ones() as usize, "what we may have ourselves, without the first");
    let options = |target: &str| {
        let mounts = config["mounts"].as_array().unwrap();
        let found = mounts.iter().find(|mount| mount["destination"] == target).unwrap();
        found["options"].as_array().unwrap().iter().any(|option| option == "rw")
    };
    assert!(options("/sys") && !options("/sys/fs/cgroup"));
    let masked = config["linux"]["maskedPaths"].as_array().unwrap();
    assert!(masked.iter().any(|path| path == "/proc/kcore") && masked.iter().all(|path| path != "/sys/firmware"));
}

#[test]
fn who_is_not_root_has_only_bounds() {
    let host = host(2);
    let mut facts = facts(&host);
    facts.account.uid = 1000;
    let config = config(&service(), &facts);
    assert!(config["process"]["capabilities"].get("effective").is_none());
    assert_eq!(config["process"]["user"], json!({"uid": 1000, "gid": 0, "additionalGids": [7]}));
}

#[test]
fn limits_arrive_in_their_units() {
    let host = host(1);
    let mut service = service();
    service.resources.memory = Some(64 << 20);
    service.resources.memory_swap = Some(Swap::Unlimited);
    service.resources.cpu_nanos = Some(1_500_000_000);
    service.resources.pids = Some(50);
    let limit = Ulimit { soft: Some(1024), hard: None };
    service.resources.ulimits = BTreeMap::from([("nofile".to_owned(), limit)]);
    let config = config(&service, &facts(&host));
    let resources = &config["linux"]["resources"];
    assert_eq!(resources["memory"], json!({"limit": 64 << 20, "swap": -1}));
    assert_eq!(resources["cpu"], json!({"period": 100_000, "quota": 150_000}));
    assert_eq!(resources["pids"]["limit"], 50);
    assert_eq!(config["process"]["rlimits"][0], json!({"type": "RLIMIT_NOFILE", "soft": 1024, "hard": u64::MAX}));
}

#[test]
fn mounts_come_in_the_order_of_their_targets_and_in_place_of_the_usual() {
    let host = host(2);
    let mut service = service();
    let tmpfs = |target: &str| Mount {
        target: target.into(),
        read_only: false,
        kind: MountKind::Tmpfs { size: Some(4096), mode: None, options: vec!["noexec".into()] },
    };
    service.mounts = vec![tmpfs("/var/cache"), tmpfs("/var"), tmpfs("/dev/shm")];
    service.init = true;
    let mut facts = facts(&host);
    facts.sources = vec![Source::Memory; 3];
    facts.init = Some(("/usr/bin/umiakd".into(), vec!["shim".into(), "init".into()]));
    let config = config(&service, &facts);
    let targets = targets(&config);
    assert_eq!(targets.iter().filter(|target| **target == "/dev/shm").count(), 1);
    assert_eq!(targets[targets.len() - 3..], ["/dev/shm", "/var", "/var/cache"]);
    let last = config["mounts"].as_array().unwrap().last().unwrap();
    assert_eq!(last["options"], json!(["nosuid", "nodev", "rw", "mode=1777", "size=4096", "noexec"]));
    assert_eq!(config["process"]["args"], json!([INIT_TARGET, "shim", "init", "/bin/server", "-v"]));
    assert_eq!(process(&service, &facts, false)["args"], json!(["/bin/server", "-v"]), "probes need none");
}
