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
    kind: FileSystem,
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
        Ok(Self { mountpoint, image, kind })
    }

    /// Mounts the file system that is on the image file or block device `image` at `directory`/`name`; the journal is
    /// replayed.
    ///
    /// # Errors
    /// It cannot be mounted, with what was said; no root.
    pub fn mount(directory: &Path, name: &str, kind: FileSystem, image: &Path) -> io::Result<Self> {
        let mountpoint = directory.join(name);
        fs::create_dir_all(&mountpoint)?;
        let options = if image.starts_with("/dev/loop") { "rw" } else { "loop" };
        run(Command::new("mount").args(["-t", kind.name(), "-o", options]).args([image, &mountpoint]))?;
        Ok(Self { mountpoint, image: image.to_owned(), kind })
    }

    /// Where its image is.
    #[must_use]
    pub fn image(&self) -> &Path {
        &self.image
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

    /// After [`shut_down`]: mounts what is on the disk, a copy of it. (The disk itself may be mounted still in a namespace
    /// that somebody made meanwhile, and would then be as dead there as here.)
    ///
    /// # Errors
    /// It cannot be copied or mounted.
    pub fn power_on(&mut self) -> io::Result<()> {
        run(Command::new("umount").arg("-l").arg(&self.mountpoint))?;
        let mut copy = self.image.clone().into_os_string();
        copy.push("+");
        run(Command::new("cp").arg("--sparse=always").arg(&self.image).arg(&copy))?;
        fs::remove_file(&self.image)?;
        self.image = copy.into();
        // Two xfs of one name are not mounted at a time unless this is said.
        let options = if self.kind == FileSystem::Xfs { "loop,nouuid" } else { "loop" };
        run(Command::new("mount").args(["-o", options]).args([&self.image, &self.mountpoint]))
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

/// Takes the file system at `mountpoint` away, as a power cut does: what was not synced is lost, and every further operation
/// fails until it is mounted again. With `flush` the journal is written out first, so that names without contents stay.
/// For ext4 and xfs; needs the package `xfsprogs`.
///
/// # Errors
/// `xfs_io` fails or is missing, with what it said.
pub fn shut_down(mountpoint: &Path, flush: bool) -> io::Result<()> {
    let how = if flush { "shutdown -f" } else { "shutdown" };
    run(Command::new("xfs_io").args(["-x", "-c", how]).arg(mountpoint))
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
