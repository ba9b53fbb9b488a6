//! What differs between two packages, file by file.

use umiak_pvr::{Entry, State};
use umiak_repository::package::Contents;

/// A file that is in one of two packages only, or otherwise in the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The file; `#spec` for the state's format.
    pub path: String,
    /// Its bytes in the first package, `None` when it is not there.
    pub base: Option<u64>,
    /// Its bytes in the second package.
    pub target: Option<u64>,
}

/// The differences, by path.
#[must_use]
pub fn compare(base: &Contents, target: &Contents) -> Vec<Difference> {
    let mut found = Vec::new();
    if base.state.spec() != target.state.spec() {
        let length = |state: &State| state.spec().map(|spec| spec.len() as u64);
        found.push(Difference {
            path: umiak_pvr::state::SPEC_KEY.to_owned(),
            base: length(&base.state),
            target: length(&target.state),
        });
    }
    for (path, entry) in base.state.entries() {
        let other = target.state.get(path.as_str());
        if other != Some(entry) {
            let target = other.map(|entry| length(target, entry));
            found.push(Difference { path: path.to_string(), base: Some(length(base, entry)), target });
        }
    }
    for (path, entry) in target.state.entries() {
        if base.state.get(path.as_str()).is_none() {
            found.push(Difference { path: path.to_string(), base: None, target: Some(length(target, entry)) });
        }
    }
    found.sort_by(|one, other| one.path.cmp(&other.path));
    found
}

/// Bytes of a file of a package; a document's in canonical form.
#[must_use]
pub fn length(contents: &Contents, entry: &Entry) -> u64 {
    match entry {
        Entry::Inline(value) => value.canonical().len() as u64,
        Entry::Object(digest) => contents.objects.get(digest).copied().unwrap_or(0),
    }
}
