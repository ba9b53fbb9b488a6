//! Private networks over revisions, between engines on one machine, and after cuts.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may panic and write files")]

mod device;

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use device::{Device, NEXT, NoImages, REVISION, shell};
use umiak_engine::oci::{Oci, OciOptions};
use umiak_engine::{Deployment, Engine, Observed, Placed};
use umiak_spec::Digest;
use umiak_spec::service::{Attachment, Network, Private, Service};

both! {
    who_stays_finds_who_was_changed
    what_a_cut_left_is_taken_up
    numbers_of_the_gone_are_taken_when_none_is_left
    engines_of_two_stores_share_a_machine
}

fn on(mut service: Service, aliases: &[&str]) -> Service {
    let aliases = aliases.iter().map(|alias| (*alias).to_owned()).collect();
    let attached = vec![Attachment { aliases, ..Attachment::new("default") }];
    service.network = Network::Private(Private { attached, ports: vec![] });
    service.stop_grace = Duration::ZERO;
    service
}

/// Serves a word, and says its address.
fn serving(word: &str) -> Service {
    let script =
        format!("mkdir /tmp/w; echo {word} > /tmp/w/index.html; grep web /etc/hosts; exec httpd -f -p 80 -h /tmp/w");
    let mut service = on(shell("web", &script), &["front"]);
    service.root = umiak_spec::service::Root::Writable(umiak_spec::service::Persistence::Boot);
    service
}

/// The machine's devices whose names are ours.
fn links() -> Vec<String> {
    let output = Command::new("ip").args(["-o", "link"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let names = text.lines().filter_map(|line| line.split(": ").nth(1));
    let mut names: Vec<String> = names.map(|name| name.split('@').next().unwrap_or(name).to_owned()).collect();
    names.retain(|name| name.starts_with("um"));
    names.sort();
    names
}

fn who_stays_finds_who_was_changed(device: &mut Device) {
    let asks = "while :; do wget -q -O - http://front/; grep -q more /etc/hosts && wget -q -O - http://more/; sleep 0.05; done 2>/dev/null";
    let client = on(shell("client", asks), &[]);
    device.run([client, serving("one")]);
    device.wait_for_words("client", "one");
    let address = device.output("web")[0].clone();
    // The next revision has another `web` and one more service; `client` goes on under the first.
    let mut more = on(serving("more"), &[]);
    more.name = "more".into();
    let next = device.deployment(NEXT, [serving("two"), more]);
    device.engine.ready(&next, &NoImages).unwrap();
    assert_eq!(links().len(), 1 + 4, "one network, a cable for each that was made ready");
    let asked = device.output("client").len();
    let end = Instant::now() + Duration::from_secs(20);
    while device.output("client").len() < asked + 3 {
        assert!(Instant::now() < end, "what was made ready disturbs what runs");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(!device.output("client").contains(&"two".to_owned()));
    device.stop("web");
    for service in ["web", "more"] {
        device.engine.start(&next, service).unwrap();
    }
    device.wait_for_words("client", "two");
    device.wait_for_words("client", "more");
    assert!(device.output("web").contains(&address), "it kept its address: {:?}", device.output("web"));
    assert_eq!(device.see("client").restarts, 0);
    // And back, as after a release that failed.
    device.engine.stop(&device.app, NEXT, "web").unwrap();
    let asked = device.output("client").len();
    device.engine.start(&device.deployment(REVISION, [serving("one")]), "web").unwrap();
    let end = Instant::now() + Duration::from_secs(20);
    while !device.output("client")[asked..].contains(&"one".to_owned()) {
        assert!(Instant::now() < end, "{:?}", device.output("client"));
        std::thread::sleep(Duration::from_millis(5));
    }
    device.engine.remove(&device.app, NEXT).unwrap();
    assert_eq!(links(), ["um0v0", "um0v1", "umiak0"]);
    let hosts = fs::read_to_string(device.instance("client", "hosts")).unwrap();
    assert!(hosts.contains("web front") && !hosts.contains("more"), "{hosts}");
    device.engine.remove(&device.app, REVISION).unwrap();
    assert_eq!(links(), Vec::<String>::new());
}

fn what_a_cut_left_is_taken_up(device: &mut Device) {
    let asks = "until wget -q -O - http://front/; do sleep 0.05; done; sleep 1000";
    let services = || [on(shell("client", asks), &[]), serving("one")];
    let deployment = device.deployment(REVISION, services());
    device.engine.ready(&deployment, &NoImages).unwrap();
    // A bridge of which nothing was noted, one that somebody took away, cables that lead elsewhere.
    fs::rename(device.path("run/networks/0"), device.path("noted")).unwrap();
    device.engine.ready(&deployment, &NoImages).unwrap();
    assert_eq!(links(), ["um0v0", "um0v1", "umiak0"]);
    let ip = |arguments: &[&str]| assert!(Command::new("ip").args(arguments).status().unwrap().success());
    ip(&["link", "delete", "umiak0"]);
    ip(&["link", "delete", "um0v0"]);
    // What has our name and is somebody else's stays, and its number is not ours.
    ip(&["link", "add", "umiak0", "type", "bridge"]);
    device.start(&deployment).unwrap();
    device.wait_for_words("client", "one");
    assert!(links().contains(&"umiak1".to_owned()), "{:?}", links());
    device.engine.remove(&device.app, REVISION).unwrap();
    assert!(links().contains(&"umiak0".to_owned()) && !links().contains(&"umiak1".to_owned()), "{:?}", links());
}

fn numbers_of_the_gone_are_taken_when_none_is_left(device: &mut Device) {
    let batch: String = (0..256)
        .map(|number| {
            let directory = if number == 77 { "/nonexistent/run" } else { "/" };
            let note = format!("umiak: network default of shop ({directory})");
            format!("link add umiak{number} type bridge\nlink set umiak{number} alias \"{note}\"\n")
        })
        .collect();
    fs::write(device.path("batch"), batch).unwrap();
    let file = device.path("batch").display().to_string();
    assert!(Command::new("ip").args(["-batch", &file]).status().unwrap().success());
    device.engine.ready(&device.deployment(REVISION, [serving("one")]), &NoImages).unwrap();
    assert!(device.path("run/networks/77").exists());
    let mut next = serving("two");
    next.network = Network::Private(Private { attached: vec![Attachment::new("other")], ports: vec![] });
    let error = device.engine.ready(&device.deployment(NEXT, [next]), &NoImages).unwrap_err();
    assert!(error.to_string().contains("all 256 networks"), "{error}");
}

fn engines_of_two_stores_share_a_machine(device: &mut Device) {
    let keeper = device.path("machine");
    let image = device.image.clone();
    let options: Vec<OciOptions> =
        ["a", "b"].map(|name| device::options(&device.path(name), &device::program("crun"))).into_iter().collect();
    let app = device.app.clone();
    let work = |options: &OciOptions, word: &'static str| {
        let engine = Oci::new(options.clone()).unwrap();
        let asks = "until wget -q -O - http://front/; do sleep 0.02; done; sleep 1000";
        for round in 0..4 {
            let placed = |service| Placed { service, image: Digest::of(b"image"), lowers: vec![image.clone()] };
            let services = [serving(word), on(shell("client", asks), &[])];
            let app = format!("{app}{word}{round}");
            let revision = REVISION.to_owned();
            let services = services.into_iter().map(placed).collect();
            let deployment = Deployment { app: app.clone(), revision, services, project: None };
            engine.ready(&deployment, &NoImages).unwrap();
            ["web", "client"].iter().for_each(|service| engine.start(&deployment, service).unwrap());
            let end = Instant::now() + Duration::from_secs(20);
            let said = || {
                let mut all = Vec::new();
                let mut sink = |line: &umiak_engine::Line| {
                    all.push(String::from_utf8_lossy(&line.text).into_owned());
                    std::ops::ControlFlow::Continue(())
                };
                engine.logs(&app, Some("client"), &umiak_engine::LogQuery::default(), &mut sink).unwrap();
                all
            };
            while !said().iter().any(|line| line == word) {
                assert!(Instant::now() < end, "{word} {round}: {:?}", said());
                std::thread::sleep(Duration::from_millis(5));
            }
            assert!(engine.observe().unwrap().iter().all(Observed::is_running));
            engine.remove(&app, REVISION).unwrap();
        }
    };
    std::thread::scope(|scope| {
        let start = |options, word| {
            let (keeper, work) = (&keeper, &work);
            scope.spawn(move || umiak_mount::namespace::in_network(keeper, || work(options, word)).unwrap())
        };
        let both = [start(&options[0], "alpha"), start(&options[1], "beta")];
        for one in both {
            one.join().unwrap();
        }
    });
    assert_eq!(links(), Vec::<String>::new());
}
