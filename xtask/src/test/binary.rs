//! The workspace's test binaries: built once by cargo, then asked for their tests and run by name.
//!
//! They are run directly rather than through `cargo test`, because only so can exactly the tests that can run be named.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::count::Count;
use crate::{Failure, command};

/// One test binary.
pub struct Binary {
    /// Directory of its crate.
    pub package: PathBuf,
    /// The source file it is made of, relative to the crate: `src/lib.rs`, `tests/peers.rs`.
    source: String,
    program: PathBuf,
}

/// One test of a binary.
pub struct Test {
    /// Full name with modules.
    pub name: String,
    /// Whether plain `cargo test` leaves it out.
    pub ignored: bool,
}

/// What became of the tests that were run.
#[derive(Debug, Default)]
pub struct Outcome {
    /// How many passed.
    pub passed: usize,
    /// How many did not, those included of which nothing was heard.
    pub failed: usize,
    /// Which failed.
    pub failed_names: Vec<String>,
}

impl Outcome {
    /// Adds the outcome of more tests.
    pub fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.failed_names.extend(other.failed_names);
    }
}

/// Builds all test binaries.
///
/// # Errors
/// They do not compile.
pub fn build() -> Result<Vec<Binary>, Failure> {
    let mut cargo = command::cargo();
    cargo.args(["test", "--workspace", "--all-targets", "--no-run", "--message-format=json-render-diagnostics"]);
    command::say(&cargo);
    let output = cargo.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.map_err(|error| format!("cannot start cargo: {error}"))?;
    if !output.status.success() {
        return Err("the tests do not compile".into());
    }
    let messages = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut binaries: Vec<_> = messages.lines().filter_map(|line| from_message(line, &command::root())).collect();
    binaries.sort_by(|a, b| (&a.package, &a.source).cmp(&(&b.package, &b.source)));
    Ok(binaries)
}

/// The test binary that one of cargo's messages announces.
fn from_message(line: &str, root: &std::path::Path) -> Option<Binary> {
    let message: Value = serde_json::from_str(line).ok()?;
    let is_test = message["reason"] == "compiler-artifact" && message["profile"]["test"] == true;
    let program = message["executable"].as_str().filter(|_| is_test)?;
    let package = PathBuf::from(message["manifest_path"].as_str()?).parent()?.to_owned();
    let source = PathBuf::from(message["target"]["src_path"].as_str()?);
    let source = source.strip_prefix(&package).ok()?.to_string_lossy().into_owned();
    package.starts_with(root).then(|| Binary { package, source, program: program.into() })
}

impl Binary {
    /// `umiak-tree tests/stack.rs: NAME`, for people.
    pub fn shown(&self, test: &str) -> String {
        let package = self.package.file_name().unwrap_or_default().to_string_lossy();
        format!("{package} {}: {test}", self.source)
    }

    /// All its tests.
    ///
    /// # Errors
    /// The binary does not answer.
    pub fn tests(&self) -> Result<Vec<Test>, Failure> {
        let ignored = self.list(&["--ignored"])?;
        let tests = self.list(&["--include-ignored"])?;
        Ok(tests.into_iter().map(|name| Test { ignored: ignored.contains(&name), name }).collect())
    }

    fn list(&self, which: &[&str]) -> Result<Vec<String>, Failure> {
        let output = self.command().args(["--list", "--format=terse"]).args(which).output();
        let output = output.map_err(|error| format!("cannot start {}: {error}", self.program.display()))?;
        if !output.status.success() {
            return Err(format!("{} does not list its tests", self.program.display()));
        }
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok(text.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect())
    }

    /// As cargo starts it: in its crate's directory.
    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.current_dir(&self.package).env("CARGO_MANIFEST_DIR", &self.package).stdin(Stdio::null());
        command
    }

    /// Runs the named tests. Tests of which the runner does not say that they passed have failed.
    ///
    /// # Errors
    /// The binary cannot be started.
    pub fn run(&self, tests: &[String], options: &[String]) -> Result<Outcome, Failure> {
        if tests.is_empty() {
            return Ok(Outcome::default());
        }
        eprintln!("\n== {}", self.shown(&tests.len().to_string()));
        let mut command = self.command();
        command.args(options).args(["--include-ignored", "--exact"]).args(tests);
        let (count, _) = counted(&mut command)?;
        let passed = count.passed.min(tests.len());
        let mut names: Vec<_> = count.failed_names.iter().map(|name| self.shown(name)).collect();
        if names.len() < tests.len() - passed {
            names.push(self.shown("died before it had run all its tests"));
        }
        Ok(Outcome { passed, failed: tests.len() - passed, failed_names: names })
    }
}

/// Runs the examples in the documentation.
///
/// # Errors
/// Cargo cannot be started.
pub fn documentation() -> Result<Outcome, Failure> {
    let mut cargo = command::cargo();
    cargo.args(["test", "--workspace", "--doc", "--quiet", "--no-fail-fast"]);
    command::say(&cargo);
    let (count, succeeded) = counted(&mut cargo)?;
    let failed = if succeeded { count.failed } else { count.failed.max(1) };
    Ok(Outcome { passed: count.passed, failed, failed_names: count.failed_names })
}

/// Runs a command that prints test results, passing its output on; also whether it succeeded.
fn counted(tests: &mut Command) -> Result<(Count, bool), Failure> {
    let name = tests.get_program().to_string_lossy().into_owned();
    let mut child = tests.stdout(Stdio::piped()).spawn().map_err(|error| format!("cannot start {name}: {error}"))?;
    let mut count = Count::default();
    if let Some(output) = child.stdout.take() {
        for line in BufReader::new(output).split(b'\n') {
            let line = line.map_err(|error| format!("cannot read what {name} prints: {error}"))?;
            let line = String::from_utf8_lossy(&line);
            count.line(&line);
            println!("{line}");
        }
    }
    let status = child.wait().map_err(|error| format!("cannot wait for {name}: {error}"))?;
    Ok((count, status.success()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn cargo_s_messages_name_the_test_binaries() {
        let line = r#"{"reason":"compiler-artifact","manifest_path":"/r/crates/a/Cargo.toml","target":{"src_path":
            "/r/crates/a/tests/law.rs"},"profile":{"test":true},"executable":"/r/target/law-1"}"#;
        let binary = from_message(line, Path::new("/r")).unwrap();
        assert_eq!(binary.shown("mounts"), "a tests/law.rs: mounts");
        assert!(from_message(&line.replace("true", "false"), Path::new("/r")).is_none(), "an ordinary program");
        assert!(from_message("Compiling a", Path::new("/r")).is_none());
    }

    #[test]
    fn a_runner_that_dies_is_counted_as_failed() {
        let binary = Binary { package: "/".into(), source: "tests/x.rs".into(), program: "/bin/false".into() };
        let outcome = binary.run(&["a".into(), "b".into()], &[]).unwrap();
        assert_eq!((outcome.passed, outcome.failed), (0, 2));
    }
}
