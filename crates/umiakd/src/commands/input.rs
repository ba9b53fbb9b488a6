//! Standard input that may be silent for hours and still lets itself be stopped.
//!
//! A read of a silent pipe hears no signal. Here it is only begun when there is something to read, and between two looks the
//! flag of whoever asks to stop is looked at. Nothing is read ahead.

use std::fs::File;
use std::io::{self, Read, stdin};
use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use umiak_spec::Cancelled;

/// How long a request to stop may go unheard.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };

/// Reads until the end, or until it is asked to stop: then it fails with [`Cancelled`].
pub struct Patient<'a> {
    input: File,
    stop: &'a AtomicBool,
}

impl<'a> Patient<'a> {
    /// Standard input, of which nothing was read yet.
    ///
    /// # Errors
    /// There is none.
    pub fn new(stop: &'a AtomicBool) -> io::Result<Self> {
        Ok(Self { input: File::from(stdin().as_fd().try_clone_to_owned()?), stop })
    }

    /// Waits until there is something to read, or an end.
    fn wait(&self) -> io::Result<()> {
        loop {
            if self.stop.load(Ordering::Relaxed) {
                return Err(Cancelled.into());
            }
            let mut asked = [PollFd::new(&self.input, PollFlags::IN)];
            match poll(&mut asked, Some(&LOOK)) {
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Read for Patient<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            self.wait()?;
            match self.input.read(buffer) {
                // Somebody else who has the other end of our input was faster, or a signal came.
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                result => return result,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_silent_pipe_is_read_when_it_speaks_and_left_when_asked() {
        let (output, mut end) = io::pipe().unwrap();
        let stop = AtomicBool::new(false);
        let mut input = Patient { input: File::from(std::os::fd::OwnedFd::from(output)), stop: &stop };
        let mut buffer = [0; 8];
        end.write_all(b"abc").unwrap();
        assert_eq!(input.read(&mut buffer).unwrap(), 3);
        std::thread::scope(|scope| {
            let reading = scope.spawn(|| input.read(&mut [0; 8]));
            stop.store(true, Ordering::Relaxed);
            assert!(Cancelled::is_behind(&reading.join().unwrap().unwrap_err()));
        });
        stop.store(false, Ordering::Relaxed);
        drop(end);
        assert_eq!(input.read(&mut buffer).unwrap(), 0);
    }
}
