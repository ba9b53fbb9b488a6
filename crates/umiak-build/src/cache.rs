//! Small derived files kept between runs: layer indexes, content lists, measures of layers.
//!
//! Guarantees: a file appears under its name whole or not at all. It does not promise that a file is still there
//! next time, nor that its bytes are right: whoever reads one checks it (all carry a checksum) and makes it
//! again when it is not. Losing the directory costs time, nothing else.
#![allow(clippy::disallowed_methods)]

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use umiak_spec::Digest;

/// What a cached file is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entry {
    /// The index of the layer blob with this digest.
    Layer(Digest),
    /// The content list of the squashfs image with this digest.
    Contents(Digest),
    /// The measures of the layer blob with this digest.
    Measure(Digest),
}

/// A directory of derived files.
#[derive(Debug, Clone)]
pub(crate) struct Cache {
    root: PathBuf,
}

impl Cache {
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    fn path(&self, entry: Entry) -> PathBuf {
        match entry {
            Entry::Layer(digest) => self.root.join("layers").join(digest.hex()),
            Entry::Contents(digest) => self.root.join("contents").join(digest.hex()),
            // Measured otherwise, they get another number.
            Entry::Measure(digest) => self.root.join("measures-2").join(digest.hex()),
        }
    }

    /// The bytes kept for `entry`, if any.
    pub(crate) fn get(&self, entry: Entry) -> Option<Vec<u8>> {
        fs::read(self.path(entry)).ok()
    }

    /// Keeps `bytes` for `entry`.
    pub(crate) fn put(&self, entry: Entry, bytes: &[u8]) -> io::Result<()> {
        let path = self.path(entry);
        let beside = path.with_extension(format!("new-{}", std::process::id()));
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&beside, bytes)?;
        fs::rename(&beside, &path).inspect_err(|_| drop(fs::remove_file(&beside)))
    }
}
