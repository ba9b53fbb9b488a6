//! A project's bundle unpacked into a directory that is there and empty.
//!
//! Guarantee: nothing is written outside of it: names were checked, parents are made here, and links are made last, so
//! that nothing is written through one. What is half done is done again into an empty directory.

use std::io::{self, Read as _};
use std::path::Path;

use umiak_spec::{Digest, Limits, Silent};
use umiak_store::Store;

use super::bundle::{self, Member};
use super::error::ResolveError;
use crate::durable;

/// Unpacks the bundle `project`, which is a blob of the store.
pub(crate) fn unpack(store: &Store, project: &Digest, into: &Path, limits: &Limits) -> Result<(), ResolveError> {
    let missing = || ResolveError::Missing { what: "the project".to_owned(), why: "it was removed".to_owned() };
    let blob = store.blob(project)?.ok_or_else(missing)?;
    let mut links = Vec::new();
    let unpacked = bundle::read(blob.into_file(), limits, &Silent, &mut |name, member| {
        let path = into.join(name);
        match member {
            Member::Directory => durable::make_directories(&path),
            Member::File { mode, size, content } => {
                durable::make_directories(path.parent().unwrap_or(into))?;
                durable::write_file(&path, mode, &mut content.take(size))
            }
            Member::Symlink(target) => {
                links.push((path, target, false));
                Ok(())
            }
            Member::HardLink(target) => {
                links.push((path, target, true));
                Ok(())
            }
        }
    });
    let unusable =
        |source: Box<dyn std::error::Error + Send + Sync>| ResolveError::Project { app: project.short(), source };
    unpacked.map_err(|error| unusable(error.into()))?;
    for (path, target, hard) in links {
        let made = durable::make_directories(path.parent().unwrap_or(into)).and_then(|()| match hard {
            true => durable::hard_link(&into.join(&target), &path),
            false => durable::symbolic_link(&target, &path),
        });
        made.map_err(|error: io::Error| unusable(error.into()))?;
    }
    Ok(())
}
