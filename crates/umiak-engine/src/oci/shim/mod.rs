//! The shim: one small process for each service, which starts it, keeps its output, watches it, starts it again, stops it.
//!
//! It outlives the agent. It holds a lock while it lives, so whether it is there needs no guessing; it writes down what
//! it sees in one small document; SIGTERM makes it stop the service and end. All waiting is in one place
//! (`Watch::turn`), with one thread; another passes ports on where the service has any.
//!
//! ```text
//! shim DIRECTORY             starts `shim watch DIRECTORY` on its own and ends; its output says how the start went
//! shim watch DIRECTORY       watches the service of that instance
//! shim hide MOUNT PROGRAM …  executes a program that does not see a mount
//! shim init PROGRAM …        is a container's first process: passes signals on, collects orphans
//! ```

mod ending;
mod health;
mod init;
mod orders;
mod output;
mod ports;
mod restart;
mod starting;
mod watch;

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::SystemTime;

use rustix::mount::UnmountFlags;

pub(crate) use orders::{Forward, Orders, Phase, Seen, Wellness, locked, uptime};
pub(crate) use output::read_logs;

/// The device's clock, as the face has it.
pub trait Clock {
    /// Now.
    fn now(&self) -> SystemTime;
}

/// Said by a shim whose service runs.
pub(crate) const STARTED: &str = "started";

/// Does what the arguments say (without the program's name and the word `shim`) and returns the exit code.
///
/// It must be called before any thread is started. Errors are written to standard error where it is connected.
pub fn run(arguments: &[OsString], clock: &dyn Clock) -> u8 {
    let text: Vec<_> = arguments.iter().map(|argument| argument.to_string_lossy()).collect();
    let words: Vec<&str> = text.iter().map(AsRef::as_ref).collect();
    let done = match *words.as_slice() {
        ["watch", directory] => watch::watch(Path::new(directory), clock),
        ["hide", mount, program, ..] => Err(hide(Path::new(mount), program, &arguments[3..])),
        ["init", _, ..] => return init::run(&arguments[1..]),
        [directory] => launch(Path::new(directory)),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "shim: what to do?")),
    };
    match done {
        Ok(()) => 0,
        Err(error) => {
            // Nobody is left to tell where this fails.
            let _ = writeln!(io::stderr(), "{error}");
            1
        }
    }
}

/// Starts the watching process; it inherits standard output and belongs to nobody when this one ends.
fn launch(directory: &Path) -> io::Result<()> {
    let orders = Orders::read(directory)?;
    let (program, arguments) = orders.runtime.shim.split_first().ok_or(io::ErrorKind::InvalidData)?;
    let words = crate::durable::append(&directory.join("shim.log"))?;
    let mut command = Command::new(program);
    command.args(arguments).arg("watch").arg(directory).current_dir("/");
    command.stdin(Stdio::null()).stderr(words).spawn().map(|_| ())
}

/// Executes a program in mounts of its own, without the one at `point`. Comes back only when it fails.
fn hide(point: &Path, program: &str, arguments: &[OsString]) -> io::Error {
    if let Err(error) = umiak_mount::namespace::own_mounts() {
        return error;
    }
    if let Err(error) = rustix::mount::unmount(point, UnmountFlags::DETACH) {
        return error.into();
    }
    Command::new(program).args(arguments).exec()
}

/// Tells the one who waits for the start, and lets go of its pipe.
fn report(words: &str) {
    // A caller that is gone needs no answer.
    let _ = io::stdout().write_all(words.as_bytes()).and_then(|()| io::stdout().flush());
    if let Ok(null) = File::options().write(true).open("/dev/null") {
        let _ = rustix::stdio::dup2_stdout(&null);
    }
}
