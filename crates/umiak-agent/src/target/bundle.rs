//! The bundle of a Compose App: its files by name, the texts of small ones, and its unpacking.
//!
//! Guarantees: names are relative and each there once; links stay inside; nothing but directories, files and links; what
//! is unpacked is what was hashed. An archive of more than the limits of Compose Apps is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufReader, Read};

use umiak_layer::{Body, LayerError, TarReader};
use umiak_plan::Unpacked;
use umiak_spec::app::{BUNDLE_LIMIT, BundleIndex};
use umiak_spec::{Cancelled, Digest, Limits, Observer, Sha256};

/// Bytes of a file whose text is kept.
const TEXT: u64 = 1 << 20;
/// Bytes of all texts together: a device has little memory.
const TEXTS: u64 = 8 << 20;
/// Names in a bundle.
const ENTRIES: usize = 1 << 17;

/// Why an archive is no bundle.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BundleError {
    /// It cannot be read.
    #[error("the bundle cannot be read")]
    Archive(#[from] LayerError),
    /// It has what no bundle has.
    #[error("the bundle {0}")]
    Refused(String),
    /// What was found cannot be put where it is wanted.
    #[error("the bundle cannot be unpacked")]
    Taken(#[source] io::Error),
    /// The work was stopped on request.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

/// One name of a bundle, as it is read.
pub(crate) enum Member<'r> {
    /// A directory.
    Directory,
    /// A file.
    File {
        /// Permissions.
        mode: u32,
        /// Bytes.
        size: u64,
        /// Its content.
        content: &'r mut dyn Read,
    },
    /// A symbolic link.
    Symlink(String),
    /// Another name of a file before.
    HardLink(String),
}

/// Hands over each member with its name, in the order of the archive.
pub(crate) fn read(
    archive: impl Read,
    limits: &Limits,
    observer: &dyn Observer,
    take: &mut dyn FnMut(&str, Member<'_>) -> io::Result<()>,
) -> Result<(), BundleError> {
    let limits =
        Limits { expanded: limits.expanded.min(BUNDLE_LIMIT), entries: limits.entries.min(ENTRIES), ..*limits };
    let plain = umiak_layer::decompress(archive, &limits).map_err(LayerError::Read)?;
    let mut reader = TarReader::new(BufReader::new(plain), limits);
    let (mut names, mut leaves) = (BTreeSet::new(), BTreeSet::new());
    while let Some(entry) = reader.next_entry()? {
        observer.check()?;
        let refused = |text: String| Err(BundleError::Refused(text));
        let Ok(name) = String::from_utf8(entry.path.as_bytes().to_vec()) else {
            return refused("has a name that is not UTF-8".into());
        };
        let is_directory = matches!(entry.body, Body::Directory);
        if !names.insert(name.clone()) && !is_directory {
            return refused(format!("has {name} twice"));
        }
        if let Some(above) = name.match_indices('/').map(|(at, _)| &name[..at]).find(|above| leaves.contains(*above)) {
            return refused(format!("has {name} below {above}, which is no directory"));
        }
        if !is_directory {
            leaves.insert(name.clone());
        }
        let mode = u32::from(entry.metadata.mode) & 0o7777;
        let taken = match entry.body {
            Body::Directory => take(&name, Member::Directory),
            Body::File(size) => take(&name, Member::File { mode, size, content: &mut reader.content() }),
            Body::Symlink(target) => match String::from_utf8(target.to_vec()) {
                Ok(target) if stays_inside(&name, &target) => take(&name, Member::Symlink(target)),
                _ => return refused(format!("has {name}, which points out of it")),
            },
            Body::HardLink(target) => match String::from_utf8(target.as_bytes().to_vec()) {
                Ok(target) if leaves.contains(&target) => take(&name, Member::HardLink(target)),
                _ => return refused(format!("has {name}, another name of a file that is not there")),
            },
            _ => return refused(format!("has {name}, which is no file and no link")),
        };
        taken.map_err(BundleError::Taken)?;
    }
    Ok(())
}

/// What is in a bundle.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bundle {
    /// Digests of files by name; of no bytes for links.
    pub files: BTreeMap<String, Digest>,
    /// The bytes of small files, by name.
    pub texts: BTreeMap<String, Vec<u8>>,
    /// What it unpacks to.
    pub unpacked: Unpacked,
}

impl Bundle {
    /// Reads the archive, compressed or not.
    pub(crate) fn read(archive: impl Read, limits: &Limits, observer: &dyn Observer) -> Result<Self, BundleError> {
        let (mut bundle, mut kept) = (Self::default(), 0);
        let mut directories = BTreeSet::new();
        read(archive, limits, observer, &mut |name, member| {
            directories.extend(name.match_indices('/').map(|(at, _)| name[..at].to_owned()));
            let (size, digest) = match member {
                Member::Directory => {
                    directories.insert(name.to_owned());
                    return Ok(());
                }
                Member::Symlink(_) | Member::HardLink(_) => (0, Digest::of(b"")),
                Member::File { size, content, .. } if size <= TEXT && size <= TEXTS - kept => {
                    let mut text = Vec::new();
                    content.read_to_end(&mut text)?;
                    kept += size;
                    let digest = Digest::of(&text);
                    bundle.texts.insert(name.to_owned(), text);
                    (size, digest)
                }
                Member::File { size, content, .. } => {
                    let mut hash = Sha256::new();
                    io::copy(content, &mut hash)?;
                    (size, hash.finish())
                }
            };
            *bundle.unpacked.files.entry(size).or_default() += 1;
            bundle.files.insert(name.to_owned(), digest);
            Ok(())
        })?;
        bundle.unpacked.directories = directories.len() as u64;
        Ok(bundle)
    }

    /// The first file that is not as `index` has it, or that only one of the two has.
    pub(crate) fn differs(&self, index: &BundleIndex) -> Option<String> {
        let mine =
            self.files.iter().find(|(name, digest)| index.get(name) != Some(digest)).map(|(name, _)| name.clone());
        let theirs =
            || index.files().find(|(name, _)| !self.files.contains_key(*name)).map(|(name, _)| name.to_owned());
        mine.or_else(theirs)
    }
}

/// Whether a link called `name` that points at `target` stays in the bundle, as far as its text tells.
fn stays_inside(name: &str, target: &str) -> bool {
    let mut depth = name.split('/').filter(|part| !part.is_empty()).count().saturating_sub(1);
    let mut step = |part: &str| match part {
        "" | "." => true,
        ".." => {
            let up = depth.checked_sub(1);
            depth = up.unwrap_or(0);
            up.is_some()
        }
        _ => {
            depth += 1;
            true
        }
    };
    !target.is_empty() && !target.starts_with('/') && target.split('/').all(&mut step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_stay_inside() {
        for (name, target, inside) in [
            ("a", "b", true),
            ("a/b", "../c", true),
            ("a/b", "../../c", false),
            ("a", "/etc", false),
            ("a", "b/../../c", false),
            ("a", "b/../c", true),
            ("a", "", false),
        ] {
            assert_eq!(stays_inside(name, target), inside, "{name} -> {target}");
        }
    }
}
