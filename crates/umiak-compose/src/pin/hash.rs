//! The configuration hash of a service.
//!
//! SHA-256 of the service as it will run: its keys sorted, image pinned, `build` and the hash's own label left out, merge
//! keys and `extends` resolved; of the variables that it uses, the values in the project's `.env`; of the files of variables
//! that it names, the digests. The publisher's environment is no part of it, so that everybody computes the same. The bytes
//! are JSON; a quoted text has its quotes there, a plain number or truth value is written as it stands.

use std::collections::{BTreeMap, BTreeSet};

use umiak_spec::Digest;

use crate::check::{env_files, templates};
use crate::paths;
use crate::project::Project;
use crate::read::fill;
use crate::template::Template;
use crate::yaml::value::is_untyped;
use crate::yaml::{Map, Shape, Value};

/// The hash of a service without `labels`, and its labels.
pub(super) fn of(service: &Map, labels: &Value, project: &Project) -> Digest {
    let mut out = String::from("{\"service\":");
    let mut whole = service.clone();
    whole.set("labels", labels.clone());
    let whole = Value::like(labels, Shape::Map(whole));
    json(&whole, &mut out);
    let mut names = BTreeSet::new();
    // Templates were checked when the project was read.
    let _ = templates(&whole, &mut |_, text| {
        Template::parse(text).into_iter().for_each(|template| template.variables(&mut names));
        Ok(())
    });
    let variables = names.iter().filter_map(|name| Some((name.clone(), project.own_variables.get(name)?.clone())));
    let digests = env_files(&whole).into_iter().filter_map(|path| {
        let path = paths::join("", &fill(path.as_text()?, &project.own_variables).ok()?);
        let digest = project.env_files.get(&path)?;
        Some((path, digest.to_string()))
    });
    for (what, texts) in [("variables", variables.collect()), ("env_files", digests.collect::<BTreeMap<_, _>>())] {
        out.push_str(",\"");
        out.push_str(what);
        out.push_str("\":{");
        for (at, (name, text)) in texts.iter().enumerate() {
            out.push_str(if at > 0 { "," } else { "" });
            string(name, &mut out);
            out.push(':');
            string(text, &mut out);
        }
        out.push('}');
    }
    out.push('}');
    Digest::of(out.as_bytes())
}

fn json(value: &Value, out: &mut String) {
    match &value.shape {
        _ if value.is_null() => out.push_str("null"),
        Shape::Scalar { text, plain } if is_untyped(text, *plain) => string(text, out),
        Shape::Scalar { text, .. } => out.push_str(text),
        Shape::List(list) => {
            out.push('[');
            for (at, item) in list.iter().enumerate() {
                out.push_str(if at > 0 { "," } else { "" });
                json(item, out);
            }
            out.push(']');
        }
        Shape::Map(map) => {
            let sorted: BTreeMap<&str, &Value> =
                map.entries.iter().map(|entry| (entry.key.as_str(), &entry.value)).collect();
            out.push('{');
            for (at, (key, value)) in sorted.into_iter().enumerate() {
                out.push_str(if at > 0 { "," } else { "" });
                string(key, out);
                out.push(':');
                json(value, out);
            }
            out.push('}');
        }
    }
}

fn string(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
}
