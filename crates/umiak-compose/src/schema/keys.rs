//! The keys of the Compose specification, in the order of its schema.

use super::{Names, Rule};

const fn rule(scalar: bool, list: Option<&'static Rule>, map: Names) -> Rule {
    Rule { scalar, list, map }
}

const fn keys(known: &'static [(&'static str, Rule)]) -> Rule {
    rule(false, None, Names::Known(known))
}

const fn each(one: &'static Rule) -> Rule {
    rule(false, None, Names::Any(one))
}

const fn list(one: &'static Rule) -> Rule {
    rule(false, Some(one), Names::None)
}

/// A single value: text, number or truth value.
const ONE: Rule = rule(true, None, Names::None);
/// Whatever it is.
const ANY: Rule = rule(true, Some(&ONE), Names::All);
const LIST: Rule = rule(false, Some(&ONE), Names::None);
const ONE_OR_LIST: Rule = rule(true, Some(&ONE), Names::None);
/// `KEY: value` or `- KEY=value`.
const PAIRS: Rule = rule(false, Some(&ONE), Names::Any(&ONE));
const MAP: Rule = each(&ONE);

pub(super) const FILE: Rule = keys(&[
    ("version", ONE),
    ("name", ONE),
    ("include", list(&INCLUDE)),
    ("services", each(&SERVICE)),
    ("models", each(&MODEL)),
    ("networks", each(&NETWORK)),
    ("volumes", each(&VOLUME)),
    ("secrets", each(&SECRET)),
    ("configs", each(&CONFIG)),
]);

const INCLUDE: Rule =
    rule(true, None, Names::Known(&[("path", ONE_OR_LIST), ("env_file", ONE_OR_LIST), ("project_directory", ONE)]));

pub(super) const SERVICE: Rule = keys(&[
    ("develop", DEVELOP),
    ("deploy", DEPLOY),
    ("annotations", PAIRS),
    ("attach", ONE),
    ("build", BUILD),
    ("blkio_config", BLKIO),
    ("cap_add", LIST),
    ("cap_drop", LIST),
    ("cgroup", ONE),
    ("cgroup_parent", ONE),
    ("command", ONE_OR_LIST),
    ("configs", MOUNTED_FILES),
    ("container_name", ONE),
    ("cpu_count", ONE),
    ("cpu_percent", ONE),
    ("cpu_shares", ONE),
    ("cpu_quota", ONE),
    ("cpu_period", ONE),
    ("cpu_rt_period", ONE),
    ("cpu_rt_runtime", ONE),
    ("cpus", ONE),
    ("cpuset", ONE),
    ("credential_spec", keys(&[("config", ONE), ("file", ONE), ("registry", ONE)])),
    ("depends_on", rule(false, Some(&ONE), Names::Any(&DEPENDENCY))),
    ("device_cgroup_rules", LIST),
    ("devices", list(&DEVICE)),
    ("dns", ONE_OR_LIST),
    ("dns_opt", LIST),
    ("dns_search", ONE_OR_LIST),
    ("domainname", ONE),
    ("entrypoint", ONE_OR_LIST),
    ("env_file", rule(true, Some(&ENV_FILE), Names::None)),
    ("label_file", ONE_OR_LIST),
    ("environment", PAIRS),
    ("expose", LIST),
    ("extends", rule(true, None, Names::Known(&[("service", ONE), ("file", ONE)]))),
    ("provider", keys(&[("type", ONE), ("options", ANY)])),
    ("external_links", LIST),
    ("extra_hosts", EXTRA_HOSTS),
    ("gpus", rule(true, Some(&RESERVED_DEVICE), Names::None)),
    ("group_add", LIST),
    ("healthcheck", HEALTHCHECK),
    ("hostname", ONE),
    ("image", ONE),
    ("init", ONE),
    ("ipc", ONE),
    ("isolation", ONE),
    ("labels", PAIRS),
    ("links", LIST),
    ("logging", keys(&[("driver", ONE), ("options", MAP)])),
    ("mac_address", ONE),
    ("mem_limit", ONE),
    ("mem_reservation", ONE),
    ("mem_swappiness", ONE),
    ("memswap_limit", ONE),
    ("network_mode", ONE),
    ("models", rule(false, Some(&ONE), Names::Any(&SERVICE_MODEL))),
    ("networks", rule(false, Some(&ONE), Names::Any(&SERVICE_NETWORK))),
    ("oom_kill_disable", ONE),
    ("oom_score_adj", ONE),
    ("pid", ONE),
    ("pids_limit", ONE),
    ("platform", ONE),
    ("ports", list(&PORT)),
    ("post_start", list(&HOOK)),
    ("pre_stop", list(&HOOK)),
    ("privileged", ONE),
    ("profiles", LIST),
    ("pull_policy", ONE),
    ("pull_refresh_after", ONE),
    ("read_only", ONE),
    ("restart", ONE),
    ("runtime", ONE),
    ("scale", ONE),
    ("security_opt", LIST),
    ("shm_size", ONE),
    ("secrets", MOUNTED_FILES),
    ("sysctls", PAIRS),
    ("stdin_open", ONE),
    ("stop_grace_period", ONE),
    ("stop_signal", ONE),
    ("storage_opt", ANY),
    ("tmpfs", ONE_OR_LIST),
    ("tty", ONE),
    ("ulimits", ULIMITS),
    ("use_api_socket", ONE),
    ("user", ONE),
    ("uts", ONE),
    ("userns_mode", ONE),
    ("volumes", list(&MOUNT)),
    ("volumes_from", LIST),
    ("working_dir", ONE),
]);

const BUILD: Rule = rule(
    true,
    None,
    Names::Known(&[
        ("context", ONE),
        ("dockerfile", ONE),
        ("dockerfile_inline", ONE),
        ("entitlements", LIST),
        ("args", PAIRS),
        ("ssh", rule(true, Some(&ONE), Names::Any(&ONE))),
        ("labels", PAIRS),
        ("cache_from", LIST),
        ("cache_to", LIST),
        ("no_cache", ONE),
        ("no_cache_filter", ONE_OR_LIST),
        ("additional_contexts", PAIRS),
        ("network", ONE),
        ("provenance", ONE),
        ("sbom", ONE),
        ("pull", ONE),
        ("target", ONE),
        ("shm_size", ONE),
        ("extra_hosts", EXTRA_HOSTS),
        ("isolation", ONE),
        ("privileged", ONE),
        ("secrets", MOUNTED_FILES),
        ("tags", LIST),
        ("ulimits", ULIMITS),
        ("platforms", LIST),
    ]),
);

const BLKIO_RATES: Rule = list(&keys(&[("path", ONE), ("rate", ONE)]));
const BLKIO: Rule = keys(&[
    ("device_read_bps", BLKIO_RATES),
    ("device_read_iops", BLKIO_RATES),
    ("device_write_bps", BLKIO_RATES),
    ("device_write_iops", BLKIO_RATES),
    ("weight", ONE),
    ("weight_device", list(&keys(&[("path", ONE), ("weight", ONE)]))),
]);

const DEPENDENCY: Rule = keys(&[("restart", ONE), ("required", ONE), ("condition", ONE)]);
const DEVICE: Rule = rule(true, None, Names::Known(&[("source", ONE), ("target", ONE), ("permissions", ONE)]));
const ENV_FILE: Rule = rule(true, None, Names::Known(&[("path", ONE), ("format", ONE), ("required", ONE)]));
const EXTRA_HOSTS: Rule = rule(false, Some(&ONE), Names::Any(&ONE_OR_LIST));
const ULIMITS: Rule = each(&rule(true, None, Names::Known(&[("hard", ONE), ("soft", ONE)])));

const MOUNTED_FILES: Rule = list(&rule(
    true,
    None,
    Names::Known(&[("source", ONE), ("target", ONE), ("uid", ONE), ("gid", ONE), ("mode", ONE)]),
));

const SERVICE_MODEL: Rule = keys(&[("endpoint_var", ONE), ("model_var", ONE)]);

const SERVICE_NETWORK: Rule = keys(&[
    ("aliases", LIST),
    ("interface_name", ONE),
    ("ipv4_address", ONE),
    ("ipv6_address", ONE),
    ("link_local_ips", LIST),
    ("mac_address", ONE),
    ("driver_opts", MAP),
    ("priority", ONE),
    ("gw_priority", ONE),
]);

const PORT: Rule = rule(
    true,
    None,
    Names::Known(&[
        ("name", ONE),
        ("mode", ONE),
        ("host_ip", ONE),
        ("target", ONE),
        ("published", ONE),
        ("protocol", ONE),
        ("app_protocol", ONE),
    ]),
);

const HOOK: Rule =
    keys(&[("command", ONE_OR_LIST), ("user", ONE), ("privileged", ONE), ("working_dir", ONE), ("environment", PAIRS)]);

const MOUNT: Rule = rule(
    true,
    None,
    Names::Known(&[
        ("type", ONE),
        ("source", ONE),
        ("target", ONE),
        ("read_only", ONE),
        ("consistency", ONE),
        ("bind", keys(&[("propagation", ONE), ("create_host_path", ONE), ("recursive", ONE), ("selinux", ONE)])),
        ("volume", keys(&[("labels", PAIRS), ("nocopy", ONE), ("subpath", ONE)])),
        ("tmpfs", keys(&[("size", ONE), ("mode", ONE)])),
        ("image", keys(&[("subpath", ONE)])),
    ]),
);

const HEALTHCHECK: Rule = keys(&[
    ("disable", ONE),
    ("interval", ONE),
    ("retries", ONE),
    ("test", ONE_OR_LIST),
    ("timeout", ONE),
    ("start_period", ONE),
    ("start_interval", ONE),
]);

const DEVELOP: Rule = keys(&[(
    "watch",
    list(&keys(&[
        ("ignore", ONE_OR_LIST),
        ("include", ONE_OR_LIST),
        ("path", ONE),
        ("action", ONE),
        ("target", ONE),
        ("exec", HOOK),
        ("initial_sync", ONE),
    ])),
)]);

const ROLLOUT: Rule = keys(&[
    ("parallelism", ONE),
    ("delay", ONE),
    ("failure_action", ONE),
    ("monitor", ONE),
    ("max_failure_ratio", ONE),
    ("order", ONE),
]);

const DEPLOY: Rule = keys(&[
    ("mode", ONE),
    ("endpoint_mode", ONE),
    ("replicas", ONE),
    ("labels", PAIRS),
    ("rollback_config", ROLLOUT),
    ("update_config", ROLLOUT),
    ("resources", keys(&[("limits", RESOURCES), ("reservations", RESOURCES)])),
    ("restart_policy", keys(&[("condition", ONE), ("delay", ONE), ("max_attempts", ONE), ("window", ONE)])),
    ("placement", PLACEMENT),
]);

const RESOURCES: Rule = keys(&[
    ("cpus", ONE),
    ("memory", ONE),
    ("pids", ONE),
    ("generic_resources", list(&keys(&[("discrete_resource_spec", keys(&[("kind", ONE), ("value", ONE)]))]))),
    ("devices", list(&RESERVED_DEVICE)),
]);

const RESERVED_DEVICE: Rule =
    keys(&[("capabilities", LIST), ("count", ONE), ("device_ids", LIST), ("driver", ONE), ("options", PAIRS)]);

const PLACEMENT: Rule =
    keys(&[("constraints", LIST), ("preferences", list(&keys(&[("spread", ONE)]))), ("max_replicas_per_node", ONE)]);

const EXTERNAL: Rule = rule(true, None, Names::Known(&[("name", ONE)]));

const NETWORK: Rule = keys(&[
    ("name", ONE),
    ("driver", ONE),
    ("driver_opts", MAP),
    ("ipam", IPAM),
    ("external", EXTERNAL),
    ("internal", ONE),
    ("enable_ipv4", ONE),
    ("enable_ipv6", ONE),
    ("attachable", ONE),
    ("labels", PAIRS),
]);

const IPAM: Rule = keys(&[
    ("driver", ONE),
    ("config", list(&keys(&[("subnet", ONE), ("ip_range", ONE), ("gateway", ONE), ("aux_addresses", MAP)]))),
    ("options", MAP),
]);

const VOLUME: Rule =
    keys(&[("name", ONE), ("driver", ONE), ("driver_opts", MAP), ("external", EXTERNAL), ("labels", PAIRS)]);

const SECRET: Rule = keys(&[
    ("name", ONE),
    ("environment", ONE),
    ("file", ONE),
    ("external", EXTERNAL),
    ("labels", PAIRS),
    ("driver", ONE),
    ("driver_opts", MAP),
    ("template_driver", ONE),
]);

const CONFIG: Rule = keys(&[
    ("name", ONE),
    ("content", ONE),
    ("environment", ONE),
    ("file", ONE),
    ("external", EXTERNAL),
    ("labels", PAIRS),
    ("template_driver", ONE),
]);

const MODEL: Rule = keys(&[("name", ONE), ("model", ONE), ("context_size", ONE), ("runtime_flags", LIST)]);
