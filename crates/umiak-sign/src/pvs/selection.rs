//! Which entries of a state a signature speaks for, and the bytes that are signed.
//!
//! Whoever signs and whoever verifies come here for both, so that they cannot differ. Guarantee: what `exclude` names is
//! not in the payload, whatever else selects it.

use umiak_pvr::json::{Object, Value};

use super::pattern::Pattern;

/// Patterns of one list.
const MAX_PATTERNS: usize = 256;

/// The patterns of a signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    include: Vec<Pattern>,
    exclude: Vec<Pattern>,
}

/// What a signature speaks for in one state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selected<'s> {
    /// What is signed: the entries as one object, in canonical form.
    pub payload: String,
    /// Keys whose values are in the payload.
    pub protected: Vec<&'s str>,
    /// Keys that the signer does not care about.
    pub excluded: Vec<&'s str>,
}

/// Why patterns are none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectionError {
    /// More than the limit.
    #[error("it has {0} patterns, more than the limit of {MAX_PATTERNS}")]
    TooMany(usize),
    /// One that is unfinished, or longer than a path can be.
    #[error("it has a pattern that is none: {0}")]
    Pattern(String),
}

impl Selection {
    /// Reads patterns: `*`, `?` and `[a-z]` within a component of a key, `**` across them.
    ///
    /// # Errors
    /// [`SelectionError`].
    pub fn parse(include: &[String], exclude: &[String]) -> Result<Self, SelectionError> {
        let list = |texts: &[String]| {
            if texts.len() > MAX_PATTERNS {
                return Err(SelectionError::TooMany(texts.len()));
            }
            let parsed = |text: &String| Pattern::parse(text).ok_or_else(|| SelectionError::Pattern(text.clone()));
            texts.iter().map(parsed).collect()
        };
        Ok(Self { include: list(include)?, exclude: list(exclude)? })
    }

    /// How many patterns there are.
    pub(crate) fn patterns(&self) -> usize {
        self.include.len() + self.exclude.len()
    }

    /// Whether a key is meant: by what is included, by what is excluded.
    #[must_use]
    pub fn means(&self, key: &str) -> (bool, bool) {
        let any = |patterns: &[Pattern]| patterns.iter().any(|pattern| pattern.matches(key));
        (any(&self.include), any(&self.exclude))
    }

    /// What they select of `state`.
    #[must_use]
    pub fn of<'s>(&self, state: &'s Object) -> Selected<'s> {
        let any = |patterns: &[Pattern], key: &str| patterns.iter().any(|pattern| pattern.matches(key));
        let (mut values, mut protected, mut excluded) = (Object::new(), Vec::new(), Vec::new());
        for (key, value) in state {
            if any(&self.exclude, key) {
                excluded.push(key.as_str());
            } else if any(&self.include, key) {
                values.insert(key.clone(), value.clone());
                protected.push(key.as_str());
            }
        }
        Selected { payload: Value::Object(values).canonical(), protected, excluded }
    }
}
