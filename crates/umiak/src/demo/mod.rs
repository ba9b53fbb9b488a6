//! `umiak demo`: the main job from end to end, on this machine alone.
//!
//! The demo is a script of umiak's own commands: each one is shown and then run, by this program, in a temporary
//! directory with a configuration directory of its own, so nothing of the user's is touched. What the commands made
//! is then checked: first by our own model of overlayfs, file by file, then, as root, by the kernel. At last a device gets what
//! was published: a copy of this program under the name `umiakd`.
#![allow(clippy::disallowed_methods, reason = "the demo works in a directory that is removed at its end")]

mod deltas;
mod device;
mod kernel;
mod kiosk;
mod layout;
mod payload;
mod project;
mod rdiff;
mod sample;
mod story;
mod teller;
mod verify;

use std::fs;
use std::path::{Path, PathBuf};

use crate::cli::DemoArgs;
use crate::context::Context;
use crate::error::{Failure, Kind, Outcome};

pub use kiosk::run as kiosk;

/// Runs the demo.
///
/// # Errors
/// The first command or check that fails; the directory is removed all the same, unless it is to be kept.
pub fn run(context: &Context<'_>, arguments: &DemoArgs) -> Outcome {
    let place = Place::new(context, arguments.keep.as_deref())?;
    story::tell(context, &place.path)?;
    if arguments.keep.is_some() {
        context.printer.fact("Kept", &format!("everything in {}", place.path.display()));
    }
    Ok(())
}

/// The directory that the demo works in; removed at the end unless it is to be kept.
struct Place {
    path: PathBuf,
    kept: bool,
}

impl Place {
    fn new(context: &Context<'_>, keep: Option<&Path>) -> Result<Self, Failure> {
        let path = match keep {
            Some(path) => path.to_owned(),
            None => context.environment.temporary_dir.join(format!("umiak-demo-{}", std::process::id())),
        };
        if fs::read_dir(&path).is_ok_and(|mut entries| entries.next().is_some()) {
            let message = format!("{} is not empty", path.display());
            return Err(Failure::new(Kind::Usage, message).hint("give --keep a directory that is empty or absent"));
        }
        fs::create_dir_all(&path)
            .and_then(|()| path.canonicalize())
            .map_or_else(|error| Err(failed("make", &path)(error)), |path| Ok(Self { path, kept: keep.is_some() }))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.kept {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// An I/O error of the demo's own files.
fn failed<'a>(action: &'a str, path: &'a Path) -> impl FnOnce(std::io::Error) -> Failure + 'a {
    move |error| Failure::of_io(action, path, &error)
}
