//! A device that lives on a made-up registry: the real store, the real sources, an engine that is a table.

#![allow(dead_code, reason = "not every test uses everything")]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use umiak_agent::sources::Sources;
use umiak_agent::{Agent, Outcome, Parts, Policy, Silently, UpdateOptions};
use umiak_store::{Disk, RealDisk, Store, StoreOptions};

use crate::common::FakeClock;
use crate::common::engine::FakeEngine;
use crate::device::sources;
use crate::releases::Site;

pub struct Device {
    pub site: Site,
    pub root: PathBuf,
    pub engine: Arc<FakeEngine>,
    pub clock: Arc<FakeClock>,
}

impl Device {
    pub fn new() -> Self {
        let site = Site::new();
        let root = site.world.path().join("store");
        Self { site, root, engine: Arc::default(), clock: FakeClock::new() }
    }

    pub fn agent(&self) -> Agent {
        self.agent_with(Arc::new(RealDisk), sources())
    }

    pub fn agent_with(&self, disk: Arc<dyn Disk>, sources: Sources) -> Agent {
        Agent::new(Parts {
            root: self.root.clone(),
            run: self.site.world.path().join("run"),
            projects: self.site.world.path().join("projects"),
            disk,
            engine: self.engine.clone(),
            supply: Arc::new(sources),
            clock: self.clock.clone(),
            policy: Policy { window: Duration::ZERO, ..Policy::default() },
        })
    }

    /// Sets the tag as the target.
    pub fn set(&self, agent: &Agent, tag: &str) {
        agent.set_target(&self.site.world.asked(&self.site.world.reference(tag))).unwrap();
    }

    pub fn update(&self, tag: &str) -> Outcome {
        let agent = self.agent();
        self.set(&agent, tag);
        agent.update(&UpdateOptions::default(), &Silently).unwrap()
    }

    /// The store, to look at.
    pub fn store(&self) -> Store {
        Store::open(&self.root, Arc::new(RealDisk), &StoreOptions::READ).unwrap()
    }
}
