//! What contents take of a delta: by how they are made, and the twenty that take most.

use serde_json::{Value, json};
use umiak_build::delta::InspectedContent;
use umiak_delta::plan::Origin;
use umiak_ui::{Align, Size, Table};

/// How many are shown.
const MOST: usize = 20;

/// How a content is made, in a word.
fn method(content: &InspectedContent) -> &'static str {
    match content.cost.origin {
        Origin::Kept(_) => "reused",
        Origin::Again(_) => "repeated",
        Origin::New(_) => "literal",
        Origin::Patched { method, .. } => method.name(),
    }
}

/// Sums of what is made in one way.
struct Sum {
    method: &'static str,
    files: u64,
    bytes: u64,
    packed: u64,
}

fn sums(contents: &[InspectedContent]) -> Vec<Sum> {
    let mut sums: Vec<Sum> = Vec::new();
    for content in contents {
        let method = method(content);
        let at = sums.iter().position(|sum| sum.method == method).unwrap_or(sums.len());
        if at == sums.len() {
            sums.push(Sum { method, files: 0, bytes: 0, packed: 0 });
        }
        sums[at].files += 1;
        sums[at].bytes += content.cost.size;
        sums[at].packed += content.cost.packed;
    }
    sums.sort_by_key(|sum| (sum.packed, sum.method));
    sums
}

/// Reused, patched, literal: how many files and bytes, and what they take.
pub fn table(contents: &[InspectedContent]) -> Table {
    let mut table = Table::new(&[Align::Right, Align::Right, Align::Right, Align::Left]).flush();
    table.row(["packed", "makes", "files", "method"]);
    for sum in sums(contents) {
        let (packed, bytes) = (Size(sum.packed).to_string(), Size(sum.bytes).to_string());
        table.row([&packed, &bytes, &sum.files.to_string(), sum.method]);
    }
    table
}

/// The same as JSON.
pub fn value(contents: &[InspectedContent]) -> Value {
    let sum = |sum: &Sum| json!({ "method": sum.method, "files": sum.files, "bytes": sum.bytes, "packed": sum.packed });
    sums(contents).iter().map(sum).collect()
}

/// The contents that take most.
pub struct Dearest<'a>(Vec<&'a InspectedContent>);

impl<'a> Dearest<'a> {
    /// Of all layers.
    pub fn of(layers: impl IntoIterator<Item = &'a [InspectedContent]>) -> Self {
        let mut contents: Vec<_> = layers.into_iter().flatten().filter(|content| content.cost.packed > 0).collect();
        contents.sort_by(|a, b| (b.cost.packed, &a.name).cmp(&(a.cost.packed, &b.name)));
        contents.truncate(MOST);
        Self(contents)
    }

    /// As a list with its heading; nothing when nothing takes anything.
    pub fn text(&self) -> String {
        if self.0.is_empty() {
            return String::new();
        }
        let mut table = Table::new(&[Align::Right, Align::Right, Align::Left, Align::Left]).flush();
        table.row(["packed", "makes", "method", "file"]);
        for content in &self.0 {
            let (packed, bytes) = (Size(content.cost.packed).to_string(), Size(content.cost.size).to_string());
            table.row([packed, bytes, method(content).to_owned(), named(content)]);
        }
        format!("\n{table}")
    }

    /// As JSON.
    pub fn value(&self) -> Value {
        let content = |content: &&InspectedContent| {
            json!({
                "name": String::from_utf8_lossy(&content.name),
                "from": content.source.as_ref().map(|source| String::from_utf8_lossy(source).into_owned()),
                "method": method(content),
                "bytes": content.cost.size,
                "packed": content.cost.packed,
            })
        };
        self.0.iter().map(content).collect()
    }
}

fn named(content: &InspectedContent) -> String {
    let name = String::from_utf8_lossy(&content.name).into_owned();
    match &content.source {
        Some(source) if *source != content.name => format!("{name} from {}", String::from_utf8_lossy(source)),
        _ => name,
    }
}
