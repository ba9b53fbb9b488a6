//! Running other programs: said aloud first.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Failure;

/// The checkout's root. `cargo run` says where it is: what was compiled in may be another checkout's, when two share a
/// target directory.
pub fn root() -> PathBuf {
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let manifest = Path::new(&manifest);
    manifest.parent().unwrap_or(manifest).to_owned()
}

/// The cargo that runs us, in the checkout's root.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// Whether CI asked.
pub fn in_ci() -> bool {
    std::env::var_os("CI").is_some_and(|value| value == "true")
}

/// Whether we may install packages and mount file systems.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Prints the command as a person would type it.
pub fn say(command: &Command) {
    eprintln!("\n$ {}", typed(command));
}

/// The command on one line, its program by name only.
pub fn typed(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default();
    let words = std::iter::once(program).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// Runs a command to its end.
///
/// # Errors
/// It cannot be started or does not exit with 0.
pub fn run(command: &mut Command) -> Result<(), Failure> {
    say(command);
    let status = command.status().map_err(|error| format!("cannot start {}: {error}", typed(command)))?;
    if status.success() { Ok(()) } else { Err(format!("`{}` failed: {status}", typed(command))) }
}

/// Runs a command whose output nobody needs, without saying so.
///
/// # Errors
/// It cannot be started or does not exit with 0.
pub fn run_quietly(command: &mut Command) -> Result<(), Failure> {
    let output = command.output().map_err(|error| format!("cannot start {}: {error}", typed(command)))?;
    if output.status.success() { Ok(()) } else { Err(format!("`{}` failed: {}", typed(command), output.status)) }
}
