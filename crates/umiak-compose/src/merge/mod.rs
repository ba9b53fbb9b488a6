//! One compose file over another, and a service over the one that it extends: the Compose specification's merging.
//!
//! Maps are merged key by key, lists are put together, single values replaced; what differs from that is in the table
//! `Way::of`. Nothing (null) leaves what is there; `!reset` takes it away and `!override` replaces it whole.

mod unique;

use crate::yaml::{Entry, Map, Shape, Tag, Value};
use unique::Identity;

/// Puts `over` over `base`. `path` is where both stand in a compose file.
pub(crate) fn merge(base: Value, over: Value, path: &[&str]) -> Value {
    if over.tag == Tag::Override || base.is_null() {
        return over;
    }
    if over.is_null() {
        return base;
    }
    match Way::of(path) {
        Way::Replace => over,
        Way::Pairs => together(as_pairs(base), as_pairs(over), path),
        Way::Names => together(as_names(base, false), as_names(over, false), path),
        Way::Dependencies => together(as_names(base, true), as_names(over, true), path),
        Way::Build => together(as_build(base), as_build(over), path),
        Way::Logging if drivers_differ(&base, &over) => over,
        Way::Hosts => unique::append(as_hosts(base), as_hosts(over), Identity::Text),
        Way::Unique(identity) => unique::append(base, over, identity),
        Way::Logging | Way::Plain => together(base, over, path),
    }
}

/// Takes out what is marked `!reset`, and the marks.
pub(crate) fn settle(value: &mut Value) {
    value.tag = Tag::None;
    match &mut value.shape {
        Shape::Map(map) => {
            map.entries.retain(|entry| entry.value.tag != Tag::Reset);
            map.entries.iter_mut().for_each(|entry| settle(&mut entry.value));
        }
        Shape::List(list) => {
            list.retain(|item| item.tag != Tag::Reset);
            list.iter_mut().for_each(settle);
        }
        Shape::Scalar { .. } => {}
    }
}

/// How values at a place are put together.
enum Way {
    Plain,
    Replace,
    /// `KEY=value` lists and maps: by key.
    Pairs,
    /// Lists of names and maps: by name.
    Names,
    /// The same, and a name alone waits for the service's start.
    Dependencies,
    Build,
    Logging,
    Hosts,
    /// Lists in which nothing is twice.
    Unique(Identity),
}

impl Way {
    fn of(path: &[&str]) -> Self {
        match path {
            ["services", _, inner @ ..] => Self::of_service(inner),
            ["networks" | "volumes" | "secrets" | "configs", _, "labels"] => Self::Pairs,
            ["networks", _, "ipam", "config"] => Self::Unique(Identity::Key("subnet")),
            _ => Self::Plain,
        }
    }

    fn of_service(path: &[&str]) -> Self {
        match path {
            ["command" | "entrypoint"] | ["healthcheck", "test"] => Self::Replace,
            ["annotations" | "environment" | "labels" | "sysctls"]
            | ["build", "additional_contexts" | "args" | "labels"]
            | ["deploy", "labels"] => Self::Pairs,
            ["networks" | "models"] => Self::Names,
            ["depends_on"] => Self::Dependencies,
            ["build"] => Self::Build,
            ["logging"] => Self::Logging,
            ["extra_hosts"] | ["build", "extra_hosts"] => Self::Hosts,
            ["ports"] => Self::Unique(Identity::Port),
            ["volumes"] => Self::Unique(Identity::Mount),
            ["devices"] => Self::Unique(Identity::Device),
            ["configs" | "secrets"] => Self::Unique(Identity::Name),
            ["env_file"] => Self::Unique(Identity::Key("path")),
            [
                "cap_add"
                | "cap_drop"
                | "device_cgroup_rules"
                | "dns"
                | "dns_opt"
                | "dns_search"
                | "expose"
                | "external_links"
                | "group_add"
                | "label_file"
                | "links"
                | "profiles"
                | "security_opt"
                | "tmpfs"
                | "volumes_from",
            ]
            | ["build", "platforms" | "tags"]
            | ["networks", _, "aliases" | "link_local_ips"] => Self::Unique(Identity::Text),
            _ => Self::Plain,
        }
    }
}

fn together(base: Value, over: Value, path: &[&str]) -> Value {
    match (base.shape, over.shape) {
        (Shape::Map(base), Shape::Map(over_map)) => {
            let shape = Shape::Map(maps(base, over_map, path));
            Value { shape, tag: Tag::None, file: over.file, node: over.node, line: over.line, column: over.column }
        }
        (Shape::List(mut list), Shape::List(more)) => {
            list.extend(more);
            let shape = Shape::List(list);
            Value { shape, tag: Tag::None, file: over.file, node: over.node, line: over.line, column: over.column }
        }
        (_, shape) => Value { shape, ..over },
    }
}

fn maps(mut base: Map, over: Map, path: &[&str]) -> Map {
    for entry in over.entries {
        if entry.value.tag == Tag::Reset {
            base.remove(&entry.key);
            continue;
        }
        match base.entries.iter().position(|present| present.key == entry.key) {
            None => base.entries.push(entry),
            Some(at) => {
                let inner = [path, &[entry.key.as_str()]].concat();
                let present = std::mem::replace(&mut base.entries[at].value, Value::null_like(&entry.value));
                let value = merge(present, entry.value, &inner);
                base.entries[at] = Entry { key: entry.key.clone(), key_node: entry.key_node, value };
            }
        }
    }
    base
}

/// `[K=v, L]` as `{K: v, L: }`.
pub(crate) fn as_pairs(value: Value) -> Value {
    let Shape::List(list) = &value.shape else { return value };
    let mut map = Map::default();
    for item in list {
        let Some(text) = item.as_text() else { continue };
        match text.split_once('=') {
            Some((key, text)) => map.set(key, Value::text_like(item, text)),
            None => map.set(text, Value::null_like(item)),
        }
    }
    Value::like(&value, Shape::Map(map))
}

/// `[a, b]` as `{a: , b: }`; of dependencies as `{a: {condition: service_started}, …}`.
fn as_names(value: Value, dependencies: bool) -> Value {
    let Shape::List(list) = &value.shape else { return value };
    let mut map = Map::default();
    for item in list {
        let Some(name) = item.as_text() else { continue };
        let mut one = Value::null_like(item);
        if dependencies {
            let mut conditions = Map::default();
            conditions.set("condition", Value::text_like(item, "service_started"));
            one = Value::like(item, Shape::Map(conditions));
        }
        map.set(name, one);
    }
    Value::like(&value, Shape::Map(map))
}

fn as_build(value: Value) -> Value {
    let Some(context) = value.as_text() else { return value };
    let mut map = Map::default();
    map.set("context", Value::text_like(&value, context));
    Value::like(&value, Shape::Map(map))
}

/// `{host: address}` as `[host:address]`, which every Compose reads.
fn as_hosts(value: Value) -> Value {
    let Shape::Map(map) = &value.shape else { return value };
    let mut list = Vec::new();
    for entry in &map.entries {
        let addresses = entry.value.as_list().unwrap_or(std::slice::from_ref(&entry.value));
        let lines = addresses.iter().filter_map(|address| Some((address, address.as_text()?)));
        list.extend(lines.map(|(at, address)| Value::text_like(at, format!("{}:{address}", entry.key))));
    }
    Value::like(&value, Shape::List(list))
}

/// Options of one logging driver mean nothing to another.
fn drivers_differ(base: &Value, over: &Value) -> bool {
    let driver = |value: &Value| value.at(&["driver"]).and_then(Value::as_text).map(str::to_owned);
    driver(over).is_some_and(|driver_over| driver(base).is_some_and(|driver| driver != driver_over))
}
