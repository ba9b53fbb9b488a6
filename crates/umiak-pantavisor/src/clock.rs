//! The time that passes while a device is waited for: handed in, as everything that a library may not ask for.

use std::time::Duration;

use umiak_spec::{Cancelled, Observer};

/// Time that passes, and lets itself be waited for.
pub trait Clock: Send + Sync {
    /// Time since some moment in the past; never less than before.
    fn now(&self) -> Duration;

    /// Lets `time` pass.
    fn pause(&self, time: Duration);
}

/// How long a request to stop may go unheard while waiting.
const STEP: Duration = Duration::from_millis(200);

/// Lets `time` pass, but for a request to stop.
pub(crate) fn wait(clock: &dyn Clock, time: Duration, observer: &dyn Observer) -> Result<(), Cancelled> {
    let mut left = time;
    while !left.is_zero() {
        observer.check()?;
        let step = left.min(STEP);
        clock.pause(step);
        left -= step;
    }
    observer.check()
}
