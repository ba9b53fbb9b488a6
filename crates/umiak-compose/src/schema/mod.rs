//! Whether a compose file has only keys that the Compose specification knows, and values of the right kind.
//!
//! The tables (`keys`) follow the specification's JSON schema. Checked are names of keys and whether a value is single, a
//! list or a map; not what a single value says (a port, a duration). Keys that begin with `x-` may be anywhere.

mod keys;

use crate::error::{At, ComposeError, Problem, shown};
use crate::yaml::{Shape, Syntax, Tag, Value};

/// What may stand somewhere. Nothing (null) always may.
pub(crate) struct Rule {
    /// A single value.
    scalar: bool,
    /// A list of such.
    list: Option<&'static Rule>,
    map: Names,
}

/// What keys a map may have.
enum Names {
    /// It may not be a map.
    None,
    /// These.
    Known(&'static [(&'static str, Rule)]),
    /// Any, with anything.
    All,
    /// Any, with such values.
    Any(&'static Rule),
}

/// Checks one file.
pub(crate) fn check(file: &Value, files: &[Syntax]) -> Result<(), ComposeError> {
    Checker { files }.value(file, &keys::FILE, "a compose file")
}

/// The keys that a service may have.
#[cfg(test)]
pub(crate) fn service_keys() -> impl Iterator<Item = &'static str> {
    let known = if let Names::Known(known) = keys::SERVICE.map { known } else { &[] };
    known.iter().map(|(name, _)| *name)
}

struct Checker<'a> {
    files: &'a [Syntax],
}

impl Checker<'_> {
    fn value(&self, value: &Value, rule: &Rule, what: &str) -> Result<(), ComposeError> {
        if value.is_null() || value.tag == Tag::Reset {
            return Ok(());
        }
        match (&value.shape, &rule.map) {
            (_, Names::All) => Ok(()),
            (Shape::Scalar { .. }, _) if rule.scalar => Ok(()),
            (Shape::List(list), _) if rule.list.is_some() => {
                let Some(rule) = rule.list else { return Ok(()) };
                list.iter().try_for_each(|item| self.value(item, rule, what))
            }
            (Shape::Map(map), Names::Known(known)) => {
                map.entries.iter().try_for_each(|entry| match known.iter().find(|(name, _)| *name == entry.key) {
                    Some((name, rule)) => self.value(&entry.value, rule, &format!("`{name}`")),
                    None if entry.key.starts_with("x-") => Ok(()),
                    None => Err(self.unknown(&entry.key, entry.value.file, entry.key_node, what, known)),
                })
            }
            (Shape::Map(map), Names::Any(rule)) => map.entries.iter().try_for_each(|entry| {
                if entry.key.starts_with("x-") && !rule.scalar {
                    return Ok(());
                }
                let what = if rule.scalar { what.to_owned() } else { format!("{what} `{}`", shown(&entry.key)) };
                self.value(&entry.value, rule, &what)
            }),
            _ => Err(Problem::Shape { what: what.to_owned(), expected: rule.expected(), found: value.kind() }
                .at(value.place(self.files))),
        }
    }

    fn unknown(&self, key: &str, file: usize, node: usize, what: &str, known: &[(&'static str, Rule)]) -> ComposeError {
        let nearest = nearest(key, known.iter().map(|(name, _)| *name));
        let problem = Problem::UnknownKey { key: shown(key), inside: what.to_owned(), nearest };
        problem.at(self.files.get(file).map(|syntax| syntax.place(node)).unwrap_or_default())
    }
}

impl Rule {
    fn expected(&self) -> &'static str {
        match (self.scalar, self.list.is_some(), !matches!(self.map, Names::None)) {
            (true, false, false) => "a single value",
            (false, true, false) => "a list",
            (false, false, true) => "a map",
            (true, true, false) => "a single value or a list",
            (true, false, true) => "a single value or a map",
            (false, true, true) => "a list or a map",
            _ => "a single value, a list or a map",
        }
    }
}

/// The known key that takes the fewest changes of a letter, at most a third of them.
fn nearest<'a>(key: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    let key: Vec<char> = key.chars().take(64).map(|c| c.to_ascii_lowercase()).collect();
    let distances = known.map(|name| (distance(&key, name), name));
    let (best, name) = distances.min_by_key(|(distance, name)| (*distance, *name))?;
    (best <= key.len().max(name.len()).div_ceil(3)).then(|| name.to_owned())
}

/// Letters to add, to take out, to replace or to exchange with their neighbour.
fn distance(key: &[char], name: &str) -> usize {
    let name: Vec<char> = name.chars().collect();
    let mut before: Vec<usize> = vec![];
    let mut row: Vec<usize> = (0..=name.len()).collect();
    for (i, a) in key.iter().enumerate() {
        let mut next = vec![i + 1];
        for (j, b) in name.iter().enumerate() {
            let mut best = (row[j] + usize::from(a != b)).min(row[j + 1] + 1).min(next[j] + 1);
            if i > 0 && j > 0 && key[i - 1] == *b && name[j - 1] == *a {
                best = best.min(before[j - 1] + 1);
            }
            next.push(best);
        }
        before = std::mem::replace(&mut row, next);
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_key_is_found() {
        let known = || ["image", "environment", "env_file", "ports", "depends_on"].into_iter();
        for (key, expected) in [
            ("imgae", Some("image")),
            ("Image", Some("image")),
            ("enviroment", Some("environment")),
            ("env-file", Some("env_file")),
            ("port", Some("ports")),
            ("dependson", Some("depends_on")),
            ("zzz", None),
            ("", None),
        ] {
            assert_eq!(nearest(key, known()).as_deref(), expected, "{key}");
        }
    }
}
