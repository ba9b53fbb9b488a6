//! What a test says it needs: `#[ignore = "needs: squashfs-tools, root"]` above its `fn`.
//!
//! The words are names of Debian packages, `cargo:` and the name of a crate with a program, or `root`. So plain `cargo test` passes anywhere, and `cargo xtask test` knows
//! what to install and what it has to leave out by name. A test ignored for any other reason is refused: that would be a
//! silent skip.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use crate::test::Tier;
use crate::{Failure, command, tidy};

/// What one test needs.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Need {
    /// Debian packages and crates, see `peers`.
    pub packages: BTreeSet<String>,
    /// Whether it mounts, changes owners or makes devices.
    pub root: bool,
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words: Vec<&str> = self.packages.iter().map(String::as_str).collect();
        if self.root {
            words.push("root");
        }
        f.write_str(&words.join(", "))
    }
}

/// The needs of the workspace's tests, by crate and name of the test function.
#[derive(Debug, Default)]
pub struct Needs(BTreeMap<(PathBuf, String), Need>);

impl Needs {
    /// Reads the sources of all crates.
    ///
    /// # Errors
    /// A source cannot be read or ignores a test for another reason.
    pub fn of_workspace() -> Result<Self, Failure> {
        let mut needs = Self::default();
        for path in tidy::sources(&command::root()) {
            let text =
                std::fs::read_to_string(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
            let package = path.ancestors().find(|directory| directory.join("Cargo.toml").exists());
            let found = in_source(&text).map_err(|error| format!("{}:{error}", path.display()))?;
            needs.add(package.unwrap_or(&path), found);
        }
        Ok(needs)
    }

    /// Two tests of one name in a crate are taken to need what either needs.
    fn add(&mut self, package: &Path, found: Vec<(String, Need)>) {
        for (test, need) in found {
            let known = self.0.entry((package.to_owned(), test)).or_default();
            known.packages.extend(need.packages);
            known.root |= need.root;
        }
    }

    /// What an ignored test needs, by its crate's directory and full name.
    ///
    /// # Errors
    /// Its source does not say.
    pub fn of(&self, package: &Path, test: &str) -> Result<&Need, Failure> {
        let (modules, function) = test.rsplit_once("::").unwrap_or(("", test));
        let by = |name: String| self.0.get(&(package.to_owned(), name));
        let need = by(function.to_owned()).or_else(|| by(format!("{}::", modules.rsplit("::").next()?)));
        need.ok_or_else(|| format!("{}: the test {test} is ignored but does not say what it needs", package.display()))
    }

    /// All packages that tests of a tier need.
    pub fn packages(&self, tier: Tier) -> BTreeSet<String> {
        let chosen = self.0.values().filter(|need| tier.includes(Some(need)));
        chosen.flat_map(|need| need.packages.iter().cloned()).collect()
    }
}

/// The needs written down in one source file. Errors begin with the line's number.
fn in_source(text: &str) -> Result<Vec<(String, Need)>, Failure> {
    const MARK: &str = "#[ignore = \"needs: ";
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let mut needs = Vec::new();
    for (index, line) in lines.iter().enumerate().filter(|(_, line)| line.starts_with("#[ignore")) {
        let words = line.strip_prefix(MARK).and_then(|rest| rest.split('"').next());
        let name = lines[index..].iter().find_map(|line| line.strip_prefix("fn ")?.split('(').next());
        let (Some(words), Some(name)) = (words, name) else {
            return Err(format!("{}: a test is ignored, but not as `needs: PACKAGE, ..`", index + 1));
        };
        // A macro makes tests of many names: they are known by the module that it puts them in.
        let name = if name.starts_with('$') { module_above(&lines[..index])? } else { name.to_owned() };
        let (root, packages): (Vec<_>, Vec<_>) =
            words.split(',').map(|word| word.trim().to_owned()).partition(|word| word == "root");
        needs.push((name, Need { packages: packages.into_iter().collect(), root: !root.is_empty() }));
    }
    Ok(needs)
}

/// The module that was opened last, as part of a test's path.
fn module_above(lines: &[&str]) -> Result<String, Failure> {
    let module = lines.iter().rev().find_map(|line| line.strip_prefix("mod ")?.strip_suffix(" {"));
    module
        .map(|module| format!("{module}::"))
        .ok_or_else(|| format!("{}: a test without a name is in no module", lines.len() + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_tests_say() {
        let text = "#[test]\n    #[ignore = \"needs: squashfs-tools, attr, root\"]\n    fn mounts() {\n";
        let mut needs = Needs::default();
        needs.add(Path::new("/crate"), in_source(text).unwrap());
        let need = needs.of(Path::new("/crate"), "kernel::mounts").unwrap();
        assert_eq!(need.to_string(), "attr, squashfs-tools, root");
        assert!(needs.of(Path::new("/other"), "kernel::mounts").is_err());
        assert_eq!(needs.packages(Tier::Root).len(), 2);
        assert!(needs.packages(Tier::Peers).is_empty());
    }

    #[test]
    fn tests_of_a_macro_are_known_by_their_module() {
        let text = "mod crun {\n #[ignore = \"needs: crun, root\"]\n fn $name() {}\n}\nmod runc {\n #[ignore = \"needs: runc\"]\n fn $name() {}\n";
        let mut needs = Needs::default();
        needs.add(Path::new("/crate"), in_source(text).unwrap());
        assert_eq!(needs.of(Path::new("/crate"), "services::crun::starts").unwrap().to_string(), "crun, root");
        assert_eq!(needs.of(Path::new("/crate"), "runc::starts").unwrap().to_string(), "runc");
        assert!(needs.of(Path::new("/crate"), "lxc::starts").is_err());
        assert!(in_source("#[ignore = \"needs: crun\"]\nfn $name() {}\n").is_err());
    }

    #[test]
    fn a_silent_skip_is_an_error() {
        assert!(in_source("#[ignore]\nfn later() {}\n").is_err());
        assert!(in_source("#[ignore = \"flaky\"]\nfn flaky() {}\n").is_err());
    }
}
