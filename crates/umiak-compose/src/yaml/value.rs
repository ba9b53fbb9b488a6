//! What a YAML file means: aliases and merge keys followed, every value still knowing where it was written.

use super::syntax::{Kind, NodeId, Syntax};
use crate::error::{At, ComposeError, Place, Problem, shown};
use crate::limits::ComposeLimits;

/// A value and where it comes from.
#[derive(Debug, Clone)]
pub(crate) struct Value {
    pub shape: Shape,
    pub tag: Tag,
    /// Which file of the project.
    pub file: usize,
    /// The node that it is written at, aliases followed.
    pub node: NodeId,
    pub line: u32,
    pub column: u32,
}

#[derive(Debug, Clone)]
pub(crate) enum Shape {
    /// `plain`: written without quotes.
    Scalar {
        text: String,
        plain: bool,
    },
    List(Vec<Value>),
    Map(Map),
}

/// The tags of Compose's merging.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Tag {
    #[default]
    None,
    Reset,
    Override,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Map {
    pub entries: Vec<Entry>,
}

#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub key: String,
    /// The node of the key; its file is the value's.
    pub key_node: NodeId,
    pub value: Value,
}

impl Map {
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.entries.iter().find(|entry| entry.key == key).map(|entry| &entry.value)
    }

    pub fn get_mut(&mut self, key: &str) -> Option<&mut Value> {
        self.entries.iter_mut().find(|entry| entry.key == key).map(|entry| &mut entry.value)
    }

    pub fn remove(&mut self, key: &str) -> Option<Entry> {
        let at = self.entries.iter().position(|entry| entry.key == key)?;
        Some(self.entries.remove(at))
    }

    /// Replaces the value, or adds it at the end.
    pub fn set(&mut self, key: &str, value: Value) {
        match self.get_mut(key) {
            Some(present) => *present = value,
            None => self.entries.push(Entry { key: key.to_owned(), key_node: value.node, value }),
        }
    }
}

impl Value {
    /// A text that stands where `like` does.
    pub fn text_like(like: &Self, text: impl Into<String>) -> Self {
        Self { shape: Shape::Scalar { text: text.into(), plain: false }, ..like.hollow() }
    }

    /// Another value at the same place.
    pub fn like(like: &Self, shape: Shape) -> Self {
        Self { shape, ..like.hollow() }
    }

    fn hollow(&self) -> Self {
        let shape = Shape::List(vec![]);
        Self { shape, tag: Tag::None, file: self.file, node: self.node, line: self.line, column: self.column }
    }

    pub fn null_like(like: &Self) -> Self {
        Self::like(like, Shape::Scalar { text: String::new(), plain: true })
    }

    pub fn as_map(&self) -> Option<&Map> {
        if let Shape::Map(map) = &self.shape { Some(map) } else { None }
    }

    pub fn as_map_mut(&mut self) -> Option<&mut Map> {
        if let Shape::Map(map) = &mut self.shape { Some(map) } else { None }
    }

    pub fn as_list(&self) -> Option<&[Self]> {
        if let Shape::List(list) = &self.shape { Some(list) } else { None }
    }

    /// The text of a scalar that is not null.
    pub fn as_text(&self) -> Option<&str> {
        match &self.shape {
            Shape::Scalar { text, .. } if !self.is_null() => Some(text),
            _ => None,
        }
    }

    pub fn is_null(&self) -> bool {
        matches!(&self.shape, Shape::Scalar { text, plain: true } if is_null(text))
    }

    /// The value below a chain of keys.
    pub fn at(&self, keys: &[&str]) -> Option<&Self> {
        keys.iter().try_fold(self, |value, key| value.as_map()?.get(key))
    }

    /// What it is, for messages.
    pub fn kind(&self) -> &'static str {
        match &self.shape {
            _ if self.is_null() => "nothing",
            Shape::Scalar { .. } => "a single value",
            Shape::List(_) => "a list",
            Shape::Map(_) => "a map",
        }
    }

    pub fn place(&self, files: &[Syntax]) -> Place {
        let file = files.get(self.file).map(|syntax| syntax.file.clone()).unwrap_or_default();
        Place { file, line: self.line, column: self.column }
    }

    /// Whether both mean the same. The order of maps does not count; nor does how a text is quoted, but a quoted text is
    /// no number.
    pub fn same(&self, other: &Self) -> bool {
        match (&self.shape, &other.shape) {
            _ if self.is_null() || other.is_null() => self.is_null() && other.is_null(),
            (Shape::Scalar { text, plain }, Shape::Scalar { text: other_text, plain: other_plain }) => {
                text == other_text && is_untyped(text, *plain) == is_untyped(other_text, *other_plain)
            }
            (Shape::List(list), Shape::List(other)) => {
                list.len() == other.len() && list.iter().zip(other).all(|(one, other)| one.same(other))
            }
            (Shape::Map(map), Shape::Map(other)) => {
                map.entries.len() == other.entries.len()
                    && map
                        .entries
                        .iter()
                        .all(|entry| other.get(&entry.key).is_some_and(|value| entry.value.same(value)))
            }
            _ => false,
        }
    }
}

fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

/// Whether a scalar is a text to every reader of YAML, 1.1 and 1.2: quoted, or plain and like no number, truth value,
/// date or null.
pub(crate) fn is_untyped(text: &str, plain: bool) -> bool {
    const WORDS: [&str; 13] = ["true", "false", "yes", "no", "on", "off", "y", "n", "null", "~", ".inf", ".nan", "<<"];
    if !plain {
        return true;
    }
    let lower = text.to_ascii_lowercase();
    let number = |text: &str| {
        let digits = text.trim_start_matches(['+', '-', '.']);
        digits.starts_with(|c: char| c.is_ascii_digit())
            && digits.chars().all(|c| c.is_ascii_hexdigit() || "xob_.:+-tz ".contains(c))
    };
    let word = WORDS.contains(&lower.trim_start_matches(['+', '-']));
    !(text.is_empty() || text == "=" || word || number(&lower))
}

/// Follows aliases and merge keys of one file.
pub(crate) fn expand(syntax: &Syntax, file: usize, limits: &ComposeLimits) -> Result<Value, ComposeError> {
    Expander { syntax, file, limits, nodes: 0, text: 0 }.value(syntax.root, 0)
}

struct Expander<'a> {
    syntax: &'a Syntax,
    file: usize,
    limits: &'a ComposeLimits,
    nodes: usize,
    text: usize,
}

impl Expander<'_> {
    fn limit(&self, id: NodeId, what: &'static str, limit: usize) -> ComposeError {
        Problem::Limit { what, limit: limit as u64 }.at(self.syntax.place(id))
    }

    fn count(&mut self, id: NodeId, text: usize) -> Result<(), ComposeError> {
        self.nodes += 1;
        self.text += text;
        if self.nodes > self.limits.expanded {
            return Err(self.limit(id, "values once aliases are followed", self.limits.expanded));
        }
        if self.text > self.limits.expanded_text {
            return Err(self.limit(id, "bytes of text once aliases are followed", self.limits.expanded_text));
        }
        Ok(())
    }

    fn value(&mut self, id: NodeId, depth: usize) -> Result<Value, ComposeError> {
        if depth > self.limits.depth {
            return Err(self.limit(id, "nested values once aliases are followed", self.limits.depth));
        }
        let syntax = self.syntax;
        let node = syntax.node(id);
        let shape = match &node.kind {
            Kind::Alias(target) => return self.value(*target, depth + 1),
            Kind::Scalar { text, plain } => {
                self.count(id, text.len())?;
                Shape::Scalar { text: text.clone(), plain: *plain }
            }
            Kind::List(items) => {
                self.count(id, 0)?;
                let items = items.iter().map(|item| self.value(*item, depth + 1));
                Shape::List(items.collect::<Result<_, _>>()?)
            }
            Kind::Map(pairs) => {
                self.count(id, 0)?;
                Shape::Map(self.map(pairs, depth)?)
            }
        };
        Ok(Value { shape, tag: node.tag, file: self.file, node: id, line: node.line, column: node.column })
    }

    /// Own keys first, then those of merge keys that are not there yet.
    fn map(&mut self, pairs: &[(NodeId, NodeId)], depth: usize) -> Result<Map, ComposeError> {
        let mut map = Map::default();
        let mut keys = std::collections::BTreeSet::new();
        let mut merged = Vec::new();
        for (key_node, value_node) in pairs {
            let (key, plain) = self.key(*key_node)?;
            if !keys.insert(key.clone()) {
                return Err(Problem::DuplicateKey(shown(&key)).at(self.syntax.place(*key_node)));
            }
            if key == "<<" && plain {
                merged.push(*value_node);
                continue;
            }
            let value = self.value(*value_node, depth + 1)?;
            self.count(*key_node, key.len())?;
            map.entries.push(Entry { key, key_node: *key_node, value });
        }
        for node in merged {
            let value = self.value(node, depth + 1)?;
            let place = || self.syntax.place(node);
            let maps = match value.shape {
                Shape::Map(map) => vec![map],
                Shape::List(items) => items
                    .into_iter()
                    .map(|item| if let Shape::Map(map) = item.shape { Ok(map) } else { Err(not_a_map(place())) })
                    .collect::<Result<_, _>>()?,
                Shape::Scalar { .. } => return Err(not_a_map(place())),
            };
            for entry in maps.into_iter().flat_map(|map| map.entries) {
                if keys.insert(entry.key.clone()) {
                    map.entries.push(entry);
                }
            }
        }
        Ok(map)
    }

    fn key(&self, id: NodeId) -> Result<(String, bool), ComposeError> {
        match &self.syntax.node(id).kind {
            Kind::Scalar { text, plain } => Ok((text.clone(), *plain)),
            Kind::Alias(target) => match &self.syntax.node(*target).kind {
                Kind::Scalar { text, plain } => Ok((text.clone(), *plain)),
                _ => Err(Problem::Unsupported("a key must be a single value".into()).at(self.syntax.place(id))),
            },
            _ => Err(Problem::Unsupported("a key must be a single value".into()).at(self.syntax.place(id))),
        }
    }
}

fn not_a_map(place: Place) -> ComposeError {
    Problem::Shape { what: "the value of `<<`".into(), expected: "a map or a list of maps", found: "something else" }
        .at(place)
}
