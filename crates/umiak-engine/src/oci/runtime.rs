//! The OCI runtime as a program: how it is called, and what it says when it fails.
//!
//! crun and runc take the same verbs. They keep their own state below a directory of ours (`--root`), so nobody else's
//! container is ever seen. crun refuses a device whose control groups are of version 1 with a version 2 beside them that
//! still owns controllers; for the time of a call it is shown a device without that mount.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions};
use serde::{Deserialize, Serialize};

use crate::EngineError;

/// Bytes of a runtime's words that are kept: its last ones.
const SAID_MAX: usize = 1000;

/// Between two looks at a program that was started by a caller with nothing else to do.
const LOOK: Duration = Duration::from_millis(2);

/// A runtime on this device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Runtime {
    pub program: PathBuf,
    /// Where it keeps its state.
    pub root: PathBuf,
    /// Control groups are made by systemd.
    pub systemd: bool,
    /// A mount that must be out of its sight.
    pub hide: Option<PathBuf>,
    /// How the shim is called: program and arguments.
    pub shim: Vec<String>,
    /// How long one call may take.
    pub patience: Duration,
}

impl Runtime {
    /// `crun`, `runc`.
    pub(crate) fn name(&self) -> String {
        self.program.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// A call whose complaints go to `log`. Nothing is connected to it yet but `/dev/null`.
    pub(crate) fn command(&self, log: &Path) -> Command {
        let mut command = match (&self.hide, self.shim.split_first()) {
            (Some(point), Some((shim, arguments))) => {
                let mut command = Command::new(shim);
                command.args(arguments).arg("hide").arg(point).arg(&self.program);
                command
            }
            _ => Command::new(&self.program),
        };
        command.arg("--root").arg(&self.root).arg("--log").arg(log);
        if self.systemd {
            command.arg("--systemd-cgroup");
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        own_environment(&mut command);
        command
    }

    /// Takes a container away with all its processes; absent is fine. For a caller that has no other children.
    pub(crate) fn delete(&self, container: &str, log: &Path) -> Result<(), EngineError> {
        let mut command = self.command(log);
        command.args(["delete", "--force", container]);
        self.finish(&mut command, "delete a container", log).or_else(|error| match error {
            EngineError::Program { said, .. } if is_absent(&said) => Ok(()),
            other => Err(other),
        })
    }

    /// Whether it does what it is told at all.
    pub(crate) fn answer(&self, log: &Path) -> Result<(), EngineError> {
        let mut command = self.command(log);
        command.args(["list", "--quiet"]);
        self.finish(&mut command, "list its containers", log)
    }

    /// Runs a call to its end, or kills it when it takes too long.
    fn finish(&self, command: &mut Command, act: &str, log: &Path) -> Result<(), EngineError> {
        forget(log);
        let child = command.spawn().map_err(|error| self.failed(act, error.to_string()))?;
        let pid = Pid::from_child(&child);
        let end = Instant::now() + self.patience;
        loop {
            match rustix::process::waitpid(Some(pid), WaitOptions::NOHANG) {
                Ok(Some((_, status))) if status.exit_status() == Some(0) => return Ok(()),
                Ok(Some(_)) | Err(_) => return Err(self.failed(act, said(log))),
                Ok(None) if Instant::now() >= end => {
                    let _ = rustix::process::kill_process(pid, Signal::KILL);
                    let _ = rustix::process::waitpid(Some(pid), WaitOptions::empty());
                    return Err(self.hangs(act));
                }
                Ok(None) => std::thread::sleep(LOOK),
            }
        }
    }

    pub(crate) fn failed(&self, act: &str, said: String) -> EngineError {
        EngineError::Program { program: self.name(), act: act.to_owned(), said }
    }

    pub(crate) fn hangs(&self, act: &str) -> EngineError {
        EngineError::Hangs { program: self.name(), act: act.to_owned(), seconds: self.patience.as_secs() }
    }
}

/// Nothing of the agent's environment reaches a runtime or a shim: with `NOTIFY_SOCKET` in it, a runtime would wait for
/// the service to talk to systemd.
pub(crate) fn own_environment(command: &mut Command) {
    command.env_clear().env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
}

/// Whether the words mean that there is no such container.
pub(crate) fn is_absent(said: &str) -> bool {
    said.contains("does not exist") || said.contains("No such file or directory")
}

/// What an earlier call said must not be taken for what this one says.
pub(crate) fn forget(log: &Path) {
    // What cannot be removed is added to, and the last words count.
    let _ = crate::durable::remove_file(log);
}

/// The last words of a log, one line, without what only machines need.
pub(crate) fn said(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text[text.len().saturating_sub(SAID_MAX)..]).into_owned();
    let lines = text.lines().rev().map(words).find(|line| !line.is_empty());
    lines.unwrap_or_else(|| "it said nothing".to_owned())
}

/// Of `time="…" level=error msg="…"` the message; of anything else all.
fn words(line: &str) -> String {
    let message = line.split_once("msg=\"").map_or(line, |(_, message)| message.trim_end().trim_end_matches('"'));
    message.replace("\\\"", "\"").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_both_runtimes_are_read() {
        let line =
            r#"time="2026-01-01T00:00:00Z" level=error msg="exec: \"nope\": executable file not found in $PATH""#;
        assert_eq!(words(line), r#"exec: "nope": executable file not found in $PATH"#);
        let crun = "2026-01-01T00:00:00.000000000Z: executable file `nope` not found";
        assert_eq!(words(crun), crun);
        assert_eq!(said(Path::new("/nonexistent")), "it said nothing");
    }

    #[test]
    fn a_runtime_that_hangs_is_killed() {
        let scratch = tempfile::tempdir().unwrap();
        let program = scratch.path().join("hangs");
        std::fs::write(&program, "#!/bin/sh\nexec sleep 1000\n").unwrap();
        std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let runtime = Runtime {
            program,
            root: scratch.path().join("state"),
            systemd: false,
            hide: None,
            shim: vec![],
            patience: Duration::from_millis(100),
        };
        let error = runtime.delete("x", &scratch.path().join("log")).unwrap_err();
        assert!(matches!(error, EngineError::Hangs { .. }), "{error}");
    }
}
