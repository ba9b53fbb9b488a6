//! What every command gets: the printer, the environment, the flags that are everybody's, the Ctrl-C flag.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use umiak_repository::Repository;
use umiak_ui::{Printer, Progress, TalkArgs};

use crate::cli::WorldArgs;
use crate::environment::Environment;
use crate::error::{Failure, Kind};

/// The surroundings of one command.
pub struct Context<'a> {
    /// Where everything is said.
    pub printer: &'a Printer,
    /// What the environment says.
    pub environment: &'a Environment,
    /// How to talk, and whether to change anything.
    pub talk: &'a TalkArgs,
    /// Where things are.
    pub world: &'a WorldArgs,
    /// Set from the first Ctrl-C on.
    pub interrupted: &'a AtomicBool,
}

impl<'a> Context<'a> {
    /// The observer for the long work of this command.
    #[must_use]
    pub fn progress(&self) -> Progress<'a> {
        Progress::new(self.printer, self.interrupted)
    }

    /// The directory that the user stands in.
    ///
    /// # Errors
    /// An environment failure when it is gone.
    pub fn here(&self) -> Result<PathBuf, Failure> {
        let lost = |error| Failure::new(Kind::Environment, format!("cannot tell the current directory: {error}"));
        std::env::current_dir().map_err(lost)
    }

    /// The device directory that the user stands in, or below.
    ///
    /// # Errors
    /// When there is none.
    pub fn repository(&self) -> Result<Repository, Failure> {
        Ok(Repository::find(&self.here()?)?)
    }

    /// The object pool of a new device directory: the one named, or the user's own. `None`: one inside it.
    #[must_use]
    pub fn objects(&self, named: Option<&Path>) -> Option<PathBuf> {
        let own = || self.environment.config_dir.as_ref().map(|directory| directory.join("objects"));
        named.map(Path::to_owned).or_else(own)
    }

    /// What a dry run would have done.
    pub fn would(&self, text: &str) {
        self.printer.fact("Would", text);
    }
}
