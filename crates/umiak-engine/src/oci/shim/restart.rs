//! When a service that ended is started again, and after what pause.

use std::time::Duration;

use umiak_spec::service::Restart;

/// The code of a service whose start failed, as shells say "cannot execute".
pub(super) const NOT_STARTED: i32 = 126;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(60);
/// A service that ran this long is not in a circle of starts.
const SETTLED: Duration = Duration::from_secs(10);

/// Whether it is.
pub(super) fn again(policy: Restart, code: i32, restarts: u32) -> bool {
    match policy {
        Restart::No => false,
        Restart::Always | Restart::UnlessStopped => true,
        Restart::OnFailure { most } => code != 0 && most.is_none_or(|most| restarts < most),
    }
}

/// The pauses between starts: twice as long each time, up to a minute, from the beginning when it ran well between.
#[derive(Debug)]
pub(super) struct Pace(Duration);

impl Default for Pace {
    fn default() -> Self {
        Self(FIRST)
    }
}

impl Pace {
    pub(super) fn ran(&mut self, time: Duration) {
        if time >= SETTLED {
            self.0 = FIRST;
        }
    }

    pub(super) fn next(&mut self) -> Duration {
        let pause = self.0;
        self.0 = (pause * 2).min(LONGEST);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_start_anew() {
        let mut pace = Pace::default();
        let pauses: Vec<u128> = (0..12).map(|_| pace.next().as_millis()).collect();
        assert_eq!(pauses[..4], [100, 200, 400, 800]);
        assert_eq!(pauses[11], 60_000);
        pace.ran(Duration::from_secs(9));
        assert_eq!(pace.next(), LONGEST);
        pace.ran(SETTLED);
        assert_eq!(pace.next(), FIRST);
    }

    #[test]
    fn policies_are_kept() {
        assert!(!again(Restart::No, 1, 0));
        assert!(again(Restart::Always, 0, 1000) && again(Restart::UnlessStopped, 0, 0));
        let three = Restart::OnFailure { most: Some(3) };
        assert!(again(three, 1, 2) && !again(three, 1, 3) && !again(three, 0, 0));
        assert!(again(Restart::OnFailure { most: None }, 137, u32::MAX));
    }
}
