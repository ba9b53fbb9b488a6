//! Rendering against the reference's example and the seed's layouts, and every rule of `lxc.container.conf`.
#![allow(clippy::unwrap_used)]

use umiak_pvr::Value;
use umiak_pvr::app::{RenderContext, RenderError, Rendered, SourceDocument, default_group, render};

fn source(text: &str) -> SourceDocument {
    SourceDocument::parse(text.as_bytes(), 1 << 20).unwrap()
}

fn rendered(name: &str, text: &str) -> Rendered {
    render(&source(text), &RenderContext { name: name.to_owned(), default_group: None }).unwrap()
}

fn lxc(text: &str) -> String {
    rendered("web", text).lxc_conf.unwrap()
}

fn run(name: &str, text: &str) -> Value {
    Value::parse(rendered(name, text).run_json.as_bytes(), 1 << 20).unwrap()
}

fn error(text: &str) -> RenderError {
    render(&source(text), &RenderContext { name: "web".to_owned(), default_group: None }).unwrap_err()
}

/// The lines of `text` that a plain app does not have.
fn extra(text: &str) -> Vec<String> {
    let plain = lxc("{}");
    lxc(text).lines().filter(|line| !plain.lines().any(|other| other == *line)).map(str::to_owned).collect()
}

const WEB: &str = r#"{"docker_config":{"Entrypoint":["/docker-entrypoint.sh"],"Cmd":["nginx","-g","daemon off;"],
    "WorkingDir":"/srv","Env":["PATH=/bin"],"Volumes":{"/var/www/":{}}},"persistence":{"/data/":"revision@disk1"}}"#;

#[test]
fn the_reference_s_web_example_to_the_byte() {
    let expected = "\
lxc.tty.max = 8
lxc.pty.max = 1024
lxc.cgroup.devices.allow = a
lxc.rootfs.path = overlayfs:/volumes/web/root.squashfs:/volumes/web/lxc-overlay/upper
lxc.init.cmd = /docker-entrypoint.sh \"nginx\"\"-g\"\"daemon off;\"
lxc.init.cwd = /srv
lxc.environment = PATH=/bin
lxc.namespace.keep = user  net  ipc
lxc.mount.auto = proc  sys:rw  cgroup
lxc.mount.entry = /etc/resolv.conf etc/resolv.conf none bind,rw,create=file 0 0
lxc.mount.entry = tmpfs run tmpfs rw,nodev,relatime,create=dir,mode=755 0 0
lxc.mount.entry = /volumes/web/docker--data data none bind,rw,create=dir 0 0
lxc.mount.entry = /volumes/web/docker--var-www var/www none bind,rw,create=dir 0 0
";
    assert_eq!(lxc(WEB), expected);
}

#[test]
fn the_web_example_s_run_json() {
    let text = rendered("web", WEB).run_json;
    assert!(
        text.starts_with("{\n\t\"#spec\": \"service-manifest-run@1\",\n\t\"name\": \"web\",\n\t\"config\""),
        "{text}"
    );
    assert!(text.ends_with("\t\"volumes\": []\n}"), "{text}");
    let expected = r##"{"#spec":"service-manifest-run@1","config":"lxc.container.conf","drivers":{"manual":[],"optional":[],"required":[]},"exports":[],"logs":[],"name":"web","root-volume":"root.squashfs","storage":{"docker--data":{"disk":"disk1","persistence":"revision"},"docker--var-www":{"persistence":"permanent"},"lxc-overlay":{"persistence":"boot"}},"type":"lxc","volumes":[]}"##;
    assert_eq!(run("web", WEB).canonical(), expected);
}

#[test]
fn commands_in_every_shape() {
    for (config, command) in [
        (r"{}", " /sbin/init"),
        (r#"{"Cmd":[],"Entrypoint":null}"#, " /sbin/init"),
        (r#"{"Cmd":["run.sh","a b"]}"#, " run.sh \"a b\""),
        (r#"{"Cmd":"run.sh"}"#, " run.sh"),
        (r#"{"Entrypoint":"run.sh","Cmd":["x"]}"#, " run.sh"),
        (r#"{"Entrypoint":["run.sh","something"]}"#, " run.sh \"something\""),
        (r#"{"Entrypoint":["run.sh","something"],"Cmd":["runit"]}"#, " run.sh \"something\" \"runit\""),
        (r#"{"Entrypoint":["run.sh"],"Cmd":"runit"}"#, " run.sh \"runit\""),
        (r#"{"Entrypoint":["a"],"Cmd":["b","c"]}"#, " a \"b\"\"c\""),
    ] {
        let text = lxc(&format!(r#"{{"docker_config":{config}}}"#));
        assert!(text.contains(&format!("\nlxc.init.cmd ={command}\n")), "{config}: {text}");
    }
    assert_eq!(rendered("web", r#"{"docker_config":{"Cmd":["sh","-c","echo \"x\""]}}"#).warnings.len(), 1);
}

#[test]
fn every_argument_makes_its_lines() {
    for (args, lines) in [
        (r#""PV_DEBUG_MODE":"1""#, vec!["lxc.log.file = /pv/logs/web.log"]),
        (r#""PV_DEBUG_MODE":"""#, vec![]),
        (r#""LXC_TTY_MAX":"2","LXC_PTY_MAX":4"#, vec!["lxc.tty.max = 2", "lxc.pty.max = 4"]),
        (
            r#""PVR_LXC_CGROUP_DEVICES_WHITE":["c 1:3 rwm","c 5:0 rwm"]"#,
            vec![
                "lxc.cgroup.devices.deny = a",
                "lxc.cgroup.devices.allow = c 1:3 rwm",
                "lxc.cgroup.devices.allow = c 5:0 rwm",
            ],
        ),
        (r#""PVR_LXC_CGROUP_V1":["memory.limit_in_bytes = 64M"]"#, vec!["lxc.cgroup.memory.limit_in_bytes = 64M"]),
        (r#""PV_LXC_EXTRA_ENV":["A=1","B=2"]"#, vec!["lxc.environment = A=1", "lxc.environment = B=2"]),
        (r#""PV_LXC_NAMESPACE_KEEP":"net pid""#, vec!["lxc.namespace.keep = net pid"]),
        (r#""PV_LXC_DISABLE_CONSOLE":true"#, vec!["lxc.console.path = none"]),
        (r#""LXC_MOUNT_AUTO_SYS":"sys:ro""#, vec!["lxc.mount.auto = proc  sys:ro  cgroup"]),
        (r#""PV_DISABLE_AUTODEV":"yes""#, vec!["lxc.autodev = 0"]),
        (
            r#""PV_SECURITY_FULLDEV":1,"PV_SECURITY_WITH_HOST":1,"PV_SECURITY_WITH_HOSTPROC":1,"PV_SECURITY_WITH_STORAGE":1"#,
            vec![
                "lxc.mount.entry = /dev/ dev none bind,rw,create=dir 0 0",
                "lxc.mount.entry = / host none bind,rw,create=dir 0 0",
                "lxc.mount.entry = /proc/ host/proc none bind,rw,create=dir 0 0",
                "lxc.mount.entry = /storage storage none bind,rw,create=dir 0 0",
            ],
        ),
        (
            r#""PV_RESOLV_CONF_PATH":"r c","PV_RUN_TMPFS_PATH":"var/run""#,
            vec![
                "lxc.mount.entry = /etc/resolv.conf r\\040c none bind,rw,create=file 0 0",
                "lxc.mount.entry = tmpfs var/run tmpfs rw,nodev,relatime,create=dir,mode=755 0 0",
            ],
        ),
        (r#""PV_RESOLV_CONF_DISABLE":"1","PV_RUN_TMPFS_DISABLE":"1""#, vec![]),
        (
            r#""PV_LXC_CAP_DROP":["SYS_ADMIN"],"PV_LXC_CAP_KEEP":["Net_Raw"]"#,
            vec!["lxc.cap.drop = sys_admin", "lxc.cap.keep = net_raw"],
        ),
        (r#""PV_LXC_NETWORK_TYPE":"host""#, vec![]),
        (r#""PV_LXC_NETWORK_TYPE":"empty""#, vec!["lxc.namespace.keep = user  ipc", "lxc.net.0.type = empty"]),
        (
            r#""PV_LXC_NETWORK_TYPE":"phys","PV_LXC_NETWORK_LINK":"eth0""#,
            vec!["lxc.namespace.keep = user  ipc", "lxc.net.0.type = phys", "lxc.net.0.link =eth0"],
        ),
        (
            r#""PV_LXC_NETWORK_TYPE":"veth","PV_LXC_NETWORK_IPV4_ADDRESS":"10.0.3.5/24""#,
            vec![
                "lxc.namespace.keep = user  ipc",
                "lxc.net.0.type = veth",
                "lxc.net.0.link = lxcbr0",
                "lxc.net.0.flags = up",
                "lxc.net.0.ipv4.address = 10.0.3.5/24",
                "lxc.net.0.ipv4.gateway = auto",
            ],
        ),
        (r#""PV_LXC_EXTRA_CONF":"lxc.a = 1\nlxc.b = 2""#, vec!["lxc.a = 1", "lxc.b = 2"]),
        (
            r#""PV_FILEIMPORTS":"os/sock:run/sock""#,
            vec!["lxc.mount.entry = /exports/os/sock run/sock none bind,rw,create=file 0 0"],
        ),
        (
            r#""PV_IMPORT_CONFIGVOLUMES":"conf:etc/conf""#,
            vec!["lxc.mount.entry = /volumes/conf/web etc/conf none bind,rw,create=dir,optional,noexec 0 0"],
        ),
        (
            r#""PV_VOLUME_MOUNTS":"a.squashfs:mnt/a,b.squashfs:mnt/b""#,
            vec![
                "lxc.mount.entry = /volumes/web/a.squashfs mnt/a none bind,rw,create=dir 0 0",
                "lxc.mount.entry = /volumes/web/b.squashfs mnt/b none bind,rw,create=dir 0 0",
            ],
        ),
        (
            r#""PV_VOLUME_IMPORTS":["cont:/foo/fol:/faldara","cont:subdir@/foo/fol:/faldara-sub","cont:subdir@/foo/fol:/x:ro"]"#,
            vec![
                "lxc.mount.entry = /volumes/cont/docker--foo-fol faldara none bind,rw,create=dir 0 0",
                "lxc.mount.entry = /volumes/cont/docker--foo-fol/subdir faldara-sub none bind,rw,create=dir 0 0",
                "lxc.mount.entry = /volumes/cont/docker--foo-fol/subdir x none bind,ro,create=dir 0 0",
            ],
        ),
    ] {
        assert_eq!(extra(&format!(r#"{{"args":{{{args}}}}}"#)), lines, "{args}");
    }
    let without = lxc(r#"{"args":{"PV_RESOLV_CONF_DISABLE":"1","PV_RUN_TMPFS_DISABLE":"1"}}"#);
    assert!(!without.contains("mount.entry"), "{without}");
}

#[test]
fn an_app_that_is_only_mounted_has_no_lxc_part() {
    for args in [r#""PV_RUNLEVEL":"data""#, r#""PV_STATUS_GOAL":"MOUNTED""#] {
        let text = format!(r#"{{"args":{{{args},"PV_ROLES":["mgmt"]}},"logs":[{{"file":"/x"}}]}}"#);
        assert_eq!(rendered("nginx", &text).lxc_conf, None);
        let run = run("nginx", &text);
        for absent in ["config", "type", "exports", "logs", "roles"] {
            assert_eq!(run.get(absent), None, "{absent}");
        }
        assert!(run.get("drivers").is_some() && run.get("storage").is_some());
    }
}

#[test]
fn a_patched_app_has_its_overlay_as_a_volume_and_an_extension_as_its_root() {
    let patched = r#"{"docker_digest":"m@sha256:a","docker_ovl_digest":"m@sha256:b"}"#;
    let run_json = run("mycroft", patched);
    assert_eq!(run_json.get("root-volume"), Some(&"root.squashfs".into()));
    assert_eq!(run_json.get("volumes"), Some(&vec!["root.ovl.squashfs"].into()));
    let rootfs = |name, text| {
        let conf = rendered(name, text).lxc_conf.unwrap();
        conf.lines().find_map(|line| line.strip_prefix("lxc.rootfs.path = ").map(str::to_owned)).unwrap()
    };
    assert_eq!(
        rootfs("mycroft", patched),
        "overlayfs:/volumes/mycroft/root.ovl.squashfs:/volumes/mycroft/root.squashfs:/volumes/mycroft/lxc-overlay/upper"
    );
    let extension = r#"{"base":"nginx","docker_digest":"n@sha256:a","docker_ovl_digest":"h@sha256:b"}"#;
    let run_json = run("hello", extension);
    assert_eq!(run_json.get("root-volume"), Some(&"root.ovl.squashfs".into()));
    assert_eq!(run_json.get("volumes"), Some(&Value::Array(vec![])));
    assert_eq!(
        rootfs("hello", extension),
        "overlayfs:/volumes/hello/root.ovl.squashfs:/volumes/nginx/root.squashfs:/volumes/hello/lxc-overlay/upper"
    );
}

#[test]
fn run_json_is_json_where_pvr_s_is_not() {
    let text = r#"{"args":{"PV_EXTRA_VOLUMES":"a,b","PV_VOLUME_MOUNTS":"c:mnt/c"},"docker_ovl_digest":"x",
        "dm_enabled":{"root.squashfs":true,"b":true}}"#;
    assert_eq!(run("web", text).get("volumes"), Some(&vec!["a", "dm:b", "c", "root.ovl.squashfs"].into()));
    assert_eq!(run("web", text).get("root-volume"), Some(&"dm:root.squashfs".into()));
}

#[test]
fn run_json_carries_the_arguments() {
    let text = r#"{"args":{"PV_GROUP":"g","PV_RUNLEVEL":"app","PV_RESTART_POLICY":"system","PV_STATUS_GOAL":"STARTED",
        "PV_CONDITIONS":[{"a":1}],"PV_DRIVERS_REQUIRED":["wifi"],"PV_AUTOMODFW":{"x":1},"PV_REMOUNT":{"y":"z"},
        "PV_ROLES":["mgmt"],"PV_NETWORK_POOL":"lan","PV_NETWORK_IP":"10.0.0.5","PV_AUTO_RECOVERY":{"policy":"no"}},
        "exports":["/run"],"logs":[{"file":"/var/log/x"}],"persistence":{"ovl:/var":"permanent","lxc-overlay":"revision"}}"#;
    let expected = r##"{"#spec":"service-manifest-run@1","auto_recovery":{"policy":"no"},"automodfw":{"x":1},"conditions":[{"a":1}],"config":"lxc.container.conf","drivers":{"manual":[],"optional":[],"required":["wifi"]},"exports":["/run"],"group":"g","logs":[{"file":"/var/log/x"}],"name":"web","network":{"hostname":"web","ip":"10.0.0.5","pool":"lan"},"remount":{"y":"z"},"restart_policy":"system","roles":["mgmt"],"root-volume":"root.squashfs","runlevel":"app","status_goal":"STARTED","storage":{"dockerovl--var":{"persistence":"permanent"},"lxc-overlay":{"persistence":"revision"}},"type":"lxc","volumes":[]}"##;
    assert_eq!(run("web", text).canonical(), expected);
}

#[test]
fn the_default_group_is_the_last_and_only_a_default() {
    let groups = Value::parse(br#"[{"name":"data"},{"name":"app"}]"#, 99).unwrap();
    let context = RenderContext { name: "web".into(), default_group: default_group(&groups) };
    let group = |text: &str| {
        let run = render(&source(text), &context).unwrap().run_json;
        Value::parse(run.as_bytes(), 9999).unwrap().get("group").and_then(Value::as_str).map(str::to_owned)
    };
    assert_eq!(group("{}").as_deref(), Some("app"));
    assert_eq!(group(r#"{"args":{"PV_GROUP":"data"}}"#).as_deref(), Some("data"));
    assert_eq!(group(r#"{"args":{"PV_RUNLEVEL":"root"}}"#), None);
}

#[test]
fn an_overlay_volume_mounts_above_the_image_s_directory() {
    let lines = extra(r#"{"persistence":{"ovl:/var/lib/":"permanent"}}"#);
    let expected = "lxc.mount.entry = /volumes/web/dockerovl--var-lib var/lib overlay lowerdir=/volumes/web/root.squashfs/\
                    var/lib,upperdir=/volumes/web/dockerovl--var-lib/upper,workdir=/volumes/web/dockerovl--var-lib/work,\
                    create=dir 0 0";
    assert_eq!(lines, [expected]);
}

#[test]
fn no_value_leaves_its_line() {
    for text in [
        r#"{"docker_config":{"Env":["A=1\nlxc.hook.pre-start = /bin/sh"]}}"#,
        r#"{"docker_config":{"Cmd":["a","b\nc"]}}"#,
        r#"{"docker_config":{"Entrypoint":"a\nb"}}"#,
        r#"{"docker_config":{"WorkingDir":"/\n"}}"#,
        r#"{"args":{"PV_LXC_CAP_KEEP":["a\nb"]}}"#,
        r#"{"args":{"PV_VOLUME_IMPORTS":["a:b:c\nd"]}}"#,
        r#"{"base":"x\ny"}"#,
    ] {
        assert!(matches!(error(text), RenderError::LineBreak(_)), "{text}");
    }
    for text in [
        r#"{"docker_config":{"Volumes":{"/a\nb":{}}}}"#,
        r#"{"docker_config":{"Volumes":{"/a/../../etc":{}}}}"#,
        r#"{"persistence":{"ovl:/a,upperdir=/x":"boot"}}"#,
        r#"{"persistence":{"/":"boot"}}"#,
    ] {
        assert!(matches!(error(text), RenderError::Volume(_)), "{text}");
    }
    assert!(matches!(error(r#"{"args":{"PV_VOLUME_IMPORTS":["a:b"]}}"#), RenderError::Entry { .. }));
    assert!(matches!(error(r#"{"docker_config":{"Env":"A=1"}}"#), RenderError::Type { .. }));
    let spaced = extra(r#"{"docker_config":{"Volumes":{"/my data":{}}}}"#);
    assert_eq!(spaced, ["lxc.mount.entry = /volumes/web/docker--my\\040data my\\040data none bind,rw,create=dir 0 0"]);
    for name in ["", "a/b", "..", "_config", "a b", "a:b", "a\nb"] {
        let context = RenderContext { name: name.into(), default_group: None };
        assert!(matches!(render(&source("{}"), &context), Err(RenderError::Name { .. })), "{name:?}");
    }
}
