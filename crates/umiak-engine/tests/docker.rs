//! The Docker engine with a real daemon and Compose: what is made, started, stopped, removed, and what is left alone.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod docker_support;

use std::fs;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use docker_support::{Store, engine, layer};
use serde_json::Value;
use umiak_engine::{Condition, Engine, EngineError, Health, Line, LogQuery, Observed, Stream};
use umiak_spec::Digest;
use umiak_spec::service::{Probe, Root, Service};
use umiak_testkit::dockerd::Dockerd;

const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until the service is as `wanted`.
fn until(engine: &dyn Engine, service: &str, wanted: impl Fn(&Observed) -> bool) -> Observed {
    let end = Instant::now() + PATIENCE;
    loop {
        let all = engine.observe().unwrap();
        if let Some(found) = all.iter().find(|one| one.service == service && wanted(one)) {
            return found.clone();
        }
        assert!(Instant::now() < end, "{service}: {all:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn lines(engine: &dyn Engine, service: Option<&str>, query: &LogQuery) -> Vec<(Stream, String)> {
    let mut all = vec![];
    let mut sink = |line: &Line| {
        all.push((line.stream, format!("{}: {}", line.service, String::from_utf8_lossy(&line.text))));
        ControlFlow::Continue(())
    };
    engine.logs("shop", service, query, &mut sink).unwrap();
    all
}

fn inspected(dockerd: &Dockerd, what: &str) -> Value {
    let text = dockerd.docker(&["inspect", what]).unwrap();
    serde_json::from_str::<Value>(&text).unwrap()[0].take()
}

const SHOP: &str = "services:
  web:
    image: registry.example/shop/web@sha256:1111111111111111111111111111111111111111111111111111111111111111
    depends_on: [db]
    restart: always
    stop_grace_period: 1s
    command: [sh, -c, 'echo ready; echo oops >&2; cat /own/release; trap \"exit 0\" TERM; while true; do sleep 1; done']
    volumes: [kept:/kept, /own2]
    healthcheck: {test: [CMD, \"true\"], interval: 1s, retries: 1}
    network_mode: none
  db:
    image: registry.example/shop/web@sha256:1111111111111111111111111111111111111111111111111111111111111111
    command: [sh, -c, 'echo $$((1 + $$(cat /kept/count || echo 0))) >/kept/count; cat /kept/count; exit 3']
    volumes: [kept:/kept]
    network_mode: none
volumes: {kept: }
";

#[test]
#[ignore = "needs: docker.io, docker-compose, iproute2, util-linux, busybox-static, root"]
fn an_app_lives_in_docker_and_only_what_is_ours_is_touched() {
    let scratch = tempfile::tempdir().unwrap();
    let dockerd = Dockerd::start(&scratch.path().join("docker")).unwrap();
    let engine = engine(&dockerd);
    let mut store = Store::default();
    let base = Store::busybox();
    let release = |name: &str| {
        layer(|root| {
            fs::create_dir(root.join("own")).unwrap();
            fs::write(root.join("own/release"), format!("{name}\n")).unwrap();
        })
    };
    let images = ["1", "2"].map(|name| store.image(&[&base, &release(name)], r#"{"Env":["PATH=/bin"]}"#));
    let one = store.deployment(&scratch.path().join("one"), "one", &images[0], SHOP);
    let two = store.deployment(&scratch.path().join("two"), "two", &images[1], SHOP);
    assert_eq!(engine.observe().unwrap(), []);

    // Images come from the store, their IDs are the configurations' digests, and doing it again does nothing.
    engine.ready(&one, &store).unwrap();
    assert_eq!(store.read.lock().unwrap().len(), 2);
    let name = format!("umiak.local/image:{}", images[0].hex());
    assert_eq!(inspected(&dockerd, &name)["Id"], images[0].to_string());
    engine.ready(&one, &store).unwrap();
    assert_eq!(store.read.lock().unwrap().len(), 2);
    let made = engine.observe().unwrap();
    assert_eq!(made.iter().map(|one| one.service.as_str()).collect::<Vec<_>>(), ["db", "web"]);
    assert!(made.iter().all(|seen| seen.condition == Condition::Created && seen.image == Some(images[0])));
    assert_eq!(one.services[0].service.name, "db", "it is needed first");

    // Someone else's image and container, under a name of theirs.
    dockerd.docker(&["tag", &name, "theirs:1"]).unwrap();
    dockerd.docker(&["run", "-d", "--name", "theirs", "--network=none", "theirs:1", "sleep", "1000"]).unwrap();

    engine.start(&one, "db").unwrap();
    engine.start(&one, "web").unwrap();
    engine.start(&one, "web").unwrap();
    let web = until(&engine, "web", |seen| seen.health == Some(Health::Healthy));
    assert!(web.is_well() && web.restarts == 0);
    until(&engine, "db", |seen| seen.condition == Condition::Exited { code: 3, stopped: false });
    let said = lines(&engine, Some("web"), &LogQuery::default());
    assert!(said.contains(&(Stream::Out, "web: ready".into())) && said.contains(&(Stream::Err, "web: oops".into())));
    assert!(said.contains(&(Stream::Out, "web: 1".into())), "{said:?}");
    assert_eq!(lines(&engine, None, &LogQuery { tail: Some(1), ..LogQuery::default() }).len(), 2);

    // The next revision is made while this one runs; the layer that both have is not sent again.
    store.read.lock().unwrap().clear();
    engine.ready(&two, &store).unwrap();
    assert_eq!(*store.read.lock().unwrap(), [Digest::of(&release("2")).to_string()]);
    assert!(until(&engine, "web", |seen| seen.revision == one.revision).is_running());
    engine.stop("shop", &one.revision, "web").unwrap();
    engine.stop("shop", &one.revision, "web").unwrap();
    let stopped = until(&engine, "web", |seen| seen.revision == one.revision);
    assert!(matches!(stopped.condition, Condition::Exited { stopped: true, .. }), "{stopped:?}");
    for service in ["db", "web"] {
        engine.start(&two, service).unwrap();
    }
    until(&engine, "web", |seen| seen.revision == two.revision && seen.is_well());
    let said = lines(&engine, Some("db"), &LogQuery::default());
    assert!(said.contains(&(Stream::Out, "db: 2".into())), "the volume came along: {said:?}");

    // The daemon starts anew: what ran runs, what was stopped does not.
    let socket = dockerd.socket();
    dockerd.stop().unwrap();
    assert!(matches!(engine.observe(), Err(EngineError::Absent(_))), "{}", socket.display());
    let dockerd = Dockerd::start(&scratch.path().join("docker")).unwrap();
    let engine = docker_support::engine(&dockerd);
    until(&engine, "web", |seen| seen.revision == two.revision && seen.is_running());
    let of_one = until(&engine, "web", |seen| seen.revision == one.revision);
    assert!(!of_one.is_running(), "{of_one:?}");

    // Only ours goes.
    engine.remove("shop", &one.revision).unwrap();
    engine.remove("shop", &one.revision).unwrap();
    assert!(matches!(engine.purge("shop"), Err(EngineError::Deployed(_))));
    assert!(engine.observe().unwrap().iter().all(|seen| seen.revision == two.revision));
    assert!(dockerd.docker(&["inspect", &name]).is_err(), "our name is gone");
    assert_eq!(inspected(&dockerd, "theirs:1")["Id"], images[0].to_string(), "their image is not");
    assert_eq!(inspected(&dockerd, "theirs")["Name"], "/theirs");
    engine.remove("shop", &two.revision).unwrap();
    assert!(dockerd.docker(&["volume", "ls", "-q"]).unwrap().contains("umiak-shop_kept"));
    engine.purge("shop").unwrap();
    assert_eq!(dockerd.docker(&["volume", "ls", "-q"]).unwrap(), "");
    assert_eq!(dockerd.docker(&["ps", "-aq", "--no-trunc"]).unwrap().lines().count(), 1, "theirs");
}

#[test]
#[ignore = "needs: docker.io, docker-compose, iproute2, util-linux, busybox-static, root"]
fn a_damaged_daemon_is_filled_again_from_our_store() {
    let scratch = tempfile::tempdir().unwrap();
    let root = scratch.path().join("docker");
    let dockerd = Dockerd::start(&root).unwrap();
    let mut store = Store::default();
    let image = store.image(&[&Store::busybox(), &layer(|root| fs::write(root.join("x"), "x\n").unwrap())], "{}");
    let text = "services:\n  web:\n    image: a\n    command: [/bin/sh, -c, 'cat /x; exec sleep 1000']\n    network_mode: none\n    stop_grace_period: 0s\n";
    let shop = store.deployment(&scratch.path().join("shop"), "one", &image, text);
    let before = engine(&dockerd);
    before.ready(&shop, &store).unwrap();
    before.start(&shop, "web").unwrap();

    // A directory of a layer goes, as a file system's repair would take it.
    let name = format!("umiak.local/image:{}", image.hex());
    let data = inspected(&dockerd, &name)["GraphDriver"]["Data"].clone();
    let gone = data["LowerDir"].as_str().unwrap().to_owned();
    assert!(gone.starts_with(root.to_str().unwrap()), "{gone}");
    fs::remove_dir_all(std::path::Path::new(&gone).parent().unwrap()).unwrap();
    let error = before.ready(&shop, &store).unwrap_err();
    assert!(error.to_string().contains("damaged"), "it runs: {error}");
    before.stop("shop", &shop.revision, "web").unwrap();
    before.ready(&shop, &store).unwrap();
    before.start(&shop, "web").unwrap();
    until(&before, "web", Observed::is_running);
    // What is printed is followed until it is there.
    let query = LogQuery { follow: true, ..LogQuery::default() };
    let mut said = vec![];
    let mut first = |line: &Line| {
        said.push((line.stream, String::from_utf8_lossy(&line.text).into_owned()));
        ControlFlow::Break(())
    };
    before.logs("shop", None, &query, &mut first).unwrap();
    assert_eq!(said, [(Stream::Out, "x".to_owned())]);

    // The daemon's whole list of images goes.
    dockerd.stop().unwrap();
    fs::remove_dir_all(root.join("image/overlay2/imagedb")).unwrap();
    let dockerd = Dockerd::start(&root).unwrap();
    let after = engine(&dockerd);
    after.stop("shop", &shop.revision, "web").unwrap();
    after.ready(&shop, &store).unwrap();
    after.start(&shop, "web").unwrap();
    until(&after, "web", Observed::is_running);
}

/// What Docker makes of a compose file, compared with what the typed service says: both engines are to run the same.
#[test]
#[ignore = "needs: docker.io, docker-compose, iproute2, util-linux, busybox-static, root"]
fn services_are_read_as_docker_has_them() {
    let scratch = tempfile::tempdir().unwrap();
    let dockerd = Dockerd::start(&scratch.path().join("docker")).unwrap();
    let engine = engine(&dockerd);
    let mut store = Store::default();
    let config = r#"{"Entrypoint":["/bin/echo"],"Cmd":["from","image"],"Env":["PATH=/bin","A=image","GONE=x"],"WorkingDir":"/tmp",
        "User":"7:8","StopSignal":"SIGINT","Volumes":{"/anonymous":{}},"Shell":["/bin/sh","-ec"],
        "Healthcheck":{"Test":["CMD-SHELL","true"],"Interval":4000000000,"Retries":5}}"#;
    let image = store.image(&[&Store::busybox()], config);
    let cases = [
        ("plain", ""),
        ("command", "    command: a 'b c' \"d\\\\e\"\n"),
        ("command-empty", "    command: []\n"),
        ("entry", "    entrypoint: /bin/sleep\n"),
        ("entry-empty", "    entrypoint: []\n"),
        ("both", "    entrypoint: [/bin/sh, -c]\n    command: ['echo $$A']\n"),
        ("env", "    environment: [A=own, B=$$1, GONE, EMPTY=]\n    user: '1000'\n    working_dir: /bin\n"),
        (
            "limits",
            "    mem_limit: 64m\n    cpu_shares: 77\n    pids_limit: 50\n    shm_size: 2m\n    ulimits: {nofile: {soft: 100, hard: 200}}\n    oom_score_adj: 300\n",
        ),
        ("deploy", "    deploy: {resources: {limits: {cpus: '0.5', memory: 32m}}}\n"),
        (
            "rights",
            "    cap_drop: [ALL]\n    cap_add: [NET_ADMIN]\n    privileged: false\n    security_opt: ['no-new-privileges:true']\n    init: true\n    read_only: true\n    devices: ['/dev/null:/dev/nothing:r']\n",
        ),
        ("mounts", "    volumes: ['named:/n:ro', './here:/h', '/anonymous2']\n    tmpfs: ['/t:size=1m,mode=755']\n"),
        ("health", "    healthcheck: {test: 'true', timeout: 3s, start_period: 1m}\n    stop_signal: SIGUSR1\n"),
        ("no-health", "    healthcheck: {disable: true}\n"),
    ];
    let body: String =
        cases.iter().map(|(name, lines)| format!("  {name}:\n    image: a\n    network_mode: none\n{lines}")).collect();
    let text = format!("services:\n{body}volumes: {{named: }}\n");
    let deployment = store.deployment(&scratch.path().join("shop"), "one", &image, &text);
    engine.ready(&deployment, &store).unwrap();
    for (name, _) in cases {
        let filter = format!("label=dev.umiak.service={name}");
        let id = dockerd.docker(&["ps", "-aq", "--no-trunc", "--filter", &filter]).unwrap();
        compare(&deployment.placed(name).unwrap().service, &inspected(&dockerd, id.trim()));
    }
}

fn compare(service: &Service, docker: &Value) {
    let name = &service.name;
    let texts = |value: &Value| -> Vec<String> {
        let items = value.as_array().into_iter().flatten();
        items.map(|item| item.as_str().unwrap_or_default().to_owned()).collect()
    };
    let (config, host) = (&docker["Config"], &docker["HostConfig"]);
    let args = [vec![docker["Path"].as_str().unwrap().to_owned()], texts(&docker["Args"])].concat();
    assert_eq!(service.process.args, args, "{name}");
    let env = texts(&config["Env"])
        .iter()
        // A name alone takes the image's variable away.
        .filter_map(|pair| pair.split_once('='))
        .map(|(a, b)| (a.into(), b.into()))
        .collect();
    assert_eq!(service.process.env, env, "{name}");
    let user = config["User"].as_str().unwrap().parse::<String>().unwrap();
    assert_eq!(service.process.user.to_string(), user, "{name}");
    assert_eq!(service.process.cwd, config["WorkingDir"].as_str().unwrap(), "{name}");
    assert_eq!(service.stop_signal, config["StopSignal"].as_str().unwrap_or("SIGTERM"), "{name}");
    let number = |value: &Value| value.as_u64().filter(|number| *number > 0);
    let limits = &service.resources;
    assert_eq!(limits.memory, number(&host["Memory"]), "{name}");
    assert_eq!(limits.cpu_nanos, number(&host["NanoCpus"]), "{name}");
    assert_eq!(limits.cpu_shares, number(&host["CpuShares"]), "{name}");
    assert_eq!(limits.pids, number(&host["PidsLimit"]), "{name}");
    assert_eq!(limits.shm_size.unwrap_or(64 << 20), host["ShmSize"].as_u64().unwrap(), "{name}");
    assert_eq!(i64::from(limits.oom_score_adj.unwrap_or_default()), host["OomScoreAdj"].as_i64().unwrap(), "{name}");
    let ulimits: Vec<(String, Option<u64>, Option<u64>)> =
        limits.ulimits.iter().map(|(name, limit)| (name.clone(), limit.soft, limit.hard)).collect();
    let theirs = host["Ulimits"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|one| (one["Name"].as_str().unwrap().to_owned(), one["Soft"].as_u64(), one["Hard"].as_u64()));
    // The test's daemon gives every container a limit of files.
    let theirs: Vec<_> = theirs.filter(|one| one.1 != Some(4096)).collect();
    assert_eq!(ulimits, theirs, "{name}");
    let bare = |list: &[String]| list.iter().map(|name| name.trim_start_matches("CAP_").to_owned()).collect::<Vec<_>>();
    assert_eq!(bare(&service.security.capabilities.add), bare(&texts(&host["CapAdd"])), "{name}");
    assert_eq!(bare(&service.security.capabilities.drop), bare(&texts(&host["CapDrop"])), "{name}");
    assert_eq!(service.init, host["Init"].as_bool().unwrap_or_default(), "{name}");
    assert_eq!(service.root == Root::ReadOnly, host["ReadonlyRootfs"].as_bool().unwrap(), "{name}");
    assert_eq!(service.security.devices.len(), host["Devices"].as_array().map_or(0, Vec::len), "{name}");
    let mut mounts: Vec<(String, bool)> = docker["Mounts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|mount| (mount["Destination"].as_str().unwrap().to_owned(), !mount["RW"].as_bool().unwrap()))
        .collect();
    let tmpfs = host["Tmpfs"].as_object().into_iter().flatten();
    mounts.extend(tmpfs.map(|(target, _)| (target.clone(), false)));
    mounts.sort();
    assert_eq!(
        service.mounts.iter().map(|mount| (mount.target.clone(), mount.read_only)).collect::<Vec<_>>(),
        mounts,
        "{name}"
    );
    let check = &config["Healthcheck"];
    match &service.health {
        None => assert!(check.is_null() || texts(&check["Test"]) == ["NONE"], "{name}: {check}"),
        Some(health) => {
            let seconds = |key: &str, unsaid: u64| {
                check[key].as_u64().filter(|nanos| *nanos > 0).map_or(unsaid, |nanos| nanos / 1_000_000_000)
            };
            let words = texts(&check["Test"]);
            let args = match words.split_first().unwrap() {
                (form, rest) if form == "CMD" => rest.to_vec(),
                (_, rest) => [&["/bin/sh".to_owned(), "-ec".to_owned()], rest].concat(),
            };
            assert_eq!(health.probe, Probe::Exec(args), "{name}");
            let times = [health.interval, health.timeout, health.start_period].map(|time| time.as_secs());
            assert_eq!(times, [seconds("Interval", 30), seconds("Timeout", 30), seconds("StartPeriod", 0)], "{name}");
            assert_eq!(
                u64::from(health.retries),
                check["Retries"].as_u64().filter(|count| *count > 0).unwrap_or(3),
                "{name}"
            );
        }
    }
}
