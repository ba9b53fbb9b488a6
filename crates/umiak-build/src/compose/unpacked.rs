//! What is in a bundle: its files by name, and the texts of those that may be compose files.
//!
//! Guarantees: names are relative, without `..` and each there once; links stay inside; nothing is written anywhere; every
//! file was hashed on the way. What
//! this does not do: tell which file is the compose file.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufReader, Read, Write as _};
use std::path::PathBuf;

use umiak_layer::{Body, LayerError, TarReader};
use umiak_spec::app::{BUNDLE_LIMIT, BundleIndex};
use umiak_spec::{Digest, Limits, Observer, Sha256};

use crate::error::BuildError;

/// Bytes of a file whose text is kept: the existing publishers and readers take no longer compose file.
const TEXT: u64 = 1 << 20;
/// Bytes of all texts together.
const TEXTS: u64 = 16 << 20;
/// Names in a bundle.
pub(super) const ENTRIES: usize = 1 << 17;

/// A file of a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleFile {
    /// Its name in the archive.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// Digest of its bytes; of no bytes for a link.
    pub digest: Digest,
    /// Permissions, as octal digits have them.
    pub mode: u32,
    /// What it points at, when it is a link.
    pub link: Option<String>,
}

/// A bundle's content.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bundle {
    /// Files and links, in the order of the archive.
    pub files: Vec<BundleFile>,
    /// The bytes of small files, by name.
    pub texts: BTreeMap<String, Vec<u8>>,
}

impl Bundle {
    /// Reads the archive, compressed or not.
    ///
    /// # Errors
    /// [`BuildError`]: it is damaged, exceeds limits, or has devices.
    pub fn read(archive: impl Read, limits: &Limits, observer: &dyn Observer) -> Result<Self, BuildError> {
        let limits =
            Limits { expanded: limits.expanded.min(BUNDLE_LIMIT), entries: limits.entries.min(ENTRIES), ..*limits };
        let unreadable = |source| BuildError::Archive { path: PathBuf::from("the app's bundle"), source };
        let plain = umiak_layer::decompress(archive, &limits).map_err(|error| unreadable(LayerError::Read(error)))?;
        let mut reader = TarReader::new(BufReader::new(plain), limits);
        let (mut bundle, mut kept) = (Self::default(), 0);
        let (mut names, mut leaves) = (BTreeSet::new(), BTreeSet::new());
        while let Some(entry) = reader.next_entry().map_err(unreadable)? {
            observer.check()?;
            let name = String::from_utf8_lossy(entry.path.as_bytes()).into_owned();
            if !names.insert(name.clone()) && !matches!(entry.body, Body::Directory) {
                return Err(BuildError::Refused(format!("the bundle has {name} twice")));
            }
            if let Some(above) = above(&name).find(|above| leaves.contains(*above)) {
                return Err(BuildError::Refused(format!("{name} lies below {above}, which is no directory")));
            }
            if !matches!(entry.body, Body::Directory) {
                leaves.insert(name.clone());
            }
            let (size, link) = match entry.body {
                Body::Directory => continue,
                Body::File(size) => (size, None),
                Body::HardLink(target) => (0, Some(String::from_utf8_lossy(target.as_bytes()).into_owned())),
                Body::Symlink(target) => {
                    let target = String::from_utf8_lossy(&target).into_owned();
                    if !stays_inside(&name, &target) {
                        return Err(BuildError::Refused(format!("{name} points out of the bundle, at {target}")));
                    }
                    (0, Some(target))
                }
                _ => return Err(BuildError::Refused(format!("the bundle has {name}, which is no file and no link"))),
            };
            let keep = link.is_none() && size <= TEXT && size <= TEXTS - kept;
            let mut text = Vec::new();
            let digest = hash(reader.content(), keep.then_some(&mut text))
                .map_err(|error| unreadable(LayerError::Read(error)))?;
            if keep {
                kept += size;
                bundle.texts.insert(name.clone(), text);
            }
            bundle.files.push(BundleFile { name, size, digest, mode: u32::from(entry.metadata.mode) & 0o7777, link });
        }
        Ok(bundle)
    }

    /// The index that a publisher would write for it.
    #[must_use]
    pub fn index(&self) -> BundleIndex {
        self.files.iter().map(|file| (file.name.clone(), file.digest)).collect()
    }

    /// Bytes of all files.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.files.iter().fold(0, |sum, file| sum.saturating_add(file.size))
    }

    /// The first file that is not as `index` has it, or that only one of the two has.
    #[must_use]
    pub fn differs(&self, index: &BundleIndex) -> Option<String> {
        let own = self.index();
        let mine = own.files().find(|(name, digest)| index.get(name) != Some(digest));
        let theirs = || index.files().find(|(name, _)| own.get(name).is_none());
        mine.or_else(theirs).map(|(name, _)| name.to_owned())
    }
}

/// The directories that a name is in.
fn above(name: &str) -> impl Iterator<Item = &str> {
    name.match_indices('/').map(|(at, _)| &name[..at])
}

/// Whether a link called `name` that points at `target` stays in the bundle, as far as its text tells.
pub(super) fn stays_inside(name: &str, target: &str) -> bool {
    let mut depth = name.split('/').filter(|part| !part.is_empty()).count().saturating_sub(1);
    !target.starts_with('/')
        && target.split('/').all(|part| match part {
            "" | "." => true,
            ".." => depth.checked_sub(1).is_some_and(|up| {
                depth = up;
                true
            }),
            _ => {
                depth += 1;
                true
            }
        })
}

/// Reads to the end; what is read goes into `keep`, if there is one.
fn hash(mut content: impl Read, mut keep: Option<&mut Vec<u8>>) -> std::io::Result<Digest> {
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; 64 << 10]);
    loop {
        let count = content.read(&mut buffer)?;
        if count == 0 {
            return Ok(hash.finish());
        }
        hash.write_all(&buffer[..count])?;
        if let Some(keep) = &mut keep {
            keep.extend_from_slice(&buffer[..count]);
        }
    }
}
