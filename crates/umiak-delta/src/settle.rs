//! Where a prediction becomes the truth: the one interface between predictors and the two sides of a delta.
//!
//! A predictor walks the copied parts of a target and offers bytes; whoever settles them puts the target's own bytes in their
//! place. The maker knows the target and writes down where it differs; the applier reads that and corrects. The predictor sees the
//! settled bytes and may learn from them, so both sides go through the very same states.

use std::io;

/// Turns predicted bytes into the target's bytes.
pub trait Settle {
    /// `bytes` are predicted for the target from `offset` on; they are the target's when this returns.
    ///
    /// # Errors
    /// Reading the delta or writing the target fails; the predictor passes it on.
    fn settle(&mut self, offset: u64, bytes: &mut [u8]) -> io::Result<()>;
}
