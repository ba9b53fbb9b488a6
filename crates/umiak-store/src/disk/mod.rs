//! The seam that every durable operation of the device side goes through: create, write, sync, rename, link, unlink,
//! make and remove directories, hold space.
//!
//! One trait, so that one wrapper can count operations ([`Hooked`]), end the world at the n-th one, fail it as a full
//! disk would, or forget what was not made durable (`umiak_testkit::crash`). [`RealDisk`] is the kernel.
//!
//! What the trait promises is what POSIX promises and no more: a file's content survives a power cut after
//! [`DiskFile::sync`], a name after [`Disk::sync_dir`] of its directory, everything after [`Disk::sync_all`]. Before
//! that, any part of it may. Reading is not here: callers read paths as they like.

mod hooked;
mod real;
mod stream;

use std::io;
use std::path::Path;
use std::sync::Arc;

use umiak_spec::ReadAt;

pub use hooked::{Hooked, Step};
pub use real::RealDisk;
pub use stream::Stream;

/// The durable operations on a file system. Paths are absolute or relative to the working directory, as the kernel takes
/// them.
pub trait Disk: Send + Sync {
    /// Makes a new empty file (mode 0644 less the umask) for reading and writing.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] when there is anything of that name, or what the file system reports.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;

    /// Opens an existing file for reading and writing.
    ///
    /// # Errors
    /// What the file system reports.
    fn edit(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;

    /// Makes a directory (mode 0755 less the umask).
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`], or what the file system reports.
    fn mkdir(&self, path: &Path) -> io::Result<()>;

    /// Gives a file or a directory another name, on the same file system. A file replaces a file; a directory replaces an
    /// empty directory only.
    ///
    /// # Errors
    /// What the file system reports.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Exchanges two names in one step: the way to replace a directory that is not empty.
    ///
    /// # Errors
    /// One of them is missing, or what the file system reports.
    fn exchange(&self, one: &Path, other: &Path) -> io::Result<()>;

    /// Gives a file one more name.
    ///
    /// # Errors
    /// What the file system reports.
    fn link(&self, existing: &Path, name: &Path) -> io::Result<()>;

    /// Removes the name of a file (not of a directory).
    ///
    /// # Errors
    /// What the file system reports.
    fn unlink(&self, path: &Path) -> io::Result<()>;

    /// Removes an empty directory.
    ///
    /// # Errors
    /// What the file system reports.
    fn rmdir(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in a directory durable: what was created, renamed (in or out), linked and removed there.
    ///
    /// # Errors
    /// What the file system reports. Nobody knows then what is durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;

    /// Makes everything on the file system that holds `path` durable.
    ///
    /// # Errors
    /// What the file system reports. Nobody knows then what is durable.
    fn sync_all(&self, path: &Path) -> io::Result<()>;
}

/// A file that is open for writing. Several threads may use it.
pub trait DiskFile: ReadAt {
    /// Writes all of `bytes` from `offset` on; what lies between written parts reads as zeros.
    ///
    /// # Errors
    /// What the file system reports; some of the bytes may have been written.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Cuts the file, or lengthens it with zeros.
    ///
    /// # Errors
    /// What the file system reports.
    fn set_len(&self, length: u64) -> io::Result<()>;

    /// Takes space for the first `length` bytes, which read as zeros where nothing was written; lengthens the file.
    ///
    /// # Errors
    /// [`io::ErrorKind::StorageFull`], [`io::ErrorKind::Unsupported`] where the file system cannot, or what it reports.
    fn allocate(&self, length: u64) -> io::Result<()>;

    /// Makes content and length durable.
    ///
    /// # Errors
    /// What the file system reports. The file must then be given up: the kernel has forgotten what it could not write, and
    /// another call would succeed without having written it.
    fn sync(&self) -> io::Result<()>;
}
