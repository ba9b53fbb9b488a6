//! Links between documents lead somewhere, and so do the documents that sources name.

use std::path::Path;

use super::Finding;

/// Relative links of a Markdown file whose target is not there.
pub fn links(path: &Path, text: &str) -> Vec<Finding> {
    let Some(directory) = path.parent() else { return Vec::new() };
    let mut findings = Vec::new();
    for (number, line) in text.lines().enumerate() {
        for target in targets(line) {
            let file = target.split('#').next().unwrap_or("");
            let elsewhere = target.contains("://") || target.starts_with("mailto:") || file.is_empty();
            if !elsewhere && !directory.join(file).exists() {
                findings.push(Finding::new(number + 1, format!("links to `{target}`, which is not there")));
            }
        }
    }
    findings
}

/// Documents below `docs/` that a text names and that are not there.
pub fn mentions(root: &Path, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let names = line.match_indices("docs/").map(|(start, _)| &line[start..]).filter_map(|rest| {
            let end = rest.find(|letter: char| !letter.is_ascii_alphanumeric() && !"/-_.".contains(letter));
            Some(rest[..end.unwrap_or(rest.len())].trim_end_matches('.')).filter(|name| name.ends_with(".md"))
        });
        let gone = names.filter(|name| !root.join(name).exists());
        findings.extend(gone.map(|name| Finding::new(number + 1, format!("names {name}, which is not there"))));
    }
    findings
}

/// What stands between `](` and `)`.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_to_nowhere_is_found() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
        assert_eq!(links(&here, "see [this](Cargo.toml) and [that](https://example.org/x)\n"), []);
        assert_eq!(links(&here, "see [this](gone.md#part)\n").len(), 1);
    }

    #[test]
    fn a_document_that_is_named_and_not_there_is_found() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        assert_eq!(mentions(&root, "//! See `docs/dependencies.md`. docs/formats/\n"), []);
        assert_eq!(mentions(&root, concat!("//! See do", "cs/gone.md.\n")).len(), 1);
    }
}
