//! The daemon's door: a unix socket through which root and one group have the same verbs as the command line.
//!
//! ```text
//! caller -> {"verb": ["update", "--stage-only"]}                    one line, at most 64 KiB
//! daemon -> {"stream": "stderr", "text": " Fit  needs 58 MiB …"}    as often as there is something to say
//!           {"exit": 0}                                             then the connection ends
//! ```
//!
//! Each verb runs as a child process of the same program, which has its own memory, its own crash and the store's locks;
//! the door carries its lines. Guarantees: who may not write to the socket's file cannot speak; one request of one line a
//! connection, with a limit on its length and on the time it takes; at most [`CALLERS`] at once; only verbs that are for
//! callers ([`words`]). A caller who hangs up stops a query; an update goes on without him, and is told to end when the
//! daemon ends. The form is in `docs/formats/socket.md`.
#![allow(clippy::disallowed_methods, reason = "a socket is gone with its process: nothing here is durable")]

mod carry;
#[cfg(test)]
mod tests;
mod words;

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::Mode;
use rustix::process::{Pid, Signal, kill_process, umask};

pub use words::ask;
use words::{Answer, Manner, Request, read_request, refuse, tell};

/// How many are served at once; more are told to come again.
pub const CALLERS: usize = 8;

/// How long a caller may take to take what he is told.
const PATIENCE: Duration = Duration::from_secs(10);

/// Between two looks at verbs that are to end.
const LOOK: Duration = Duration::from_millis(50);

/// Bytes of stack of a thread that serves.
const STACK: usize = 128 << 10;

/// The door while it is open.
pub struct Door {
    listener: UnixListener,
    service: Arc<Service>,
}

/// What shuts a door that is being served.
pub struct Latch(Arc<Service>);

struct Service {
    path: PathBuf,
    /// How a verb's process begins: program, and the words before the verb.
    program: PathBuf,
    before: Vec<String>,
    callers: AtomicUsize,
    verbs: Mutex<Verbs>,
    /// Is told after a verb that changed something.
    changed: Box<dyn Fn() + Send + Sync>,
}

/// The processes of verbs.
#[derive(Default)]
struct Verbs {
    running: BTreeSet<i32>,
    /// No more are begun.
    shut: bool,
}

/// Opens the socket at `path` for root and `group`; without such a group for root alone. `program` with `before` and a
/// verb's words is what runs it.
///
/// # Errors
/// The directory or the socket cannot be made; another daemon listens there.
pub fn open(
    path: &Path,
    group: &str,
    program: PathBuf,
    before: Vec<String>,
    changed: impl Fn() + Send + Sync + 'static,
) -> io::Result<Door> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    if UnixStream::connect(path).is_ok() {
        return Err(io::Error::new(io::ErrorKind::AddrInUse, "another daemon listens there"));
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // Until its group is set only the owner may write to it.
    let usual = umask(Mode::from_raw_mode(0o177));
    let listener = UnixListener::bind(path);
    umask(usual);
    let listener = listener?;
    if let Some(group) = group_id(group, &fs::read_to_string("/etc/group").unwrap_or_default()) {
        std::os::unix::fs::chown(path, None, Some(group))?;
    }
    fs::set_permissions(path, Permissions::from_mode(0o660))?;
    let service = Service {
        path: path.to_owned(),
        program,
        before,
        callers: AtomicUsize::new(0),
        verbs: Mutex::default(),
        changed: Box::new(changed),
    };
    Ok(Door { listener, service: Arc::new(service) })
}

/// The number of a group in the text of `/etc/group`.
fn group_id(name: &str, groups: &str) -> Option<u32> {
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok()).flatten()
    })
}

impl Door {
    /// What shuts it.
    #[must_use]
    pub fn latch(&self) -> Latch {
        Latch(Arc::clone(&self.service))
    }

    /// Serves callers until the listener fails, which it does not while the process lives.
    pub fn serve(&self) {
        for caller in self.listener.incoming() {
            match caller {
                Ok(caller) => self.begin(caller),
                // No file descriptor is left, for example: that passes.
                Err(_) => thread::sleep(LOOK),
            }
        }
    }

    fn begin(&self, caller: UnixStream) {
        let service = Arc::clone(&self.service);
        if service.callers.fetch_add(1, Ordering::AcqRel) >= CALLERS {
            service.callers.fetch_sub(1, Ordering::AcqRel);
            return refuse(&caller, "too many callers at once: come again");
        }
        let thread = thread::Builder::new().name("caller".into()).stack_size(STACK);
        let begun = thread.spawn({
            let service = Arc::clone(&service);
            move || {
                service.serve(&caller);
                service.callers.fetch_sub(1, Ordering::AcqRel);
            }
        });
        if begun.is_err() {
            service.callers.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

impl Latch {
    /// Nobody is let in any more; verbs that run are told to end, and killed when `patience` is over: they can be cut off
    /// anywhere.
    pub fn shut(self, patience: Duration) {
        // The next daemon removes it as well.
        let _ = fs::remove_file(&self.0.path);
        self.0.verbs().shut = true;
        self.0.signal(Signal::TERM);
        let end = Instant::now() + patience;
        while !self.0.verbs().running.is_empty() && Instant::now() < end {
            thread::sleep(LOOK);
        }
        self.0.signal(Signal::KILL);
    }
}

impl Service {
    fn verbs(&self) -> MutexGuard<'_, Verbs> {
        self.verbs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn signal(&self, signal: Signal) {
        // A number stays in the set until shortly before its process is waited for, so that it is nobody else's.
        for pid in self.verbs().running.iter().filter_map(|pid| Pid::from_raw(*pid)) {
            let _ = kill_process(pid, signal);
        }
    }

    fn serve(&self, caller: &UnixStream) {
        let _ = caller.set_write_timeout(Some(PATIENCE));
        match read_request(caller) {
            Ok((request, manner)) => self.run(caller, &request, manner),
            Err(refusal) => refuse(caller, &refusal),
        }
    }

    fn run(&self, caller: &UnixStream, request: &Request, manner: Manner) {
        let mut child = match self.start(request) {
            Ok(child) => child,
            Err(error) => return refuse(caller, &format!("cannot start {}: {error}", self.program.display())),
        };
        carry::carry(caller, &mut child, manner);
        self.verbs().running.remove(&Pid::from_child(&child).as_raw_pid());
        // Killed by a signal, or lost: 1, the environment's affair.
        let code = child.wait().ok().and_then(|status| status.code());
        let exit = code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
        tell(caller, &Answer::Ended { exit });
        if manner == Manner::Changes {
            (self.changed)();
        }
    }

    fn start(&self, request: &Request) -> io::Result<Child> {
        let mut command = Command::new(&self.program);
        command.args(&self.before).args(&request.verb);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // Ctrl-C on the daemon's terminal is not the caller's.
        command.process_group(0);
        let mut verbs = self.verbs();
        if verbs.shut {
            return Err(io::Error::other("the daemon ends"));
        }
        let child = command.spawn()?;
        verbs.running.insert(Pid::from_child(&child).as_raw_pid());
        Ok(child)
    }
}
