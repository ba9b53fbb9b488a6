//! Rules for one file: its header, its length, where `unsafe` may be, words that give away a machine.

use std::path::Path;

use super::Finding;

/// A file is one idea; longer ones hide a second.
const MAX_LINES: usize = 500;

/// The repository is read far from where it was written: these words would mean nothing there, or too much.
/// Lower case; written in pieces so that this file passes its own rule.
const FORBIDDEN: [(&str, &str); 5] = [
    (concat!("/wo", "rk/"), "a path of one machine"),
    (concat!("/var/", "tmp/"), "a path of one machine"),
    (concat!("arti", "factory"), "the name of a package registry's host"),
    (concat!("clau", "de"), "a word about how the project is made"),
    (concat!("anthro", "pic"), "a word about how the project is made"),
];

/// Rules for Rust sources.
pub fn check(path: &Path, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !text.starts_with("//!") {
        findings.push(Finding::new(1, "begin with `//!`: what it is for, what it guarantees, what it does not do"));
    }
    let lines = text.lines().count();
    if lines > MAX_LINES {
        findings.push(Finding::new(MAX_LINES, format!("{lines} lines: find the second idea and give it a file")));
    }
    let in_mount = path.components().any(|part| part.as_os_str() == "umiak-mount");
    for (number, line) in text.lines().enumerate().filter(|_| !in_mount) {
        let code = line.split("//").next().unwrap_or("");
        let mut words = code.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
        if words.any(|word| word == concat!("uns", "afe")) {
            findings.push(Finding::new(number + 1, "only umiak-mount may do this: find a safe interface"));
        }
    }
    findings
}

/// Words that no tracked file may contain.
pub fn forbidden_words(text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.to_ascii_lowercase();
        for (_, why) in FORBIDDEN.iter().filter(|(word, _)| line.contains(word)) {
            findings.push(Finding::new(number + 1, format!("contains {why}: say it without")));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(path: &str, text: &str) -> usize {
        check(Path::new(path), text).len()
    }

    #[test]
    fn a_file_without_header_or_end_is_found() {
        assert_eq!(count("a.rs", "//! What for.\nfn main() {}\n"), 0);
        assert_eq!(count("a.rs", "fn main() {}\n"), 1);
        assert_eq!(count("a.rs", &format!("//! Long.\n{}", "// x\n".repeat(MAX_LINES))), 1);
    }

    #[test]
    fn the_dangerous_word_is_found_outside_its_crate_and_comments() {
        let text = concat!("//! x\nuns", "afe { }\n// uns", "afe\n");
        assert_eq!(count("crates/umiak-tree/src/a.rs", text), 1);
        assert_eq!(count("crates/umiak-mount/src/a.rs", text), 0);
    }

    #[test]
    fn paths_of_a_machine_are_found() {
        assert_eq!(forbidden_words(concat!("see /wo", "rk/main\n")).len(), 1);
        assert_eq!(forbidden_words("see docs/\n").len(), 0);
    }
}
