//! Paths in compose files: joining them, and making those of a file elsewhere mean the same from the project's directory.
//!
//! Paths are texts with `/`. A path that begins with a variable cannot be known here and stays as it is.

use crate::yaml::{Shape, Value};

/// `path` seen from `directory`, both relative to the project's; `.` and `..` are taken out where possible.
pub(crate) fn join(directory: &str, path: &str) -> String {
    if path.starts_with('/') {
        return path.to_owned();
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in directory.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    let joined = parts.join("/");
    if directory.starts_with('/') { format!("/{joined}") } else { joined }
}

/// The directory of a file; empty for the project's own.
pub(crate) fn directory(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(directory, _)| directory)
}

/// The parts between colons, where a colon inside of `${…}` is none.
pub(crate) fn split_outside_braces(text: &str) -> Vec<&str> {
    let (mut parts, mut from, mut depth) = (vec![], 0, 0usize);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'{' if at > 0 && text.as_bytes()[at - 1] == b'$' => depth += 1,
            b'}' => depth = depth.saturating_sub(1),
            b':' if depth == 0 => {
                parts.push(&text[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[from..]);
    parts
}

/// Makes the relative paths of a compose file in `directory` relative to the project's.
pub(crate) fn rebase(file: &mut Value, directory: &str) {
    if directory.is_empty() {
        return;
    }
    if let Some(services) = file.as_map_mut().and_then(|map| map.get_mut("services")).and_then(Value::as_map_mut) {
        services.entries.iter_mut().for_each(|entry| rebase_service(&mut entry.value, directory));
    }
    for section in ["configs", "secrets"] {
        let Some(section) = file.as_map_mut().and_then(|map| map.get_mut(section)).and_then(Value::as_map_mut) else {
            continue;
        };
        for entry in &mut section.entries {
            key(&mut entry.value, "file", directory);
        }
    }
    let Some(volumes) = file.as_map_mut().and_then(|map| map.get_mut("volumes")).and_then(Value::as_map_mut) else {
        return;
    };
    for entry in &mut volumes.entries {
        // What the local driver binds is a directory; other drivers have devices of their own.
        let binds = entry.value.at(&["driver_opts", "o"]).and_then(Value::as_text);
        if binds.is_some_and(|options| options.split(',').any(|option| option == "bind" || option == "rbind"))
            && let Some(options) = entry.value.as_map_mut().and_then(|map| map.get_mut("driver_opts"))
        {
            key(options, "device", directory);
        }
    }
}

/// The same for one service.
pub(crate) fn rebase_service(service: &mut Value, directory: &str) {
    let Some(map) = service.as_map_mut() else { return };
    for entry in &mut map.entries {
        let value = &mut entry.value;
        match entry.key.as_str() {
            "env_file" | "label_file" => each(value, &mut |item| {
                if item.as_map().is_some() { key(item, "path", directory) } else { text(item, directory) }
            }),
            "build" => {
                if value.as_map().is_some() {
                    key(value, "context", directory);
                } else {
                    text(value, directory);
                }
            }
            "extends" => key(value, "file", directory),
            "credential_spec" => key(value, "file", directory),
            "volumes" => each(value, &mut |item| mount(item, directory)),
            "develop" => {
                if let Some(watch) = value.as_map_mut().and_then(|map| map.get_mut("watch")) {
                    each(watch, &mut |item| key(item, "path", directory));
                }
            }
            _ => {}
        }
    }
}

fn each(value: &mut Value, change: &mut dyn FnMut(&mut Value)) {
    match &mut value.shape {
        Shape::List(list) => list.iter_mut().for_each(change),
        _ => change(value),
    }
}

fn key(value: &mut Value, name: &str, directory: &str) {
    if let Some(value) = value.as_map_mut().and_then(|map| map.get_mut(name)) {
        text(value, directory);
    }
}

/// A value that is a path.
fn text(value: &mut Value, directory: &str) {
    let Shape::Scalar { text, .. } = &mut value.shape else { return };
    if is_relative(text) {
        *text = below(directory, text);
    }
}

/// Short forms name a directory only with a dot, long ones by their type.
fn mount(value: &mut Value, directory: &str) {
    if value.at(&["type"]).and_then(Value::as_text) == Some("bind") {
        return key(value, "source", directory);
    }
    let Shape::Scalar { text, .. } = &mut value.shape else { return };
    let parts = split_outside_braces(text);
    let (Some(first), true) = (parts.first(), parts.len() > 1) else { return };
    if *first == "." || *first == ".." || first.starts_with("./") || first.starts_with("../") {
        *text = format!("{}{}", below(directory, first), &text[first.len()..]);
    }
}

fn is_relative(path: &str) -> bool {
    !(path.is_empty() || path.starts_with(['/', '~', '$']) || path.contains("://"))
}

/// Joined, and visibly a path.
fn below(directory: &str, path: &str) -> String {
    let joined = join(directory, path);
    if joined.starts_with("../") || joined.starts_with('/') || joined == ".." { joined } else { format!("./{joined}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_joined() {
        for (directory, path, joined) in [
            ("", "a/b", "a/b"),
            ("a", "./b", "a/b"),
            ("a/b", "../c", "a/c"),
            ("a", "../../c", "../c"),
            ("../x", "../y", "../y"),
            ("a", "/b", "/b"),
            ("/a", "../b", "/b"),
            ("a", ".", "a"),
        ] {
            assert_eq!(join(directory, path), joined, "{directory} {path}");
        }
        assert_eq!(split_outside_braces("${A:-b:c}:/x:ro"), ["${A:-b:c}", "/x", "ro"]);
    }
}
