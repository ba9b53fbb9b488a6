//! The cover of a container: the files of `_config/NAME/` as a squashfs image that lies above its root.
//!
//! Guarantees: the same files make the same bytes; files belong to root and have the permissions 0644, their directories
//! 0755, for a state says neither. It is small: its files are held in memory, and are bounded.

use std::collections::BTreeMap;
use std::io::Cursor;

use umiak_spec::{Digest, Silent};
use umiak_squashfs::{Compressor, Error, FileRef, ImageOptions, ImageWriter, NewContent};
use umiak_tree::{Builder, Inode, InodeId, Kind, Metadata, TreeError};

/// Bytes of the files of one cover.
pub(super) const MAX_FILES: u64 = 16 << 20;

/// Why no cover can be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum CoverError {
    #[error("the image cannot be written")]
    Image(#[from] Error),
    #[error("its files make no tree")]
    Tree(#[from] TreeError),
    /// One path is a file and a directory.
    #[error("`{0}` is both a file and a directory")]
    Both(String),
}

/// The image of these files, by their paths below the root.
pub(super) fn image(files: &BTreeMap<String, Vec<u8>>) -> Result<Vec<u8>, CoverError> {
    let options = ImageOptions { compressor: Compressor::Zstd, level: Some(7), ..ImageOptions::default() };
    let mut writer = ImageWriter::new(Cursor::new(Vec::new()), &options)?;
    let mut tree = Builder::new(Metadata::root_owned(0o755));
    for (path, bytes) in files {
        let name = path.rsplit('/').next().unwrap_or(path).as_bytes();
        let content = NewContent { size: bytes.len() as u64, digest: Digest::of(bytes), name };
        let file = writer.add(&content, &mut bytes.as_slice())?;
        place(&mut tree, path, file)?;
    }
    let (out, _) = writer.finish(&tree.finish()?, &Silent)?;
    Ok(out.into_inner())
}

/// Adds a file, and the directories above it that are missing.
fn place(tree: &mut Builder<FileRef>, path: &str, file: FileRef) -> Result<(), CoverError> {
    let both = || CoverError::Both(path.to_owned());
    let (above, name) = path.rsplit_once('/').map_or((None, path), |(above, name)| (Some(above), name));
    let mut at = InodeId::ROOT;
    for part in above.into_iter().flat_map(|above| above.split('/')) {
        at = match tree.child(at, part.as_bytes()) {
            Some(found) => found,
            None => {
                let kind = Kind::Directory(umiak_tree::Directory::default());
                let made = tree.add(Inode { metadata: Metadata::root_owned(0o755), kind })?;
                tree.directory(at).ok_or_else(both)?.insert(part.as_bytes().into(), made);
                made
            }
        };
    }
    let made = tree.add(Inode { metadata: Metadata::root_owned(0o644), kind: Kind::File(file) })?;
    let taken = tree.directory(at).ok_or_else(both)?.insert(name.as_bytes().into(), made);
    if taken.is_some() { Err(both()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use umiak_spec::Limits;
    use umiak_squashfs::Image;
    use umiak_tree::TreePath;

    use super::*;

    fn files(list: &[(&str, &str)]) -> BTreeMap<String, Vec<u8>> {
        list.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec())).collect()
    }

    #[test]
    fn files_become_an_image_and_always_the_same() {
        let all = files(&[("etc/app/one.conf", "1"), ("etc/two", "2"), ("three", "3")]);
        let bytes = image(&all).unwrap();
        assert_eq!(bytes, image(&all).unwrap());
        let read = Image::open(bytes, &Limits::default()).unwrap();
        let tree = read.tree().unwrap();
        let inode = |path: &str| {
            let path = TreePath::from_archive(path.as_bytes(), &Limits::default()).unwrap();
            tree.inode(tree.lookup(&path).unwrap())
        };
        assert_eq!(inode("etc/app").metadata.mode & 0o7777, 0o755);
        assert_eq!(inode("etc/app/one.conf").metadata.mode & 0o7777, 0o644);
        assert_eq!(tree.len(), 6);
        assert!(matches!(image(&files(&[("a", ""), ("a/b", "")])), Err(CoverError::Both(path)) if path == "a/b"));
    }
}
