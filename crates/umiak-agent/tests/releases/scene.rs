//! A device that went through releases, and is to get another.

use std::sync::Arc;

use umiak_agent::{Silently, UpdateOptions};

use super::{Releases, runs, taken};
use crate::common::{self, FakeClock, asked, committed, temporary};
use crate::cut::{Deed, Device, Known, Scene};
use crate::device;

/// How little space there is for the update from real releases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Space {
    /// Enough; what is not needed any more goes after the commit.
    Enough,
    /// Too little unless what nobody needs goes first.
    Tight,
}

/// A device that went through releases 1 and 2 by the real sources and is to get release 3, by a delta and as a patch.
pub fn real(command: &str, space: Space) -> Scene {
    let directory = temporary();
    let disk = directory.path().join("disk");
    std::fs::create_dir(&disk).unwrap();
    let mut releases = Releases::new(&directory.path().join("shop"));
    let mut device = Device {
        disk,
        run: directory.path().join("run"),
        engine: Arc::default(),
        clock: FakeClock::new(),
        supply: Arc::new(Releases::sources(1 << 30)),
        known: Known::default(),
        policy: common::policy(),
    };
    device.policy.prune = space == Space::Enough;
    let reference = releases.reference();
    let last = if space == Space::Tight { 4 } else { 3 };
    for number in 1..last {
        releases.publish(number, "run");
        device.well().set_target(&asked(&[&reference])).unwrap();
        assert!(committed(&device.well().update(&UpdateOptions::default(), &Silently).unwrap()));
    }
    releases.publish_delta(last - 1, last);
    releases.publish(last, command);
    device.known =
        Known { blobs: releases.blobs.clone(), layers: releases.layers.clone(), names: releases.names.clone() };
    if space == Space::Tight {
        device.supply = tight(&device);
    }
    let (base, target) = (runs(last - 1), runs(last));
    assert_eq!(device.running(), base);
    let bad = command != "run";
    let Device { engine, supply, known, policy, .. } = device;
    Scene {
        engine: engine.copy(),
        supply,
        known,
        policy,
        apps: vec![reference],
        directory,
        may_run: if bad { vec![base.clone()] } else { vec![base.clone(), target.clone()] },
        ends: if bad { base } else { target },
        deed: Deed::Update,
        // With nothing pruned after a commit: current, previous, and the one before that.
        keeps: if space == Space::Tight { 3 } else { 2 },
    }
}

/// Sources on a device with so little space that the update has to reclaim, and so much that it then fits.
fn tight(device: &Device) -> Arc<dyn umiak_agent::Supply> {
    // So many blocks stay free by the watermark.
    let watermark = device::device().file_systems[0].blocks.div_ceil(5);
    let taken = taken(&device.root());
    for free in (0..200).rev().map(|blocks| (watermark + blocks) * 4096) {
        let supply: Arc<dyn umiak_agent::Supply> = Arc::new(Releases::sources(free + taken));
        let tried = Device {
            disk: device.disk.clone(),
            run: device.run.clone(),
            engine: device.engine.clone(),
            clock: device.clock.clone(),
            supply: supply.clone(),
            known: Known::default(),
            policy: device.policy.clone(),
        };
        let planned = tried.well().check(&Silently).unwrap().planned.unwrap();
        assert!(planned.refusal.is_none(), "{:?}", planned.refusal);
        if planned.reclaim {
            return supply;
        }
    }
    panic!("there is always space");
}
