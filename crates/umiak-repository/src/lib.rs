//! Device directories as pvr has them: `.pvr/`, the object pool, status, commit, checkout, packages.
//!
//! ```text
//! <device>/                 files of the device
//! <device>/.pv/             links for the boot loader; never tracked
//! <device>/.pvr/json        the committed state, canonical JSON
//! <device>/.pvr/new         files added and not committed yet
//! <device>/.pvr/config      ObjectsDir, DefaultGetUrl, and what pvr keeps there
//! <device>/.pvr/commitmsg   the last commit's message
//! <device>/.pvr/objects/    the object pool, unless ObjectsDir names another
//! <device>/.pvr/umiak.lock  taken while umiak works (pvr does not know it)
//! <device>/.pvr/umiak-stat  digests of unchanged files, a cache
//! <device>/.pvr/umiak-tmp/  files on their way; swept after a crash
//! <pool>/<64 hex digits>    one object
//! <pool>/.umiak-tmp/        objects on their way; swept after a crash
//! ```
//!
//! Guarantees: pvr and umiak can work on one directory in turn. Every object is verified when it is copied into the
//! pool and out of it. On any error, on cancellation and after a crash the committed state is the old or the new one
//! and the pool holds no wrong object. Nothing is written outside the directory, whatever a state or package says.
//!
//! The library does not read the environment: the caller names the pool. It does not ask the time: the caller gives the
//! text of a checkpoint.

mod apps;
mod checkout;
mod commit;
mod config;
#[cfg(test)]
mod crash_tests;
mod deploy;
mod durable;
mod elsewhere;
mod error;
mod hash;
mod lock;
pub mod package;
mod peek;
mod pending;
mod pool;
mod repository;
mod secret;
mod source;
mod stat_cache;
mod status;
mod transfer;
mod walk;
mod working;

use std::fs;
use std::io::Read as _;
use std::path::Path;

use umiak_pvr::Value;

pub use checkout::{CheckoutOptions, CheckoutReport};
pub use commit::CommitReport;
pub use deploy::{DeployOptions, DeployReport, deploy};
pub use elsewhere::{Arriving, Elsewhere, ElsewhereError, clone_from};
pub use error::Error;
pub use lock::Lock;
pub use peek::peek;
pub use pool::{Pool, Stored};
pub use repository::{InitOptions, Repository};
pub use secret::has_key;
pub use status::{AddOptions, AddReport, Change, ChangeKind, Differences};
pub use transfer::{CloneOptions, TransferReport, clone};

use crate::error::IoContext;

/// Bytes of a state or another JSON document in a device directory: hundreds of thousands of files.
pub const DOCUMENT_LIMIT: u64 = 64 << 20;

/// Reads a file of at most [`DOCUMENT_LIMIT`] bytes; `None` when there is none.
pub(crate) fn read_file(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    let mut file = match fs::File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => other.at("open", path)?,
    };
    let mut bytes = Vec::new();
    file.by_ref().take(DOCUMENT_LIMIT + 1).read_to_end(&mut bytes).at("read", path)?;
    Ok(Some(bytes))
}

/// Reads a JSON document; `None` when there is none.
pub(crate) fn read_document(path: &Path) -> Result<Option<Value>, Error> {
    let Some(bytes) = read_file(path)? else { return Ok(None) };
    Value::parse(&bytes, DOCUMENT_LIMIT).map(Some).map_err(|source| Error::Document { path: path.to_owned(), source })
}
