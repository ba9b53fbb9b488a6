//! What git says of the project: how many commits, and which one is checked out.
//!
//! git is asked as a program, since only it knows all forms that a repository can have. Where there is none, or nothing was
//! committed, there is no answer; a build can be told its version instead.

use std::path::Path;
use std::process::Command;

use umiak_release::BuildVersion;

/// Digits of a revision, at least: as many on every machine, whatever its configuration.
const DIGITS: &str = "--short=7";

/// Where a history has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Commits that lead to the one that is checked out, itself included.
    pub count: u64,
    /// That one's abbreviated name.
    pub revision: String,
    /// Whether files are otherwise than that one has them.
    pub dirty: bool,
}

impl Head {
    /// What git says in this directory.
    #[must_use]
    pub fn of(directory: &Path) -> Option<Self> {
        let count = asked(directory, &["rev-list", "--count", "HEAD"])?.parse().ok()?;
        let revision = asked(directory, &["rev-parse", DIGITS, "HEAD"])?;
        let changed = asked(directory, &["status", "--porcelain", "--untracked-files=no"])?;
        Some(Self { count, revision, dirty: !changed.is_empty() })
    }

    /// The build version of it.
    #[must_use]
    pub fn build(&self) -> BuildVersion {
        BuildVersion::from_git(self.count, &self.revision)
    }
}

/// What git prints, without the line's end; `None` when it fails or is not there.
fn asked(directory: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").arg("-C").arg(directory).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim_end().to_owned())
}
