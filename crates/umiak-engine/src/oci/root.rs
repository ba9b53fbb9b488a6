//! The root of a service: its images stacked, with a top that can be written.
//!
//! The top is there for read-only roots too: the runtime makes the places for its mounts there. It lies in memory (the
//! run directory), but for a root that the service may write and that is kept with the revision.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use umiak_mount::table::Table;
use umiak_mount::{Stack, Upper, unmount};
use umiak_spec::service::{Persistence, Root};

use super::place::{self, Instance, Place};
use crate::error::At;
use crate::{EngineError, Placed, durable};

/// What our mounts are called in the table.
const SOURCE: &str = "umiak";

/// Stacks the service's images, unless they are. The caller holds the engine's lock.
pub(crate) fn ready(instance: &Instance, placed: &Placed) -> Result<(), EngineError> {
    let service = &placed.service.name;
    if placed.lowers.is_empty() {
        let why = "its image has no layers to mount".to_owned();
        return Err(EngineError::Service { service: service.clone(), why });
    }
    let mut stacked = Vec::with_capacity(placed.lowers.len());
    for path in &placed.lowers {
        let meta = std::fs::metadata(path).at("examine", path)?;
        stacked.push((path.clone(), meta.dev(), meta.ino(), meta.len()));
    }
    let place = Place { key: instance.key.clone(), image: placed.image.to_string(), stacked, boot: place::boot_id() };
    let (point, noted) = (instance.root(), instance.file("place.json"));
    let mounted = Table::read()?.at(&point).is_some_and(|mount| mount.kind == "overlay" && mount.source == SOURCE);
    if mounted && place::read::<Place>(&noted).as_ref() == Some(&place) {
        return Ok(());
    }
    unmount(&point)?;
    durable::directory(&point)?;
    let upper = upper(instance, placed)?;
    let text = serde_json::to_vec(&place).unwrap_or_default();
    durable::document(&noted, &text)?;
    let stack = Stack { images: placed.lowers.clone(), upper: Some(upper) };
    let scratch = instance.directories().run.join("l");
    durable::directory(&scratch)?;
    Ok(stack.mount(SOURCE, &point, &scratch)?)
}

fn upper(instance: &Instance, placed: &Placed) -> Result<Upper, EngineError> {
    let base = base(instance, &placed.service.root);
    if placed.service.root == Root::ReadOnly {
        durable::remove_tree(&base)?;
    }
    let upper = Upper { upper: base.join("upper"), work: base.join("work") };
    durable::directory(&base)?;
    durable::open_directory(&upper.upper)?;
    durable::directory(&upper.work)?;
    Ok(upper)
}

/// Where the top of a root lies.
pub(crate) fn base(instance: &Instance, root: &Root) -> PathBuf {
    let name = &instance.key.service;
    match root {
        Root::ReadOnly | Root::Writable(Persistence::Boot) => instance.file("top"),
        Root::Writable(Persistence::Revision) => instance.kept_for_revision().join("roots").join(name),
        Root::Writable(Persistence::Persistent) => {
            instance.directories().volumes.join(&instance.key.app).join("roots").join(name)
        }
    }
}
