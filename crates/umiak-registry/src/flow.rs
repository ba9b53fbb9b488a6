//! How fast bytes may come and go, and how many may be on their way at once.
//!
//! Guarantees: all connections that share a [`Flow`] together stay below its rate, each way for itself, but for what one
//! bucket holds (an eighth of a second's worth); whoever holds a [`Share`] counts against the budget until it is dropped, and what asks for
//! more than there is waits. It asks no clock of its own: time is what [`Clock`] says.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use umiak_spec::{Cancelled, Observer};

/// Bytes of blobs that are on their way at once, unless somebody says otherwise.
pub const DEFAULT_BUDGET: u64 = 32 << 20;

/// What one blob on its way takes of the budget: the buffers of a connection that it comes by and of one that it goes by,
/// with some room for what the system's own hold.
pub const SHARE: u64 = 1 << 20;

/// The least that is let through at a time: less would be more headers than bytes.
const LEAST: u64 = 1 << 10;

/// How often somebody who waits for a share listens for the request to stop.
const LISTEN: Duration = Duration::from_millis(200);

/// Time, as [`Flow`] needs it.
pub trait Clock: Send + Sync {
    /// Time since some moment that stays the same.
    fn now(&self) -> Duration;

    /// Lets time pass.
    fn pause(&self, time: Duration);
}

/// A limit that all connections share.
pub struct Flow {
    rate: Option<Rate>,
    budget: u64,
    free: Mutex<u64>,
    freed: Condvar,
}

/// Bytes a second, each way.
struct Rate {
    per_second: u64,
    clock: Arc<dyn Clock>,
    inward: Mutex<Bucket>,
    outward: Mutex<Bucket>,
}

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    In,
    Out,
}

/// Bytes that may pass, and when they were counted last.
struct Bucket {
    tokens: u64,
    at: Duration,
}

/// A part of the budget.
pub(crate) struct Share<'a> {
    flow: &'a Flow,
    bytes: u64,
}

impl std::fmt::Debug for Flow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let rate = self.rate.as_ref().map(|rate| rate.per_second);
        f.debug_struct("Flow").field("rate", &rate).field("budget", &self.budget).finish_non_exhaustive()
    }
}

impl Default for Flow {
    fn default() -> Self {
        Self::new(DEFAULT_BUDGET)
    }
}

impl Flow {
    /// As fast as it goes, with at most `budget` bytes on their way; one blob at a time is always let through.
    #[must_use]
    pub fn new(budget: u64) -> Self {
        let budget = budget.max(SHARE);
        Self { rate: None, budget, free: Mutex::new(budget), freed: Condvar::new() }
    }

    /// At most `per_second` bytes come in a second, and as many go out; none at all counts as one.
    #[must_use]
    pub fn limited(self, per_second: u64, clock: Arc<dyn Clock>) -> Self {
        let (per_second, at) = (per_second.max(1), clock.now());
        let full = || Mutex::new(Bucket { tokens: capacity(per_second), at });
        Self { rate: Some(Rate { per_second, clock, inward: full(), outward: full() }), ..self }
    }

    /// The most bytes that are worth reading at once.
    pub(crate) fn most_at_once(&self, usual: usize) -> usize {
        let most = self.rate.as_ref().map_or(u64::MAX, |rate| capacity(rate.per_second));
        usual.min(usize::try_from(most).unwrap_or(usize::MAX))
    }

    /// How many of `wanted` bytes may pass now: at least one, after some time if need be. They count as passed; what did
    /// not pass is given back.
    pub(crate) fn pass(&self, way: Way, wanted: usize) -> usize {
        let Some(rate) = &self.rate else { return wanted };
        loop {
            let wait = {
                let mut bucket = rate.bucket(way);
                bucket.fill(rate.per_second, rate.clock.now());
                // Single bytes would be all that is ever let through, once many want more than there is.
                let enough = (wanted as u64).min(LEAST.min(capacity(rate.per_second)));
                if bucket.tokens >= enough {
                    let granted = bucket.tokens.min(wanted as u64);
                    bucket.tokens -= granted;
                    return usize::try_from(granted).unwrap_or(wanted);
                }
                time_for(enough - bucket.tokens, rate.per_second)
            };
            rate.clock.pause(wait);
        }
    }

    /// Bytes that were let pass and did not.
    pub(crate) fn give_back(&self, way: Way, bytes: usize) {
        let Some(rate) = &self.rate else { return };
        let mut bucket = rate.bucket(way);
        bucket.tokens = (bucket.tokens + bytes as u64).min(capacity(rate.per_second));
    }

    /// Waits until one more blob may be on its way.
    ///
    /// # Errors
    /// [`Cancelled`].
    pub(crate) fn share(&self, observer: &dyn Observer) -> Result<Share<'_>, Cancelled> {
        let mut free = locked(&self.free);
        while *free < SHARE {
            observer.check()?;
            free = self.freed.wait_timeout(free, LISTEN).unwrap_or_else(PoisonError::into_inner).0;
        }
        *free -= SHARE;
        Ok(Share { flow: self, bytes: SHARE })
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        *locked(&self.flow.free) += self.bytes;
        self.flow.freed.notify_one();
    }
}

impl Rate {
    fn bucket(&self, way: Way) -> MutexGuard<'_, Bucket> {
        locked(match way {
            Way::In => &self.inward,
            Way::Out => &self.outward,
        })
    }
}

impl Bucket {
    /// Adds what has come free since the last time.
    fn fill(&mut self, per_second: u64, now: Duration) {
        let passed = now.saturating_sub(self.at);
        let more = u128::from(per_second) * passed.as_nanos() / NANOS;
        let Ok(more) = u64::try_from(more) else {
            (self.tokens, self.at) = (capacity(per_second), now);
            return;
        };
        self.tokens = self.tokens.saturating_add(more).min(capacity(per_second));
        // Not `now`: the rest of a byte is not lost.
        self.at =
            if self.tokens == capacity(per_second) { now } else { self.at + time_for(more, per_second).min(passed) };
    }
}

const NANOS: u128 = 1_000_000_000;

/// What a bucket holds: an eighth of a second's worth.
fn capacity(per_second: u64) -> u64 {
    (per_second / 8).max(1)
}

/// The time in which so many bytes come free, rounded up.
fn time_for(bytes: u64, per_second: u64) -> Duration {
    let nanos = (u128::from(bytes) * NANOS).div_ceil(u128::from(per_second));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};
    use umiak_spec::Silent;
    use umiak_testkit::observer::Stopped;

    /// Time passes only while somebody waits.
    #[derive(Default)]
    struct Waiting(AtomicU64);

    impl Clock for Waiting {
        fn now(&self) -> Duration {
            Duration::from_nanos(self.0.load(Ordering::SeqCst))
        }
        fn pause(&self, time: Duration) {
            self.0.fetch_add(u64::try_from(time.as_nanos()).unwrap(), Ordering::SeqCst);
        }
    }

    #[test]
    fn bytes_take_the_time_that_the_rate_says() {
        for (per_second, bytes) in [(1, 20_u64), (3, 50), (1000, 10_000), (512_000, 5_120_000), (1 << 30, 1 << 33)] {
            let clock = Arc::new(Waiting::default());
            let flow = Flow::default().limited(per_second, clock.clone());
            let mut left = bytes;
            while left > 0 {
                left -= flow.pass(Way::In, usize::try_from(left.min(128 << 10)).unwrap()) as u64;
            }
            let taken = clock.now().as_secs_f64();
            let should = (bytes - capacity(per_second)) as f64 / per_second as f64;
            assert!(
                (taken - should).abs() <= should * 0.01 + 1.0 / per_second as f64,
                "{per_second}: {taken}, {should}"
            );
        }
    }

    #[test]
    fn many_connections_share_one_rate_each_way() {
        let clock = Arc::new(Waiting::default());
        let flow = Flow::default().limited(100_000, clock.clone());
        let take = || (0..100).map(|_| flow.pass(Way::In, 5000) as u64).sum::<u64>();
        let passed: u64 = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(take)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        // Several who wait at once let this clock run ahead: never behind.
        assert!(clock.now().as_secs_f64() >= (passed - capacity(100_000)) as f64 / 100_000.0);
        let before = clock.now();
        flow.pass(Way::Out, 5000);
        assert_eq!(clock.now(), before, "the other way is not used up");
    }

    #[test]
    fn what_did_not_pass_is_given_back() {
        let clock = Arc::new(Waiting::default());
        let flow = Flow::default().limited(80_000, clock.clone());
        for _ in 0..1000 {
            let granted = flow.pass(Way::In, 10_000);
            flow.give_back(Way::In, granted);
        }
        assert_eq!(clock.now(), Duration::ZERO);
        assert_eq!(flow.most_at_once(128 << 10), 10_000);
    }

    #[test]
    fn no_more_than_the_budget_is_on_its_way() {
        let flow = Flow::new(3 * SHARE);
        let (most, now) = (AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let share = flow.share(&Silent).unwrap();
                        most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        std::thread::yield_now();
                        now.fetch_sub(1, Ordering::SeqCst);
                        drop(share);
                    }
                });
            }
        });
        assert!((1..=3).contains(&most.into_inner()));
        assert_eq!(*locked(&flow.free), 3 * SHARE);
        assert!(Flow::new(0).share(&Silent).is_ok(), "one at a time is always let through");
    }

    #[test]
    fn waiting_for_a_share_can_be_given_up() {
        let flow = Flow::new(SHARE);
        let _held = flow.share(&Silent).unwrap();
        assert!(flow.share(&Stopped).is_err());
    }
}
