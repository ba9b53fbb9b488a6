//! Memory that platforms share while they are made.
//!
//! Guarantees: the estimates of those that work at the same time stay within the bound; one whose estimate alone is more
//! works alone rather than never; whoever waits can be cancelled.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use umiak_spec::{Cancelled, Observer};

/// What a platform takes before its layers are looked at: buffers, documents, the program's own.
const FIXED: u64 = 32 << 20;

/// What each compressing thread takes: its block, its tables.
const PER_THREAD: u64 = 8 << 20;

/// Of so many bytes of layers, one is the index and the tree that are held while an image is written.
const LAYER_SHARE: u64 = 8;

/// How often somebody who waits listens for the request to stop.
const LISTEN: Duration = Duration::from_millis(200);

/// The bound.
pub(super) struct Budget {
    whole: u64,
    free: Mutex<u64>,
    freed: Condvar,
}

/// A part of it, given back when dropped.
pub(super) struct Share<'a> {
    budget: &'a Budget,
    bytes: u64,
}

impl Budget {
    pub(super) fn new(whole: u64) -> Self {
        Self { whole, free: Mutex::new(whole), freed: Condvar::new() }
    }

    /// What a platform with so many bytes of layers is estimated to take.
    pub(super) fn estimate(layers: u64, threads: usize) -> u64 {
        (layers / LAYER_SHARE).saturating_add(FIXED).saturating_add(PER_THREAD.saturating_mul(threads as u64))
    }

    /// Waits until there is so much.
    pub(super) fn take(&self, bytes: u64, observer: &dyn Observer) -> Result<Share<'_>, Cancelled> {
        let bytes = bytes.min(self.whole);
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        while *free < bytes {
            observer.check()?;
            free = self.freed.wait_timeout(free, LISTEN).unwrap_or_else(PoisonError::into_inner).0;
        }
        *free -= bytes;
        Ok(Share { budget: self, bytes })
    }
}

impl Share<'_> {
    /// How much it is: less than was asked for where the whole is less.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        *self.budget.free.lock().unwrap_or_else(PoisonError::into_inner) += self.bytes;
        self.budget.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use umiak_spec::Silent;
    use umiak_testkit::observer::Stopped;

    use super::*;

    #[test]
    fn those_that_work_together_stay_within_the_bound() {
        let budget = Budget::new(10);
        let (now, most) = (AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for bytes in [4, 7, 3, 6, 5, 100, 2, 9] {
                let (budget, now, most) = (&budget, &now, &most);
                scope.spawn(move || {
                    let share = budget.take(bytes, &Silent).unwrap();
                    let bytes = bytes.min(10);
                    most.fetch_max(now.fetch_add(bytes, Ordering::SeqCst) + bytes, Ordering::SeqCst);
                    std::thread::yield_now();
                    now.fetch_sub(bytes, Ordering::SeqCst);
                    drop(share);
                });
            }
        });
        assert!((1..=10).contains(&most.load(Ordering::SeqCst)), "{most:?}");
        assert_eq!(*budget.free.lock().unwrap(), 10);
    }

    #[test]
    fn who_waits_can_be_told_to_stop() {
        let budget = Budget::new(10);
        let _all = budget.take(10, &Silent).unwrap();
        assert!(budget.take(1, &Stopped).is_err());
    }
}
