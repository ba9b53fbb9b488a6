//! The archive of an app's project, entry by entry.
//!
//! Guarantees: paths are relative, without `..`, and nothing comes but directories, files and links; what an entry is
//! put through is decided by who reads. Owners and times of who built the archive are left out: the project belongs to
//! who unpacks it.

use std::collections::BTreeSet;
use std::io::{BufReader, Read};
use std::path::PathBuf;

use umiak_layer::{Body, LayerError, TarReader};
use umiak_registry::BlobFile;
use umiak_spec::{Limits, Observer};
use umiak_tree::{Metadata, TreePath};

use crate::error::BuildError;

/// One entry of a project.
pub(super) struct ProjectEntry {
    pub(super) path: TreePath,
    /// Its permissions, owned by root, at no time.
    pub(super) metadata: Metadata,
    pub(super) what: What,
}

/// What it is.
pub(super) enum What {
    Directory,
    /// Of so many bytes.
    File(u64),
    HardLink(TreePath),
    Symlink(Box<[u8]>),
}

/// Calls `visit` for each entry, in the archive's order, with the content of files.
pub(super) fn each(
    archive: &BlobFile,
    limits: &Limits,
    observer: &dyn Observer,
    mut visit: impl FnMut(&ProjectEntry, &mut dyn Read) -> Result<(), BuildError>,
) -> Result<(), BuildError> {
    let unreadable = |source| BuildError::Archive { path: PathBuf::from("the app's project"), source };
    let plain =
        umiak_layer::decompress(archive.reader(), limits).map_err(|error| unreadable(LayerError::Read(error)))?;
    let mut reader = TarReader::new(BufReader::new(plain), *limits);
    while let Some(entry) = reader.next_entry().map_err(unreadable)? {
        observer.check()?;
        let what = match entry.body {
            Body::Directory => What::Directory,
            Body::File(size) => What::File(size),
            Body::HardLink(target) => What::HardLink(target),
            Body::Symlink(target) => What::Symlink(target),
            Body::CharDevice(_) | Body::BlockDevice(_) | Body::Fifo | Body::Whiteout | Body::Opaque => {
                let text = format!("the app's project has {}, which is no file, directory or link", entry.path);
                return Err(BuildError::Refused(text));
            }
        };
        if entry.path.is_root() {
            continue;
        }
        let metadata = Metadata::root_owned(entry.metadata.mode & 0o777);
        visit(&ProjectEntry { path: entry.path, metadata, what }, &mut reader.content())?;
    }
    Ok(())
}

/// The names on the top of the project.
pub(super) fn names(
    archive: &BlobFile,
    limits: &Limits,
    observer: &dyn Observer,
) -> Result<BTreeSet<Vec<u8>>, BuildError> {
    let mut names = BTreeSet::new();
    each(archive, limits, observer, |entry, _| {
        names.extend(entry.path.components().next().map(<[u8]>::to_vec));
        Ok(())
    })?;
    Ok(names)
}
