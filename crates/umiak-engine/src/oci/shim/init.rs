//! A container's first process, where the service asks for one: it starts the service's program, passes signals on to it,
//! collects orphans, and ends with its code.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{WaitOptions, wait};
use umiak_mount::signals::{self, Signals};

/// As shells say that a program was not found.
const NOT_FOUND: u8 = 127;

/// Passed on: all that can be, but those the kernel raises for mistakes and for children.
fn passed() -> Vec<i32> {
    let kept = [signals::KILL, 19, 4, 5, 7, 8, 11, 31, 32, 33];
    (1..=signals::MAX).filter(|number| !kept.contains(number)).collect()
}

/// Runs `command` to its end.
pub(super) fn run(command: &[OsString]) -> u8 {
    let Some((program, arguments)) = command.split_first() else { return NOT_FOUND };
    let Ok(signals) = Signals::block(&passed()) else { return NOT_FOUND };
    // A group of its own, so that a signal for all reaches it once.
    let Ok(child) = Command::new(program).args(arguments).process_group(0).spawn() else { return NOT_FOUND };
    let main = rustix::process::Pid::from_child(&child);
    loop {
        let _ = poll(&mut [PollFd::new(&signals, PollFlags::IN)], None);
        while let Ok(Some(number)) = signals.next() {
            if number != signals::CHLD {
                // It may be gone already; then its code comes below.
                let _ = signals::send(main, number);
            }
        }
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            if pid == main {
                let code = status.exit_status().or_else(|| status.terminating_signal().map(|signal| 128 + signal));
                return code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX);
            }
        }
    }
}
