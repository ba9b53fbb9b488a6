//! Runs the built `umiak` in a directory of its own, and compares what it says with files.
//!
//! The environment of a run is empty but for `HOME`, `PATH` and what the test adds, so that nobody's settings matter.

#![allow(dead_code, reason = "every test binary uses a part of it")]

pub mod project;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A temporary directory with a home beside the place where commands run. Removed when dropped.
pub struct Place {
    root: PathBuf,
}

/// What one run said.
pub struct Said {
    /// Data.
    pub out: String,
    /// Talk.
    pub err: String,
    /// Exit code.
    pub code: i32,
}

impl Said {
    /// The run of `line` in a transcript; `directory` is where, if that is worth telling.
    pub fn told(&self, directory: &str, line: &str) -> String {
        let place = if directory.is_empty() { String::new() } else { format!("{directory} ") };
        let exit = if self.code == 0 { String::new() } else { format!("exit {}\n", self.code) };
        format!("{place}$ umiak {line}\n{}{}{exit}\n", self.err, self.out)
    }
}

impl Place {
    pub fn new(name: &str) -> Self {
        let root = std::env::temp_dir().join(format!("umiak-test-{}-{name}", std::process::id()));
        fs::create_dir_all(root.join("home")).unwrap();
        fs::create_dir_all(root.join("work")).unwrap();
        Self { root: root.canonicalize().unwrap() }
    }

    /// The directory that commands run in.
    pub fn path(&self) -> PathBuf {
        self.root.join("work")
    }

    pub fn home(&self) -> PathBuf {
        self.root.join("home")
    }

    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    pub fn command(&self, directory: &Path) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_umiak"));
        command.current_dir(directory).env_clear().env("HOME", self.home()).env("TMPDIR", &self.root);
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command
    }

    /// Runs `umiak` with the words of `line`.
    pub fn run(&self, line: &str) -> Said {
        self.run_in("", line)
    }

    /// The same in a directory below.
    pub fn run_in(&self, directory: &str, line: &str) -> Said {
        self.finish(self.command(&self.path().join(directory)).args(line.split_whitespace()))
    }

    pub fn finish(&self, command: &mut Command) -> Said {
        let Output { status, stdout, stderr } = command.output().unwrap();
        Said {
            out: self.filtered(&String::from_utf8_lossy(&stdout)),
            err: without_progress(&self.filtered(&String::from_utf8_lossy(&stderr))),
            code: status.code().unwrap_or(-1),
        }
    }

    /// Runs a command that must succeed.
    pub fn done(&self, line: &str) -> Said {
        self.done_in("", line)
    }

    /// The same in a directory below.
    pub fn done_in(&self, directory: &str, line: &str) -> Said {
        let said = self.run_in(directory, line);
        assert_eq!(said.code, 0, "umiak {line}\n{}{}", said.out, said.err);
        said
    }

    /// Paths that change from run to run get names.
    fn filtered(&self, text: &str) -> String {
        let text = text.replace(self.path().to_str().unwrap(), "[WORK]");
        let text = text.replace(self.home().to_str().unwrap(), "[HOME]");
        text.replace(self.root.to_str().unwrap(), "[ROOT]")
    }
}

/// Talk without progress lines, which a slow machine has and a fast one has not: their first word ends in `ing`.
fn without_progress(talk: &str) -> String {
    let progress =
        |line: &str| line.split_whitespace().next().is_some_and(|word| word.ends_with("ing") && line.contains("iB"));
    talk.lines().filter(|line| !progress(line)).map(|line| format!("{line}\n")).collect()
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

/// Compares with `tests/snapshots/<name>.txt`; `UMIAK_SNAPSHOTS=write` writes that file instead.
pub fn assert_snapshot(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots").join(format!("{name}.txt"));
    if std::env::var_os("UMIAK_SNAPSHOTS").is_some_and(|value| value == "write") {
        fs::write(&path, text).unwrap();
        return;
    }
    let golden = fs::read_to_string(&path).unwrap_or_default();
    if let Some((number, (was, is))) =
        golden.lines().chain(["<end>"]).zip(text.lines().chain(["<end>"])).enumerate().find(|(_, (was, is))| was != is)
    {
        panic!(
            "{} differs in line {}:\n  was {was}\n  is  {is}\nUMIAK_SNAPSHOTS=write cargo test -p umiak writes it anew",
            path.display(),
            number + 1
        );
    }
}
