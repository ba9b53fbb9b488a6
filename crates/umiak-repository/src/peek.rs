//! Another device's state without its objects: what taking from it would change, before anything is taken.

use std::fs::File;
use std::path::Path;

use umiak_pvr::{Reference, State};
use umiak_spec::{Limits, Observer};

use crate::error::{Error, IoContext};
use crate::package;
use crate::repository::read_state;
use crate::source::{Source, open_reference};

/// The parts of the state that `reference` names. No object is read, so none is verified; of a package nothing behind
/// its `json` is looked at.
///
/// # Errors
/// [`Error::NotASource`], [`Error::State`], [`Error::Package`], [`Error::Io`], [`Error::Cancelled`].
pub fn peek(reference: &Reference, observer: &dyn Observer) -> Result<State, Error> {
    let (source, parts) = open_reference(reference)?;
    let state = match source {
        Source::Directory { state, .. } => read_state(&state)?,
        Source::Package(path) => {
            let mut file = File::open(&path).at("open", &path)?;
            package::peek(&mut file, Path::new(&path), &Limits::default(), observer)?
        }
    };
    Ok(state.filter(parts))
}
