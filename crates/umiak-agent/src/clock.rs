//! The time as the agent is told it.
//!
//! Decisions are made with [`Clock::running`] only, which neither jumps nor stands still. The date is for people: a
//! device whose clock stands at 1970 updates, tests and rolls back like any other.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Before this a date is that of a clock that nobody has set: 2024-01-01, in seconds since 1970.
pub const PLAUSIBLE: u64 = 1_704_067_200;

/// Which start of the machine it is: equal for as long as it runs, different after each start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Boot(pub String);

/// Tells the time, and waits.
pub trait Clock: Send + Sync {
    /// Seconds since 1970 as the device has it; may be wrong and may jump either way. For people only.
    fn date(&self) -> u64;

    /// The date, where the clock was set.
    fn plausible_date(&self) -> Option<u64> {
        Some(self.date()).filter(|date| *date >= PLAUSIBLE)
    }

    /// How long the machine has been running, the time asleep included (`CLOCK_BOOTTIME`): the same for all processes.
    fn running(&self) -> Duration;

    /// Which start of the machine this is (`/proc/sys/kernel/random/boot_id`).
    fn boot(&self) -> Boot;

    /// Returns after about this long, or earlier when there is something to do.
    fn wait(&self, time: Duration);
}
