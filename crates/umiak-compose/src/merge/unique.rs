//! Lists in which no two items stand for the same: the later one replaces the earlier.

use crate::paths::split_outside_braces;
use crate::yaml::{Shape, Value};

/// What makes two items the same.
#[derive(Clone, Copy)]
pub(super) enum Identity {
    /// The whole text.
    Text,
    /// The value of a key, or the text of a short form.
    Key(&'static str),
    /// Address, host port, container port and protocol.
    Port,
    /// Where it is mounted.
    Mount,
    /// What it is called inside.
    Device,
    /// Target, or source where there is none.
    Name,
}

/// Both lists, `over` replacing what stands for the same. A single value counts as a list of one.
pub(super) fn append(base: Value, over: Value, identity: Identity) -> Value {
    let mut list: Vec<(Option<String>, Value)> = Vec::new();
    let frame = Value::like(&over, Shape::List(vec![]));
    for item in items(base).into_iter().chain(items(over)) {
        let name = identity.of(&item);
        match list.iter_mut().find(|(present, _)| name.is_some() && *present == name) {
            Some((_, present)) => *present = item,
            None => list.push((name, item)),
        }
    }
    Value { shape: Shape::List(list.into_iter().map(|(_, item)| item).collect()), ..frame }
}

fn items(value: Value) -> Vec<Value> {
    match value.shape {
        Shape::List(list) => list,
        _ if value.is_null() => vec![],
        _ => vec![value],
    }
}

impl Identity {
    fn of(self, item: &Value) -> Option<String> {
        let key = |name: &str| item.at(&[name]).and_then(Value::as_text).map(str::to_owned);
        let text = item.as_text();
        match self {
            Self::Text => text.map(str::to_owned),
            Self::Key(name) => text.map(str::to_owned).or_else(|| key(name)),
            Self::Port => match text {
                Some(text) => Some(short_port(text)),
                None => {
                    let part = |name: &str, default: &str| key(name).unwrap_or_else(|| default.to_owned());
                    let (address, published) = (part("host_ip", ""), part("published", ""));
                    Some(format!("{address}:{published}:{}/{}", key("target")?, part("protocol", "tcp")))
                }
            },
            Self::Mount => match text {
                Some(text) => {
                    let parts = split_outside_braces(text);
                    Some(clean(parts.get(1).or(parts.first())?))
                }
                None => key("target").map(|target| clean(&target)),
            },
            Self::Device => match text {
                Some(text) => {
                    let parts = split_outside_braces(text);
                    Some((*parts.get(1).or(parts.first())?).to_owned())
                }
                None => key("target").or_else(|| key("source")),
            },
            Self::Name => text.map(str::to_owned).or_else(|| key("target")).or_else(|| key("source")),
        }
    }
}

fn clean(path: &str) -> String {
    let trimmed = path.trim_end_matches('/');
    if trimmed.is_empty() { path.to_owned() } else { trimmed.to_owned() }
}

/// `[[address:]published:]target[/protocol]` in full.
fn short_port(text: &str) -> String {
    let (ports, protocol) = text.rsplit_once('/').unwrap_or((text, "tcp"));
    let parts = split_outside_braces(ports);
    let (target, before) = parts.split_last().unwrap_or((&"", &[]));
    let (published, address) = before.split_last().unwrap_or((&"", &[]));
    format!("{}:{published}:{target}/{protocol}", address.join(":"))
}
