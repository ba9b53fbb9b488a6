//! `cargo xtask tidy`: the house rules that compilers do not know.
//!
//! Each rule is a function from text to findings with a test that sees it fail; a finding says what to do.

mod crates;
mod documents;
mod manifests;
mod source;

use std::path::{Path, PathBuf};

use crate::needs::Needs;
use crate::test::Tier;
use crate::{Failure, command, peers};

pub use crates::metadata;

/// One breach of a rule.
#[derive(Debug, PartialEq, Eq)]
pub struct Finding {
    line: usize,
    text: String,
}

impl Finding {
    fn new(line: usize, text: impl Into<String>) -> Self {
        Self { line, text: text.into() }
    }
}

/// Checks the checkout.
///
/// # Errors
/// There are findings; they have been printed.
pub fn run() -> Result<(), Failure> {
    let root = command::root();
    let mut count = 0;
    let mut report = |path: &Path, findings: Vec<Finding>| {
        let shown = path.strip_prefix(&root).unwrap_or(path).display();
        for finding in &findings {
            eprintln!("{shown}:{}: {}", finding.line, finding.text);
        }
        count += findings.len();
    };
    for path in sources(&root) {
        let text = read(&path)?;
        report(&path, source::check(&path, &text));
        report(&path, documents::mentions(&root, &text));
    }
    for path in tracked(&root)? {
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        report(&path, source::forbidden_words(&text));
        if path.extension().is_some_and(|extension| extension == "md") {
            report(&path, documents::links(&path, &text));
        }
        // The fuzz targets are a workspace of their own, as cargo fuzz wants it: there is nothing to inherit from.
        let inherits = !path.starts_with(root.join("fuzz"));
        if inherits && path.file_name().is_some_and(|name| name == "Cargo.toml") {
            report(&path, manifests::check(&text));
        }
    }
    peers::check(&Needs::of_workspace()?.packages(Tier::All))?;
    let reasons = read(&root.join("docs/dependencies.md"))?;
    report(&root.join("Cargo.toml"), crates::check(&metadata()?, &reasons));
    if count == 0 { Ok(()) } else { Err(format!("findings: {count}")) }
}

fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}

/// Rust sources below `directory`, build outputs left out, sorted.
pub fn sources(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut pending = vec![directory.to_owned()];
    while let Some(directory) = pending.pop() {
        let Ok(entries) = std::fs::read_dir(&directory) else { continue };
        for path in entries.filter_map(Result::ok).map(|entry| entry.path()) {
            let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
            if path.is_dir() && !hidden && path.file_name().is_some_and(|name| name != "target") {
                pending.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn tracked(root: &Path) -> Result<Vec<PathBuf>, Failure> {
    let list = ["ls-files", "--cached", "--others", "--exclude-standard", "-z"];
    let output = std::process::Command::new("git").args(list).current_dir(root).output();
    let output = output.map_err(|error| format!("cannot start git: {error}"))?;
    let names = String::from_utf8_lossy(&output.stdout);
    Ok(names.split('\0').filter(|name| !name.is_empty()).map(|name| root.join(name)).collect())
}
