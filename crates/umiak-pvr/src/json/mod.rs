//! JSON as pvr needs it: number text survives, objects are sorted, and there is exactly one canonical form.
//!
//! - [`Value::parse`] reads any JSON text (UTF-8, size and depth limited); the last of duplicate keys wins; a lone
//!   surrogate becomes U+FFFD, as Go's decoder has it.
//! - [`Value::canonical`] is the form that is stored, hashed and signed (gibson042's canonical JSON, 1.0.3).
//! - [`Value::pretty`] is Go's `MarshalIndent`, the form of checked-out files.
//! - [`Value::merge`] and [`Value::difference`] are JSON merge patches (RFC 7386).
//!
//! Two values are equal when their canonical forms are: `1`, `1.0` and `10e-1` are one number.

mod number;
mod parse;
mod patch;
mod print;

use std::collections::BTreeMap;

pub use number::Number;
pub use parse::{MAX_DEPTH, ParseError};
pub use print::pretty_fields;

/// The members of a JSON object, sorted by the UTF-8 bytes of their names (which is code point order).
pub type Object = BTreeMap<String, Value>;

/// A JSON value.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Value {
    /// `null`
    #[default]
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number, with the text it was read from.
    Number(Number),
    /// A string.
    String(String),
    /// An array.
    Array(Vec<Value>),
    /// An object.
    Object(Object),
}

impl Value {
    /// The string, if it is one.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The items, if it is an array.
    #[must_use]
    pub fn as_array(&self) -> Option<&[Self]> {
        match self {
            Self::Array(items) => Some(items),
            _ => None,
        }
    }

    /// The members, if it is an object.
    #[must_use]
    pub fn as_object(&self) -> Option<&Object> {
        match self {
            Self::Object(members) => Some(members),
            _ => None,
        }
    }

    /// The member `name`, if this is an object that has it.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Self> {
        self.as_object()?.get(name)
    }

    /// What kind of value it is, for messages: `a string`, `null`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::String(_) => "a string",
            Self::Array(_) => "an array",
            Self::Object(_) => "an object",
        }
    }

    /// An object of `members`.
    pub fn object<K: Into<String>>(members: impl IntoIterator<Item = (K, Self)>) -> Self {
        Self::Object(members.into_iter().map(|(name, value)| (name.into(), value)).collect())
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::String(text)
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Bool(flag)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Number(number.into())
    }
}

impl<T: Into<Self>> From<Vec<T>> for Value {
    fn from(items: Vec<T>) -> Self {
        Self::Array(items.into_iter().map(Into::into).collect())
    }
}
