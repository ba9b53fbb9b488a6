//! The device's numbers: what was fetched, what the disk was said to take and took.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::Serialize;
use serde_json::Value;
use umiak_ui::{Size, Table};

/// What the chapter came to, in bytes.
#[derive(Debug, Default, Serialize)]
pub struct Figures {
    /// Why no containers ran.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_out: Option<String>,
    /// Fetched for the first release.
    pub first: u64,
    /// What it was predicted to take on the disk, and took.
    pub first_disk: [u64; 2],
    /// How often the power was cut.
    pub cuts: u32,
    /// What was on the disk when it was cut in the middle of the first release.
    pub kept: u64,
    /// Fetched for the second release.
    pub update: u64,
    /// What that would be without deltas.
    pub full: u64,
    /// What it was predicted to take on the disk, and took.
    pub update_disk: [u64; 2],
    /// For how long the app did not run in a switch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stopped: Option<String>,
    /// Freed by pruning.
    pub pruned: u64,
}

impl Figures {
    /// Adds them to the demo's table.
    pub fn rows(&self, table: &mut Table) {
        let mut row = |what: &str, size: u64, text: &str| table.row([what, &Size(size).to_string(), text]);
        row("device, shop-1.4.2", self.first, "fetched, cut off in the middle, gone on with");
        let times = self.full / self.update.max(1);
        row(
            "device, shop-1.5.0",
            self.update,
            &format!("fetched, {times} times less than {} in full", Size(self.full)),
        );
        let [predicted, took] = self.first_disk;
        row("disk for shop-1.4.2", took, &format!("{} were predicted", Size(predicted)));
        let [predicted, took] = self.update_disk;
        row("disk for shop-1.5.0", took, &format!("beside the other; {} were predicted", Size(predicted)));
        if let Some(stopped) = &self.stopped {
            table.row([
                "stopped in a switch",
                stopped,
                "both services, with the time that they take to stop and start",
            ]);
        }
    }
}

/// A figure of the fit check, of the one file system of the device.
pub fn figure(plan: &Value, name: &str) -> u64 {
    plan["fileSystems"][0][name].as_u64().unwrap_or_default()
}

/// Bytes of disk that a store takes, but for the space that it holds for what is to come.
pub fn stored(store: &Path) -> u64 {
    taken(store).saturating_sub(taken(&store.join("reserve")))
}

/// Bytes of disk that a file, or a directory, takes with everything in it; none where there is none.
pub fn taken(directory: &Path) -> u64 {
    let own = fs::symlink_metadata(directory).map_or(0, |found| found.blocks() * 512);
    let below = fs::read_dir(directory).into_iter().flatten().flatten();
    own + below
        .map(|entry| match entry.file_type() {
            Ok(kind) if kind.is_dir() => taken(&entry.path()),
            _ => entry.metadata().map_or(0, |found| found.blocks() * 512),
        })
        .sum::<u64>()
}
