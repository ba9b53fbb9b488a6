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

mod agent;
mod arrangement;
mod clock;
mod concerns;
mod durable;
mod error;
mod export;
pub mod fetch;
mod finish;
mod forms;
mod hold;
mod inbox;
mod journal;
mod kept;
mod look;
mod outcome;
mod own;
mod package;
mod packaged;
mod parcel;
mod place;
mod policy;
mod rebuild;
mod repair;
mod revision;
mod rollback;
mod session;
pub mod sources;
mod stage;
mod started;
mod status;
mod supply;
mod support;
mod survey;
pub mod target;
mod tidy;
mod transaction;
mod trouble;
mod update;
mod verdict;

pub use agent::{Agent, Parts};
pub use clock::{Boot, Clock, PLAUSIBLE};
pub use error::{AgentError, Class, SupplyError};
pub use hold::{DIRECTORY as LOCK_DIRECTORY, FILE as LOCK_FILE, LABEL as LOCK_LABEL};
pub use inbox::Asking;
pub use journal::{Entry, HISTORY, Journal, JournalError, What};
pub use outcome::{AppStopped, Happening, Outcome, Silently, UpdateOptions, Watcher};
pub use policy::Policy;
pub use repair::{Fate, Finding, Repairs};
pub use revision::{Revision, RevisionApp, RevisionError};
pub use status::{
    AppStatus, Condition, RevisionStatus, Role, ServiceStatus, Space, Status, TargetStatus, Trouble, Underway,
};
pub use supply::{Change, Described, Fetched, How, Occasion, Part, Planned, Root, Supply};
pub use support::Piece;
pub use survey::Survey;
pub use tidy::Obsolete;
pub use transaction::{APP, Base, Installed, Onto, Transaction};
pub use umiak_repository::package::{Contents, ExportReport, Format};
pub use update::Checked;
