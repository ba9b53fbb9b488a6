//! JSON merge patches (RFC 7386): what changes one value into another, as a value.
//!
//! A merge patch cannot say "this member becomes null"; [`Value::difference`] leaves such members out, and nothing in
//! umiak that has to be exact is built on a patch.

use super::{Object, Value};

impl Value {
    /// Applies `patch`: its members replace or join ours, recursively; a null member removes ours; anything that is
    /// not an object replaces us whole.
    #[must_use]
    pub fn merge(self, patch: &Self) -> Self {
        let Self::Object(changes) = patch else { return patch.clone() };
        let mut members = match self {
            Self::Object(members) => members,
            _ => Object::new(),
        };
        for (name, change) in changes {
            if *change == Self::Null {
                members.remove(name);
            } else {
                let before = members.remove(name).unwrap_or_default();
                members.insert(name.clone(), before.merge(change));
            }
        }
        Self::Object(members)
    }

    /// The merge patch that makes `target` of this value: `a.merge(&a.difference(&b)) == b` when `b` has no null
    /// member in any object. The patch between equal objects is an empty object.
    #[must_use]
    pub fn difference(&self, target: &Self) -> Self {
        let (Self::Object(before), Self::Object(after)) = (self, target) else {
            return target.clone();
        };
        let mut patch = Object::new();
        for name in before.keys().filter(|name| !after.contains_key(*name)) {
            patch.insert(name.clone(), Self::Null);
        }
        for (name, value) in after {
            match before.get(name) {
                Some(same) if same == value => {}
                Some(old @ Self::Object(_)) if matches!(value, Self::Object(_)) => {
                    patch.insert(name.clone(), old.difference(value));
                }
                _ => drop(patch.insert(name.clone(), value.clone())),
            }
        }
        Self::Object(patch)
    }
}
