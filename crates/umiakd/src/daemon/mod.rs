//! The daemon: it brings up what the device should run, looks at the target from time to time, and opens the door.
//!
//! It does none of the work itself: every look and every update is a child process of the same program, so that the daemon stays
//! small, a crash in an update is not its own, and there is one way in which things are done. Containers do not depend on
//! it: it may be stopped, replaced and started again while they run.

pub mod door;
mod notify;
mod rhythm;

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use umiak_ui::{Kind, Printer};

use crate::settings::{Mode, Settings};
use notify::Manager;
use rhythm::Rhythm;

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
}

pub use notify::Manager as ServiceManager;

/// Where [`Daemon::run`] is woken from.
#[must_use]
pub fn bell() -> (Sender<Wake>, Receiver<Wake>) {
    channel()
}

impl Daemon<'_> {
    /// Runs until it is told to stop.
    ///
    /// # Errors
    /// The door cannot be opened.
    pub fn run(&self, bell: &Sender<Wake>, woken: &Receiver<Wake>) -> std::io::Result<()> {
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
        // The thread ends with the process; the socket's file is removed below.
        thread::Builder::new().name("door".into()).stack_size(256 << 10).spawn(move || opened.serve())?;
        self.step(&["resume"]);
        self.manager.ready();
        self.rounds(woken);
        self.manager.stopping();
        self.close();
        Ok(())
    }

    fn rounds(&self, woken: &Receiver<Wake>) {
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
                closed.min(daemon.poll.0)
            };
            if self.sleep(woken, wait) == Wake::Stop {
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
    fn sleep(&self, woken: &Receiver<Wake>, wait: Duration) -> Wake {
        let mut left = wait;
        loop {
            let nap = self.manager.watchdog().map_or(left, |often| often.min(left));
            match woken.recv_timeout(nap) {
                Ok(wake) => return self.all_of(woken, wake),
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
    fn all_of(&self, woken: &Receiver<Wake>, first: Wake) -> Wake {
        let rest = std::iter::from_fn(|| woken.try_recv().ok());
        if std::iter::once(first).chain(rest).any(|wake| wake == Wake::Stop) { Wake::Stop } else { Wake::Look }
    }

    /// Runs one verb to its end; its talk goes where the daemon's goes. `None`: it could not be started, or was killed.
    fn step(&self, verb: &[&str]) -> Option<u8> {
        self.manager.status(&verb.join(" "));
        let mut command = Command::new(&self.program);
        command.args(&self.before).arg("--by-daemon").args(verb).stdin(Stdio::null()).stdout(Stdio::null());
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => {
                self.printer.warning(&format!("cannot start {}: {error}", self.program.display()));
                return None;
            }
        };
        let exit = loop {
            // A long update still shows signs of life.
            match child.try_wait() {
                Ok(Some(status)) => break status.code().and_then(|code| u8::try_from(code).ok()),
                Ok(None) => thread::sleep(Duration::from_millis(200)),
                Err(_) => break None,
            }
            self.manager.alive();
        };
        self.manager.status(&format!(
            "waiting; `{}` ended with {}",
            verb.join(" "),
            exit.map_or("a signal".into(), |code| code.to_string())
        ));
        exit
    }

    #[allow(clippy::disallowed_methods, reason = "a socket is gone with its process: nothing here is durable")]
    fn close(&self) {
        // The next daemon removes it as well.
        let _ = std::fs::remove_file(&self.settings.daemon.socket);
    }
}
