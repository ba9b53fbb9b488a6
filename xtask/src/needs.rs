//! What tests need that a fresh Debian machine may not have: the real peers, and root.
//!
//! A test says it itself: `#[ignore = "needs: squashfs-tools, root"]` above its `fn`. The words are names of Debian
//! packages, or `root`. So plain `cargo test` passes anywhere, and `cargo xtask test` knows what to install and what
//! it has to leave out by name.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::{Failure, command};

/// A test and what it needs.
#[derive(Debug, PartialEq, Eq)]
pub struct Need {
    /// Name of the test function.
    pub test: String,
    /// Debian packages.
    pub packages: BTreeSet<String>,
    /// Whether it mounts, changes owners or makes devices.
    pub root: bool,
}

/// The needs written down in one source file.
///
/// # Errors
/// A test is ignored for another reason than its needs: that would be a silent skip.
pub fn in_source(text: &str) -> Result<Vec<Need>, Failure> {
    const MARK: &str = "#[ignore = \"needs: ";
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let mut needs = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        if !line.starts_with("#[ignore") {
            continue;
        }
        let words = line.strip_prefix(MARK).and_then(|rest| rest.split('"').next());
        let name = lines[index..].iter().find_map(|line| line.strip_prefix("fn ")?.split('(').next());
        let (Some(words), Some(name)) = (words, name) else {
            return Err(format!("line {}: a test is ignored, but not as `needs: PACKAGE, ..`", index + 1));
        };
        let (root, packages): (Vec<_>, Vec<_>) =
            words.split(',').map(|word| word.trim().to_owned()).partition(|word| word == "root");
        needs.push(Need { test: name.to_owned(), packages: packages.into_iter().collect(), root: !root.is_empty() });
    }
    Ok(needs)
}

/// The needs of all tests of the workspace.
///
/// # Errors
/// See [`in_source`].
pub fn of_workspace() -> Result<Vec<Need>, Failure> {
    let mut needs = Vec::new();
    for path in crate::tidy::sources(&command::root().join("crates")) {
        let text =
            std::fs::read_to_string(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        needs.extend(in_source(&text).map_err(|error| format!("{}: {error}", path.display()))?);
    }
    Ok(needs)
}

fn installed(package: &str) -> bool {
    let output = Command::new("dpkg-query").args(["-W", "-f=${Status}", package]).stderr(Stdio::null()).output();
    output.is_ok_and(|output| output.stdout.starts_with(b"install ok installed"))
}

/// Installs what is missing as root; returns what is still missing.
pub fn install(packages: &BTreeSet<String>) -> BTreeSet<String> {
    let missing = |packages: &BTreeSet<String>| -> BTreeSet<String> {
        packages.iter().filter(|package| !installed(package)).cloned().collect()
    };
    let wanted = missing(packages);
    if wanted.is_empty() || !command::is_root() || !Path::new("/usr/bin/apt-get").exists() {
        return wanted;
    }
    for update in [false, true] {
        let mut apt = Command::new("apt-get");
        apt.env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null());
        if update && command::run(Command::new("apt-get").args(["update", "-q"]).stdin(Stdio::null())).is_err() {
            break;
        }
        apt.args(["install", "-q", "-y", "--no-install-recommends"]).args(missing(&wanted));
        if command::run(&mut apt).is_ok() {
            break;
        }
    }
    missing(&wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_tests_say() {
        let text = "#[test]\n    #[ignore = \"needs: squashfs-tools, attr, root\"]\n    fn mounts() {\n";
        let needs = in_source(text).unwrap();
        assert_eq!(needs[0].test, "mounts");
        assert!(needs[0].root);
        assert_eq!(needs[0].packages.iter().map(String::as_str).collect::<Vec<_>>(), ["attr", "squashfs-tools"]);
    }

    #[test]
    fn a_silent_skip_is_an_error() {
        assert!(in_source("#[ignore]\nfn later() {}\n").is_err());
        assert!(in_source("#[ignore = \"flaky\"]\nfn flaky() {}\n").is_err());
    }
}
