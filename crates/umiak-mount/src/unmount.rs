//! Taking a mount away, also one that is busy.

use std::path::Path;
use std::thread;
use std::time::Duration;

use rustix::mount::UnmountFlags;

use crate::error::{At, MountError};

/// How long a busy mount is asked again before it is detached: a process that is dying needs a moment.
const PATIENCE: Duration = Duration::from_millis(500);
const PAUSE: Duration = Duration::from_millis(5);

/// Mounts upon each other at one point that are taken away in one call.
const DEPTH_MAX: usize = 64;

/// How it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unmounted {
    /// Nothing was mounted there.
    Absent,
    /// It is gone.
    Gone,
    /// It was busy: nobody sees it any more, and the kernel drops it with its last user. Until then its images stay open.
    Busy,
}

/// Unmounts everything at `point`; a mount that stays busy is detached. Repeatable.
///
/// # Errors
/// The kernel refuses for another reason than that it is busy or not there.
pub fn unmount(point: &Path) -> Result<Unmounted, MountError> {
    let mut seen = Unmounted::Absent;
    for _ in 0..DEPTH_MAX {
        match one(point)? {
            Unmounted::Absent => break,
            Unmounted::Busy => seen = Unmounted::Busy,
            Unmounted::Gone if seen == Unmounted::Absent => seen = Unmounted::Gone,
            Unmounted::Gone => {}
        }
    }
    Ok(seen)
}

fn one(point: &Path) -> Result<Unmounted, MountError> {
    let mut waited = Duration::ZERO;
    loop {
        match rustix::mount::unmount(point, UnmountFlags::NOFOLLOW) {
            Ok(()) => return Ok(Unmounted::Gone),
            // Not a mount point, or no such directory.
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) => return Ok(Unmounted::Absent),
            Err(rustix::io::Errno::BUSY) if waited < PATIENCE => {
                thread::sleep(PAUSE);
                waited += PAUSE;
            }
            Err(rustix::io::Errno::BUSY) => {
                rustix::mount::unmount(point, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW).at("detach", point)?;
                return Ok(Unmounted::Busy);
            }
            Err(error) => return Err(MountError::refused("unmount", point, error)),
        }
    }
}
