//! The device agent: what runs on the device is what was asked for, or what ran before.
//!
//! ```text
//! observe (engine, store, journal) -> duty (umiak_plan::transition, pure) -> execute one duty -> event -> journal
//! ```
//!
//! Guarantees: the journal is one document that is replaced whole, and each duty can be done again from its beginning, so
//! that after a cut at any instruction the next start goes on; the current revision runs untouched until the target is
//! whole in the store and ready to start; no step towards a target is taken before the journal says so, and no step back
//! waits for it; what fails leaves its reason where `status` reads it. It asks neither the time nor the environment: see
//! [`Clock`].

mod clock;
mod error;
mod journal;
mod outcome;
mod policy;
mod revision;
mod status;

pub use clock::{Boot, Clock};
pub use error::{AgentError, Class, SupplyError};
pub use journal::{Entry, HISTORY, Journal, JournalError, What};
pub use outcome::{AppStopped, Happening, Outcome, Silently, UpdateOptions, Watcher};
pub use policy::Policy;
pub use revision::{Revision, RevisionApp, RevisionError};
pub use status::{
    AppStatus, Condition, RevisionStatus, Role, ServiceStatus, Space, Status, TargetStatus, Trouble, Underway,
};
