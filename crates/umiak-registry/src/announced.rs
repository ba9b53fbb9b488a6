//! A total that is known from the start, told once, however the parts of it are announced later.

use std::sync::atomic::{AtomicU64, Ordering};

use umiak_spec::{Cancelled, Observer};

/// An observer that has heard of so many bytes of one phase already.
pub(crate) struct Announced<'a> {
    phase: &'static str,
    observer: &'a dyn Observer,
    left: AtomicU64,
}

impl<'a> Announced<'a> {
    /// Announces `total` bytes of `phase`.
    pub(crate) fn new(phase: &'static str, total: u64, observer: &'a dyn Observer) -> Self {
        if total > 0 {
            observer.expect(phase, total);
        }
        Self { phase, observer, left: AtomicU64::new(total) }
    }

    /// What was announced and did not have to be done counts as done.
    pub(crate) fn close(self) {
        match self.left.into_inner() {
            0 => {}
            rest => self.observer.advance(self.phase, rest),
        }
    }
}

impl Observer for Announced<'_> {
    fn expect(&self, phase: &'static str, bytes: u64) {
        let take = |left: u64| Some(left.saturating_sub(bytes));
        let known = if phase == self.phase {
            self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).unwrap_or(0)
        } else {
            0
        };
        if bytes > known {
            self.observer.expect(phase, bytes - known);
        }
    }

    fn advance(&self, phase: &'static str, bytes: u64) {
        self.observer.advance(phase, bytes);
    }

    fn note(&self, text: &str) {
        self.observer.note(text);
    }

    fn check(&self) -> Result<(), Cancelled> {
        self.observer.check()
    }
}
