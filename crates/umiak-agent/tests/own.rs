//! What `check` says of an app is what the app takes, from the check to the verdict: with documents of the device, unpacked
//! projects, logs, volumes and directories that are bound; for the first release on a device and for the next one.
//!
//! Never more, and in the end less by 64 KiB at most. What was said of layers is put right with what they take, so that no
//! bound of something large hides what is not counted.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may panic and write files")]

mod common;
mod device;
#[path = "device/taken.rs"]
mod taken;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use common::engine::FakeEngine;
use common::layered;
use common::{RealClock, committed};
use device::{REPOSITORY, World};
use taken::taken;
use umiak_agent::{Agent, Parts, Policy, Silently, UpdateOptions};
use umiak_engine::Engine;
use umiak_engine::oci::{Directories, Oci, OciOptions, Pool};
use umiak_plan::Step;
use umiak_store::{Hooked, RealDisk};
use umiak_testkit::sample::SampleLayer;

/// So much less than was said may be taken.
const SLACK: i128 = 64 << 10;

/// A device of which all but the run directory is counted.
struct Device {
    world: World,
    run: tempfile::TempDir,
    engine: Arc<dyn Engine>,
    most: Arc<AtomicU64>,
}

impl Device {
    fn new(engine: impl FnOnce(&Path, &Path) -> Arc<dyn Engine>) -> Self {
        let (world, run) = (World::new(), tempfile::tempdir().unwrap());
        let engine = engine(world.path(), run.path());
        Self { world, run, engine, most: Arc::default() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.world.path().join(name)
    }

    fn agent(&self) -> Agent {
        let (most, all) = (self.most.clone(), self.world.path().to_owned());
        let disk = Hooked::new(Arc::new(RealDisk), move |_| {
            most.fetch_max(taken(&all).0, Ordering::SeqCst);
            Ok(())
        });
        let window = Duration::from_millis(500);
        Agent::new(Parts {
            root: self.path("store"),
            run: self.run.path().to_owned(),
            projects: self.path("projects"),
            disk: Arc::new(disk),
            engine: self.engine.clone(),
            supply: Arc::new(device::sources()),
            clock: Arc::new(RealClock::default()),
            policy: Policy { window, look: Duration::from_millis(50), ..Policy::default() },
        })
    }

    /// A release of an app with these services, which all run `command`.
    fn publish(&self, tag: &str, services: &[&str], layer: &[u8], command: &str) {
        let image =
            self.world.publish(&format!("image-{tag}"), &device::image(vec![SampleLayer::plain(layer.to_vec())]));
        let mut compose = "services:\n".to_owned();
        for name in services {
            let outside = self.path("outside").join(name).join("deep");
            compose += &format!(
                "  {name}:\n    image: {}/{REPOSITORY}@{image}\n    command: {command}\n    network_mode: none\n    \
                 tmpfs: [/tmp]\n    volumes: [\"./site:/site:ro\", \"./made/{name}:/made\", \"{}:/outside\", \
                 \"shared:/shared\", \"of-{name}:/data\"]\n",
                self.world.server.address(),
                outside.display(),
            );
        }
        compose += "volumes:\n  shared: {}\n";
        services.iter().for_each(|name| compose += &format!("  of-{name}: {{}}\n"));
        self.world.publish_compose(tag, &compose, &[("site/index.html", b"<h1>hello</h1>")]);
    }

    /// Bytes of all layers in the store.
    fn layers(&self) -> i128 {
        taken(&self.path("store/layers")).0.into()
    }

    /// Checks, updates, and compares. What was said of layers, which nobody measured, is put right.
    fn law(&self, tag: &str) {
        let agent = self.agent();
        agent.set_target(&self.world.asked(&self.world.reference(tag))).unwrap();
        let planned = agent.check(&Silently).unwrap().planned.expect("something is missing");
        let (before, layers) = (taken(self.world.path()).0, self.layers());
        self.most.store(0, Ordering::SeqCst);
        let outcome = agent.update(&UpdateOptions::default(), &Silently).unwrap();
        assert!(committed(&outcome), "{outcome:?}");
        let last = i128::from(taken(self.world.path()).0) - i128::from(before);
        let peak = self.most.load(Ordering::SeqCst).saturating_sub(before);
        let said = &planned.answer.uses[0];
        let end = said.last - of_layers(&planned.answer.steps) + self.layers() - layers;
        let steps: Vec<String> = planned.answer.explain().iter().map(|row| format!("{row:?}")).collect();
        let context = format!("{tag}: said {} and {end}, taken {peak} and {last}\n{}", said.peak, steps.join("\n"));
        assert!(peak <= said.peak, "at the peak: {context}");
        assert!(last <= end && end <= last + SLACK, "in the end: {context}");
    }
}

/// What a plan says that layers take.
fn of_layers(steps: &[Step]) -> i128 {
    let changes = steps.iter().flat_map(|step| &step.changes);
    let layers = changes.filter(|change| ["layer, ", "how layers "].iter().any(|why| change.why.starts_with(why)));
    layers.map(|change| i128::from(change.taken.bytes)).sum()
}

#[test]
fn documents_of_the_device_are_in_what_was_said() {
    let device = Device::new(|_, _| Arc::new(FakeEngine::default()));
    let layer = |content: &str| layered::tar(&[("etc/release", content.as_bytes())]);
    device.publish("1", &["db"], &layer("one"), "[well]");
    device.law("1");
    device.publish("2", &["db", "web"], &layer("two"), "[well]");
    device.law("2");
}

fn shim() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let beside = test.parent().and_then(Path::parent).unwrap().join("umiak-shim");
    assert!(beside.exists(), "cargo build -p umiak-engine --bin umiak-shim");
    beside
}

fn real(kept: &Path, run: &Path) -> Arc<dyn Engine> {
    let options = OciOptions {
        directories: Directories { run: run.to_owned(), volumes: kept.join("volumes"), logs: kept.join("logs") },
        runtime: "/usr/bin/crun".into(),
        shim: vec![shim().display().to_string()],
        systemd_cgroups: false,
        pool: Pool::default(),
        patience: Duration::from_secs(30),
    };
    Arc::new(Oci::new(options).unwrap())
}

impl Drop for Device {
    fn drop(&mut self) {
        for found in self.engine.observe().unwrap_or_default() {
            let _ = self.engine.stop(&found.app, &found.revision, &found.service);
        }
        for found in self.engine.observe().unwrap_or_default() {
            let _ = self.engine.remove(&found.app, &found.revision);
        }
    }
}

#[test]
#[ignore = "needs: busybox-static, crun, root"]
fn directories_of_services_are_in_what_was_said() {
    let device = Device::new(real);
    let busybox = std::fs::read("/bin/busybox").unwrap();
    let stays = "trap 'exit 0' TERM\nwhile :; do sleep 0.1; done\n";
    let layer = |number: u32| {
        let script = format!("# {number}\n{stays}");
        layered::tar(&[("bin/sh", &busybox), ("bin/sleep", &busybox), ("app/run", script.as_bytes())])
    };
    let command = "[/bin/sh, /app/run]";
    device.publish("1", &["db", "web", "worker"], &layer(1), command);
    device.law("1");
    device.publish("2", &["db", "web", "worker", "queue", "mail"], &layer(2), command);
    device.law("2");
}
