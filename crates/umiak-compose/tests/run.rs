//! What a device is to run of a project: keys understood, passed over, refused with their place.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use common::{Texts, read_with};
use umiak_compose::run::{Device, Run, run};
use umiak_spec::service::{
    Condition, ImageDefaults, Logs, MountKind, Network, Persistence, Probe, Restart, Root, Service, Sharing, Swap,
    Ulimit,
};
use umiak_spec::{ImageConfig, Limits};

const IMAGE: &str = r#"{"config":{"Entrypoint":["/entry"],"Cmd":["serve"],"Env":["PATH=/bin","LEVEL=info"],
    "WorkingDir":"/srv","User":"www","Volumes":{"/var/lib/web/":{}},"StopSignal":"SIGQUIT",
    "Healthcheck":{"Test":["CMD-SHELL","true"],"Interval":5000000000,"Retries":2}}}"#;

struct Asked<'a> {
    files: Texts<'a>,
    environment: Texts<'a>,
    profiles: &'a [&'a str],
    root: Root,
}

fn run_as(asked: &Asked<'_>) -> Run {
    let project = read_with(asked.files, &[], asked.environment).unwrap();
    let files: BTreeMap<String, Vec<u8>> =
        asked.files.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect();
    let config = ImageConfig::parse(IMAGE.as_bytes(), &Limits::default()).unwrap();
    let image = ImageDefaults::of(&config).unwrap();
    let images = project.services().iter().map(|service| (service.name.clone(), image.clone())).collect();
    let environment = asked.environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let profiles: BTreeSet<String> = asked.profiles.iter().map(|name| (*name).to_owned()).collect();
    run(&project, &images, &Device { files: &files, environment: &environment, profiles: &profiles, root: asked.root })
}

fn run_files(files: Texts<'_>) -> Run {
    run_as(&Asked { files, environment: &[], profiles: &[], root: Root::Writable(Persistence::Revision) })
}

/// The service `web` of a project that has these lines below it, and what is refused.
fn web_of(lines: &str) -> Run {
    let text = format!("services:\n  web:\n    image: a\n{lines}");
    run_files(&[("docker-compose.yml", &text), ("web.env", "A=1\nB=$$x\n"), ("raw.env", "A='2'\n#x\n")])
}

fn web(lines: &str) -> Service {
    let run = web_of(lines);
    assert_eq!(run.refusals, [], "{lines}");
    run.services.into_iter().next().unwrap()
}

fn refused(lines: &str) -> Vec<String> {
    web_of(lines).refusals.iter().map(ToString::to_string).collect()
}

#[test]
fn a_service_that_says_nothing_is_what_its_image_says() {
    let web = web("");
    assert_eq!(web.process.args, ["/entry", "serve"]);
    assert_eq!(web.process.env["LEVEL"], "info");
    assert_eq!((web.process.cwd.as_str(), web.process.user.to_string().as_str()), ("/srv", "www"));
    assert_eq!(web.stop_signal, "SIGQUIT");
    let health = web.health.unwrap();
    assert_eq!(health.probe, Probe::Exec(vec!["/bin/sh".into(), "-c".into(), "true".into()]));
    assert_eq!((health.interval, health.retries), (Duration::from_secs(5), 2));
    assert_eq!(web.mounts[0].target, "/var/lib/web");
    let MountKind::Volume(volume) = &web.mounts[0].kind else { panic!("{:?}", web.mounts) };
    assert!(volume.name.starts_with("anonymous-web-") && volume.persistence == Persistence::Persistent);
    assert_eq!(web.logs, Logs::default());
}

#[test]
fn entrypoint_and_command_follow_docker() {
    for (lines, args) in [
        ("    command: -x 'a b'\n", vec!["/entry", "-x", "a b"]),
        ("    command: [go]\n", vec!["/entry", "go"]),
        ("    command: []\n", vec!["/entry", "serve"]),
        ("    command:\n", vec!["/entry", "serve"]),
        ("    entrypoint: /own\n", vec!["/own"]),
        ("    entrypoint: [/own, a]\n    command: b c\n", vec!["/own", "a", "b", "c"]),
        ("    entrypoint: []\n", vec!["serve"]),
        ("    entrypoint: ''\n    command: sh -c 'echo $$HOME'\n", vec!["sh", "-c", "echo $HOME"]),
    ] {
        assert_eq!(web(lines).process.args, args, "{lines}");
    }
    assert_eq!(
        refused("    command: \"sh 'open\"\n"),
        ["docker-compose.yml:4:14: services.web.command: `sh 'open` is not a command: a quote is not closed"]
    );
}

#[test]
fn variables_come_from_files_the_project_and_the_device() {
    let files: Texts<'_> = &[
        (
            "docker-compose.yml",
            "services:\n  web:\n    image: a\n    env_file: [web.env, {path: no.env, required: false}]\n    environment:\n      OWN: ${SITE:-none}/$ZONE\n      HOST_NAME:\n      GONE:\n      LEVEL:\n",
        ),
        ("web.env", "A=1\nB=${SITE}\nOWN=file\n"),
        (".env", "SITE=dotenv\n"),
    ];
    let environment: Texts<'_> = &[("SITE", "device"), ("HOST_NAME", "box")];
    let run = run_as(&Asked { files, environment, profiles: &[], root: Root::ReadOnly });
    assert_eq!(run.refusals, []);
    let env = &run.services[0].process.env;
    assert_eq!(env["OWN"], "device/");
    assert_eq!((env["A"].as_str(), env["B"].as_str(), env["HOST_NAME"].as_str()), ("1", "device", "box"));
    assert!(!env.contains_key("GONE") && !env.contains_key("LEVEL"), "{env:?}");
    assert_eq!(run.unset, BTreeSet::from(["ZONE".to_owned()]));
    assert_eq!(web("    env_file: [{path: raw.env, format: raw}]\n").process.env["A"], "'2'");
    assert_eq!(web("    env_file: web.env\n").process.env["B"], "$x");
    assert_eq!(
        refused("    env_file: absent.env\n    hostname: ${NAME:?which}\n"),
        [
            "docker-compose.yml:5:15: services.web.hostname: the variable `NAME` has no value: which",
            "docker-compose.yml:4:15: services.web.env_file: there is no file `absent.env`"
        ]
    );
}

#[test]
fn ports_are_read_in_both_forms() {
    let ports = |lines: &str| {
        let Network::Private(private) = web(lines).network else { panic!("{lines}") };
        let shown = private.ports.iter().map(|port| {
            let host = port.host.map(|host| host.to_string()).unwrap_or_default();
            format!("{host}|{}|{}|{:?}", port.published.unwrap_or_default(), port.target, port.protocol)
        });
        shown.collect::<Vec<_>>().join(" ")
    };
    for (text, expected) in [
        ("80", "|0|80|Tcp"),
        ("8080:80", "|8080|80|Tcp"),
        ("8000-8001:80-81/udp", "|8000|80|Udp |8001|81|Udp"),
        ("127.0.0.1:8080:80", "127.0.0.1|8080|80|Tcp"),
        ("127.0.0.1::80", "127.0.0.1|0|80|Tcp"),
        ("[::1]:22:22", "::1|22|22|Tcp"),
        ("::1:22:22", "::1|22|22|Tcp"),
    ] {
        assert_eq!(ports(&format!("    ports: ['{text}']\n")), expected, "{text}");
    }
    assert_eq!(
        ports("    ports: [{target: 53, published: '5353', protocol: udp, host_ip: 10.0.0.1, mode: host}]\n"),
        "10.0.0.1|5353|53|Udp"
    );
    for wrong in ["a", "1:2:3:4", "70000", "80:", "0", "80/icmp", "1-2:3", "80-70", "1-2000:1-2000"] {
        assert_eq!(refused(&format!("    ports: ['{wrong}']\n")).len(), 1, "{wrong}");
    }
}

#[test]
fn what_asks_for_ipv6_is_refused_by_its_key() {
    for (lines, key) in [
        ("    networks: {default: {ipv6_address: '2001:db8::5'}}\n", "services.web.networks.default.ipv6_address"),
        ("    networks: [six]\nnetworks: {six: {enable_ipv6: true}}\n", "networks.six.enable_ipv6"),
        ("    networks: [six]\nnetworks: {six: {enable_ipv4: false}}\n", "networks.six.enable_ipv4"),
    ] {
        let told = refused(lines);
        assert!(told.len() == 1 && told[0].contains(key) && told[0].contains("no IPv6"), "{told:?}");
    }
    assert_eq!(refused("    networks: [four]\nnetworks: {four: {enable_ipv6: false}}\n"), Vec::<String>::new());
}

#[test]
fn mounts_are_read_in_all_forms() {
    let lines = "    volumes:\n      - named:/named:ro\n      - ./conf:/etc/conf\n      - /dev/bus:/dev/bus:rslave\n      - /anonymous\n      - {type: bind, source: ./x, target: /x, bind: {create_host_path: false, propagation: shared}}\n      - {type: volume, source: named, target: /sub, volume: {nocopy: true, subpath: a/b}}\n      - {type: tmpfs, target: /cache, tmpfs: {size: 10m, mode: 01777}}\n      - host:/host\n      - boot:/boot\n    tmpfs: ['/run:size=1m,mode=755,noexec']\nvolumes:\n  named:\n  boot: {x-umiak-persistence: boot}\n  host: {driver_opts: {type: none, o: bind, device: /srv/host}}\n";
    let web = web(lines);
    let shown: Vec<String> = web
        .mounts
        .iter()
        .map(|mount| {
            let ro = if mount.read_only { " ro" } else { "" };
            match &mount.kind {
                MountKind::Volume(volume) => {
                    let name = volume.name.split_at(volume.name.len().min(9)).0;
                    let (keep, copy, sub) = (volume.persistence, volume.copy, volume.subpath.as_deref().unwrap_or(""));
                    format!("{} volume {name} {keep:?} {copy} {sub}{ro}", mount.target)
                }
                MountKind::Bind(bind) => {
                    format!("{} bind {} {} {:?}{ro}", mount.target, bind.source, bind.create, bind.propagation)
                }
                MountKind::Tmpfs { size, mode, options } => {
                    let (size, mode) = (size.unwrap_or_default(), mode.unwrap_or_default());
                    format!("{} tmpfs {size} {mode:o} {}{ro}", mount.target, options.join(","))
                }
            }
        })
        .collect();
    assert_eq!(
        shown,
        [
            "/anonymous volume anonymous Persistent true ",
            "/boot volume boot Boot true ",
            "/cache tmpfs 10485760 1777 ",
            "/dev/bus bind /dev/bus true Slave",
            "/etc/conf bind conf true Private",
            "/host bind /srv/host false Private",
            "/named volume named Persistent true  ro",
            "/run tmpfs 1048576 755 noexec",
            "/sub volume named Persistent false a/b",
            "/var/lib/web volume anonymous Persistent true ",
            "/x bind x false Shared",
        ]
    );
    for wrong in ["a:b", "/:/", "x:/y:zz", "~/x:/x", "../out:/x", "a:/b:ro:x", "/a/..:/.."] {
        let lines = format!("    volumes: ['{wrong}']\nvolumes: {{x: , a: }}\n");
        assert_eq!(refused(&lines).len(), 1, "{wrong}: {:?}", refused(&lines));
    }
}

#[test]
fn limits_and_rights_are_read() {
    let web = web(
        "    mem_limit: 64m\n    memswap_limit: -1\n    cpu_quota: 50000\n    pids_limit: -1\n    shm_size: 1gb\n    ulimits: {nofile: {soft: 10, hard: 20}, core: -1, nproc: 5}\n    cap_add: [net_admin]\n    cap_drop: [ALL]\n    security_opt: ['no-new-privileges:true', 'seccomp:unconfined']\n    devices: ['/dev/ttyS0:/dev/modem:rw', /dev/null, '/dev/zero:r']\n    device_cgroup_rules: ['c 1:* rwm']\n    sysctls: [net.core.somaxconn=1024]\n    oom_score_adj: -500\n    deploy: {resources: {limits: {cpus: '0.25', pids: 7}, reservations: {memory: 10m}}, restart_policy: {condition: on-failure, max_attempts: 2}}\n    logging: {driver: local, options: {max-size: 10m, max-file: '3'}}\n    pid: host\n    ipc: shareable\n    stop_grace_period: 1m30s\n",
    );
    let resources = &web.resources;
    assert_eq!((resources.memory, resources.memory_swap), (Some(64 << 20), Some(Swap::Unlimited)));
    assert_eq!((resources.cpu_nanos, resources.pids), (Some(250_000_000), Some(7)));
    assert_eq!((resources.shm_size, resources.memory_reservation), (Some(1 << 30), Some(10 << 20)));
    assert_eq!(resources.ulimits["nofile"], Ulimit { soft: Some(10), hard: Some(20) });
    assert_eq!(resources.ulimits["core"], Ulimit { soft: None, hard: None });
    assert_eq!(resources.oom_score_adj, Some(-500));
    assert_eq!(web.security.capabilities.effective().into_iter().collect::<Vec<_>>(), ["CAP_NET_ADMIN"]);
    assert!(web.security.no_new_privileges && web.security.seccomp_unconfined);
    let devices: Vec<_> = web.security.devices.iter().map(|one| format!("{one:?}")).collect();
    assert_eq!(devices.len(), 3);
    assert!(devices[0].contains("/dev/modem") && devices[0].contains("\"rw\"") && devices[2].contains("\"r\""));
    assert_eq!(web.security.device_rules[0].minor, None);
    assert_eq!(web.sysctls["net.core.somaxconn"], "1024");
    assert_eq!(web.restart, Restart::OnFailure { most: Some(2) });
    assert_eq!(web.logs, Logs { size: 10 << 20, files: 3 });
    assert_eq!((web.namespaces.pid, web.namespaces.ipc), (Sharing::Host, Sharing::Shareable));
    assert_eq!(web.stop_grace, Duration::from_secs(90));
}

#[test]
fn health_is_read_in_all_forms() {
    let probe = |lines: &str| web(lines).health.map(|health| (health.probe, health.interval.as_secs()));
    let exec = |words: &[&str]| Probe::Exec(words.iter().map(|word| (*word).to_owned()).collect());
    for (test, expected) in [
        ("test: curl -f x", Some((exec(&["/bin/sh", "-c", "curl -f x"]), 5))),
        ("test: [CMD, /probe, a]", Some((exec(&["/probe", "a"]), 5))),
        ("interval: 1m", Some((exec(&["/bin/sh", "-c", "true"]), 60))),
        ("disable: true", None),
        ("test: [NONE]", None),
        ("x-umiak-tcp: 80, interval: 2s", Some((Probe::Tcp { port: 80 }, 2))),
        ("x-umiak-http: 80/up?x=1", Some((Probe::Http { port: 80, path: "/up?x=1".into() }, 5))),
    ] {
        assert_eq!(probe(&format!("    healthcheck: {{{test}}}\n")), expected, "{test}");
    }
    assert_eq!(refused("    healthcheck: {test: [curl, x]}\n").len(), 1);
    assert_eq!(refused("    healthcheck: {interval: soon}\n").len(), 1);
}

#[test]
fn networks_and_dependencies_are_read() {
    let files: Texts<'_> = &[(
        "docker-compose.yml",
        "services:\n  web:\n    image: a\n    depends_on: {db: {condition: service_healthy, restart: true}, job: {condition: service_completed_successfully}, dbg: {condition: service_started, required: false}}\n    networks: {front: {aliases: [www]}, back: {ipv4_address: 10.1.0.5}}\n    extra_hosts: ['gate:host-gateway', 'six=[::1]']\n  db: {image: a, depends_on: [job], networks: [back], container_name: base}\n  job: {image: a, network_mode: none}\n  side: {image: a, network_mode: 'service:web'}\n  dbg: {image: a, profiles: [debug], network_mode: host, ports: ['80:80']}\nnetworks: {front: , back: {internal: true, driver: bridge}}\n",
    )];
    let run = run_files(files);
    assert_eq!(run.refusals, []);
    assert_eq!(run.services.len(), 4, "no profile is active");
    let web = &run.services[0];
    assert_eq!(web.depends_on.len(), 2);
    assert_eq!(web.depends_on["db"].condition, Condition::Healthy);
    assert!(web.depends_on["db"].restart && web.depends_on["job"].condition == Condition::Completed);
    assert_eq!(web.extra_hosts, [("gate".into(), "host-gateway".into()), ("six".into(), "::1".to_owned())]);
    let Network::Private(private) = &web.network else { panic!("{:?}", web.network) };
    assert_eq!(
        (private.attached[0].network.as_str(), private.attached[0].aliases.as_slice()),
        ("front", &["www".into()][..])
    );
    assert!(private.attached[1].internal && private.attached[1].address.is_some());
    let Network::Private(private) = &run.services[1].network else { panic!() };
    assert_eq!(private.attached[0].aliases, ["base"]);
    assert_eq!(run.services[3].network, Network::Service("web".into()));
    assert!(run.services[3].depends_on.contains_key("web"));
    let all =
        run_as(&Asked { files, environment: &[("COMPOSE_PROFILES", "debug")], profiles: &[], root: Root::ReadOnly });
    assert_eq!(all.services.len(), 5);
    assert_eq!(all.services[4].network, Network::Host);
    assert!(all.notes.iter().any(|note| note.key == "services.dbg.ports"));
}

#[test]
fn roots_are_what_is_said_or_what_the_device_says() {
    let text = |line: &str| format!("services:\n  web:\n    image: a\n    tmpfs: /tmp:size=1m\n{line}");
    let root = |line: &str, root| {
        let text = text(line);
        let asked = Asked { files: &[("docker-compose.yml", &text)], environment: &[], profiles: &[], root };
        let web = run_as(&asked).services.remove(0);
        (web.root, web.mounts.iter().map(|mount| mount.target.clone()).collect::<Vec<_>>().join(" "))
    };
    assert_eq!(root("", Root::ReadOnly), (Root::ReadOnly, "/run /tmp /var/lib/web /var/tmp".into()));
    assert_eq!(root("    read_only: true\n", Root::ReadOnly), (Root::ReadOnly, "/tmp /var/lib/web".into()));
    let writable = Root::Writable(Persistence::Revision);
    assert_eq!(root("    read_only: false\n", Root::ReadOnly), (writable, "/tmp /var/lib/web".into()));
}

#[test]
fn what_is_not_done_is_refused_by_key_and_place() {
    let lines = "    userns_mode: keep\n    gpus: all\n    networks: [lan]\n    volumes: ['nfs:/x']\n    configs: [inline]\n    secrets: [token]\n    cpu_count: 2\n    post_start: [{command: x}]\n    scale: 2\n    build: .\nnetworks: {lan: {driver: macvlan}}\nvolumes: {nfs: {driver_opts: {type: nfs, o: addr=1, device: ':/x'}}}\nconfigs: {inline: {content: x}}\nsecrets: {token: {file: ./token}}\n";
    let run = web_of(lines);
    let all: Vec<String> =
        run.refused(false).map(|refusal| format!("{} {}", refusal.place.line, refusal.key)).collect();
    assert_eq!(
        all,
        [
            "4 services.web.userns_mode",
            "5 services.web.gpus",
            "10 services.web.cpu_count",
            "11 services.web.post_start",
            "12 services.web.scale",
            "14 networks.lan.driver",
            "15 volumes.nfs.driver_opts",
            "16 configs.inline.content",
        ]
    );
    let compose: Vec<&str> = run.refused(true).map(|refusal| refusal.key.as_str()).collect();
    assert_eq!(compose, ["services.web.cpu_count"]);
    assert!(run.notes.iter().any(|note| note.key == "services.web.build"));
    let web = &run.services[0];
    assert!(web.mounts.iter().any(|mount| mount.target == "/run/secrets/token" && mount.read_only));
    assert_eq!(run.place("web", "gpus").unwrap().line, 5);
    assert_eq!(run.place("web", "ports").unwrap().line, 3, "where the service is");
}

#[test]
fn a_dependency_that_does_not_run_is_refused() {
    let files: Texts<'_> = &[(
        "docker-compose.yml",
        "services:\n  web:\n    image: a\n    depends_on: [db]\n  db: {image: a, profiles: [x]}\n",
    )];
    let run = run_files(files);
    assert_eq!(
        run.refusals[0].to_string(),
        "docker-compose.yml:4:17: services.web.depends_on: it needs service `db`, which does not run: no profile of it is active"
    );
    let run = run_as(&Asked { files, environment: &[], profiles: &["x"], root: Root::ReadOnly });
    assert_eq!(run.refusals, []);
}

#[test]
fn compose_is_given_one_file_that_says_what_the_device_decides() {
    let text = "version: '3.8'\nname: shop\nx-own: 1\nservices:\n  web:\n    image: a\n    build: .\n    depends_on: [db]\n    restart: always\n    container_name: www\n    environment: [\"A=${SITE}$$x\", GONE]\n    labels: [own=1]\n    volumes: [/cache, 'named:/named', '.:/p']\n    tmpfs: [/tmp]\n    deploy: {replicas: 1, resources: {limits: {cpus: '0.5', memory: 64m}}}\n    command: echo ${SITE} ${NONE}\n    healthcheck: {x-umiak-tcp: 1, interval: 1s}\n  db: {image: a, profiles: [never]}\nvolumes:\n  named:\n  kept: {name: kept}\n";
    let project = read_with(&[("docker-compose.yml", text)], &[], &[]).unwrap();
    let environment = BTreeMap::from([("SITE".to_owned(), "a: b $c".to_owned())]);
    let (profiles, files) = (BTreeSet::new(), BTreeMap::<String, Vec<u8>>::new());
    let device = Device { files: &files, environment: &environment, profiles: &profiles, root: Root::ReadOnly };
    let run = run(&project, &BTreeMap::new(), &device);
    let labels = |service: Option<&Service>| {
        let name = service.map_or("-", |service| service.name.as_str());
        BTreeMap::from([("ours".to_owned(), name.to_owned())])
    };
    let placing = umiak_compose::run::Placing {
        services: run.services.iter().map(|service| (service, "local/image:1".to_owned())).collect(),
        environment: &environment,
        labels: &labels,
        volume: &|volume| (format!("app_{}", volume.name), BTreeMap::new()),
    };
    let text = umiak_compose::run::for_compose(&project, &placing).unwrap();
    let anonymous = run.services[0].mounts.iter().find_map(|mount| match &mount.kind {
        MountKind::Volume(volume) if mount.target == "/cache" => Some(volume.name.clone()),
        _ => None,
    });
    let text = text.replace(&anonymous.unwrap(), "ANON");
    assert_eq!(
        text,
        "services:\n  web:\n    image: local/image:1\n    environment:\n      A: \"a: b $$c$$x\"\n      GONE:\n    command: \"echo a: b $$c \"\n    healthcheck:\n      interval: 1s\n    labels:\n      own: \"1\"\n      ours: web\n    cpus: \"0.5\"\n    mem_limit: 64m\n    volumes:\n      - named:/named\n      - .:/p\n      - type: volume\n        source: ANON\n        target: /cache\n    tmpfs:\n      - /tmp\n      - /run:mode=755\n      - /var/tmp:mode=1777\n    networks:\n      default:\n        aliases:\n          - www\n    read_only: true\nvolumes:\n  named:\n    name: app_named\n    labels: {}\n  kept:\n    name: kept\n  ANON:\n    name: app_ANON\n    labels: {}\nnetworks:\n  default:\n    labels:\n      ours: \"-\"\n"
    );
}
