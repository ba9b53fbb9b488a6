//! Observers as tests need them.

use umiak_spec::{Cancelled, Observer};

/// One that asks to stop from the beginning on.
#[derive(Debug, Clone, Copy, Default)]
pub struct Stopped;

impl Observer for Stopped {
    fn expect(&self, _: &'static str, _: u64) {}
    fn advance(&self, _: &'static str, _: u64) {}
    fn note(&self, _: &str) {}
    fn check(&self) -> Result<(), Cancelled> {
        Err(Cancelled)
    }
}
