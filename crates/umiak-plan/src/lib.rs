//! The fit check: what an update takes on every file system of a device, step by step, before its first byte.
//!
//! ```text
//! Device  file systems, what lies where, what is stored, engine, watermark   \
//!                                                                             >  plan()  ->  Answer: steps, peak and
//! Wanted  all apps of the update, their blobs and layers, deltas             /               final use, verdict, why
//! ```
//!
//! Everything here is a pure function of its input: nothing opens a file or asks the time. A figure is never too low:
//! what is written is charged with the most that a file system may take for it, what is removed is credited with the
//! least. Where sizes are not known the figure is a bound, and is said to be one.

mod answer;
mod contents;
mod cost;
mod device;
mod engine;
mod fs;
mod layout;
mod ledger;
mod own;
mod plan;
mod profile;
mod task;
pub mod transition;
mod wanted;
mod words;

pub use answer::{Answer, Choice, Hold, Resource, Row, Shortfall, Use, Verdict, Way};
pub use contents::{Contents, Directory, LayerFiles, Measured};
pub use cost::Cost;
pub use device::{Device, Engine, Keeps, Role, Stored, StoredApp, StoredLayer, Watermark, WatermarkError};
pub use fs::{BLOCK_SIZES, FileSystem, Kind, KindError};
pub use ledger::{Action, Amount, Change, Step};
pub use own::{Own, Record};
pub use plan::plan;
pub use profile::{Profile, ProfileError, StoredReference};
pub use task::{Form, Removal, Task};
pub use wanted::{
    App, Blob, BlobKind, Delta, DeltaPart, Image, Layer, ObjectDelta, Patch, Policy, Service, Unpacked, Wanted,
};
