//! Why something was not mounted or unmounted: the act, the path, the kernel's reason.

use std::io;
use std::path::{Path, PathBuf};

/// A call that failed.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// The kernel refused.
    #[error("cannot {act} {}: {reason}", path.display())]
    Refused {
        /// What was tried.
        act: &'static str,
        /// On what.
        path: PathBuf,
        /// The kernel's answer.
        reason: io::Error,
    },
    /// The image's length is not whole sectors: a loop device would cut its end off.
    #[error("cannot mount {}: its length of {length} bytes is not a multiple of 512", path.display())]
    Length {
        /// The image.
        path: PathBuf,
        /// Its length.
        length: u64,
    },
    /// More lower directories than overlayfs takes, or than fit into the options of this kernel.
    #[error("cannot stack {lowers} images at {}: this kernel takes fewer", path.display())]
    TooMany {
        /// The mount point.
        path: PathBuf,
        /// How many were asked for.
        lowers: usize,
    },
    /// No loop device could be had: all were taken by others as fast as they were offered.
    #[error("cannot attach {}: no loop device is free", .0.display())]
    NoLoop(PathBuf),
}

impl MountError {
    pub(crate) fn refused(act: &'static str, path: &Path, reason: impl Into<io::Error>) -> Self {
        Self::Refused { act, path: path.to_owned(), reason: reason.into() }
    }

    /// The kernel's reason, where there is one.
    #[must_use]
    pub fn reason(&self) -> Option<&io::Error> {
        match self {
            Self::Refused { reason, .. } => Some(reason),
            Self::Length { .. } | Self::TooMany { .. } | Self::NoLoop(_) => None,
        }
    }
}

/// Adds act and path to a system call's error.
pub(crate) trait At<T> {
    fn at(self, act: &'static str, path: &Path) -> Result<T, MountError>;
}

impl<T, E: Into<io::Error>> At<T> for Result<T, E> {
    fn at(self, act: &'static str, path: &Path) -> Result<T, MountError> {
        self.map_err(|reason| MountError::refused(act, path, reason))
    }
}
