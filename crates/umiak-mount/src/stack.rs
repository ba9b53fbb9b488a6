//! Squashfs images stacked with overlayfs into one root.
//!
//! The images are mounted at short-lived points, taken by the overlay, and unmounted again: the overlay keeps them (its
//! layers are private copies of those mounts), and when it goes, they and their loop devices go. So one mount point is
//! all there is to look after. Made with the mount calls of Linux 5.2 and `lowerdir+` (6.5) where they are there, else
//! with mount(2), whose options end at one page: the points have short names so that 200 images still fit.
//!
//! Redirects and metadata-only copies are off: what a layer's extended attributes claim about other paths is not
//! followed.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MoveMountFlags, UnmountFlags, fsconfig_create,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount,
};

use crate::durable;
use crate::error::{At, MountError};
use crate::loops::LoopDevice;

/// Lower directories that overlayfs takes.
pub const LOWERS_MAX: usize = 500;

/// Bytes of options that mount(2) takes: one page, its end included.
const OPTIONS_MAX: usize = 4095;

/// What overlayfs is told besides, if it knows it.
const STRICT: [(&str, &str); 2] = [("redirect_dir", "nofollow"), ("metacopy", "off")];

/// The writable top of a stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upper {
    /// Takes what is written.
    pub upper: PathBuf,
    /// Overlayfs' own, on the same file system.
    pub work: PathBuf,
}

/// What is to be stacked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stack {
    /// Squashfs images, topmost first. At least one.
    pub images: Vec<PathBuf>,
    /// The writable top; none: read-only.
    pub upper: Option<Upper>,
}

impl Stack {
    /// Mounts at `point`, an empty directory. `scratch` is a directory for the short-lived points, with a short name,
    /// of nobody else's meanwhile. The mount's source is called `name` in the table.
    ///
    /// # Errors
    /// The kernel refuses an image or the stack; nothing is left mounted then.
    pub fn mount(&self, name: &str, point: &Path, scratch: &Path) -> Result<(), MountError> {
        // A read-only overlay of one lower directory is none to the kernel: an empty one is put below.
        let padded = self.upper.is_none() && self.images.len() == 1;
        let count = self.images.len() + usize::from(padded);
        if count > LOWERS_MAX || self.images.is_empty() {
            return Err(MountError::TooMany { path: point.to_owned(), lowers: self.images.len() });
        }
        let mut points = Points(Vec::with_capacity(count));
        for (number, image) in self.images.iter().enumerate() {
            let lower = scratch.join(number.to_string());
            points.add(&lower)?;
            let device = LoopDevice::attach(image)?;
            squashfs(&device, image, &lower)?;
        }
        if padded {
            points.add(&scratch.join("empty"))?;
        }
        self.overlay(name, point, &points.0)
    }

    fn overlay(&self, name: &str, point: &Path, lowers: &[PathBuf]) -> Result<(), MountError> {
        match self.overlay_by_calls(name, point, lowers) {
            // An old kernel: the calls are not there, or `lowerdir+` is not.
            Err(Errno::NOSYS | Errno::INVAL | Errno::PERM) => self.overlay_by_options(name, point, lowers),
            other => other.at("stack images at", point),
        }
    }

    fn overlay_by_calls(&self, name: &str, point: &Path, lowers: &[PathBuf]) -> Result<(), Errno> {
        let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_set_string(context.as_fd(), "source", name)?;
        for lower in lowers {
            fsconfig_set_string(context.as_fd(), "lowerdir+", lower)?;
        }
        if let Some(Upper { upper, work }) = &self.upper {
            fsconfig_set_string(context.as_fd(), "upperdir", upper)?;
            fsconfig_set_string(context.as_fd(), "workdir", work)?;
        }
        for (key, value) in STRICT {
            // A kernel that does not know the word does not do the thing.
            let _ = fsconfig_set_string(context.as_fd(), key, value);
        }
        place(&context, point, MountAttrFlags::empty())
    }

    fn overlay_by_options(&self, name: &str, point: &Path, lowers: &[PathBuf]) -> Result<(), MountError> {
        let mut strict = true;
        loop {
            let options = self.options(lowers, strict);
            let too_long = options.len() > OPTIONS_MAX;
            let options = CString::new(options).map_err(|_| Errno::INVAL).at("stack images at", point)?;
            if too_long {
                return Err(MountError::TooMany { path: point.to_owned(), lowers: lowers.len() });
            }
            match rustix::mount::mount(name, point, "overlay", MountFlags::empty(), Some(options.as_c_str())) {
                Ok(()) => return Ok(()),
                Err(Errno::INVAL) if strict => strict = false,
                Err(error) => return Err(MountError::refused("stack images at", point, error)),
            }
        }
    }

    fn options(&self, lowers: &[PathBuf], strict: bool) -> Vec<u8> {
        let mut options = b"lowerdir=".to_vec();
        for (number, lower) in lowers.iter().enumerate() {
            options.extend((number > 0).then_some(b':'));
            escape(lower, &mut options);
        }
        if let Some(Upper { upper, work }) = &self.upper {
            for (key, path) in [(",upperdir=", upper), (",workdir=", work)] {
                options.extend_from_slice(key.as_bytes());
                escape(path, &mut options);
            }
        }
        for (key, value) in STRICT.iter().filter(|_| strict) {
            options.extend_from_slice(format!(",{key}={value}").as_bytes());
        }
        options
    }
}

/// Overlayfs separates by `:`, mount options by `,`; a backslash takes the meaning away.
fn escape(path: &Path, into: &mut Vec<u8>) {
    for byte in path.as_os_str().as_bytes() {
        if matches!(byte, b'\\' | b':' | b',') {
            into.push(b'\\');
        }
        into.push(*byte);
    }
}

/// Mount points that are taken away again, whatever happens. What uses them keeps what it needs.
struct Points(Vec<PathBuf>);

impl Points {
    fn add(&mut self, point: &Path) -> Result<(), MountError> {
        durable::point(point)?;
        self.0.push(point.to_owned());
        Ok(())
    }
}

impl Drop for Points {
    fn drop(&mut self) {
        for point in self.0.iter().rev() {
            // Absent is as good as gone.
            let _ = rustix::mount::unmount(point, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW);
            durable::remove_point(point);
        }
    }
}

fn squashfs(device: &LoopDevice, image: &Path, point: &Path) -> Result<(), MountError> {
    let by_calls = || -> Result<(), Errno> {
        let context = fsopen("squashfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_set_string(context.as_fd(), "source", device.path())?;
        fsconfig_set_flag(context.as_fd(), "ro")?;
        place(&context, point, MountAttrFlags::MOUNT_ATTR_RDONLY)
    };
    match by_calls() {
        Err(Errno::NOSYS | Errno::PERM) => {
            rustix::mount::mount(device.path(), point, "squashfs", MountFlags::RDONLY, None)
        }
        other => other,
    }
    .at("mount", image)
}

fn place(context: &OwnedFd, point: &Path, attributes: MountAttrFlags) -> Result<(), Errno> {
    fsconfig_create(context.as_fd())?;
    let mount = fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
    move_mount(mount.as_fd(), "", CWD, point, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}

/// Shows `source` at `target` too, with what is mounted below it.
///
/// # Errors
/// The kernel refuses.
pub fn bind(source: &Path, target: &Path) -> Result<(), MountError> {
    rustix::mount::mount_bind_recursive(source, target).at("bind", target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_escaped_and_short_enough_for_many_images() {
        let upper = Upper { upper: "/a,b/up".into(), work: "/a:b/work".into() };
        let stack = Stack { images: vec![], upper: Some(upper) };
        let text = String::from_utf8(stack.options(&["/l/0".into(), "/l/1".into()], true)).unwrap();
        assert!(text.starts_with(r"lowerdir=/l/0:/l/1,upperdir=/a\,b/up,workdir=/a\:b/work"), "{text}");
        assert!(text.ends_with("metacopy=off"));
        let lowers: Vec<PathBuf> = (0..200).map(|number| format!("/run/umiak/l/{number}").into()).collect();
        assert!(stack.options(&lowers, true).len() < OPTIONS_MAX);
    }
}
