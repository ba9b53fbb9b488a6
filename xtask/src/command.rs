//! Running other programs: said aloud first, with the time they took.

use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use crate::Failure;

/// The checkout's root.
pub fn root() -> PathBuf {
    let manifest = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().map_or_else(|| manifest.clone(), PathBuf::from)
}

/// The cargo that runs us.
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
    let words: Vec<_> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| {
            word.to_string_lossy()
                .rsplit_once("/bin/")
                .map_or(word.to_string_lossy().into(), |(_, name)| name.to_owned())
        })
        .collect();
    eprintln!("\n$ {}", words.join(" "));
}

/// Runs a command to its end.
///
/// # Errors
/// It cannot be started or does not exit with 0.
pub fn run(command: &mut Command) -> Result<(), Failure> {
    say(command);
    let start = Instant::now();
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command.status().map_err(|error| format!("cannot start {program}: {error}"))?;
    eprintln!("  took {:.1} s", start.elapsed().as_secs_f64());
    if status.success() { Ok(()) } else { Err(format!("{program} failed: {status}")) }
}
