//! `.pvr/config`: where the pool is and which device was used last. Members that umiak does not know are kept.

use std::path::{Path, PathBuf};

use umiak_pvr::Value;
use umiak_pvr::json::Object;

use crate::error::Error;
use crate::read_document;

const OBJECTS: &str = "ObjectsDir";
const LAST: &str = "DefaultGetUrl";
const POSTED: &str = "DefaultPostUrl";

/// The configuration of a device directory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Config(Object);

impl Config {
    /// Reads it; an absent file is an empty configuration.
    pub(crate) fn read(path: &Path) -> Result<Self, Error> {
        match read_document(path)? {
            None => Ok(Self::default()),
            Some(Value::Object(members)) => Ok(Self(members)),
            Some(_) => Err(Error::Form { path: path.to_owned(), reason: "it is not a JSON object" }),
        }
    }

    /// As pvr writes it.
    pub(crate) fn to_text(&self) -> String {
        Value::Object(self.0.clone()).pretty("", "\t")
    }

    /// The pool's directory; a relative one counts from the device directory, an absent one is `.pvr/objects`.
    pub(crate) fn objects(&self, root: &Path) -> PathBuf {
        match self.text(OBJECTS) {
            Some(directory) => root.join(directory),
            None => root.join(".pvr/objects"),
        }
    }

    pub(crate) fn set_objects(&mut self, directory: &Path) {
        self.0.insert(OBJECTS.to_owned(), Value::String(directory.to_string_lossy().into_owned()));
    }

    /// What `get` and `merge` took from last.
    pub(crate) fn last_source(&self) -> Option<&str> {
        self.text(LAST)
    }

    pub(crate) fn set_last_source(&mut self, source: &str) {
        self.0.insert(LAST.to_owned(), Value::from(source));
    }

    /// What was posted to last.
    pub(crate) fn last_target(&self) -> Option<&str> {
        self.text(POSTED)
    }

    pub(crate) fn set_last_target(&mut self, target: &str) {
        self.0.insert(POSTED.to_owned(), Value::from(target));
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_str().filter(|text| !text.is_empty())
    }
}
