//! What reading a state leaves to be said: what is refused, and what has no meaning here.

use std::cell::RefCell;
use std::fmt;

use crate::json::Value;

/// A key that is not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The file of the state, with the line where it has lines: `web/lxc.container.conf:12`.
    pub place: String,
    /// The key in it: `drivers.required`.
    pub key: String,
    /// Why, in a short sentence without a full stop.
    pub why: String,
}

/// A key or file that is passed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// As in [`Refusal::place`].
    pub place: String,
    /// The key; empty: all of the file.
    pub key: String,
    /// Why it has no meaning here.
    pub why: &'static str,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key.is_empty() {
            true => write!(f, "{}: {}", self.place, self.why),
            false => write!(f, "{}: {}: {}", self.place, self.key, self.why),
        }
    }
}

/// What was found so far.
#[derive(Debug, Default)]
pub(super) struct Found {
    refusals: RefCell<Vec<Refusal>>,
    notes: RefCell<Vec<Note>>,
}

impl Found {
    pub(super) fn at(&self, place: impl Into<String>) -> At<'_> {
        At { found: self, place: place.into() }
    }

    pub(super) fn into_inner(self) -> (Vec<Refusal>, Vec<Note>) {
        (self.refusals.into_inner(), self.notes.into_inner())
    }
}

/// A file that is read.
#[derive(Debug, Clone)]
pub(super) struct At<'f> {
    found: &'f Found,
    place: String,
}

impl<'f> At<'f> {
    pub(super) fn refuse(&self, key: impl Into<String>, why: impl Into<String>) {
        let refusal = Refusal { place: self.place.clone(), key: key.into(), why: why.into() };
        self.found.refusals.borrow_mut().push(refusal);
    }

    pub(super) fn pass(&self, key: impl Into<String>, why: &'static str) {
        let note = Note { place: self.place.clone(), key: key.into(), why };
        self.found.notes.borrow_mut().push(note);
    }

    /// A line of the file.
    pub(super) fn line(&self, number: usize) -> At<'f> {
        At { found: self.found, place: format!("{}:{number}", self.place) }
    }

    /// The text that a key has to be; `None` where it is none, which is refused.
    pub(super) fn text<'v>(&self, key: &str, value: &'v Value) -> Option<&'v str> {
        let text = value.as_str();
        if text.is_none() {
            self.refuse(key, format!("must be a string, not {}", value.kind()));
        }
        text
    }

    /// The members of the object that a key has to be. Nothing is an empty one.
    pub(super) fn members<'v>(&self, key: &str, value: &'v Value) -> Vec<(&'v str, &'v Value)> {
        match value {
            Value::Null => vec![],
            Value::Object(members) => members.iter().map(|(name, value)| (name.as_str(), value)).collect(),
            other => {
                self.refuse(key, format!("must be an object, not {}", other.kind()));
                vec![]
            }
        }
    }

    /// The items of the list that a key has to be. Nothing is an empty one.
    pub(super) fn items<'v>(&self, key: &str, value: &'v Value) -> &'v [Value] {
        match value {
            Value::Null => &[],
            Value::Array(items) => items,
            other => {
                self.refuse(key, format!("must be a list, not {}", other.kind()));
                &[]
            }
        }
    }
}

/// A whole number that is not negative.
pub(super) fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => number.canonical().parse().ok(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}
