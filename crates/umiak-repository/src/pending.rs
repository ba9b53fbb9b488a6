//! `.pvr/new`: files that were added and not committed yet.
//!
//! `{"<path>":{"ForceObject":bool,"Sha":"…"}}`. The digest is written empty and never trusted: what counts is the file
//! at the time of the commit.

use std::collections::BTreeMap;
use std::path::Path;

use umiak_pvr::{StatePath, Value};

use crate::error::Error;
use crate::read_document;

/// Added files; `true` for those that are objects even though they are JSON.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Pending(BTreeMap<StatePath, bool>);

impl Pending {
    pub(crate) fn read(path: &Path) -> Result<Self, Error> {
        let bad = |reason| Error::Form { path: path.to_owned(), reason };
        let members = match read_document(path)? {
            None | Some(Value::Null) => return Ok(Self::default()),
            Some(Value::Object(members)) => members,
            Some(_) => return Err(bad("it is not a JSON object")),
        };
        let mut added = BTreeMap::new();
        for (name, entry) in members {
            let raw = match entry.get("ForceObject") {
                None => false,
                Some(Value::Bool(raw)) => *raw,
                Some(_) => return Err(bad("a ForceObject is not a boolean")),
            };
            added.insert(StatePath::new(&name)?, raw);
        }
        Ok(Self(added))
    }

    pub(crate) fn to_text(&self) -> String {
        let entry = |raw: bool| Value::object([("Sha", Value::from("")), ("ForceObject", Value::from(raw))]);
        Value::object(self.0.iter().map(|(path, raw)| (path.as_str(), entry(*raw)))).canonical()
    }

    pub(crate) fn add(&mut self, path: StatePath, raw: bool) {
        self.0.insert(path, raw);
    }

    pub(crate) fn get(&self, path: &StatePath) -> Option<bool> {
        self.0.get(path).copied()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&StatePath, bool)> {
        self.0.iter().map(|(path, raw)| (path, *raw))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
