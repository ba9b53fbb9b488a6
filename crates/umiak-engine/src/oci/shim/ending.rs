//! From the start to the end of one run: probes while it lasts, the stop that was asked for, what is left after it.

use std::fs;
use std::time::{Duration, Instant};

use umiak_mount::signals;

use super::Phase;
use super::health::Checks;
use super::watch::Watch;

/// How long a process that was killed may take to be gone. More means that it hangs in the kernel.
const AFTER_KILL: Duration = Duration::from_secs(10);

/// Bytes of `memory.events` and its like.
const EVENTS_MAX: usize = 4096;

impl Watch<'_> {
    /// Watches until the first process ended, and returns its code. Takes away what is left of the container.
    pub(super) fn until_end(&mut self, pid: i32) -> i32 {
        let mut checks = self.orders.health.clone().map(|health| Checks::new(health, Instant::now()));
        let ran_out = self.memory_ran_out();
        let code = loop {
            if let Some(code) = self.take_ended(pid) {
                break code;
            }
            if self.stop {
                match self.end(pid) {
                    Some(code) => break code,
                    None => return self.immortal(pid),
                }
            }
            match &mut checks {
                Some(checks) if checks.is_due(Instant::now()) => self.check(checks),
                Some(checks) => {
                    let due = checks.due();
                    self.turn(Some(due));
                }
                None => self.turn(None),
            }
        };
        self.seen.pid = None;
        self.seen.health = None;
        if self.memory_ran_out() > ran_out {
            self.seen.detail = Some("memory ran out".to_owned());
            self.note("memory ran out: the kernel killed a process of it");
        }
        self.output.close(self.clock.now());
        self.delete();
        self.main = None;
        code
    }

    /// Asks it to stop, waits, kills it, waits. None: it is there for ever.
    fn end(&mut self, pid: i32) -> Option<i32> {
        self.enter(Phase::Stopping);
        self.signal(pid, self.orders.stop_signal);
        if let Some(code) = self.wait_for(pid, Instant::now() + self.orders.stop_grace) {
            return Some(code);
        }
        self.note(&format!("did not stop within {} s and is killed", self.orders.stop_grace.as_secs_f32()));
        self.signal(pid, signals::KILL);
        self.wait_for(pid, Instant::now() + AFTER_KILL)
    }

    fn immortal(&mut self, pid: i32) -> i32 {
        self.seen.detail = Some(format!("process {pid} cannot be killed: it hangs in the kernel"));
        self.enter(Phase::Failed);
        128 + signals::KILL
    }

    /// How often the kernel killed for memory in the service's control group.
    fn memory_ran_out(&self) -> u64 {
        let Ok(text) = fs::read(&self.orders.memory_events) else { return 0 };
        let text = String::from_utf8_lossy(&text[..text.len().min(EVENTS_MAX)]).into_owned();
        let count = text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok());
        count.unwrap_or(0)
    }
}
