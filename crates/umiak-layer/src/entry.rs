//! What one entry of a layer says, the OCI names of whiteouts already read.

use umiak_spec::Limits;
use umiak_tree::{Device, Metadata, TreePath};

use crate::LayerError;
use crate::error::shown;

/// One entry of a layer. `F` is what is known of a file's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry<F> {
    /// Number of the archive member, counted from 0; extended headers are no members.
    pub ordinal: u32,
    /// Where it belongs; for [`Body::Whiteout`] what is hidden, for [`Body::Opaque`] the directory.
    pub path: TreePath,
    /// Mode, owner, time, extended attributes.
    pub metadata: Metadata,
    /// Type and content.
    pub body: Body<F>,
}

/// Type of an [`Entry`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body<F> {
    /// A directory.
    Directory,
    /// A regular file.
    File(F),
    /// Another name of what `0` names.
    HardLink(TreePath),
    /// A symbolic link and its target.
    Symlink(Box<[u8]>),
    /// A character device.
    CharDevice(Device),
    /// A block device.
    BlockDevice(Device),
    /// A named pipe.
    Fifo,
    /// Hides what lower layers have at the path (`.wh.NAME`).
    Whiteout,
    /// Hides what lower layers have inside the directory (`.wh..wh..opq`).
    Opaque,
}

impl<F> Body<F> {
    /// The same with what is known of a file's content replaced.
    pub(crate) fn try_map<G, E>(self, convert: impl FnOnce(F) -> Result<G, E>) -> Result<Body<G>, E> {
        Ok(match self {
            Self::File(content) => Body::File(convert(content)?),
            Self::Directory => Body::Directory,
            Self::HardLink(target) => Body::HardLink(target),
            Self::Symlink(target) => Body::Symlink(target),
            Self::CharDevice(device) => Body::CharDevice(device),
            Self::BlockDevice(device) => Body::BlockDevice(device),
            Self::Fifo => Body::Fifo,
            Self::Whiteout => Body::Whiteout,
            Self::Opaque => Body::Opaque,
        })
    }
}

/// What the name of an entry means.
pub(crate) enum Meaning {
    Plain(TreePath),
    Whiteout(TreePath),
    Opaque(TreePath),
    /// AUFS's own bookkeeping (`.wh..wh.plnk`, `.wh..wh.aufs`), which OCI tools pass over.
    Bookkeeping,
}

const PREFIX: &[u8] = b".wh.";
const META_PREFIX: &[u8] = b".wh..wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";

/// Reads the `.wh.` names of the OCI image specification.
pub(crate) fn meaning(raw: &[u8], limits: &Limits) -> Result<Meaning, LayerError> {
    let misused = || LayerError::Whiteout { entry: shown(raw) };
    // The prefix is not part of a name in the tree, so it does not count towards the longest.
    let path = tree_path(raw, raw, &Limits { name: limits.name + PREFIX.len(), ..*limits })?;
    let Some((parent, name)) = path.split() else { return Ok(Meaning::Plain(path)) };
    let checked = |path: TreePath| tree_path(path.as_bytes(), raw, limits);
    if path.components().any(|component| component.starts_with(META_PREFIX) && component != OPAQUE) {
        return Ok(Meaning::Bookkeeping);
    }
    if parent.components().any(|component| component.starts_with(PREFIX)) {
        return Err(misused());
    }
    if name == OPAQUE {
        return checked(parent).map(Meaning::Opaque);
    }
    match name.strip_prefix(PREFIX) {
        None => checked(path).map(Meaning::Plain),
        Some(b"" | b"." | b"..") => Err(misused()),
        Some(hidden) => checked(parent.join(hidden)).map(Meaning::Whiteout),
    }
}

/// A path of entry `entry`.
pub(crate) fn tree_path(raw: &[u8], entry: &[u8], limits: &Limits) -> Result<TreePath, LayerError> {
    TreePath::from_archive(raw, limits).map_err(|source| LayerError::Path { entry: shown(entry), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(raw: &str) -> String {
        match meaning(raw.as_bytes(), &Limits::default()) {
            Ok(Meaning::Plain(path)) => format!("{path}"),
            Ok(Meaning::Whiteout(path)) => format!("-{path}"),
            Ok(Meaning::Opaque(path)) => format!("={path}"),
            Ok(Meaning::Bookkeeping) => String::new(),
            Err(error) => format!("! {error}"),
        }
    }

    #[test]
    fn the_longest_name_can_be_whited_out() {
        let name = "n".repeat(255);
        assert_eq!(text(&format!("a/.wh.{name}")), format!("-/a/{name}"));
        assert!(text(&format!("a/.wh.{name}n")).starts_with('!'));
        assert!(text(&format!("a/{name}n")).starts_with('!'));
        assert!(text(&format!("{name}n/.wh.a")).starts_with('!'));
    }

    #[test]
    fn names_of_whiteouts() {
        for (raw, expected) in [
            ("a/b", "/a/b"),
            ("./", "/"),
            ("/a/.wh.b", "-/a/b"),
            (".wh.b/", "-/b"),
            ("a/.wh..wh..opq", "=/a"),
            (".wh..wh..opq", "=/"),
            (".wh..wh.plnk/12.34", ""),
            (".wh..wh.aufs", ""),
            ("a.wh.b", "/a.wh.b"),
            ("a/.wh.", "! tar entry `a/.wh.` misuses the names of whiteouts (`.wh.`)"),
            (".wh...", "! tar entry `.wh...` misuses the names of whiteouts (`.wh.`)"),
            (".wh.a/b", "! tar entry `.wh.a/b` misuses the names of whiteouts (`.wh.`)"),
            ("a/../b", "! tar entry `a/../b` does not name a place in a tree"),
        ] {
            assert_eq!(text(raw), expected);
        }
    }
}
