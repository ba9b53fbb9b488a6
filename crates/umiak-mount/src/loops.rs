//! An image file as a block device.
//!
//! One loop device serves one image file however often it is mounted: a device that is attached to the same file (device
//! and inode number, whole and read-only) is found and used again, so the kernel keeps one superblock and one cache of it.
//! Devices clear themselves when their last user goes (autoclear); there is nothing to detach and nothing to leak. Reads
//! go past the page cache of the file's own file system where that can be done, so that no block is cached twice.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::error::{At, MountError};

/// Bytes of a sector: a loop device has only whole ones.
pub const SECTOR: u64 = 512;

/// Devices offered and lost to others before giving up.
const TRIES: usize = 64;

/// Loop devices looked at when searching for one that is attached already.
const DEVICES_MAX: usize = 4096;

// <linux/loop.h>
const LOOP_SET_FD: libc::c_ulong = 0x4C00;
const LOOP_CLR_FD: libc::c_ulong = 0x4C01;
const LOOP_SET_STATUS64: libc::c_ulong = 0x4C04;
const LOOP_GET_STATUS64: libc::c_ulong = 0x4C05;
const LOOP_SET_DIRECT_IO: libc::c_ulong = 0x4C08;
const LOOP_CONFIGURE: libc::c_ulong = 0x4C0A;
const LOOP_CTL_GET_FREE: libc::c_ulong = 0x4C82;
const READ_ONLY: u32 = 1;
const AUTOCLEAR: u32 = 4;
const DIRECT_IO: u32 = 16;

/// `struct loop_info64`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Info {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

impl Info {
    fn empty() -> Self {
        Self {
            device: 0,
            inode: 0,
            rdevice: 0,
            offset: 0,
            size_limit: 0,
            number: 0,
            encrypt_type: 0,
            encrypt_key_size: 0,
            flags: 0,
            file_name: [0; 64],
            crypt_name: [0; 64],
            encrypt_key: [0; 32],
            init: [0; 2],
        }
    }
}

/// `struct loop_config`.
#[repr(C)]
struct Config {
    fd: u32,
    block_size: u32,
    info: Info,
    reserved: [u64; 8],
}

/// A loop device with an image behind it. It stays attached while this is held or something of it is mounted.
#[derive(Debug)]
pub struct LoopDevice {
    path: PathBuf,
    _open: File,
}

impl LoopDevice {
    /// The device of `image`: the one that has it already, else a free one.
    ///
    /// # Errors
    /// The file cannot be read, its length is not whole sectors, or there is no loop device.
    pub fn attach(image: &Path) -> Result<Self, MountError> {
        let file = File::open(image).at("open", image)?;
        let meta = file.metadata().at("examine", image)?;
        if meta.len() == 0 || meta.len() % SECTOR != 0 {
            return Err(MountError::Length { path: image.to_owned(), length: meta.len() });
        }
        if let Some(found) = find(meta.dev(), meta.ino()) {
            return Ok(found);
        }
        let control_path = Path::new("/dev/loop-control");
        let control = OpenOptions::new().read(true).write(true).open(control_path).at("open", control_path)?;
        for _ in 0..TRIES {
            // SAFETY: LOOP_CTL_GET_FREE takes no argument and returns a number.
            let number = unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE as _) };
            if number < 0 {
                return Err(MountError::refused("find a loop device for", image, io::Error::last_os_error()));
            }
            let path = PathBuf::from(format!("/dev/loop{number}"));
            let device = OpenOptions::new().read(true).open(&path).at("open", &path)?;
            match configure(&device, &file) {
                Ok(()) => return Ok(Self { path, _open: device }),
                // Another process was faster; the next one is asked for.
                Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {}
                Err(error) => return Err(MountError::refused("attach", image, error)),
            }
        }
        Err(MountError::NoLoop(image.to_owned()))
    }

    /// `/dev/loopN`.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Attaches `file`, in one call where the kernel has it (5.8), else in three.
fn configure(device: &File, file: &File) -> io::Result<()> {
    let fd = u32::try_from(file.as_raw_fd()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut info = Info::empty();
    info.flags = READ_ONLY | AUTOCLEAR | DIRECT_IO;
    let config = Config { fd, block_size: 0, info, reserved: [0; 8] };
    // SAFETY: LOOP_CONFIGURE reads one `struct loop_config`, which `config` is, and keeps no pointer to it.
    if unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CONFIGURE as _, &raw const config) } == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    if !matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOTTY | libc::ENOSYS)) {
        return Err(error);
    }
    configure_in_steps(device, file)
}

fn configure_in_steps(device: &File, file: &File) -> io::Result<()> {
    // SAFETY: LOOP_SET_FD takes a descriptor by value.
    if unsafe { libc::ioctl(device.as_raw_fd(), LOOP_SET_FD as _, file.as_raw_fd()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let mut info = Info::empty();
    info.flags = READ_ONLY | AUTOCLEAR;
    // SAFETY: LOOP_SET_STATUS64 reads one `struct loop_info64`, which `info` is, and keeps no pointer to it.
    if unsafe { libc::ioctl(device.as_raw_fd(), LOOP_SET_STATUS64 as _, &raw const info) } != 0 {
        let error = io::Error::last_os_error();
        // SAFETY: LOOP_CLR_FD takes no argument. Should it fail, the device stays attached and is found next time.
        unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CLR_FD as _, 0) };
        return Err(error);
    }
    // SAFETY: LOOP_SET_DIRECT_IO takes a number. A file system that cannot do it says no; reading works all the same.
    unsafe { libc::ioctl(device.as_raw_fd(), LOOP_SET_DIRECT_IO as _, 1 as libc::c_ulong) };
    Ok(())
}

fn status(device: &File) -> Option<Info> {
    let mut info = Info::empty();
    // SAFETY: LOOP_GET_STATUS64 writes one `struct loop_info64`, which `info` is; all bit patterns are valid in it.
    (unsafe { libc::ioctl(device.as_raw_fd(), LOOP_GET_STATUS64 as _, &raw mut info) } == 0).then_some(info)
}

/// A device that serves the whole of that file, read-only. It is open before it is asked, so it cannot clear itself
/// between the answer and its use.
fn find(device: u64, inode: u64) -> Option<LoopDevice> {
    for entry in fs::read_dir("/sys/block").ok()?.flatten().take(DEVICES_MAX) {
        let name = entry.file_name();
        let Some(name) = name.to_str().filter(|name| name.starts_with("loop")) else { continue };
        if !entry.path().join("loop/backing_file").exists() {
            continue;
        }
        let path = Path::new("/dev").join(name);
        let Ok(open) = File::open(&path) else { continue };
        if !open.metadata().is_ok_and(|meta| meta.file_type().is_block_device()) {
            continue;
        }
        let Some(info) = status(&open) else { continue };
        let whole = info.offset == 0 && info.size_limit == 0;
        if whole && same_device(info.device, device) && info.inode == inode && info.flags & READ_ONLY != 0 {
            return Some(LoopDevice { path, _open: open });
        }
    }
    None
}

/// The kernel gives the number in its old or its new coding, as wide as the C library of the day likes.
fn same_device(coded: u64, device: u64) -> bool {
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let new = u64::from(minor & 0xff) | (u64::from(major) << 8) | (u64::from(minor & !0xff) << 12);
    coded == device || coded == new
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structures_have_the_kernels_size() {
        assert_eq!(size_of::<Info>(), 232);
        assert_eq!(size_of::<Config>(), 304);
    }

    #[test]
    fn device_numbers_compare_in_either_coding() {
        let device = rustix::fs::makedev(259, 300);
        assert!(same_device(device, device));
        assert!(same_device((300 & 0xff) | (259 << 8) | ((300 & !0xff) << 12), device));
        assert!(!same_device(7, device));
    }
}
