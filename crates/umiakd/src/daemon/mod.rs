//! The daemon: it brings up what the device should run, looks at the target from time to time, and opens the door.
//!
//! It does none of the work itself: every look and every update is a child process of the same program, so that the daemon stays
//! small, a crash in an update is not its own, and there is one way in which things are done. Containers do not depend on
//! it: it may be stopped, replaced and started again while they run. When it is told to end, so is the verb that runs, which
//! leaves what the next start goes on with; after [`ENDING`] it is cut off, which is no worse than a power cut.

pub mod door;
mod notify;
mod rhythm;

use std::cell::Cell;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use umiak_ui::{Kind, Printer};

use crate::settings::{Mode, Settings};
use notify::Manager;
use rhythm::Rhythm;

/// How long a verb may take to end when it is told to; callers' verbs as long again. systemd waits for 90 s.
const ENDING: Duration = Duration::from_secs(40);

/// Between two looks at a verb that runs.
const LOOK: Duration = Duration::from_millis(200);

/// What wakes the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    /// Something was changed through the door, or somebody asks to look now.
    Look,
    /// It should end.
    Stop,
}

/// What the daemon is made of.
pub struct Daemon<'a> {
    /// What was decided for it.
    pub settings: &'a Settings,
    /// Where it talks.
    pub printer: &'a Printer,
    /// The program whose verbs it runs, this one.
    pub program: PathBuf,
    /// The words before every verb: which configuration.
    pub before: Vec<String>,
    /// Who started it.
    pub manager: Manager,
    /// Time since 1970.
    pub now: fn() -> Duration,
    /// Where it is woken from.
    pub woken: Receiver<Wake>,
    /// What was heard while a verb ran.
    pub heard: Cell<Option<Wake>>,
}

pub use notify::Manager as ServiceManager;

/// What wakes a daemon, and [`Daemon::woken`].
#[must_use]
pub fn bell() -> (Sender<Wake>, Receiver<Wake>) {
    channel()
}

impl Daemon<'_> {
    /// Runs until it is told to stop.
    ///
    /// # Errors
    /// The door cannot be opened.
    pub fn run(&self, bell: &Sender<Wake>) -> std::io::Result<()> {
        let opened = {
            let bell = bell.clone();
            let changed = move || {
                let _ = bell.send(Wake::Look);
            };
            let (path, group) = (&self.settings.daemon.socket, &self.settings.daemon.group);
            door::open(path, group, self.program.clone(), self.before.clone(), changed)?
        };
        let socket = self.settings.daemon.socket.display();
        self.printer.detail(&format!("listening on {socket}"));
        let latch = opened.latch();
        // The thread ends with the process.
        thread::Builder::new().name("door".into()).stack_size(256 << 10).spawn(move || opened.serve())?;
        self.step(&["resume"]);
        self.manager.ready();
        self.rounds();
        self.manager.stopping();
        latch.shut(ENDING);
        Ok(())
    }

    fn rounds(&self) {
        let daemon = &self.settings.daemon;
        let mut rhythm = Rhythm::new(daemon.poll.0, daemon.jitter.0, (self.now)());
        loop {
            let closed = crate::settings::until_open(&daemon.windows, (self.now)());
            let wait = if closed.is_zero() {
                let outcome = self.round(daemon.mode);
                rhythm.next(outcome == Some(Kind::Network as u8))
            } else {
                self.manager.status(&format!("outside of its windows for {}", umiak_ui::span(closed)));
                self.step(&["resume"]);
                rhythm.until(closed)
            };
            let wake = self.heard.take().unwrap_or_else(|| self.sleep(wait));
            if wake == Wake::Stop {
                return;
            }
        }
    }

    /// Everything that a look at the target brings; gives the exit code.
    fn round(&self, mode: Mode) -> Option<u8> {
        // What should run is brought up again first, whatever the target's source says.
        self.step(&["resume"]);
        match mode {
            Mode::Check => self.step(&["check"]),
            Mode::Stage => self.step(&["update", "--stage-only", "--yes"]),
            Mode::Update => self.step(&["update", "--yes"]),
        }
    }

    /// Waits, with signs of life, until the time is over or the bell rings.
    fn sleep(&self, wait: Duration) -> Wake {
        let mut left = wait;
        loop {
            let nap = self.manager.watchdog().map_or(left, |often| often.min(left));
            match self.woken.recv_timeout(nap) {
                Ok(wake) => return self.all_of(wake),
                Err(RecvTimeoutError::Disconnected) => return Wake::Stop,
                Err(RecvTimeoutError::Timeout) => {}
            }
            self.manager.alive();
            left = left.saturating_sub(nap);
            if left.is_zero() {
                return Wake::Look;
            }
        }
    }

    /// Ten changes in a row are one reason to look.
    fn all_of(&self, first: Wake) -> Wake {
        let rest = std::iter::from_fn(|| self.woken.try_recv().ok());
        if std::iter::once(first).chain(rest).any(|wake| wake == Wake::Stop) { Wake::Stop } else { Wake::Look }
    }

    /// Runs one verb to its end; its talk goes where the daemon's goes. `None`: it could not be started, or was killed.
    fn step(&self, verb: &[&str]) -> Option<u8> {
        if self.heard.get() == Some(Wake::Stop) {
            return None;
        }
        self.manager.status(&verb.join(" "));
        let mut command = Command::new(&self.program);
        command.args(&self.before).arg("--by-daemon").args(verb).stdin(Stdio::null()).stdout(Stdio::null());
        // Ctrl-C on a terminal is the daemon's to hand on: told twice, a verb ends at once.
        command.process_group(0);
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => {
                self.printer.warning(&format!("cannot start {}: {error}", self.program.display()));
                return None;
            }
        };
        let exit = self.attend(&mut child).and_then(|status| status.code()).and_then(|code| u8::try_from(code).ok());
        let ended = exit.map_or("a signal".into(), |code| code.to_string());
        self.manager.status(&format!("waiting; `{}` ended with {ended}", verb.join(" ")));
        exit
    }

    /// Waits for a verb, with signs of life, and listens meanwhile.
    fn attend(&self, child: &mut Child) -> Option<ExitStatus> {
        let mut end = None;
        loop {
            if let Some(status) = child.try_wait().ok()? {
                return Some(status);
            }
            if let Ok(wake) = self.woken.recv_timeout(LOOK) {
                // A change is looked at when the verb is done; nothing makes a request to end undone.
                let heard = self.heard.take().map_or(wake, |before| if before == Wake::Stop { before } else { wake });
                self.heard.set(Some(heard));
            }
            if self.heard.get() == Some(Wake::Stop) {
                match end {
                    None => {
                        end = Some(Instant::now() + ENDING);
                        // It may have ended just now.
                        let _ = kill_process(Pid::from_child(child), Signal::TERM);
                    }
                    Some(end) if Instant::now() >= end => drop(child.kill()),
                    Some(_) => {}
                }
            }
            self.manager.alive();
        }
    }
}
