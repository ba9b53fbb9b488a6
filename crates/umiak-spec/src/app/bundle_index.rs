//! The index of a bundle: the digest of every file, so that a device can tell whether what it unpacked is still so.

use std::collections::BTreeMap;

use super::{AppError, at_most, inconsistent, json, read, shown};
use crate::{Digest, Limits};

const WHAT: &str = "the index of the bundle";

/// Digests by entry name: one for each entry of the tar that is no directory. A link has the digest of no bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BundleIndex {
    files: BTreeMap<String, Digest>,
}

impl BundleIndex {
    /// Adds or replaces a file. `name` is the tar entry's: relative, without `./`.
    pub fn insert(&mut self, name: impl Into<String>, content: Digest) {
        self.files.insert(name.into(), content);
    }

    /// Names and digests, in the order of the names' bytes.
    pub fn files(&self) -> impl ExactSizeIterator<Item = (&str, &Digest)> {
        self.files.iter().map(|(name, digest)| (name.as_str(), digest))
    }

    /// The digest of the file called `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Digest> {
        self.files.get(name)
    }

    /// The document. Equal values give equal bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        json::compact(&self.files)
    }

    /// Reads the document.
    ///
    /// # Errors
    /// [`AppError`]; also for names that lead out of the bundle.
    pub fn parse(bytes: &[u8], limits: &Limits) -> Result<Self, AppError> {
        let files: BTreeMap<String, Digest> = read(WHAT, bytes, limits.document)?;
        at_most(WHAT, "files", files.len() as u64, limits.entries as u64)?;
        for name in files.keys() {
            at_most(WHAT, "bytes in one name", name.len() as u64, limits.path as u64)?;
            let plain = |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains('\0');
            if !name.split('/').all(plain) {
                return Err(inconsistent(WHAT, format!("`{}` is no file in a bundle", shown(name))));
            }
        }
        Ok(Self { files })
    }
}

impl<N: Into<String>> FromIterator<(N, Digest)> for BundleIndex {
    fn from_iter<I: IntoIterator<Item = (N, Digest)>>(files: I) -> Self {
        Self { files: files.into_iter().map(|(name, digest)| (name.into(), digest)).collect() }
    }
}
