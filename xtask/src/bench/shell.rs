//! A scratch directory in which bash scripts run: those that prepare, and those that are measured.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use super::measure::Run;
use crate::{Failure, command};

/// A directory of its own and the variables that scripts see. Dropping it removes the directory.
pub struct Shell {
    directory: PathBuf,
    variables: Vec<(&'static str, OsString)>,
}

impl Shell {
    /// An empty directory below cargo's target directory.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn new(target: &Path, name: &str) -> Result<Self, Failure> {
        let directory = target.join("bench").join(name);
        let _ = std::fs::remove_dir_all(&directory);
        std::fs::create_dir_all(&directory).map_err(|error| format!("cannot make {}: {error}", directory.display()))?;
        Ok(Self { directory, variables: Vec::new() })
    }

    /// The scratch directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Scripts see this variable.
    pub fn set(&mut self, name: &'static str, value: impl Into<OsString>) {
        self.variables.push((name, value.into()));
    }

    /// Runs a script that is not measured.
    ///
    /// # Errors
    /// It fails; its output is in the message.
    pub fn prepare(&self, script: &str) -> Result<(), Failure> {
        self.execute(self.bash(Command::new("bash"), script), script)
    }

    /// Runs a script and measures all its processes together. What earlier ones left to be written is written first.
    ///
    /// # Errors
    /// It fails; its output is in the message.
    pub fn measure(&self, script: &str) -> Result<Run, Failure> {
        command::run_quietly(&mut Command::new("sync"))?;
        let report = self.directory.join(".measured");
        let mut time = Command::new("time");
        time.args(["-q", "-f", "%U %S %M", "-o"]).arg(&report).arg("bash");
        let command = self.bash(time, script);
        let start = Instant::now();
        self.execute(command, script)?;
        let wall = start.elapsed().as_secs_f64();
        let text = std::fs::read_to_string(&report).map_err(|error| format!("cannot read the times: {error}"))?;
        Run::parse(wall, &text).ok_or_else(|| format!("cannot understand the times `{text}`"))
    }

    fn bash(&self, mut command: Command, script: &str) -> Command {
        command.args(["-euo", "pipefail", "-c", script]).current_dir(&self.directory).stdin(Stdio::null());
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    fn execute(&self, mut command: Command, script: &str) -> Result<(), Failure> {
        let output = command.output().map_err(|error| format!("cannot start {}: {error}", command::typed(&command)))?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(format!("{} in {}:\n{script}\n{said}", output.status, self.directory.display()))
    }

    /// Whether a file is there.
    pub fn has(&self, path: &str) -> bool {
        self.directory.join(path).exists()
    }

    /// Length of a file that a script made.
    ///
    /// # Errors
    /// It is not there.
    pub fn size(&self, path: &str) -> Result<u64, Failure> {
        let path = self.directory.join(path);
        let metadata = std::fs::metadata(&path).map_err(|error| format!("cannot look at {}: {error}", path.display()));
        Ok(metadata?.len())
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_that_fails_says_what_it_said() {
        let mut shell = Shell::new(&std::env::temp_dir().join("umiak-xtask"), "shell-test").unwrap();
        shell.set("WORD", "kelp");
        shell.prepare("echo -n $WORD > word").unwrap();
        assert_eq!(shell.size("word").unwrap(), 4);
        assert!(shell.prepare("echo no >&2; false | true").unwrap_err().contains("no"));
        let directory = shell.directory().to_owned();
        drop(shell);
        assert!(!directory.exists());
    }
}
