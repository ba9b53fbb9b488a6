//! An observer that adds up and can stop the work.

use std::sync::atomic::{AtomicU64, Ordering};

use umiak_spec::{Cancelled, Observer};

/// Adds up; stops after so many bytes.
pub struct Watch {
    pub expected: AtomicU64,
    pub done: AtomicU64,
    stop_at: u64,
}

impl Watch {
    pub fn until(stop_at: u64) -> Self {
        Self { expected: 0.into(), done: 0.into(), stop_at }
    }
}

impl Observer for Watch {
    fn expect(&self, _: &'static str, bytes: u64) {
        self.expected.fetch_add(bytes, Ordering::SeqCst);
    }
    fn advance(&self, _: &'static str, bytes: u64) {
        self.done.fetch_add(bytes, Ordering::SeqCst);
    }
    fn note(&self, _: &str) {}
    fn check(&self) -> Result<(), Cancelled> {
        if self.done.load(Ordering::SeqCst) >= self.stop_at { Err(Cancelled) } else { Ok(()) }
    }
}
