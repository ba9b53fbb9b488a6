//! A device as the planner is told of it, with room for everything: for tests that are about something else.

use std::collections::BTreeMap;

use umiak_plan::{Device, Engine, FileSystem, Keeps, Kind, Stored, Watermark};
use umiak_spec::Platform;

/// A device with one half empty ext4 of 4 GiB, on which nothing is stored.
#[must_use]
pub fn device(platform: Platform) -> Device {
    let file_system = FileSystem {
        name: "/".into(),
        kind: Kind::Ext4,
        block_size: 4096,
        blocks: 1 << 20,
        free: 1 << 19,
        reserved: 0,
        inodes_free: Some(1 << 18),
        inode_size: 256,
        groups: 0,
    };
    Device {
        name: "device".into(),
        file_systems: vec![file_system],
        roles: BTreeMap::new(),
        keeps: Keeps::Layers,
        engine: Engine::Runtime,
        watermark: Watermark::default(),
        platform,
        stored: Stored::default(),
    }
}
