//! How long the daemon waits between two looks: the configured time, some jitter, longer while the network is gone; and
//! until a window opens, with jitter as well.

use std::time::Duration;

/// The longest wait while the network is gone, as a multiple of the configured one.
const PATIENCE: u32 = 8;

/// The waits of one daemon.
pub struct Rhythm {
    poll: Duration,
    jitter: Duration,
    failures: u32,
    state: u64,
}

impl Rhythm {
    /// `seed` is any time: it only keeps devices of a fleet apart.
    #[must_use]
    pub fn new(poll: Duration, jitter: Duration, seed: Duration) -> Self {
        let mixed = seed.as_secs() ^ (u64::from(seed.subsec_nanos()) << 20) ^ (u64::from(std::process::id()) << 40);
        Self { poll, jitter, failures: 0, state: mixed | 1 }
    }

    /// The next wait. Each look that found no network doubles it, up to eight times the configured one.
    pub fn next(&mut self, no_network: bool) -> Duration {
        self.failures = if no_network { (self.failures + 1).min(PATIENCE.ilog2()) } else { 0 };
        self.poll.saturating_mul(1 << self.failures).saturating_add(self.random_part())
    }

    /// The wait where a window opens in `closed`: no longer than between two looks, since what should run is seen to all the
    /// time.
    pub fn until(&mut self, closed: Duration) -> Duration {
        if closed > self.poll { self.poll } else { closed.saturating_add(self.random_part()) }
    }

    /// Some of the jitter: Marsaglia's xorshift, which is random enough to keep devices apart.
    fn random_part(&mut self) -> Duration {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        let most = u64::try_from(self.jitter.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(if most == 0 { 0 } else { self.state % (most + 1) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLL: Duration = Duration::from_secs(300);

    #[test]
    fn waits_grow_while_the_network_is_gone_and_are_as_before_afterwards() {
        let mut rhythm = Rhythm::new(POLL, Duration::ZERO, Duration::from_secs(7));
        let waits: Vec<_> = [false, true, true, true, true, false].map(|gone| rhythm.next(gone).as_secs() / 300).into();
        assert_eq!(waits, [1, 2, 4, 8, 8, 1]);
    }

    #[test]
    fn jitter_is_within_its_bound_and_differs() {
        let jitter = Duration::from_secs(60);
        let mut rhythm = Rhythm::new(POLL, jitter, Duration::from_nanos(123_456_789));
        let waits: Vec<_> = (0..50).map(|_| rhythm.next(false)).collect();
        assert!(waits.iter().all(|wait| (POLL..=POLL + jitter).contains(wait)));
        assert!(waits.iter().collect::<std::collections::BTreeSet<_>>().len() > 40);
        let opening = Duration::from_secs(100);
        let waits: Vec<_> = (0..50).map(|_| rhythm.until(opening)).collect();
        assert!(waits.iter().all(|wait| (opening..=opening + jitter).contains(wait)));
        assert!(waits.iter().collect::<std::collections::BTreeSet<_>>().len() > 40);
        assert_eq!(rhythm.until(POLL * 10), POLL);
    }
}
