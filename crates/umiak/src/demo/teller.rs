//! What every chapter of the demo does: shows a command of umiak and runs it in the demo's directory.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use umiak_ui::{Diagnostic, Verbosity};

use super::failed;
use crate::context::Context;
use crate::error::{Failure, Kind, Outcome};

/// Runs umiak's commands in the demo's directory.
pub struct Teller<'a> {
    /// Of the demo itself.
    pub context: &'a Context<'a>,
    /// The demo's directory.
    pub root: &'a Path,
    /// This program.
    pub program: PathBuf,
}

impl<'a> Teller<'a> {
    /// Works in the directory `root`.
    ///
    /// # Errors
    /// This program does not know where it is.
    pub fn new(context: &'a Context<'a>, root: &'a Path) -> Result<Self, Failure> {
        let program = std::env::current_exe().map_err(failed("find", Path::new("umiak")))?;
        Ok(Self { context, root, program })
    }

    /// Whether only errors are said.
    pub fn is_silent(&self) -> bool {
        let setup = self.context.printer.setup();
        setup.json || setup.verbosity == Verbosity::Quiet
    }

    /// Begins a chapter.
    pub fn heading(&self, text: &str) {
        self.context.printer.heading(text);
    }

    /// Shows and runs one command of umiak.
    pub fn umiak(&self, directory: &str, arguments: &[&str]) -> Outcome {
        let setup = self.context.printer.setup();
        let shown =
            arguments.iter().map(|word| if word.contains(' ') { format!("'{word}'") } else { (*word).to_owned() });
        let shown = format!("umiak {}", shown.collect::<Vec<_>>().join(" "));
        let prompt = if directory.is_empty() { "$".to_owned() } else { format!("{directory} $") };
        self.context.printer.note(&format!("{prompt} {shown}"));
        let silent = self.is_silent();
        let mut command = Command::new(&self.program);
        command.env_clear().env("PVR_CONFIG_DIR", self.root.join("config")).env("TMPDIR", self.root);
        command.arg(if setup.colour { "--color=always" } else { "--color=never" });
        command.args(silent.then_some("-q")).args((setup.verbosity == Verbosity::Verbose).then_some("-v"));
        command.args(arguments).current_dir(self.root.join(directory)).stdin(Stdio::null());
        if silent {
            command.stdout(Stdio::null());
        }
        let status = command.status().map_err(failed("run", &self.program))?;
        if status.success() {
            return Ok(());
        }
        Err(stopped_at(&shown, status.code()))
    }

    /// Makes a directory.
    pub fn directory(&self, name: &str) -> Outcome {
        let path = self.root.join(name);
        fs::create_dir_all(&path).map_err(failed("make", &path))
    }

    /// Bytes of a file.
    pub fn size(&self, name: &str) -> Result<u64, Failure> {
        let path = self.root.join(name);
        fs::metadata(&path).map(|metadata| metadata.len()).map_err(failed("look at", &path))
    }

    /// What is in a file.
    pub fn read(&self, directory: &str, name: &str) -> Result<Vec<u8>, Failure> {
        let path = self.root.join(directory).join(name);
        fs::read(&path).map_err(failed("read", &path))
    }
}

/// The demo's end at a command that did not do what it was to do.
pub fn stopped_at(shown: &str, code: Option<i32>) -> Failure {
    let exit = code.and_then(|code| u8::try_from(code).ok()).filter(|code| *code > 0);
    Failure::Told(Box::new(Diagnostic {
        message: format!("the demo stopped at `{shown}`"),
        causes: Vec::new(),
        outcome: None,
        hints: Vec::new(),
        exit: exit.unwrap_or(Kind::Environment as u8),
    }))
}
