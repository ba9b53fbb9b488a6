//! What a device with an OCI runtime runs of a state: what umiak's and pvr's own documents ask arrives in the service, and
//! what is not done is named.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use umiak_pvr::app::{RenderContext, SourceDocument, render};
use umiak_pvr::device::{self, Device};
use umiak_pvr::{Entry, State, StatePath, Value};
use umiak_spec::Digest;
use umiak_spec::service::{MountKind, Network, Persistence, Restart, Root, Sharing};

/// A state with the bytes of its objects.
struct Package {
    state: State,
    objects: BTreeMap<Digest, Vec<u8>>,
}

impl Package {
    fn new() -> Self {
        Self { state: State::new("pantavisor-service-system@1"), objects: BTreeMap::new() }
    }

    fn put(&mut self, path: &str, entry: Entry) {
        self.state.insert(StatePath::new(path).unwrap(), entry);
    }

    fn object(&mut self, path: &str, bytes: &str) -> Digest {
        let digest = Digest::of(bytes.as_bytes());
        self.objects.insert(digest, bytes.as_bytes().to_vec());
        self.put(path, Entry::Object(digest));
        digest
    }

    fn inline(&mut self, path: &str, json: &str) {
        self.put(path, Entry::Inline(Value::parse(json.as_bytes(), 1 << 20).unwrap()));
    }

    /// An app as `umiak app add` makes it.
    fn app(&mut self, name: &str, source: &str) {
        let source = SourceDocument::parse(source.as_bytes(), 1 << 20).unwrap();
        let context = RenderContext { name: name.to_owned(), default_group: None };
        let rendered = render(&source, &context).unwrap();
        self.inline(&format!("{name}/run.json"), &rendered.run_json);
        self.put(&format!("{name}/src.json"), Entry::Inline(source.to_value()));
        if let Some(conf) = &rendered.lxc_conf {
            self.object(&format!("{name}/lxc.container.conf"), conf);
        }
    }

    fn squashfs(&mut self, path: &str) -> Digest {
        self.object(path, &format!("squashfs of {path}"))
    }

    fn read(&self) -> Device {
        device::read(&self.state, &|digest| self.objects.get(digest).cloned())
    }

    /// What is refused, as it is said.
    fn refusals(&self) -> Vec<String> {
        self.read().refusals.iter().map(ToString::to_string).collect()
    }
}

/// A container `web` of a root, with these lines behind the usual ones.
fn with_lines(lines: &str) -> Package {
    let mut package = Package::new();
    package.squashfs("web/root.squashfs");
    package.inline("web/run.json", RUN);
    let root = "lxc.rootfs.path = overlayfs:/volumes/web/root.squashfs:/volumes/web/lxc-overlay/upper\n";
    package.object("web/lxc.container.conf", &format!("{root}lxc.init.cmd = /bin/app\n{lines}"));
    package
}

const RUN: &str = r##"{"#spec":"service-manifest-run@1","name":"web","type":"lxc","config":"lxc.container.conf",
    "root-volume":"root.squashfs","volumes":["extra.squashfs"],
    "storage":{"lxc-overlay":{"persistence":"boot"},"docker--data":{"persistence":"permanent"}}}"##;

#[test]
fn an_app_arrives_as_its_author_meant_it() {
    let mut package = Package::new();
    package.app(
        "web",
        r##"{"#spec":"service-manifest-src@1","args":{"PV_LXC_CAP_DROP":["SYS_BOOT"],"PV_LXC_EXTRA_ENV":["B=2"]},
        "persistence":{"/data/":"revision","ovl:/var/lib":"permanent","lxc-overlay":"permanent"},"docker_digest":"x@sha256:0",
        "docker_config":{"Entrypoint":["/docker-entrypoint.sh"],"Cmd":["nginx","-g","daemon off;"],"WorkingDir":"/srv",
        "Env":["A=b=c"],"Volumes":{"/var/www":{}}}}"##,
    );
    let root = package.squashfs("web/root.squashfs");
    let read = package.read();
    assert!(read.refusals.is_empty(), "{:?}", read.refusals);
    let [web] = read.containers.as_slice() else { panic!("{read:?}") };
    assert_eq!(web.lowers, [root]);
    let service = &web.service;
    assert_eq!(service.process.args, ["/docker-entrypoint.sh", "nginx", "-g", "daemon off;"]);
    assert_eq!((service.process.env["A"].as_str(), service.process.env["B"].as_str()), ("b=c", "2"));
    assert_eq!((service.process.cwd.as_str(), &service.network), ("/srv", &Network::Host));
    assert_eq!(service.root, Root::Writable(Persistence::Persistent));
    assert_eq!((service.namespaces.ipc.clone(), service.namespaces.pid.clone()), (Sharing::Host, Sharing::Private));
    assert_eq!(service.restart, Restart::Always);
    let given = service.security.capabilities.effective();
    assert!(given.contains("CAP_SYS_ADMIN") && !given.contains("CAP_SYS_BOOT"), "all but those dropped");
    assert!(service.security.writable_sys && service.security.device_rules[0].kind == 'a');
    let mounts: Vec<String> =
        service.mounts.iter().map(|mount| format!("{} {}", mount.target, kind(&mount.kind))).collect();
    assert_eq!(
        mounts,
        [
            "/run tmpfs 755",
            "/data volume web.docker--data Revision",
            "/var/www volume web.docker--var-www Persistent",
            "/var/lib volume above web.dockerovl--var-lib Persistent",
        ]
    );
}

fn kind(kind: &MountKind) -> String {
    match kind {
        MountKind::Volume(volume) if volume.above => format!("volume above {} {:?}", volume.name, volume.persistence),
        MountKind::Volume(volume) => format!("volume {} {:?}", volume.name, volume.persistence),
        MountKind::Bind(bind) => format!("bind {}", bind.source),
        MountKind::Tmpfs { mode, .. } => format!("tmpfs {:o}", mode.unwrap_or_default()),
    }
}

#[test]
fn patches_and_extensions_are_stacked_above_their_bases() {
    let mut package = Package::new();
    let patched =
        r##"{"#spec":"service-manifest-src@1","docker_digest":"x@sha256:0","docker_ovl_digest":"x@sha256:1"}"##;
    package.app("web", patched);
    let (web, web_patch) = (package.squashfs("web/root.squashfs"), package.squashfs("web/root.ovl.squashfs"));
    let base = r##"{"#spec":"service-manifest-src@1","args":{"PV_GROUP":"data","PV_STATUS_GOAL":"MOUNTED"}}"##;
    package.app("base", base);
    let below = package.squashfs("base/root.squashfs");
    let extension = r##"{"#spec":"service-manifest-src@1","base":"base","docker_ovl_digest":"x@sha256:1"}"##;
    package.app("ext", extension);
    let above = package.squashfs("ext/root.ovl.squashfs");
    package.object("_config/ext/etc/a.conf", "a");
    package.inline("_config/ext/etc/b.json", r#"{"b":1}"#);
    let read = package.read();
    assert!(read.refusals.is_empty(), "{:?}", read.refusals);
    let [ext, patched] = read.containers.as_slice() else { panic!("the base is mounted, not started: {read:?}") };
    assert_eq!((ext.service.name.as_str(), &ext.lowers), ("ext", &vec![above, below]));
    assert_eq!(patched.lowers, [web_patch, web]);
    assert_eq!(ext.files.keys().collect::<Vec<_>>(), ["etc/a.conf", "etc/b.json"]);
    let documents = device::documents(&package.state);
    assert_eq!(documents.len(), 3, "two configurations and one file: {documents:?}");
}

#[test]
fn containers_start_in_the_order_of_their_groups() {
    let mut package = Package::new();
    let source = |group: &str| format!(r##"{{"#spec":"service-manifest-src@1","args":{{"PV_GROUP":"{group}"}}}}"##);
    for (name, group) in [("b", "app"), ("a", "app"), ("z", "root"), ("m", "platform")] {
        package.app(name, &source(group));
        package.squashfs(&format!("{name}/root.squashfs"));
    }
    let order = |package: &Package| -> Vec<String> {
        package.read().containers.into_iter().map(|container| container.service.name).collect()
    };
    assert_eq!(order(&package), ["z", "m", "a", "b"]);
    package.inline(
        "device.json",
        r#"{"groups":[{"name":"app","auto_recovery":{"policy":"on-failure","max_retries":3,"backoff_policy":"never"}},
        {"name":"platform","auto_recovery":{"policy":"no"}},{"name":"root"}]}"#,
    );
    assert_eq!(order(&package), ["a", "b", "m", "z"]);
    let restarts: Vec<Restart> = package.read().containers.iter().map(|container| container.service.restart).collect();
    let thrice = Restart::OnFailure { most: Some(3) };
    assert_eq!(restarts, [thrice, thrice, Restart::No, Restart::Always]);
    package.inline("device.json", r#"{"groups":[{"name":"other"}]}"#);
    assert_eq!(package.refusals().len(), 4, "{:?}", package.refusals());
}

#[test]
fn networks_are_the_device_s_a_bridge_or_none() {
    let network = |lines: &str| with_lines(lines).read().containers[0].service.network.clone();
    assert_eq!(network("lxc.namespace.keep = user  net  ipc\n"), Network::Host);
    assert_eq!(network(""), Network::None);
    assert_eq!(network("lxc.net.0.type = empty\n"), Network::None);
    let bridge = network("lxc.net.0.type = veth\nlxc.net.0.link = lxcbr0\nlxc.net.0.flags = up\n");
    let Network::Private(private) = bridge else { panic!("{bridge:?}") };
    assert_eq!(private.attached[0].network, "default");
    let mut package = with_lines("");
    let run = RUN.replace(r#""type":"lxc""#, r#""type":"lxc","network":{"pool":"inner","hostname":"shop"}"#);
    package.inline("web/run.json", &run);
    assert_eq!(package.refusals(), ["web/run.json: network.pool: device.json has no pool `inner`"]);
    package.inline("device.json", r#"{"network":{"pools":{"inner":{"type":"bridge","nat":false}}}}"#);
    let service = package.read().containers.remove(0).service;
    let Network::Private(private) = service.network else { panic!("{:?}", service.network) };
    assert!(private.attached[0].internal && private.attached[0].network == "inner");
    assert_eq!(service.hostname.as_deref(), Some("shop"));
}

#[test]
fn every_line_that_is_not_done_is_refused_by_its_name_and_number() {
    for (line, refused) in [
        ("lxc.hook.start = /x", "lxc.hook.start: is not understood here"),
        ("lxc.include = /etc/lxc", "lxc.include: is not understood here"),
        ("lxc.net.0.type = phys", "lxc.net.0.type: network devices of type `phys` are not given to containers here"),
        (
            "lxc.net.0.ipv4.address = 10.0.3.5/24",
            "lxc.net.0.ipv4.address: is not understood here: addresses and bridges are the engine's",
        ),
        ("lxc.environment = HOME", "lxc.environment: variables of the device are not passed on"),
        ("lxc.init.cmd = a \"b", "lxc.init.cmd: a quote does not end"),
        ("lxc.namespace.keep = mnt", "lxc.namespace.keep: `mnt` is not shared with the device here"),
        ("lxc.cap.drop = sys_bot", "lxc.cap.drop: there is no capability `sys_bot`"),
        ("lxc.autodev = 0", "lxc.autodev: a /dev that the image brings is not used here"),
        ("lxc.cgroup.blkio.weight = 5", "lxc.cgroup.blkio.weight: is not understood here"),
        ("lxc.cgroup.devices.deny = c 1:3 r", "lxc.cgroup.devices.deny: is not understood here"),
        ("lxc.mount.auto = proc cgroup:rw", "lxc.mount.auto: `cgroup:rw` is not done here"),
        (
            "lxc.mount.entry = /exports/x etc/x none bind,rw,create=file 0 0",
            "lxc.mount.entry: there is no `/exports/x` here",
        ),
        (
            "lxc.mount.entry = /volumes/web/docker--gone x none bind 0 0",
            "lxc.mount.entry: no run.json keeps docker--gone for web",
        ),
        (
            "lxc.mount.entry = /volumes/web/extra.squashfs x none bind 0 0",
            "lxc.mount.entry: the volume extra.squashfs of web is not mounted beside its root here",
        ),
        (
            "lxc.mount.entry = /volumes/web/docker--data x none bind,noexec 0 0",
            "lxc.mount.entry: option `noexec` is not done here for what is kept",
        ),
        ("lxc.mount.entry = /srv ../x none bind 0 0", "lxc.mount.entry: cannot be mounted at `../x`"),
        ("lxc.mount.entry = proc x proc rw 0 0", "lxc.mount.entry: file systems of type `proc` are not mounted here"),
        ("lxc.mount.entry = /srv x none bind,foo=1 0 0", "lxc.mount.entry: option `foo=1` is not done here"),
        (
            "lxc.mount.entry = x v overlay lowerdir=/volumes/web/root.squashfs/w,upperdir=/volumes/web/docker--data/upper 0 0",
            "lxc.mount.entry: only what is kept is laid above /v here, and above that alone",
        ),
        ("lxc.rootfs.path = dir:/x", "lxc.rootfs.path: only overlayfs is stacked here"),
        ("free text", "is not KEY = VALUE"),
    ] {
        let said = with_lines(&format!("# filler\n{line}\n")).refusals();
        let place = if line.starts_with("lxc.autodev") { "web/lxc.container.conf" } else { "web/lxc.container.conf:4" };
        assert_eq!(said, [format!("{place}: {refused}")], "{line}");
    }
}

#[test]
fn what_a_configuration_may_add_arrives() {
    let service = with_lines(
        "lxc.cgroup.devices.deny = a\nlxc.cgroup.devices.allow = c 10:* rw\nlxc.cgroup.memory.limit_in_bytes = 64M\n\
         lxc.cgroup2.pids.max = 20\nlxc.prlimit.nofile = 1024:unlimited\nlxc.sysctl.net.core.somaxconn = 5\n\
         lxc.cap.keep = net_admin sys_time\nlxc.signal.halt = SIGINT\nlxc.uts.name = shop\nlxc.init.uid = 1000\n\
         lxc.mount.entry = /volumes/web/docker--data/sub in/sub none bind,ro,create=dir 0 0\nlxc.no_new_privs = 1\n\
         lxc.mount.entry = /dev/ dev none bind,rw,create=dir 0 0\nlxc.autodev = 0\n\
         lxc.mount.entry = /volumes/x/web y none bind,rw,create=dir,optional,noexec 0 0\n",
    );
    assert!(service.refusals().is_empty(), "{:?}", service.refusals());
    let service = service.read().containers.remove(0).service;
    let rule = &service.security.device_rules[0];
    assert_eq!((rule.kind, rule.major, rule.minor, rule.permissions.as_str()), ('c', Some(10), None, "rw"));
    assert_eq!((service.resources.memory, service.resources.pids), (Some(64 << 20), Some(20)));
    assert_eq!(service.resources.ulimits["nofile"].soft, Some(1024));
    assert_eq!(service.security.capabilities.effective().len(), 2);
    assert_eq!((service.stop_signal.as_str(), service.hostname.as_deref()), ("SIGINT", Some("shop")));
    assert_eq!(service.process.user.to_string(), "1000");
    let [sub, dev] = service.mounts.as_slice() else { panic!("{:?}", service.mounts) };
    assert!(sub.read_only && sub.target == "/in/sub" && kind(&sub.kind) == "volume web.docker--data Persistent");
    assert_eq!((dev.target.as_str(), kind(&dev.kind).as_str()), ("/dev", "bind /dev"));
}

#[test]
fn every_member_that_is_not_done_is_refused_by_its_name() {
    let with = |member: &str| {
        let mut package = with_lines("");
        package.inline("web/run.json", &RUN.replacen('{', &format!("{{{member},"), 1));
        package.refusals()
    };
    for (member, refused) in [
        (
            r#""drivers":{"required":["wifi"],"optional":[],"manual":[]}"#,
            "drivers.required: kernel modules are not loaded here",
        ),
        (r#""status_goal":"READY""#, "status_goal: READY is told to a Pantavisor, and there is none here"),
        (r#""roles":["mgmt"]"#, "roles: there is no Pantavisor here whose socket a role would open"),
        (
            r#""services":{"required":[{"name":"x"}]}"#,
            "services.required: containers are not connected by xconnect here",
        ),
        (r#""conditions":[1]"#, "conditions: conditions are not looked at here"),
        (r#""logs":[{"file":"/var/log/x"}]"#, "logs.file: only what a container prints is kept here"),
        (r#""group":"none""#, "group: the device has no group `none`"),
        (r#""network":{"ip":"10.0.0.1"}"#, "network.ip: addresses are given by the engine, not fixed"),
        (r#""whatever":1"#, "whatever: is not understood here"),
        (
            r#""auto_recovery":{"policy":"sometimes"}"#,
            "auto_recovery.policy: `sometimes` is not no, always, on-failure or unless-stopped",
        ),
    ] {
        assert_eq!(with(member), [format!("web/run.json: {refused}")], "{member}");
    }
    assert!(
        with(
            r#""drivers":{"optional":["x"]},"restart_policy":"system","logs":[{"console":1,"maxsize":5}],"exports":[]"#
        )
        .is_empty()
    );
    let run = |from: &str, to: &str| {
        let mut package = with_lines("");
        package.inline("web/run.json", &RUN.replace(from, to));
        package.refusals()
    };
    assert!(
        run(r#""boot""#, r#""boot","disk":"d1""#)[0].contains("storage.lxc-overlay.disk: there are no named disks")
    );
    assert!(run(r#""root.squashfs""#, r#""dm:root.squashfs""#)[0].contains("dm-verity is not set up here"));
    assert!(run(r#""type":"lxc""#, r#""type":"wasm""#)[0].contains("only `lxc`"));
    assert!(run("run@1", "run@2")[0].contains("#spec: only service-manifest-run@1"));
}

#[test]
fn a_state_that_is_more_than_containers_is_refused_in_words() {
    let mut package = with_lines("");
    package.inline("_hostconfig/pvr/docker.json", r#"{"platforms":["linux/arm64"]}"#);
    package.inline("checkpoint.json", r#"{"major":"2026-01-01T00:00:00Z"}"#);
    package.object("README.md", "read");
    assert!(package.refusals().is_empty(), "{:?}", package.refusals());
    package.inline("bsp/run.json", r#"{"initrd":"x"}"#);
    package.object("bsp/kernel.img", "kernel");
    let said = package.refusals();
    assert!(
        said.len() == 1 && said[0].starts_with("bsp/: kernel and drivers") && said[0].contains("pvr export"),
        "{said:?}"
    );
    let mut package = with_lines("");
    package.inline("web/services.json", r##"{"#spec":"service-manifest-xconnect@1","services":[]}"##);
    package.inline("web/mdev.json", r#"{"rules":["x 0:0 600"]}"#);
    assert_eq!(package.refusals().len(), 2);
    let nothing = device::read(&State::with_spec(None), &|_| None);
    assert!(nothing.refusals[0].to_string().contains("no state of a device"));
}

#[test]
fn nothing_runs_under_the_names_that_are_the_state_s_own() {
    for name in ["_sigs", "_config", "_dm", "_hostconfig"] {
        let mut package = Package::new();
        package.app("web", r##"{"#spec":"service-manifest-src@1","docker_digest":"x@sha256:0"}"##);
        package.squashfs("web/root.squashfs");
        let fine = package.refusals();
        package.inline(&format!("{name}/run.json"), r##"{"#spec":"service-manifest-run@1","name":"x","type":"lxc"}"##);
        let refusals = package.refusals();
        assert_eq!(refusals.len(), fine.len() + 1, "{refusals:?}");
        assert!(refusals.iter().any(|said| said.contains(&format!("{name}/run.json"))), "{refusals:?}");
        assert!(package.read().containers.iter().all(|container| container.service.name != name));
    }
}
