//! The time of day as documents have it, and time that passes. The only clocks of the program besides those of `umiak-ui`.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use umiak_ui::rfc3339;

/// Now, or the moment of `SOURCE_DATE_EPOCH`, in seconds since 1970.
#[must_use]
pub fn now(fixed: Option<u64>) -> u64 {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    fixed.unwrap_or_else(now)
}

/// The same as RFC 3339 has it, in UTC and whole seconds.
#[must_use]
pub fn rfc3339_now(fixed: Option<u64>) -> String {
    rfc3339(now(fixed))
}

/// Time that passes while a device is waited for.
pub struct Passing(Instant);

impl Passing {
    /// Begins at zero.
    #[must_use]
    pub fn new() -> Self {
        Self(Instant::now())
    }
}

impl umiak_pantavisor::Clock for Passing {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }

    fn pause(&self, time: Duration) {
        std::thread::sleep(time);
    }
}
