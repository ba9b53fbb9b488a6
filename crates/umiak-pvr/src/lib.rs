//! The documents of the pvr world as values: the state of a device, canonical JSON, parts, an app's `src.json` and
//! what is rendered from it, and what a device with an OCI runtime runs of a state ([`device`]).
//!
//! Everything here is pure: parsing, checking, printing. No file is opened, no time asked, no environment read. The
//! directory that holds a state (`.pvr/`), its object pool and packages are the crate `umiak-repository`.
//!
//! The byte forms follow pvr's 2023-04 sources; `docs/formats/pvr.md` lists where umiak deliberately differs.

pub mod app;
pub mod delta;
pub mod device;
pub mod glob;
pub mod json;
pub mod merge;
pub mod parts;
pub mod path;
pub mod state;

pub use glob::Glob;
pub use json::Value;
pub use parts::{Parts, Reference};
pub use path::StatePath;
pub use state::{Entry, State, StateError};
