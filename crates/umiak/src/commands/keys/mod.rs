//! `umiak keys`: new, export.

mod export;
mod new;

use std::path::{Path, PathBuf};

use crate::cli::KeysCommand;
use crate::commands::signing;
use crate::context::Context;
use crate::error::{Failure, Kind, Outcome};

/// Runs one of the verbs.
///
/// # Errors
/// What the verb says.
pub fn run(context: &Context<'_>, command: &KeysCommand) -> Outcome {
    match command {
        KeysCommand::New(arguments) => new::run(context, arguments),
        KeysCommand::Export(arguments) => export::run(context, arguments),
    }
}

/// The files of one key.
struct Files {
    directory: PathBuf,
    name: String,
}

impl Files {
    /// Those called `name`, in `directory` or where keys are that nobody named.
    fn named(context: &Context<'_>, directory: Option<&Path>, name: &str) -> Result<Self, Failure> {
        let letter = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
        if name.is_empty() || name.starts_with('.') || !name.chars().all(letter) {
            let text = format!("`{name}` is no name for a key: it becomes the name of files");
            return Err(Failure::new(Kind::Usage, text).hint("letters, digits, `.`, `_` and `-`"));
        }
        let directory = match directory {
            Some(directory) => directory.to_owned(),
            None => signing::directory(context)?,
        };
        Ok(Self { directory, name: name.to_owned() })
    }

    fn file(&self, before: &str, after: &str) -> PathBuf {
        self.directory.join(format!("{before}.{}{after}.pem", self.name))
    }

    /// The private key.
    fn key(&self) -> PathBuf {
        self.file("key", "")
    }

    /// Its public half.
    fn public(&self) -> PathBuf {
        self.file("pubkey", "")
    }

    /// Its certificate.
    fn certificate(&self) -> PathBuf {
        self.file("x5c", "")
    }

    /// The authority's certificate.
    fn authority(&self) -> PathBuf {
        self.file("cacerts", "")
    }

    /// The authority's private key.
    fn authority_key(&self) -> PathBuf {
        self.file("authority", ".key")
    }
}
