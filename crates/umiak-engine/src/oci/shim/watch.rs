//! Watching one service from its first start to its end.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::FlockOperation;
use rustix::process::{Pid, WaitOptions, WaitStatus};
use umiak_mount::signals::{self, Signals};

use super::output::Output;
use super::restart::Pace;
use super::{Clock, Orders, Phase, Seen, ports, report, restart};

/// Ended processes that are remembered until someone asks for them.
const ENDED_MAX: usize = 1024;

/// How often a lock is tried that somebody has, and how long apart.
const LOCK_TRIES: u32 = 50;
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// The shim at work.
pub(super) struct Watch<'a> {
    pub orders: Orders,
    pub directory: PathBuf,
    pub clock: &'a dyn Clock,
    pub seen: Seen,
    pub output: Output,
    /// Whether the service is to stop.
    pub stop: bool,
    /// The service's first process.
    pub main: Option<i32>,
    signals: Signals,
    /// Code of each process that ended and was not asked for yet.
    ended: BTreeMap<i32, i32>,
    /// Whether someone still waits to hear how the start went.
    awaited: bool,
}

/// Watches the service of an instance to its end.
pub(super) fn watch(directory: &Path, clock: &dyn Clock) -> io::Result<()> {
    // Before anything that could be left behind: who holds the lock is the one that watches.
    let mut lock = crate::durable::lock_file(&directory.join("lock"))?;
    if !alone(&lock) {
        report(super::STARTED);
        return Ok(());
    }
    lock.set_len(0)?;
    write!(lock, "{}", std::process::id())?;
    let signals = Signals::block(&[signals::TERM, signals::INT, signals::HUP, signals::CHLD])?;
    // It leads a session already only if it was called by hand.
    let _ = rustix::process::setsid();
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    let _ = rustix::thread::set_name(c"umiak-shim");
    // A shim must not be what the kernel takes when memory is short; without the right to say so it may be.
    let _ = crate::durable::tell_kernel("/proc/self/oom_score_adj", "-500");
    let orders = Orders::read(directory)?;
    let output = Output::new(&orders.log_directory, orders.logs, &orders.revision);
    let mut watch = Watch {
        orders,
        directory: directory.to_owned(),
        clock,
        seen: Seen::default(),
        output,
        stop: false,
        main: None,
        signals,
        ended: BTreeMap::new(),
        awaited: true,
    };
    watch.save();
    // Nothing is said by it but whose lines follow: the service may print before its start is noted.
    watch.note("");
    watch.all();
    Ok(())
}

/// Takes the lock, unless another shim has it. Who only looks whether one does (`locked`) has it for a moment as well.
fn alone(lock: &File) -> bool {
    (0..LOCK_TRIES).any(|before| {
        if before > 0 {
            std::thread::sleep(LOCK_PAUSE);
        }
        rustix::fs::flock(lock, FlockOperation::NonBlockingLockExclusive).is_ok()
    })
}

impl Watch<'_> {
    fn all(&mut self) {
        if let Err(why) = ports::pass_on(&self.orders.ports) {
            return self.give_up(&why);
        }
        let mut pace = Pace::default();
        loop {
            let code = match self.start() {
                Ok(pid) => {
                    self.tell(super::STARTED);
                    let started = Instant::now();
                    let code = self.until_end(pid);
                    pace.ran(started.elapsed());
                    code
                }
                // The one who starts it hears why, and decides.
                Err(why) if self.awaited => return self.give_up(&why),
                Err(why) => {
                    self.seen.detail = Some(why.clone());
                    self.note(&format!("cannot be started again: {why}"));
                    restart::NOT_STARTED
                }
            };
            if self.seen.phase == Phase::Failed {
                return self.save();
            }
            self.seen.code = Some(code);
            if self.stop || !restart::again(self.orders.restart, code, self.seen.restarts) {
                break;
            }
            let pause = pace.next();
            self.note(&format!("ended with code {code}; started again in {:.1} s", pause.as_secs_f32()));
            self.enter(Phase::Waiting);
            let end = Instant::now() + pause;
            while !self.stop && Instant::now() < end {
                self.turn(Some(end));
            }
            if self.stop {
                break;
            }
            self.seen.restarts += 1;
        }
        self.seen.stopped = self.stop;
        let code = self.seen.code.unwrap_or_default();
        self.note(&if self.stop { "stopped".to_owned() } else { format!("ended with code {code}") });
        self.seen.clean = true;
        self.enter(Phase::Ended);
    }

    fn give_up(&mut self, why: &str) {
        self.note(&format!("cannot be started: {why}"));
        self.seen.detail = Some(why.to_owned());
        self.seen.clean = true;
        self.enter(Phase::Failed);
        self.tell(why);
    }

    fn tell(&mut self, words: &str) {
        if std::mem::take(&mut self.awaited) {
            report(words);
        }
    }

    /// Writes down that something changed.
    pub(super) fn enter(&mut self, phase: Phase) {
        self.seen.phase = phase;
        self.save();
    }

    pub(super) fn save(&mut self) {
        // The run directory is memory; where even that is full, the next change tries again.
        if let Ok(text) = serde_json::to_vec(&self.seen) {
            let _ = crate::durable::document(&self.directory.join("state.json"), &text);
        }
    }

    pub(super) fn note(&mut self, text: &str) {
        let now = self.clock.now();
        self.output.note(text, now);
    }

    /// Waits for whatever comes first: output, the end of a child, a signal, `until`; and deals with it.
    pub(super) fn turn(&mut self, until: Option<Instant>) {
        let ready = {
            let mut fds = vec![PollFd::new(&self.signals, PollFlags::IN)];
            fds.extend(self.output.descriptors().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
            let end = [until, self.output.flush_at()].into_iter().flatten().min();
            let wait = end.map(|end| {
                // A little more than asked, so that the time has come when it is over.
                let wait = end.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
                Timespec { tv_sec: wait.as_secs().min(1 << 30).cast_signed(), tv_nsec: wait.subsec_nanos().into() }
            });
            // Interrupted is as good as nothing there.
            let _ = poll(&mut fds, wait.as_ref());
            fds.iter().skip(1).any(|fd| !fd.revents().is_empty())
        };
        while let Ok(Some(signal)) = self.signals.next() {
            if signal == signals::TERM || signal == signals::INT {
                self.stop = true;
            }
        }
        self.collect();
        let now = self.clock.now();
        if ready {
            self.output.read(now);
        }
        self.output.flush_quiet(now);
    }

    /// All children that ended: our own and, as this process adopts them, those whose parents are gone.
    fn collect(&mut self) {
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            if self.ended.len() >= ENDED_MAX {
                let main = self.main;
                self.ended.retain(|pid, _| Some(*pid) == main);
            }
            self.ended.insert(pid.as_raw_nonzero().get(), code(status));
        }
    }

    /// The code of a child that ended, once.
    pub(super) fn take_ended(&mut self, pid: i32) -> Option<i32> {
        self.ended.remove(&pid)
    }

    /// Whether the service's first process ended.
    pub(super) fn main_ended(&self) -> bool {
        self.main.is_some_and(|pid| self.ended.contains_key(&pid))
    }

    /// Forgets who ended before, so that a number that comes again is not taken for another.
    pub(super) fn forget_ended(&mut self) {
        let main = self.main;
        self.ended.retain(|pid, _| Some(*pid) == main);
    }

    /// Waits for a child until `end`; none: it is still there.
    pub(super) fn wait_for(&mut self, pid: i32, end: Instant) -> Option<i32> {
        loop {
            self.collect();
            if let Some(code) = self.take_ended(pid) {
                return Some(code);
            }
            if Instant::now() >= end {
                return None;
            }
            self.turn(Some(end));
        }
    }

    /// Sends a signal to a child that was not collected yet: its number is still its own.
    pub(super) fn signal(&self, pid: i32, number: i32) {
        if let Some(pid) = Pid::from_raw(pid) {
            // A zombie takes signals too; nothing else can go wrong.
            let _ = signals::send(pid, number);
        }
    }
}

/// As shells have it: 128 and the signal's number for a process that a signal ended.
fn code(status: WaitStatus) -> i32 {
    status.exit_status().or_else(|| status.terminating_signal().map(|signal| 128 + signal)).unwrap_or(255)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_only_looks_does_not_keep_a_shim_from_watching() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("lock");
        let looker = crate::durable::lock_file(&path).unwrap();
        rustix::fs::flock(&looker, FlockOperation::NonBlockingLockShared).unwrap();
        let shim = crate::durable::lock_file(&path).unwrap();
        std::thread::scope(|scope| {
            let shim = scope.spawn(|| alone(&shim));
            std::thread::sleep(LOCK_PAUSE * 3);
            rustix::fs::flock(&looker, FlockOperation::Unlock).unwrap();
            assert!(shim.join().unwrap());
        });
        // The first shim has it now.
        assert!(!alone(&looker));
    }
}
