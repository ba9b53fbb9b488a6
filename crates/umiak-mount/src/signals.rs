//! Signals as something to wait for, and to send by number.
//!
//! A process that watches others must not be interrupted in the middle of what it does: it blocks signals and reads them
//! from a descriptor when it has time (signalfd(2)). Programs started by `std::process::Command` begin with nothing
//! blocked.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::process::{Pid, Signal};

/// The number of SIGTERM.
pub const TERM: i32 = libc::SIGTERM;
/// The number of SIGINT.
pub const INT: i32 = libc::SIGINT;
/// The number of SIGCHLD.
pub const CHLD: i32 = libc::SIGCHLD;
/// The number of SIGHUP.
pub const HUP: i32 = libc::SIGHUP;
/// The number of SIGKILL.
pub const KILL: i32 = libc::SIGKILL;
/// The largest number of a signal.
pub const MAX: i32 = 64;

/// Signals that are blocked and read instead. Call it before any thread is started: it counts for those started later.
#[derive(Debug)]
pub struct Signals(OwnedFd);

impl Signals {
    /// Blocks `numbers` for this thread.
    ///
    /// # Errors
    /// A number is no signal; no descriptor is left.
    pub fn block(numbers: &[i32]) -> io::Result<Self> {
        // SAFETY: `sigset_t` is a plain set of bits, for which zeroes are valid, and `sigemptyset` makes it empty.
        let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
        // SAFETY: `set` is a valid `sigset_t` that only this function sees.
        unsafe { libc::sigemptyset(&raw mut set) };
        for number in numbers {
            // SAFETY: as above; a wrong number is answered with an error.
            if unsafe { libc::sigaddset(&raw mut set, *number) } != 0 {
                return Err(io::Error::last_os_error());
            }
        }
        // SAFETY: `set` is initialised; the old mask is not asked for.
        let blocked = unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) };
        if blocked != 0 {
            return Err(io::Error::from_raw_os_error(blocked));
        }
        // SAFETY: `set` is initialised and only read.
        let fd = unsafe { libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new and nobody else's.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// The next signal that came, by number; none when there is none now.
    ///
    /// # Errors
    /// Reading fails.
    pub fn next(&self) -> io::Result<Option<i32>> {
        // `struct signalfd_siginfo` is 128 bytes and begins with the signal's number.
        let mut bytes = [0u8; 128];
        match rustix::io::read(&self.0, &mut bytes) {
            Ok(length) if length == bytes.len() => {
                Ok(Some(i32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])))
            }
            Ok(_) | Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Sends a signal, a real-time one too, to a process.
///
/// # Errors
/// The number is none; there is no such process, or it is not ours.
pub fn send(pid: Pid, number: i32) -> io::Result<()> {
    if !(1..=MAX).contains(&number) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: the number is one of the kernel's signals. That the C library keeps some real-time ones for itself matters
    // to processes which handle them, not to one that sends.
    let signal = unsafe { Signal::from_raw_unchecked(number) };
    Ok(rustix::process::kill_process(pid, signal)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    #[test]
    fn real_time_signals_arrive_and_nonsense_is_refused() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let pid = Pid::from_child(&child);
        assert!(send(pid, 0).is_err() && send(pid, 65).is_err() && send(pid, -1).is_err());
        send(pid, 37).unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(37));
    }

    #[test]
    fn a_blocked_signal_is_read() {
        // Its own thread: blocking counts for one thread, and the signal is sent to that one.
        std::thread::spawn(|| {
            let signals = Signals::block(&[libc::SIGUSR2]).unwrap();
            assert_eq!(signals.next().unwrap(), None);
            // SAFETY: raises a signal in this very thread, where it is blocked.
            unsafe { libc::pthread_kill(libc::pthread_self(), libc::SIGUSR2) };
            assert_eq!(signals.next().unwrap(), Some(libc::SIGUSR2));
            assert_eq!(signals.next().unwrap(), None);
        })
        .join()
        .unwrap();
    }
}
