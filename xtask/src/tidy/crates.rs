//! Rules for crates: who may import whom, and what comes from outside.
//!
//! The floors are those of ARCHITECTURE.md: a crate imports only crates of floors above its own (noun crates may
//! import the nouns they build on, in the order written here).

use std::collections::BTreeSet;

use serde_json::Value;

use super::Finding;
use crate::{Failure, command};

/// Crates by floor, nouns first. Within the first floor a crate may import those before it.
const FLOORS: [&[&str]; 6] = [
    &["umiak-spec", "umiak-tree", "umiak-compose", "umiak-pvr", "umiak-plan"],
    &["umiak-lzma", "umiak-layer", "umiak-squashfs", "umiak-delta", "umiak-sign", "umiak-seal"],
    &["umiak-registry", "umiak-repository", "umiak-store", "umiak-mount", "umiak-engine", "umiak-pantavisor"],
    &["umiak-build", "umiak-agent", "umiak-release"],
    &["umiak-ui", "umiak", "umiakd"],
    &["umiak-testkit", "xtask"],
];

/// Imports inside one floor that are meant: a codec that another codec is made of, signing what is verified elsewhere, the
/// faces' common ground, what benches and tests start alike; the engine stands on mounts that only it makes; packages are
/// made of apps; the developer's demo has a device.
const SAME_FLOOR: [(&str, &str); 8] = [
    ("umiak-squashfs", "umiak-lzma"),
    ("umiak-seal", "umiak-sign"),
    ("umiak-engine", "umiak-mount"),
    ("umiak-release", "umiak-build"),
    ("umiak", "umiak-ui"),
    ("umiakd", "umiak-ui"),
    ("umiak", "umiakd"),
    ("xtask", "umiak-testkit"),
];

/// Licences that let people do with umiak what umiak's own licences let them do.
const PERMISSIVE: [&str; 12] = [
    "MIT",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    "0BSD",
    "Unicode-3.0",
    "Unlicense",
    "CDLA-Permissive-2.0",
    "CC0-1.0",
];

/// What `cargo metadata` says of the workspace.
///
/// # Errors
/// Cargo fails or prints no JSON.
pub fn metadata() -> Result<Value, Failure> {
    let output = command::cargo().args(["metadata", "--format-version=1", "--locked"]).output();
    let output = output.map_err(|error| format!("cannot start cargo: {error}"))?;
    if !output.status.success() {
        return Err(format!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| format!("cannot read cargo metadata: {error}"))
}

/// All crate rules. `reasons` is the text of docs/dependencies.md.
pub fn check(metadata: &Value, reasons: &str) -> Vec<Finding> {
    let packages = array(&metadata["packages"]);
    let members: BTreeSet<&str> = array(&metadata["workspace_members"]).iter().filter_map(Value::as_str).collect();
    let mut texts = BTreeSet::new();
    let mut used = BTreeSet::new();
    for package in packages {
        if members.contains(text(&package["id"])) {
            for dependency in array(&package["dependencies"]) {
                used.insert(text(&dependency["name"]));
                texts.extend(member_dependency(text(&package["name"]), dependency, reasons));
            }
        } else {
            texts.extend(foreign_package(package));
        }
    }
    let stale = reasons_for(reasons).filter(|name| !used.contains(name));
    texts
        .extend(stale.map(|name| format!("{name} is in docs/dependencies.md and no crate uses it: take the line out")));
    texts.into_iter().map(|text| Finding::new(1, text)).collect()
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("")
}

fn member_dependency(package: &str, dependency: &Value, reasons: &str) -> Vec<String> {
    let name = text(&dependency["name"]);
    let for_tests = dependency["kind"] == "dev";
    if dependency["path"].is_string() {
        let allowed = allowed_edge(package, name) || (for_tests && name == "umiak-testkit");
        return if allowed { vec![] } else { vec![format!("{package} imports {name}: data flows the other way")] };
    }
    let mut findings = Vec::new();
    if dependency["uses_default_features"] == true {
        findings.push(format!("{package} takes {name} with default features: turn them off, name what is used"));
    }
    if !reasons_for(reasons).any(|known| known == name) {
        findings.push(format!("{name} has no line in docs/dependencies.md: write why it is there"));
    }
    findings
}

/// The crates of the table `| a, b (tests) | why |`.
fn reasons_for(reasons: &str) -> impl Iterator<Item = &str> {
    let rows = reasons.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| crate |"));
    let names = rows.filter_map(|line| line.split('|').nth(1)).flat_map(|cell| cell.split(','));
    names.map(|name| name.trim().trim_end_matches("(tests)").trim())
}

fn allowed_edge(package: &str, name: &str) -> bool {
    let place = |name: &str| {
        FLOORS.iter().enumerate().find_map(|(floor, crates)| {
            crates.iter().position(|known| *known == name).map(|position| (floor, position))
        })
    };
    match (place(package), place(name)) {
        (Some((0, own)), Some((0, other))) => other < own,
        (Some((own, _)), Some((other, _))) => other < own || SAME_FLOOR.contains(&(package, name)),
        _ => false,
    }
}

fn foreign_package(package: &Value) -> Vec<String> {
    let name = text(&package["name"]);
    let mut findings = Vec::new();
    if text(&package["source"]).starts_with("git") {
        findings.push(format!("{name} comes from git: use a published crate"));
    }
    let licence = text(&package["license"]);
    if !is_permissive(licence) {
        findings.push(format!("{name} has the licence `{licence}`, which is not on the permissive list"));
    }
    findings
}

/// `A OR B` needs one good part, `A AND B` needs all.
fn is_permissive(expression: &str) -> bool {
    let expression = expression.replace('/', " OR ").replace(['(', ')'], "");
    expression.split(" OR ").any(|choice| choice.split(" AND ").all(|part| PERMISSIVE.contains(&part.trim())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn edges_go_up_only() {
        assert!(allowed_edge("umiak-squashfs", "umiak-tree"));
        assert!(allowed_edge("umiak-tree", "umiak-spec"));
        assert!(allowed_edge("umiak", "umiak-build"));
        assert!(!allowed_edge("umiak-tree", "umiak-squashfs"));
        assert!(!allowed_edge("umiak-store", "umiak-registry"));
        assert!(!allowed_edge("umiak-spec", "umiak-tree"));
        assert!(!allowed_edge("umiak-newcomer", "umiak-spec"), "a new crate gets a floor first");
    }

    #[test]
    fn licences_are_read_as_expressions() {
        for good in ["MIT", "MIT/Apache-2.0", "GPL-2.0 OR MIT", "(MIT OR Apache-2.0) AND Unicode-3.0"] {
            assert!(is_permissive(good), "{good}");
        }
        for bad in ["", "GPL-3.0", "MIT AND GPL-2.0", "MPL-2.0"] {
            assert!(!is_permissive(bad), "{bad}");
        }
    }

    #[test]
    fn each_breach_is_found() {
        let dependency = json!({"name": "leftpad", "kind": null, "path": null, "uses_default_features": true});
        let metadata = json!({
            "workspace_members": ["umiak-tree 0.1"],
            "packages": [
                {"id": "umiak-tree 0.1", "name": "umiak-tree", "dependencies": [dependency]},
                {"id": "x", "name": "x", "source": "git+ssh", "license": "MIT", "dependencies": []},
            ],
        });
        assert_eq!(check(&metadata, "").len(), 3);
        let table = "| crate | why |\n|---|---|\n| leftpad (tests) | pads |\n";
        assert_eq!(check(&metadata, table).len(), 2);
        assert_eq!(check(&metadata, &table.replace("leftpad", "rightpad, leftpad")).len(), 3, "a line for nothing");
    }
}
