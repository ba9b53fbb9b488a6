//! Compose projects as values: read as Compose reads them, checked, and with their images pinned.
//!
//! ```text
//! compose files --syntax--> nodes with positions --aliases, merge keys--> values
//!   values --extends, several files, include--> one model --> services
//! pinned: edits in the text of the only file, or the model written as one file
//! ```
//!
//! [`Project::read`] takes a project apart; [`Project::pinned`] gives the one file that a device reads. What the crate
//! guarantees: any bytes give a value or an error with a place, within [`ComposeLimits`]; the pinned file, read again,
//! means what the project means but for images, `build` and one label. What it does not do: open files, read the
//! environment, ask a registry, or judge, before a device asks, what single values say (ports, durations).
//!
//! On the device, [`run::run`] reads what the project's services are to run as: typed, or refused with key and place.

mod check;
mod error;
mod limits;
mod merge;
mod paths;
mod pin;
mod project;
mod published;
mod read;
pub mod run;
mod schema;
mod template;
mod variables;
mod yaml;

pub use error::{ComposeError, Place, Problem};
pub use limits::ComposeLimits;
pub use pin::{CONFIG_HASH, Pinned, PinnedService};
pub use project::{Project, Service, Variable};
pub use published::published_services;
pub use read::Files;
