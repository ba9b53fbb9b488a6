//! The clocks of the program: the time of day, the time that the machine has been running, and which start of it this is.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};
use umiak_agent::{Boot, Clock};

/// The longest nap: a request to stop is heard after it.
const NAP: Duration = Duration::from_millis(200);

/// Time since 1970 as the device's clock says, which may be wrong.
#[must_use]
pub fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The time of day, for the watcher over a service.
pub struct WallClock;

impl umiak_engine::oci::shim::Clock for WallClock {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }
}

/// The machine's clocks.
pub struct Machine {
    boot: Boot,
    /// Ends waits.
    interrupted: &'static AtomicBool,
}

impl Machine {
    /// `interrupted` ends every wait once it is set.
    #[must_use]
    pub fn new(interrupted: &'static AtomicBool) -> Self {
        let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        Self { boot: Boot(id.trim().to_owned()), interrupted }
    }
}

impl Clock for Machine {
    fn date(&self) -> u64 {
        since_1970().as_secs()
    }

    fn running(&self) -> Duration {
        let time = clock_gettime(ClockId::Boottime);
        Duration::new(u64::try_from(time.tv_sec).unwrap_or_default(), u32::try_from(time.tv_nsec).unwrap_or_default())
    }

    fn boot(&self) -> Boot {
        self.boot.clone()
    }

    fn wait(&self, time: Duration) {
        let mut left = time;
        loop {
            // One nap at least: who waits for what cannot be interrupted comes again at once.
            let nap = left.min(NAP);
            thread::sleep(nap);
            left -= nap;
            if left.is_zero() || self.interrupted.load(Ordering::Relaxed) {
                return;
            }
        }
    }
}
