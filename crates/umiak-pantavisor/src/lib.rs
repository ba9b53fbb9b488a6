//! Devices that run Pantavisor, as they are: what one runs is read, a new revision is given to one and watched.
//!
//! ```text
//! unix:/run/pantavisor/pv/pv-ctrl    Control   PUT objects, PUT steps/locals/…, LOCAL_RUN, progress
//! http://10.0.0.7:12368/cgi-bin/pvr  Remote    .pvrremote, POST objects, PUT where it says, POST a step
//!            \_______ Device: state, object; survey, send, start, watch _______/
//! ```
//!
//! Guarantees: an object goes over the wire only when the device does not have it whole; one that was cut off before
//! counts as not there. What is read is read on after a cut, and whoever takes it compares digests. A revision is asked
//! for only when all its objects are there. Documents of a device have limits, its waiting times an end.
//!
//! What it does not do: no file is written, no environment read, no time asked ([`Clock`]), nothing is printed. It does
//! not claim devices, nor log in to a hub: a token is handed in.

mod address;
mod clock;
mod control;
mod device;
mod document;
mod error;
mod http;
mod post;
mod progress;
mod remote;
mod revision;

pub use address::{Address, AddressError, SOCKETS};
pub use clock::Clock;
pub use device::{Device, Settings};
pub use error::{Error, ErrorKind};
pub use http::Download;
pub use post::{Missing, Objects, Posting, Room, Sent, Survey};
pub use progress::{Progress, Status, Verdict};
pub use revision::{LONGEST_NAME, NameError, Revision};

/// Bytes of a state that a device may send: as many as a device directory may hold.
pub const STATE_LIMIT: u64 = 64 << 20;

/// Bytes of any other document of a device.
pub const DOCUMENT_LIMIT: u64 = 4 << 20;

/// Bytes of the list of all objects that a device has: half a million of them.
pub const LIST_LIMIT: u64 = 64 << 20;

/// Bytes of a commit message that the control socket takes.
pub const LONGEST_MESSAGE: usize = 256;
