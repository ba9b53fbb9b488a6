//! The transition table of a device: which revision runs, which is on its way, and what may happen next.
//!
//! ```text
//!            begin            staged           go              switched          good
//!   Rest  ---------> Staging --------> Staged ------> Switching --------> Testing ----> Rest (target is current)
//!    ^ <--------------- | <-------------- |             | bad, boots       | bad, boots
//!    |     gave up      |    dropped      |             v                  v
//!    ------------------------------------------- Returning <---------------
//!                               returned   (current runs again, the target is marked as failed)
//! ```
//!
//! Guarantees: pure and total, every event in every phase gives a state or a refusal in words; `current` changes in one
//! transition only, the commit; what runs and what is under way is never among what may be pruned; a revision that
//! failed is not begun again unless that is asked for; the number of starts of the machine that a target under test
//! gets is bounded. It does nothing itself: who executes does what [`State::duty`] says, tells what came of it as an
//! [`Event`], and writes the state that comes out before going on.

mod apply;
mod event;
mod state;
#[cfg(test)]
mod tests;

pub use event::{Event, Refusal};
pub use state::{Duty, Failure, OLDER, Phase, REASON, REMEMBERED, Rules, State};
