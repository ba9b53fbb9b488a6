//! Template arguments (`args` of `src.json`) with the meaning that pvr's templates give them.
//!
//! pvr's templates are Go templates: an argument *counts* when it is there and is not empty, zero, false or null; a
//! default applies only when it is absent or null.

use super::RenderError;
use crate::json::{Object, Value};

/// Typed access to the template arguments.
#[derive(Debug, Clone, Copy)]
pub struct Arguments<'a>(Option<&'a Object>);

impl<'a> Arguments<'a> {
    /// The arguments in `members`.
    #[must_use]
    pub fn new(members: Option<&'a Object>) -> Self {
        Self(members)
    }

    /// The value, unless absent or null.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&'a Value> {
        self.0?.get(name).filter(|value| **value != Value::Null)
    }

    /// The value, if it counts.
    #[must_use]
    pub fn truthy(&self, name: &str) -> Option<&'a Value> {
        self.get(name).filter(|value| is_truthy(value))
    }

    /// Whether the argument counts.
    #[must_use]
    pub fn is_set(&self, name: &str) -> bool {
        self.truthy(name).is_some()
    }

    /// The text of an argument that counts.
    ///
    /// # Errors
    /// [`RenderError::Type`] for arrays and objects.
    pub fn text(&self, name: &str) -> Result<Option<String>, RenderError> {
        self.truthy(name).map(|value| scalar(name, value)).transpose()
    }

    /// The text of an argument, or `default` when it is absent or null.
    ///
    /// # Errors
    /// [`RenderError::Type`] for arrays and objects.
    pub fn text_or(&self, name: &str, default: &str) -> Result<String, RenderError> {
        self.get(name).map_or_else(|| Ok(default.to_owned()), |value| scalar(name, value))
    }

    /// The items of a list argument; a single string, as `--arg` makes it, is a list of one.
    ///
    /// # Errors
    /// [`RenderError::Type`] when it is neither, or an item is an array or object.
    pub fn list(&self, name: &str) -> Result<Vec<String>, RenderError> {
        match self.truthy(name) {
            None => Ok(Vec::new()),
            Some(Value::Array(items)) => items.iter().map(|item| scalar(name, item)).collect(),
            Some(value @ Value::String(_)) => Ok(vec![scalar(name, value)?]),
            Some(other) => Err(type_error(name, "a list", other)),
        }
    }

    /// The items of a comma-separated argument, or of a list.
    ///
    /// # Errors
    /// [`RenderError::Type`] when it is neither.
    pub fn commas(&self, name: &str) -> Result<Vec<String>, RenderError> {
        match self.truthy(name) {
            Some(Value::String(text)) => Ok(text.split(',').map(str::to_owned).collect()),
            _ => self.list(name),
        }
    }

    /// Pairs `first:…:last` of a comma-separated argument; without a colon both are the whole item.
    ///
    /// # Errors
    /// [`RenderError::Type`] as for [`Arguments::commas`].
    pub fn pairs(&self, name: &str) -> Result<Vec<(String, String)>, RenderError> {
        let pair = |item: String| {
            let first = item.split(':').next().unwrap_or_default().to_owned();
            let last = item.rsplit(':').next().unwrap_or_default().to_owned();
            (first, last)
        };
        Ok(self.commas(name)?.into_iter().map(pair).collect())
    }
}

/// What a Go template's `if` takes for true.
pub(crate) fn is_truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(flag) => *flag,
        Value::Number(number) => number.canonical() != "0",
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(members) => !members.is_empty(),
    }
}

/// A string, number or boolean as text.
pub(super) fn scalar(what: &str, value: &Value) -> Result<String, RenderError> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.as_str().to_owned()),
        Value::Bool(flag) => Ok(flag.to_string()),
        other => Err(type_error(what, "a string", other)),
    }
}

pub(super) fn type_error(what: &str, expected: &'static str, found: &Value) -> RenderError {
    RenderError::Type { what: what.to_owned(), expected, found: found.kind() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_count_as_in_a_go_template() {
        let value = Value::parse(br#"{"e":"","z":0,"f":false,"l":[],"n":null,"one":1,"s":"x","list":["a",2]}"#, 999);
        let value = value.unwrap();
        let args = Arguments::new(value.as_object());
        for name in ["e", "z", "f", "l", "n", "absent"] {
            assert!(!args.is_set(name), "{name}");
        }
        assert!(args.is_set("one") && args.is_set("s") && args.is_set("list"));
        assert_eq!(args.text_or("e", "d").unwrap(), "", "only null has a default");
        assert_eq!(args.text_or("n", "d").unwrap(), "d");
        assert_eq!(args.list("list").unwrap(), ["a", "2"]);
        assert_eq!(args.list("s").unwrap(), ["x"]);
        assert!(matches!(args.list("one"), Err(RenderError::Type { .. })));
        assert!(matches!(args.text("list"), Err(RenderError::Type { .. })));
    }
}
