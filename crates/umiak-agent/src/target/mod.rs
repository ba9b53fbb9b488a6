//! Targets: from what somebody asks for to apps by digest, their documents in the store, and what the planner has to know.
//!
//! ```text
//! words --words--> Asked --pin--> Target (each tag asked for once, signatures before anything is looked into)
//!                                   |
//!                                   +--content--> Content: documents, services, images --wanted--> the planner's App
//!                                                                              --deltas--> Delta: what leads to them
//! ```
//!
//! Guarantees: a tag that moves after it was resolved means nothing; a document is looked into only when it is the one
//! that the pinned digest leads to, and where the policy asks for signatures not before they hold; whatever was resolved
//! can be read again without network. What this does not do: fetch layers, decide, run anything.

mod bundle;
mod content;
mod cover;
mod deltas;
mod documents;
mod error;
mod foreign;
mod judge;
mod measures;
pub(crate) mod pin;
mod places;
mod project;
mod state;
pub(crate) mod trusted;
mod unpack;
mod vouch;
mod wanted;
mod words;

pub(crate) use content::{Content, Made, Reader, ServiceImage};
pub(crate) use error::class_of;
pub(crate) use foreign::by_program;
pub(crate) use judge::{Judge, Listener};
pub(crate) use places::places;
pub(crate) use project::services;
pub(crate) use unpack::unpack;

pub use error::ResolveError;
pub use pin::accept;
pub use words::asked;
