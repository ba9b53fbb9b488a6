//! The state of a device: which files it has, each either in the document itself or named by its digest.
//!
//! Guarantees: every key is a [`StatePath`], no file is also the directory of another, every value that is not an
//! inlined JSON document is a SHA-256. Content and path are all there is: no mode, owner, time or link.

use std::collections::{BTreeMap, BTreeSet};

use umiak_spec::Digest;

use crate::json::{Object, ParseError, Value};
use crate::parts::Parts;
use crate::path::{PathError, StatePath};

/// The key that names the state's format.
pub const SPEC_KEY: &str = "#spec";

/// The format of a new device.
pub const SYSTEM_1: &str = "pantavisor-service-system@1";

/// What a state says of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A JSON document, part of the state.
    Inline(Value),
    /// Any other file: the SHA-256 of its bytes.
    Object(Digest),
}

/// A device, or a part of one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct State {
    spec: Option<String>,
    entries: BTreeMap<StatePath, Entry>,
}

/// Why a document is not a state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// Not JSON.
    #[error("state is not JSON")]
    Json(#[from] ParseError),
    /// JSON, but not an object.
    #[error("state is not a JSON object but {0}")]
    NotAnObject(&'static str),
    /// A key that is not a safe path.
    #[error("state has a key that cannot be a file")]
    Key(#[from] PathError),
    /// `#spec` is not a string.
    #[error("state has a `#spec` that is not a string but {0}")]
    Spec(&'static str),
    /// A file that does not end in `.json` and whose value is no digest.
    #[error("state has a value for `{0}` that is neither a SHA-256 nor a JSON document")]
    Value(StatePath),
    /// One key is a directory of another.
    #[error("state has both a file `{file}` and a file below it, `{below}`")]
    FileAndDirectory {
        /// The file.
        file: String,
        /// The key that makes it a directory.
        below: StatePath,
    },
}

impl Entry {
    /// The entry as it stands in the document.
    #[must_use]
    pub fn to_value(&self) -> Value {
        match self {
            Self::Inline(value) => value.clone(),
            Self::Object(digest) => Value::String(digest.hex()),
        }
    }

    /// The inline rule: a value that is 64 lower-case hex digits names an object, everything else must be a document
    /// of a `.json` key.
    fn from_value(path: &StatePath, value: Value) -> Result<Self, StateError> {
        if let Some(digest) = value.as_str().and_then(|text| Digest::from_hex(text).ok()) {
            return Ok(Self::Object(digest));
        }
        if !path.is_json() {
            return Err(StateError::Value(path.clone()));
        }
        Ok(Self::Inline(value))
    }
}

impl State {
    /// An empty state of the format `spec`.
    #[must_use]
    pub fn new(spec: &str) -> Self {
        Self { spec: Some(spec.to_owned()), entries: BTreeMap::new() }
    }

    /// An empty state of the format `spec`, if it has one.
    #[must_use]
    pub fn with_spec(spec: Option<&str>) -> Self {
        Self { spec: spec.map(str::to_owned), entries: BTreeMap::new() }
    }

    /// Parses a state document of at most `limit` bytes.
    ///
    /// # Errors
    /// [`StateError`] for anything that is not a state.
    pub fn parse(bytes: &[u8], limit: u64) -> Result<Self, StateError> {
        Self::from_value(Value::parse(bytes, limit)?)
    }

    /// The same for a document that another program will read again, perhaps otherwise: keys that are there twice are
    /// refused.
    ///
    /// # Errors
    /// [`StateError`] for anything that is not a state.
    pub fn parse_unique(bytes: &[u8], limit: u64) -> Result<Self, StateError> {
        Self::from_value(Value::parse_unique(bytes, limit)?)
    }

    /// Takes a parsed document as a state.
    ///
    /// # Errors
    /// [`StateError`] for anything that is not a state.
    pub fn from_value(document: Value) -> Result<Self, StateError> {
        let members = match document {
            Value::Object(members) => members,
            other => return Err(StateError::NotAnObject(other.kind())),
        };
        let mut spec = None;
        let mut entries = Vec::with_capacity(members.len());
        for (key, value) in members {
            if key == SPEC_KEY {
                let kind = value.kind();
                let Value::String(text) = value else { return Err(StateError::Spec(kind)) };
                spec = Some(text);
                continue;
            }
            let path = StatePath::new(&key)?;
            let entry = Entry::from_value(&path, value)?;
            entries.push((path, entry));
        }
        let state = Self { spec, entries: entries.into_iter().collect() };
        state.check()?;
        Ok(state)
    }

    /// Fails when one file is the directory of another.
    ///
    /// # Errors
    /// [`StateError::FileAndDirectory`].
    pub fn check(&self) -> Result<(), StateError> {
        let mut checked = "";
        for path in self.entries.keys() {
            // Neighbours mostly share their directory, which then is checked already.
            let directory = path.as_str().rsplit_once('/').map_or("", |(directory, _)| directory);
            if std::mem::replace(&mut checked, directory) == directory {
                continue;
            }
            if let Some(file) = path.parents().find(|parent| self.entries.contains_key(*parent)) {
                return Err(StateError::FileAndDirectory { file: file.to_owned(), below: path.clone() });
            }
        }
        Ok(())
    }

    /// The state as a JSON object.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let mut members: Object =
            self.entries.iter().map(|(path, entry)| (path.as_str().to_owned(), entry.to_value())).collect();
        if let Some(spec) = &self.spec {
            members.insert(SPEC_KEY.to_owned(), Value::from(spec.as_str()));
        }
        Value::Object(members)
    }

    /// The canonical bytes, as stored in `.pvr/json` and signed.
    #[must_use]
    pub fn canonical(&self) -> String {
        self.to_value().canonical()
    }

    /// The state's format, from `#spec`.
    #[must_use]
    pub fn spec(&self) -> Option<&str> {
        self.spec.as_deref()
    }

    /// The files, sorted by the bytes of their paths.
    #[must_use]
    pub fn entries(&self) -> &BTreeMap<StatePath, Entry> {
        &self.entries
    }

    /// One file.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<&Entry> {
        self.entries.get(path)
    }

    /// Sets one file and returns what it was.
    pub fn insert(&mut self, path: StatePath, entry: Entry) -> Option<Entry> {
        self.entries.insert(path, entry)
    }

    /// Removes one file and returns what it was.
    pub fn remove(&mut self, path: &str) -> Option<Entry> {
        self.entries.remove(path)
    }

    /// The digests of all objects, each once, sorted.
    #[must_use]
    pub fn objects(&self) -> BTreeSet<Digest> {
        let digest = |entry: &Entry| match entry {
            Entry::Object(digest) => Some(*digest),
            Entry::Inline(_) => None,
        };
        self.entries.values().filter_map(digest).collect()
    }

    /// The top-level directories that hold a `src.json`: the apps, sorted.
    #[must_use]
    pub fn apps(&self) -> Vec<String> {
        let app = |path: &StatePath| {
            path.as_str().strip_suffix("/src.json").filter(|app| !app.contains('/')).map(str::to_owned)
        };
        self.entries.keys().filter_map(app).collect()
    }

    /// Only what `parts` selects; `#spec` stays.
    #[must_use]
    pub fn filter(&self, parts: &Parts) -> Self {
        let selected = self.entries.iter().filter(|(path, _)| parts.selects(path.as_str()));
        Self { spec: self.spec.clone(), entries: selected.map(|(path, entry)| (path.clone(), entry.clone())).collect() }
    }

    /// Lays `other` over this state, key by key: `pvr get`.
    ///
    /// # Errors
    /// [`StateError::FileAndDirectory`] when the two do not fit together.
    pub fn overlay(&self, other: &Self) -> Result<Self, StateError> {
        let mut result = self.clone();
        result.spec = other.spec.clone().or(result.spec);
        result.entries.extend(other.entries.iter().map(|(path, entry)| (path.clone(), entry.clone())));
        result.check()?;
        Ok(result)
    }

    /// Merges `other` into this state as a JSON merge patch, documents member by member: `pvr merge`.
    ///
    /// # Errors
    /// [`StateError`] when the result is not a state.
    pub fn merge(&self, other: &Self) -> Result<Self, StateError> {
        let mut result = self.clone();
        result.spec = other.spec.clone().or(result.spec);
        for (path, entry) in &other.entries {
            let before = result.entries.remove(path);
            let merged = match (before, entry) {
                (Some(Entry::Inline(before)), Entry::Inline(patch)) => Entry::Inline(before.merge(patch)),
                (_, other) => other.clone(),
            };
            result.entries.insert(path.clone(), merged);
        }
        result.check()?;
        Ok(result)
    }

    /// The merge patch from this state to `target`, for people and for `pvr diff`.
    #[must_use]
    pub fn difference(&self, target: &Self) -> Value {
        self.to_value().difference(&target.to_value())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn state(text: &str) -> Result<State, StateError> {
        State::parse(text.replace("HASH", HASH).as_bytes(), 1 << 20)
    }

    #[test]
    fn inline_rule_is_suffix_and_value() {
        let state = state(r##"{"#spec":"s","a.json":{"b":1},"raw.json":"HASH","t.json":"text","x":"HASH"}"##).unwrap();
        assert!(matches!(state.get("a.json"), Some(Entry::Inline(_))));
        assert!(matches!(state.get("raw.json"), Some(Entry::Object(_))));
        assert!(matches!(state.get("t.json"), Some(Entry::Inline(Value::String(_)))));
        assert_eq!(state.get("x"), Some(&Entry::Object(Digest::of(b""))));
        assert_eq!(state.spec(), Some("s"));
        assert_eq!(state.objects().len(), 1);
    }

    #[test]
    fn what_is_not_a_state_is_a_typed_error() {
        assert!(matches!(state("[]"), Err(StateError::NotAnObject("an array"))));
        assert!(matches!(state("null"), Err(StateError::NotAnObject("null"))));
        assert!(matches!(state("{"), Err(StateError::Json(_))));
        assert!(matches!(state(r#"{"../x":"HASH"}"#), Err(StateError::Key(_))));
        assert!(matches!(state(r#"{"x":"hello"}"#), Err(StateError::Value(_))));
        assert!(matches!(state(r#"{"x":{}}"#), Err(StateError::Value(_))));
        assert!(matches!(state(r##"{"#spec":1}"##), Err(StateError::Spec("a number"))));
        let both = state(r#"{"a":"HASH","a-b":"HASH","a/b":"HASH"}"#);
        assert!(matches!(both, Err(StateError::FileAndDirectory { file, .. }) if file == "a"));
    }

    #[test]
    fn overlay_replaces_documents_and_merge_merges_them() {
        let ours = state(r##"{"#spec":"s","a/run.json":{"x":1,"y":{"z":1}},"b":"HASH"}"##).unwrap();
        let theirs = state(r#"{"a/run.json":{"y":{"w":2}},"c":"HASH"}"#).unwrap();
        let overlaid = ours.overlay(&theirs).unwrap().canonical();
        assert_eq!(overlaid, format!(r##"{{"#spec":"s","a/run.json":{{"y":{{"w":2}}}},"b":"{HASH}","c":"{HASH}"}}"##));
        let merged = ours.merge(&theirs).unwrap().canonical();
        let document = r#"{"x":1,"y":{"w":2,"z":1}}"#;
        assert_eq!(merged, format!(r##"{{"#spec":"s","a/run.json":{document},"b":"{HASH}","c":"{HASH}"}}"##));
        assert!(ours.overlay(&state(r#"{"b/c":"HASH"}"#).unwrap()).is_err());
    }

    #[test]
    fn null_in_a_document_is_kept() {
        let text = r#"{"a.json":{"b":null,"c":[null]}}"#;
        assert_eq!(state(text).unwrap().canonical(), text);
    }

    #[test]
    fn apps_are_directories_with_a_source_document() {
        let state = state(r#"{"b/src.json":{},"a/src.json":{},"c/run.json":{},"d/e/src.json":{},"src.json":{}}"#);
        assert_eq!(state.unwrap().apps(), ["a", "b"]);
    }
}
