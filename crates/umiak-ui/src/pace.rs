//! The time that passes, for limits on how fast bytes may go.

use std::time::{Duration, Instant};

/// Time since the program looked first.
#[derive(Debug)]
pub struct Monotonic(Instant);

impl Monotonic {
    /// Begins at zero.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it asks the time")]
    pub fn new() -> Self {
        Self(Instant::now())
    }
}

impl umiak_registry::Clock for Monotonic {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }

    fn pause(&self, time: Duration) {
        std::thread::sleep(time);
    }
}
