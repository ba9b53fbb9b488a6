//! How long work tells its caller where it is, and how the caller tells it to stop.
//!
//! Libraries neither print nor ask the time: they count bytes into an [`Observer`] and ask it now and then whether
//! they were cancelled. What a person sees is the printer's affair.

/// Receives progress of long work and may cancel it. Called from several threads.
pub trait Observer: Sync {
    /// `bytes` more will have to be handled in phase `phase` (a short word: `Fetching`, `Reading`, `Writing`).
    fn expect(&self, phase: &'static str, bytes: u64);

    /// `bytes` of phase `phase` were handled.
    fn advance(&self, phase: &'static str, bytes: u64);

    /// One fact that a person may want to know (a retry, a fallback); a whole sentence without a full stop.
    fn note(&self, text: &str);

    /// Fails once the work should stop; callers give up with this error and leave nothing half-written.
    ///
    /// # Errors
    /// [`Cancelled`] from the moment that a person or a program asked to stop.
    fn check(&self) -> Result<(), Cancelled>;
}

/// The work was stopped on request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cancelled")]
pub struct Cancelled;

impl Cancelled {
    /// Whether this is why a reader or a writer failed.
    #[must_use]
    pub fn is_behind(error: &std::io::Error) -> bool {
        error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<Self>)
    }
}

impl From<Cancelled> for std::io::Error {
    fn from(cancelled: Cancelled) -> Self {
        // Not `Interrupted`: std's own read loops try again on that, for ever.
        Self::other(cancelled)
    }
}

/// An observer that shows nothing and never cancels.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Observer for Silent {
    fn expect(&self, _: &'static str, _: u64) {}
    fn advance(&self, _: &'static str, _: u64) {}
    fn note(&self, _: &str) {}
    fn check(&self) -> Result<(), Cancelled> {
        Ok(())
    }
}
