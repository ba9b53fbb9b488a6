//! Runs the services of an app on a device, whatever runs containers there.
//!
//! ```text
//! Deployment: app, revision, services with their images --ready--> mounts, volumes, bundles; images loaded
//!                                                       --start--> running, watched, logged
//!                            observe: what runs, how it is  <--
//! ```
//!
//! Two engines behind one trait: [`oci`] runs services straight from the store with `crun` or `runc`, each watched by a
//! small process of its own (the shim) that outlives the agent; Docker runs them in a daemon that is there anyway. A third
//! one, [`Nothing`], is for machines that make stores for devices elsewhere.
//!
//! Guarantees: every call can be repeated after a crash at any instruction; nothing is remembered that cannot be observed.
//! Only what umiak put there is seen, stopped or removed. What a service asks and an engine does not do is named by
//! [`Engine::refuses`] before anything is done, never left out. Every call to a program or daemon has a time limit.
//!
//! An engine makes no choices: when to start, to stop, to roll back is decided by its caller.

pub mod docker;
mod durable;
mod engine;
mod error;
mod logs;
mod nothing;
pub mod oci;

pub use docker::{Docker, DockerOptions};
pub use engine::{Condition, Deployment, Engine, Health, Images, Made, Observed, Placed, Refused};
pub use error::EngineError;
pub use logs::{FOLLOW_PAUSE, Line, LogQuery, LogSink, Stream};
pub use nothing::Nothing;
