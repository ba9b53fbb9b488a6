//! Where the bytes of our delta go, as `delta inspect --json` says.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::Failure;
use crate::bench::shell::Shell;

/// Fields of a stream that name it.
const NAMES: [&str; 4] = ["lane", "kind", "stream", "name"];

/// Fields of a stream that say how many bytes of the delta it takes.
const BYTES: [&str; 4] = ["packed", "compressed", "bytes", "size"];

/// Bytes of the delta by stream, over all its layers.
pub fn of(shell: &Shell) -> Result<BTreeMap<String, u64>, Failure> {
    shell.prepare("$UMIAK delta inspect ours/delta --json > ours/inspected")?;
    let path = shell.directory().join("ours/inspected");
    let text = std::fs::read(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let document: Value = serde_json::from_slice(&text).map_err(|error| format!("delta inspect: {error}"))?;
    let mut streams = BTreeMap::new();
    collect(&document, &mut streams);
    if streams.is_empty() { Err("delta inspect --json names no streams".into()) } else { Ok(streams) }
}

/// Adds up every list `streams` in the document, wherever it stands.
fn collect(value: &Value, streams: &mut BTreeMap<String, u64>) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                match field.as_array().filter(|_| name == "streams") {
                    Some(list) => list.iter().filter_map(stream).for_each(|(name, bytes)| {
                        *streams.entry(name).or_default() += bytes;
                    }),
                    None => collect(field, streams),
                }
            }
        }
        Value::Array(list) => list.iter().for_each(|item| collect(item, streams)),
        _ => {}
    }
}

fn stream(entry: &Value) -> Option<(String, u64)> {
    let words: Vec<&str> = NAMES.iter().filter_map(|name| entry[name].as_str()).collect();
    let bytes = BYTES.iter().find_map(|name| entry[name].as_u64())?;
    (!words.is_empty()).then(|| (words.join(", "), bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_of_all_layers_are_added_up() {
        let document = serde_json::json!({"layers": [
            {"streams": [{"lane": "text", "kind": "model", "packed": 5, "plain": 9}, {"lane": "text", "kind": "bytes", "packed": 1}]},
            {"streams": [{"lane": "text", "kind": "model", "packed": 7}, {"unknown": 3}]},
        ]});
        let mut streams = BTreeMap::new();
        collect(&document, &mut streams);
        assert_eq!(Vec::from_iter(streams), [("text, bytes".into(), 1), ("text, model".into(), 12)]);
    }
}
