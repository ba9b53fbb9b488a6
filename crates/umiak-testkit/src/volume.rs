//! A file system of a given kind, size and block size: a sparse image file, made with `mkfs` and loop-mounted.
//!
//! Guarantees: mounted when [`Volume::make`] returns, unmounted and without its loop device when the value is dropped.
//! Needs root and the packages `mount`, `e2fsprogs` or `xfsprogs`. The image file stays: it lies in the caller's
//! scratch directory.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Kind of a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileSystem {
    /// ext4 with the defaults of `mkfs.ext4`, but without blocks reserved for root.
    Ext4,
    /// xfs with the defaults of `mkfs.xfs`; 300 MiB at least.
    Xfs,
}

impl FileSystem {
    /// As `mount -t` and `mkfs.` call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
        }
    }

    fn arguments(self, block: u32) -> Vec<String> {
        match self {
            Self::Ext4 => ["-q", "-F", "-m", "0", "-b", &block.to_string()].map(str::to_owned).into(),
            Self::Xfs => ["-q", "-f", "-b", &format!("size={block}")].map(str::to_owned).into(),
        }
    }
}

/// A mounted file system.
pub struct Volume {
    mountpoint: PathBuf,
    image: PathBuf,
}

impl Volume {
    /// Makes and mounts one of `bytes` with blocks of `block` bytes at `directory`/`name`, its image beside it.
    ///
    /// # Errors
    /// A program fails or is missing, with what it said; no root.
    pub fn make(directory: &Path, name: &str, kind: FileSystem, block: u32, bytes: u64) -> io::Result<Self> {
        Self::make_with(directory, name, kind, block, bytes, &[])
    }

    /// Like [`Volume::make`] with further arguments for `mkfs`: `-m 5`, `-N 64`.
    ///
    /// # Errors
    /// As [`Volume::make`].
    pub fn make_with(
        directory: &Path,
        name: &str,
        kind: FileSystem,
        block: u32,
        bytes: u64,
        more: &[&str],
    ) -> io::Result<Self> {
        let (mountpoint, image) = (directory.join(name), directory.join(format!("{name}.img")));
        File::create(&image)?.set_len(bytes)?;
        run(Command::new(format!("mkfs.{}", kind.name())).args(kind.arguments(block)).args(more).arg(&image))?;
        fs::create_dir_all(&mountpoint)?;
        run(Command::new("mount").args(["-t", kind.name(), "-o", "loop"]).args([&image, &mountpoint]))?;
        Ok(Self { mountpoint, image })
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.mountpoint
    }

    /// Writes everything out, unmounts and mounts again: nothing is delayed or preallocated any more.
    ///
    /// # Errors
    /// It is in use.
    pub fn remount(&self) -> io::Result<()> {
        run(Command::new("umount").arg(&self.mountpoint))?;
        run(Command::new("mount").args(["-o", "loop"]).args([&self.image, &self.mountpoint]))
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        if run(Command::new("umount").arg(&self.mountpoint)).is_err() {
            // Somebody is still in there; it goes when they do.
            let _ = run(Command::new("umount").arg("-l").arg(&self.mountpoint));
        }
    }
}

/// Runs `command` quietly.
///
/// # Errors
/// It is missing, or failed: with its name and what it said.
pub(crate) fn run(command: &mut Command) -> io::Result<()> {
    let program = command.get_program().to_owned();
    let wrong = |error: String| io::Error::other(format!("{}: {error}", OsStr::display(&program)));
    let output = command.stdin(Stdio::null()).output().map_err(|error| wrong(error.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    Err(wrong(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim())))
}
