//! The agent over a real Docker daemon with Compose: an app from a registry, switched, taken back, asked to wait, with a
//! daemon that hangs and one that ends in the middle of an update.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may panic and write files")]

mod common;
mod device;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::layered;
use common::{RealClock, committed, rolled_back};
use device::World;
use umiak_agent::{Agent, AgentError, Happening, Outcome, Parts, Planned, Policy, Silently, UpdateOptions, Watcher};
use umiak_engine::{Docker, DockerOptions};
use umiak_spec::app::{AppManifest, Form};
use umiak_spec::{Cancelled, Digest, Observer, media_type};
use umiak_store::RealDisk;
use umiak_testkit::dockerd::Dockerd;
use umiak_testkit::sample::SampleLayer;

/// How long something may take to come on a loaded machine.
const SOON: Duration = Duration::from_secs(30);

/// Serves what the project has, counts its starts in a volume, and ends when it is told to.
const SERVES: &str = "trap 'exit 0' TERM\necho $((1 + $(/bin/busybox cat /kept/count || echo 0))) >/kept/count\n\
    /bin/busybox wget -q -O /dev/null http://db:81/kept/seed && echo found db\n\
    /bin/busybox httpd -p 80 -h /\nwhile :; do /bin/busybox sleep 0.1; done\n";

/// A device with Docker.
struct Device {
    world: World,
    busybox: Vec<u8>,
    dockerd: Mutex<Option<Dockerd>>,
}

impl Device {
    fn new() -> Self {
        let busybox = std::fs::read("/bin/busybox").unwrap();
        let device = Self { world: World::new(), busybox, dockerd: Mutex::default() };
        device.power_on();
        device
    }

    fn power_on(&self) {
        let dockerd = Dockerd::start_with_networks(&self.world.path().join("docker")).unwrap();
        *self.dockerd.lock().unwrap() = Some(dockerd);
    }

    fn power_off(&self) {
        if let Some(dockerd) = self.dockerd.lock().unwrap().take() {
            dockerd.stop().unwrap();
        }
    }

    fn with<T>(&self, work: impl FnOnce(&Dockerd) -> T) -> T {
        work(self.dockerd.lock().unwrap().as_ref().unwrap())
    }

    fn docker(&self, arguments: &[&str]) -> String {
        self.with(|dockerd| dockerd.docker(arguments)).unwrap().trim().to_owned()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.world.path().join(name)
    }

    fn agent(&self) -> Agent {
        let socket = self.with(Dockerd::socket);
        let patience = Some(Duration::from_secs(2));
        let engine = Docker::new(DockerOptions { socket, compose: None, environment: BTreeMap::new(), patience });
        let mut sources = device::sources();
        sources.runs_compose = true;
        let window = Duration::from_secs(1);
        let policy = Policy {
            window,
            patience: 10 * window,
            restarts: 0,
            look: Duration::from_millis(100),
            ..Policy::default()
        };
        Agent::new(Parts {
            root: self.path("store"),
            run: self.path("run"),
            projects: self.path("projects"),
            disk: Arc::new(RealDisk),
            engine: Arc::new(engine),
            supply: Arc::new(sources),
            clock: Arc::new(RealClock::default()),
            policy,
        })
    }

    /// A release of the app: `db`, which is healthy after a moment, and `web`, which needs it and runs `script`.
    fn publish(&self, word: &str, script: &str) {
        let base = layered::tar(&[("bin/sh", &self.busybox), ("bin/busybox", &self.busybox)]);
        let upper = layered::tar(&[("app/run", script.as_bytes()), ("kept/seed", b"seed")]);
        let image = device::image(vec![SampleLayer::plain(base), SampleLayer::plain(upper)]);
        let image =
            format!("{}/{}@{}", self.world.server.address(), device::REPOSITORY, self.world.publish(word, &image));
        let compose = format!(
            "services:\n  web:\n    image: {image}\n    command: [/bin/sh, /app/run]\n    restart: always\n    \
             stop_grace_period: 5s\n    labels: {{dev.umiak.update-lock: 'true'}}\n    networks: [front]\n    \
             ports: ['8088:80']\n    volumes: ['kept:/kept', './site:/site:ro']\n    \
             depends_on: {{db: {{condition: service_healthy}}}}\n  db:\n    image: {image}\n    \
             command: [/bin/busybox, httpd, -f, -p, '81', -h, /]\n    stop_grace_period: 0s\n    \
             networks: [front]\n    \
             healthcheck: {{test: [CMD, /bin/busybox, 'true'], interval: 1s}}\nnetworks: {{front: }}\nvolumes: {{kept: }}\n"
        );
        let bundle = device::tar(&[("docker-compose.yml", compose.as_bytes()), ("site/word", word.as_bytes())]);
        let manifest = AppManifest::new(Form::Artifact, Digest::of(&bundle), bundle.len() as u64);
        self.world.registry.put_blob(device::REPOSITORY, bundle);
        self.world.registry.put_blob(device::REPOSITORY, b"{}".to_vec());
        let bytes = manifest.to_bytes();
        self.world.registry.put("stable", media_type::OCI_MANIFEST, bytes.clone());
        self.world.registry.put(&Digest::of(&bytes).to_string(), media_type::OCI_MANIFEST, bytes);
    }

    fn update(&self) -> Result<Outcome, AgentError> {
        self.update_with(UpdateOptions { again: true, ..UpdateOptions::default() }, &Silently)
    }

    fn update_with(&self, options: UpdateOptions, watcher: &dyn Watcher) -> Result<Outcome, AgentError> {
        let agent = self.agent();
        agent.set_target(&self.world.asked(&self.world.reference("stable"))).unwrap();
        agent.update(&options, watcher)
    }

    /// What the published port serves, once it does.
    fn serves(&self) -> String {
        let end = Instant::now() + SOON;
        loop {
            let mut command = self.with(|dockerd| dockerd.within("busybox")).unwrap();
            let output = command.args(["wget", "-q", "-O", "-", "http://127.0.0.1:8088/site/word"]).output().unwrap();
            if output.status.success() {
                return String::from_utf8(output.stdout).unwrap();
            }
            assert!(Instant::now() < end, "{}\n{}", self.docker(&["ps", "-a"]), self.with(Dockerd::log));
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The container of a service that runs.
    fn container(&self, service: &str) -> String {
        self.docker(&["ps", "-q", "--filter", &format!("label=dev.umiak.service={service}")])
    }
}

/// Turns the power of the daemon off when the first service stops.
struct Cuts<'a>(&'a Device);

impl Observer for Cuts<'_> {
    fn expect(&self, _: &'static str, _: u64) {}

    fn advance(&self, _: &'static str, _: u64) {}

    fn note(&self, _: &str) {}

    fn check(&self) -> Result<(), Cancelled> {
        Ok(())
    }
}

impl Watcher for Cuts<'_> {
    fn happened(&self, happening: &Happening) {
        if matches!(happening, Happening::Starting { .. }) {
            self.0.power_off();
        }
    }

    fn planned(&self, _: &Planned) {}
}

#[test]
#[ignore = "needs: docker.io, docker-compose, iproute2, util-linux, busybox-static, root"]
fn an_app_lives_on_docker() {
    let device = Device::new();
    device.publish("one", SERVES);
    let outcome = device.update().unwrap();
    assert!(committed(&outcome), "{outcome:?}");
    assert_eq!(device.serves(), "one");
    let web = device.container("web");
    assert!(device.docker(&["logs", &web]).contains("found db"), "{}", device.docker(&["logs", &web]));

    // Somebody else's, of each kind.
    let image = device.docker(&["inspect", "-f", "{{.Config.Image}}", &web]);
    device.docker(&["tag", &image, "theirs:1"]);
    device.docker(&["network", "create", "theirs"]);
    device.docker(&["volume", "create", "theirs"]);
    device.docker(&[
        "run",
        "-d",
        "--name",
        "theirs",
        "-v",
        "theirs:/v",
        "--net",
        "theirs",
        "theirs:1",
        "/bin/sh",
        "/app/run",
    ]);

    // The app asks to wait, and is waited for.
    device.docker(&["exec", &web, "/bin/busybox", "touch", "/run/umiak/update.lock"]);
    device.publish("two", SERVES);
    let held = device.update().unwrap();
    assert!(matches!(&held, Outcome::Held { app, .. } if app == "shop"), "{held:?}");
    assert_eq!((device.serves(), device.container("web")), ("one".to_owned(), web.clone()), "nothing was touched");
    device.docker(&["exec", &web, "/bin/busybox", "rm", "/run/umiak/update.lock"]);
    let outcome = device.update().unwrap();
    let Outcome::Committed { stopped, .. } = &outcome else { panic!("{outcome:?}") };
    assert!(stopped[0].milliseconds < 20_000, "{stopped:?}");
    assert_eq!(device.serves(), "two");
    let count =
        |device: &Device| device.docker(&["exec", &device.container("web"), "/bin/busybox", "cat", "/kept/count"]);
    assert_eq!(count(&device), "2", "the volume came along");

    // A bad one is taken back.
    device.publish("bad", "echo cannot; exit 3\n");
    let outcome = device.update().unwrap();
    assert!(rolled_back(&outcome).contains("shop/web"), "{outcome:?}");
    assert_eq!((device.serves(), count(&device)), ("two".to_owned(), "3".to_owned()));

    // Only what is ours goes, and all of it.
    let agent = device.agent();
    agent.set_target(&common::asked(&[])).unwrap();
    assert!(committed(&agent.update(&UpdateOptions::default(), &Silently).unwrap()));
    device.agent().prune().unwrap();
    let ours = "label=dev.umiak.app";
    assert_eq!(device.docker(&["ps", "-q", "--filter", ours]), "", "nothing of ours runs");
    // What ran before is kept for the way back; the first release and the bad one are not.
    assert_eq!(device.docker(&["ps", "-aq", "--filter", ours]).lines().count(), 2);
    assert_eq!(device.docker(&["network", "ls", "-q", "--filter", ours]).lines().count(), 1);
    assert_eq!(device.docker(&["image", "ls", "-q", "umiak.local/image"]).lines().count(), 1);
    let volumes = device.docker(&["volume", "ls", "-q"]);
    assert!(volumes.contains("umiak-shop_kept") && volumes.contains("theirs"), "what the app wrote is kept: {volumes}");
    device.docker(&["network", "inspect", "theirs"]);
    assert_eq!(device.docker(&["inspect", "-f", "{{.State.Running}}", "theirs"]), "true");
    assert_eq!(device.docker(&["image", "ls", "-q", "theirs:1"]).lines().count(), 1);
}

#[test]
#[ignore = "needs: docker.io, docker-compose, iproute2, util-linux, busybox-static, root"]
fn a_daemon_that_hangs_or_ends_costs_an_update_and_not_the_app() {
    let device = Device::new();
    device.publish("one", SERVES);
    assert!(committed(&device.update().unwrap()));
    let web = device.container("web");

    // It accepts connections and answers none.
    device.publish("two", SERVES);
    device.with(|dockerd| dockerd.pause(true)).unwrap();
    let began = Instant::now();
    let told = match device.update() {
        Err(error) => error.line(),
        Ok(outcome) => panic!("{outcome:?}"),
    };
    assert!(told.contains("docker did not") && told.contains("within 2 s"), "{told}");
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    device.with(|dockerd| dockerd.pause(false)).unwrap();
    assert_eq!((device.serves(), device.container("web")), ("one".to_owned(), web), "it ran all the time");
    let outcome = device.update().unwrap();
    assert!(committed(&outcome), "{outcome:?}");
    assert_eq!(device.serves(), "two");

    // It ends in the middle of a switch, with all containers, and is started again.
    device.publish("three", SERVES);
    let cut = device.update_with(UpdateOptions::default(), &Cuts(&device));
    assert!(cut.is_err(), "{cut:?}");
    device.power_on();
    let outcome = device.update().unwrap();
    let word = match &outcome {
        Outcome::Committed { .. } | Outcome::UpToDate { .. } => "three",
        Outcome::RolledBack { .. } => "two",
        other => panic!("{other:?}"),
    };
    assert_eq!(device.serves(), word, "{outcome:?}");
    assert!(
        committed(&outcome) || committed(&device.update().unwrap()),
        "what failed for no fault of its own is tried again"
    );
    assert_eq!(device.serves(), "three");
}
