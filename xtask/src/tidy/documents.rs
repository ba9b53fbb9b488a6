//! Links between documents lead somewhere.

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
}
