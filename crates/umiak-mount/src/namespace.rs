//! Namespaces: a network of its own that has a name, and a look at mounts of one's own.
//!
//! A network namespace is kept by a file (bound to it), as `ip netns` does: it lasts until that file is unmounted,
//! whoever made it. Work inside is done by a thread that enters it and ends there.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;
use std::thread;

use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::thread::{LinkNameSpaceType, UnshareFlags};

use crate::durable;
use crate::error::{At, MountError};
use crate::table::Table;
use crate::unmount::unmount;

/// Makes a network namespace with its loopback up, kept by the file `keeper`. Repeatable: one that is there stays.
///
/// # Errors
/// The kernel has none, or refuses.
pub fn keep_network(keeper: &Path) -> Result<(), MountError> {
    if Table::read()?.at(keeper).is_some() {
        return Ok(());
    }
    durable::keeper(keeper)?;
    let made = thread::scope(|scope| {
        let made = scope.spawn(|| -> io::Result<()> {
            // SAFETY: only the network namespace of this new thread is left; it shares its descriptors as before.
            unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }?;
            loopback_up()?;
            Ok(rustix::mount::mount_bind("/proc/thread-self/ns/net", keeper)?)
        });
        made.join().unwrap_or_else(|_| Err(io::Error::other("the thread failed")))
    });
    made.at("make a network at", keeper)
}

/// Lets go of a namespace: it ends with its last process. Repeatable.
///
/// # Errors
/// The kernel refuses.
pub fn drop_network(keeper: &Path) -> Result<(), MountError> {
    unmount(keeper)?;
    durable::remove_keeper(keeper)
}

/// Does `work` in a thread inside the network that `keeper` keeps (or that `/proc/PID/ns/net` names). Descriptors it
/// returns, as sockets, stay in that network.
///
/// # Errors
/// It cannot be entered.
pub fn in_network<T: Send>(keeper: &Path, work: impl FnOnce() -> T + Send) -> io::Result<T> {
    let namespace = File::open(keeper)?;
    thread::scope(|scope| {
        let inside = thread::Builder::new().stack_size(256 << 10).spawn_scoped(scope, || -> io::Result<T> {
            rustix::thread::move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
            Ok(work())
        })?;
        inside.join().unwrap_or_else(|_| Err(io::Error::other("the thread failed")))
    })
}

/// Gives this process mounts of its own: what it mounts and unmounts from now on is seen by it alone and by what it
/// starts. For a process with one thread that executes another program next.
///
/// # Errors
/// The kernel refuses.
pub fn own_mounts() -> io::Result<()> {
    // SAFETY: mounts are left, descriptors are shared as before; file system attributes of other threads are not
    // touched, as the caller has none.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) }?;
    let flags = MountPropagationFlags::REC | MountPropagationFlags::DOWNSTREAM;
    Ok(mount_change("/", flags)?)
}

/// `struct ifreq` as far as flags need it.
#[repr(C)]
struct Request {
    name: [u8; 16],
    flags: i16,
    rest: [u8; 22],
}

fn loopback_up() -> io::Result<()> {
    let socket = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::DGRAM, None)?;
    let mut request = Request { name: [0; 16], flags: 0, rest: [0; 22] };
    request.name[..2].copy_from_slice(b"lo");
    // IFF_UP | IFF_RUNNING, both below 2^15.
    request.flags = 0x41;
    // SAFETY: SIOCSIFFLAGS reads one `struct ifreq` of 40 bytes, which `request` is (24 bytes of it where pointers have
    // four), and keeps no pointer to it.
    match unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw const request) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
