//! Names of revisions that are made on a device itself: `locals/…`.
//!
//! A name that umiak gives says when and of what: `locals/umiak-<seconds since 1970>-<8 digits of the state's digest>`. It
//! is never used twice, since progress of an earlier run would be taken for that of the next; a revision of the same
//! state that was never run is gone on with.

use std::fmt;

use umiak_pvr::State;
use umiak_spec::Digest;

/// Characters that a device takes as the whole name, `locals/` included.
pub const LONGEST_NAME: usize = 64;

const LOCALS: &str = "locals/";
const OURS: &str = "umiak-";

/// A revision's name: `locals/` and one more component.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Revision(String);

/// Why a text is no name for a local revision.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` cannot be a local revision's name: {reason}")]
pub struct NameError {
    /// The text, without control characters.
    pub name: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl Revision {
    /// Reads `locals/NAME` or `NAME`.
    ///
    /// # Errors
    /// [`NameError`] for what a device refuses, or would take for something else.
    pub fn new(name: &str) -> Result<Self, NameError> {
        let own = name.strip_prefix(LOCALS).unwrap_or(name);
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.+".contains(&byte);
        let reason = if own.is_empty() {
            "it is empty"
        } else if own.contains('/') {
            "it has more than one slash"
        } else if own.starts_with('.') {
            "it begins with a dot"
        } else if !own.bytes().all(plain) {
            "only letters, digits and - _ . + are taken"
        } else if LOCALS.len() + own.len() > LONGEST_NAME {
            "it is longer than 64 characters"
        } else {
            return Ok(Self(format!("{LOCALS}{own}")));
        };
        Err(NameError { name: name.chars().filter(|character| !character.is_control()).take(80).collect(), reason })
    }

    /// The name of a new revision of `state`, asked for at `seconds` since 1970.
    #[must_use]
    pub fn of(state: &State, seconds: u64) -> Self {
        Self(format!("{LOCALS}{OURS}{seconds}-{}", mark(state)))
    }

    /// Whether this is a name that umiak gave to a revision of `state`.
    #[must_use]
    pub fn is_of(&self, state: &State) -> bool {
        let own = self.0.strip_prefix(LOCALS).and_then(|own| own.strip_prefix(OURS));
        own.and_then(|own| own.rsplit_once('-')).is_some_and(|(_, digits)| digits == mark(state))
    }

    /// The whole name, `locals/` included.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn mark(state: &State) -> String {
    Digest::of(state.canonical().as_bytes()).hex()[..8].to_owned()
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_local_and_short() {
        assert_eq!(Revision::new("locals/a-1").unwrap(), Revision::new("a-1").unwrap());
        let longest = "x".repeat(LONGEST_NAME - LOCALS.len());
        assert_eq!(Revision::new(&longest).unwrap().as_str().len(), 64);
        for wrong in ["", "locals/", "a/b", "locals/a/b", "..", ".x", "a b", "ä", "a\n", &format!("{longest}x")] {
            assert!(Revision::new(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_name_of_ours_says_of_which_state() {
        let (one, other) = (State::new("a"), State::new("b"));
        let name = Revision::of(&one, u64::MAX);
        assert!(name.as_str().len() <= LONGEST_NAME);
        assert_eq!(Revision::new(name.as_str()).unwrap(), name);
        assert!(name.is_of(&one) && !name.is_of(&other));
        assert!(!Revision::new("pvtx-1-2").unwrap().is_of(&one));
    }
}
