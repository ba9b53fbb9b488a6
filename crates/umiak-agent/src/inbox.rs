//! What was asked of the device: one small file beside the store's own, so that a target can be set while an update runs.
//!
//! The store's records are changed by the one updater only; this file by anybody who may write to the directory, one at a
//! time, and replaced whole: the last one wins, and there is never half a target. The updater reads it where it can still
//! turn round.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use umiak_pvr::State;
use umiak_spec::target::Asked;
use umiak_spec::{Digest, Limits};
use umiak_store::Disk;

use crate::durable;

/// Bytes of a file that is read.
const MAX: u64 = 2 << 20;

/// Bytes of a state.
const LONGEST_STATE: u64 = 4 << 20;

/// Where states are that were put together here, in the store at `root`.
pub(crate) fn states(root: &Path) -> PathBuf {
    root.join("inbox").join("states")
}

/// What was asked, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asking {
    /// The target as it was asked for.
    pub asked: Asked,
    /// Seconds since 1970, where the clock was right.
    pub at: Option<u64>,
    /// Tells this asking from all others: setting the same target again is another one.
    pub id: Digest,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    /// [`Asked`] as text.
    asked: String,
    at: Option<u64>,
    /// How often a target was set.
    count: u64,
}

/// The place of the file.
pub(crate) struct Inbox<'a> {
    directory: PathBuf,
    states: PathBuf,
    disk: &'a dyn Disk,
}

impl<'a> Inbox<'a> {
    /// The inbox of the store at `root`.
    pub(crate) fn new(root: &Path, disk: &'a dyn Disk) -> Self {
        Self { directory: root.join("inbox"), states: states(root), disk }
    }

    /// What was asked last; `None` where nothing was.
    pub(crate) fn read(&self) -> io::Result<Option<Asking>> {
        let Some(bytes) = durable::read(&self.directory.join("target"), MAX)? else { return Ok(None) };
        let document: Document = serde_json::from_slice(&bytes).map_err(io::Error::other)?;
        let asked = Asked::parse(document.asked.as_bytes(), &Limits::default()).map_err(io::Error::other)?;
        Ok(Some(Asking { asked, at: document.at, id: Digest::of(&bytes) }))
    }

    /// Where a state is that was put together on the device.
    pub(crate) fn state_path(&self, digest: &Digest) -> PathBuf {
        self.states.join(format!("{}.json", digest.hex()))
    }

    /// A state that was put together on the device; `None` where it cannot be read.
    pub(crate) fn state(&self, digest: &Digest) -> Option<State> {
        let bytes = durable::read(&self.state_path(digest), LONGEST_STATE).ok()??;
        State::parse(&bytes, LONGEST_STATE).ok()
    }

    /// Sets the target to one that names a state, and puts that in its file before. States of neither this target nor of
    /// `kept` go.
    pub(crate) fn write_with_state(
        &self,
        asked: &Asked,
        at: Option<u64>,
        digest: &Digest,
        state: &[u8],
        kept: &BTreeSet<PathBuf>,
    ) -> io::Result<()> {
        let _alone = durable::lock(self.disk, &self.directory)?;
        let states = &self.states;
        durable::make_directory(self.disk, states)?;
        let name = format!("{}.json", digest.hex());
        if durable::read(&states.join(&name), LONGEST_STATE)?.as_deref() != Some(state) {
            durable::replace(self.disk, states, &name, state)?;
        }
        self.put(asked, at)?;
        for other in durable::names(states)?.into_iter().filter(|other| *other != name) {
            let path = states.join(other);
            if !kept.contains(&path) {
                // One that stays is removed the next time.
                let _ = self.disk.unlink(&path);
            }
        }
        Ok(())
    }

    /// Sets the target; afterwards, and after a cut at any moment, the file is the one before or this one.
    pub(crate) fn write(&self, asked: &Asked, at: Option<u64>) -> io::Result<()> {
        let _alone = durable::lock(self.disk, &self.directory)?;
        self.put(asked, at)
    }

    fn put(&self, asked: &Asked, at: Option<u64>) -> io::Result<()> {
        let before: Option<Document> =
            durable::read(&self.directory.join("target"), MAX)?.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let count = before.map_or(0, |document| document.count.saturating_add(1));
        let text = String::from_utf8(asked.to_bytes()).map_err(io::Error::other)?;
        let bytes = serde_json::to_vec(&Document { asked: text, at, count }).map_err(io::Error::other)?;
        durable::replace(self.disk, &self.directory, "target", &bytes)
    }
}
