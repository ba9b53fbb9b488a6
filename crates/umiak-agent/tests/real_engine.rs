//! The agent over the real engine: layers of the store, mounted and run by `crun`; switched, tested, taken back.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may panic and write files")]

mod common;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::layered::tar;
use common::supply::{FakeSupply, Publish, service};
use common::{RealClock, asked, committed, rolled_back, temporary};
use umiak_agent::{Agent, Outcome, Parts, Policy, Silently, UpdateOptions};
use umiak_engine::oci::{Directories, Oci, OciOptions, Pool};
use umiak_engine::{Condition, Engine, Observed};
use umiak_store::RealDisk;

/// A script that ends when it is told to, as the first process of a container has to say itself.
const STAYS: &str = "trap 'exit 0' TERM\nwhile :; do sleep 0.1; done\n";

const SHOP: &str = "registry.example/team/shop:stable";

fn shim() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let beside = test.parent().and_then(Path::parent).unwrap().join("umiak-shim");
    assert!(beside.exists(), "cargo build -p umiak-engine --bin umiak-shim");
    beside
}

struct Device {
    engine: Arc<Oci>,
    supply: Arc<FakeSupply>,
    scratch: tempfile::TempDir,
    busybox: Vec<u8>,
}

impl Device {
    fn new() -> Self {
        let scratch = temporary();
        let directory = |name: &str| scratch.path().join(name);
        let options = OciOptions {
            directories: Directories { run: directory("run"), volumes: directory("volumes"), logs: directory("logs") },
            runtime: "/usr/bin/crun".into(),
            shim: vec![shim().display().to_string()],
            systemd_cgroups: false,
            pool: Pool::default(),
            patience: Duration::from_secs(30),
        };
        let busybox = std::fs::read("/bin/busybox").unwrap();
        Self { engine: Arc::new(Oci::new(options).unwrap()), supply: Arc::default(), scratch, busybox }
    }

    fn agent(&self) -> Agent {
        let window = Duration::from_secs(1);
        Agent::new(Parts {
            root: self.scratch.path().join("store"),
            run: self.scratch.path().join("run"),
            projects: self.scratch.path().join("projects"),
            disk: Arc::new(RealDisk),
            engine: self.engine.clone(),
            supply: self.supply.clone(),
            clock: Arc::new(RealClock::default()),
            policy: Policy { window, patience: window, look: Duration::from_millis(100), ..Policy::default() },
        })
    }

    /// `db`, which stays, and `front` with a script.
    fn publish(&self, script: &str) -> Vec<u8> {
        let base = tar(&[("bin/sh", &self.busybox), ("bin/sleep", &self.busybox)]);
        let upper = tar(&[("app/run", script.as_bytes())]);
        let layers = [base.clone(), upper.clone()];
        let stays = [base, tar(&[("app/run", STAYS.as_bytes())])];
        let front = Publish { layers: &layers, root: script.into(), ..service("front", "/bin/sh /app/run", "") };
        let db = Publish { layers: &stays, ..service("db", "/bin/sh /app/run", "db") };
        self.supply.publish(SHOP, &[db, front]);
        upper
    }

    fn update(&self) -> Outcome {
        let agent = self.agent();
        agent.set_target(&asked(&[SHOP])).unwrap();
        agent.update(&UpdateOptions::default(), &Silently).unwrap()
    }

    fn running(&self, name: &str) -> Vec<Observed> {
        let all = self.engine.observe().unwrap();
        all.into_iter().filter(|found| found.service == name && found.is_running()).collect()
    }

    fn since(&self, name: &str) -> Duration {
        match self.running(name).as_slice() {
            [Observed { condition: Condition::Running { since }, .. }] => *since,
            other => panic!("{name}: {other:?}"),
        }
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        for found in self.engine.observe().unwrap() {
            let _ = self.engine.stop(&found.app, &found.revision, &found.service);
        }
        for found in self.engine.observe().unwrap() {
            let _ = self.engine.remove(&found.app, &found.revision);
        }
    }
}

#[test]
#[ignore = "needs: busybox-static, crun, root"]
fn an_update_by_delta_runs_and_a_bad_one_is_taken_back() {
    let device = Device::new();
    let script = |number: u32| format!("echo front {number}\n{STAYS}{}", "# filler\n".repeat(500));
    let first = device.publish(&script(1));
    assert!(committed(&device.update()));
    let db = (device.since("db"), Instant::now());
    let second = device.publish(&script(2));
    device.supply.publish_layer_delta(&first, &second);
    let outcome = device.update();
    assert!(committed(&outcome), "{outcome:?}");
    assert!(device.supply.applied.load(std::sync::atomic::Ordering::SeqCst) > 0, "by the delta");
    let passed = db.1.elapsed();
    assert!(device.since("db") + Duration::from_secs(1) >= db.0 + passed, "db was not started again");
    assert!(device.since("front") < passed);
    device.publish("exit 3\n");
    let outcome = device.update();
    assert!(rolled_back(&outcome).contains("front ended with code 3"), "{outcome:?}");
    let status = device.agent().status().unwrap();
    assert!(status.sentence.contains("2 of 2 services well"), "{}", status.sentence);
    // By hand back to the first, and away with everything.
    assert!(committed(&device.agent().rollback(None, &Silently).unwrap()));
    device.agent().set_target(&asked(&[])).unwrap();
    assert!(committed(&device.agent().update(&UpdateOptions::default(), &Silently).unwrap()));
    assert!(device.running("db").is_empty() && device.running("front").is_empty());
}
