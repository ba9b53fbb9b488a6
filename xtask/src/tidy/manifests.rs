//! Rules for Cargo.toml files that `cargo metadata` cannot answer: it shows what was inherited as if it stood there.

use super::Finding;

/// Dependencies of a crate must be `{ workspace = true }`; those of the workspace must turn default features off.
pub fn check(text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut section = "";
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.starts_with('[') {
            section = line.trim_matches(['[', ']']);
            if section.contains("dependencies.") {
                findings.push(Finding::new(number + 1, "write the dependency on one line, so that rules can read it"));
            }
        }
        let Some((name, value)) = line.split_once('=').filter(|_| !line.starts_with('#')) else { continue };
        let (name, value) = (name.trim(), value.trim());
        if section == "workspace.dependencies" {
            if !value.contains("default-features = false") && !value.contains("path =") {
                findings.push(Finding::new(number + 1, format!("{name}: add default-features = false")));
            }
        } else if section.ends_with("dependencies") && !value.contains("workspace = true") {
            let advice = format!("{name}: put it into the workspace's Cargo.toml and say {{ workspace = true }} here");
            findings.push(Finding::new(number + 1, advice));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_are_declared_once() {
        let good = "[workspace.dependencies]\na = { path = \"a\" }\nb = { version = \"1\", default-features = false }\n\
                    [dependencies]\n# c = \"1\"\na = { workspace = true }\n";
        assert_eq!(check(good), []);
        assert_eq!(check("[dependencies]\na = \"1\"\n").len(), 1);
        assert_eq!(check("[dev-dependencies]\na = { path = \"../a\" }\n").len(), 1);
        assert_eq!(check("[dependencies.a]\nversion = \"1\"\n").len(), 1);
        assert_eq!(check("[workspace.dependencies]\na = \"1\"\n").len(), 1);
    }
}
