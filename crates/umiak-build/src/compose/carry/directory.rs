//! A directory that is filled beside its place and gets its name when it is whole.
//!
//! Guarantees: nothing is written outside it: entries go only into directories that were made here, never through a
//! link, and never over one another. After a power cut it is there whole or not at all. This is the only module of
//! carrying that creates, links and renames.
#![allow(clippy::disallowed_methods)]

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use umiak_tree::TreePath;

use crate::delta::place::parent;
use crate::error::{BuildError, IoContext as _};

/// The directory while it is being filled; dropped without [`Fresh::commit`] it vanishes.
pub(super) struct Fresh {
    path: PathBuf,
    place: PathBuf,
    /// Directories made here, the root left out.
    directories: BTreeSet<TreePath>,
    named: bool,
}

impl Fresh {
    /// Beside `place`, which must be absent or an empty directory.
    pub(super) fn create(place: &Path) -> Result<Self, BuildError> {
        match fs::read_dir(place).map(|mut entries| entries.next().is_none()) {
            Ok(true) => {}
            Ok(false) => {
                let text = format!("{} is not empty: nothing is written there", place.display());
                return Err(BuildError::Refused(text));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).at("read", place),
        }
        let mut name = std::ffi::OsString::from(".");
        name.push(place.file_name().ok_or(io::ErrorKind::InvalidInput.into()).at("write", place)?);
        name.push(format!(".umiak-{}", std::process::id()));
        let path = parent(place).join(name);
        fs::create_dir(&path).at("create", &path)?;
        Ok(Self { path, place: place.to_owned(), directories: BTreeSet::new(), named: false })
    }

    /// Where it is until it has its place: for results that others write into it.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// A directory; one that is there gets the mode.
    pub(super) fn directory(&mut self, path: &TreePath, mode: u16) -> Result<(), BuildError> {
        self.make(path)?;
        let place = self.at(path);
        // Whoever unpacks must be able to go on.
        let mode = u32::from(mode) | 0o700;
        fs::set_permissions(&place, Permissions::from_mode(mode)).at("set the mode of", &place)
    }

    /// A file.
    pub(super) fn file(&mut self, path: &TreePath, mode: u16, content: &mut dyn Read) -> Result<(), BuildError> {
        let place = self.entry(path)?;
        let mut file = File::create_new(&place).at("create", &place)?;
        io::copy(content, &mut file).at("write", &place)?;
        file.set_permissions(Permissions::from_mode(u32::from(mode) | 0o600)).at("set the mode of", &place)?;
        file.sync_all().at("write to disk", &place)
    }

    /// A symbolic link. It is never followed here.
    pub(super) fn symlink(&mut self, path: &TreePath, target: &[u8]) -> Result<(), BuildError> {
        let place = self.entry(path)?;
        symlink(OsStr::from_bytes(target), &place).at("create", &place)
    }

    /// Another name of a file that is there.
    pub(super) fn hard_link(&mut self, path: &TreePath, target: &TreePath) -> Result<(), BuildError> {
        let (place, named) = (self.entry(path)?, self.entry(target)?);
        fs::hard_link(&named, &place).at("create", &place)
    }

    /// Gives it its place.
    pub(super) fn commit(mut self) -> Result<(), BuildError> {
        let sync = |path: &Path| File::open(path).and_then(|directory| directory.sync_all()).at("write to disk", path);
        for directory in self.directories.iter().rev() {
            sync(&self.at(directory))?;
        }
        sync(&self.path)?;
        fs::rename(&self.path, &self.place).at("rename into place", &self.place)?;
        self.named = true;
        sync(parent(&self.place))
    }

    fn at(&self, path: &TreePath) -> PathBuf {
        self.path.join(OsStr::from_bytes(path.as_bytes()))
    }

    /// Where an entry goes, the directories above it made.
    fn entry(&mut self, path: &TreePath) -> Result<PathBuf, BuildError> {
        match path.split() {
            Some((above, _)) => self.make(&above)?,
            None => return Err(BuildError::Refused("an entry without a name cannot be unpacked".into())),
        }
        Ok(self.at(path))
    }

    /// A directory and those above it; what is there must have been made here.
    fn make(&mut self, path: &TreePath) -> Result<(), BuildError> {
        if path.is_root() || self.directories.contains(path) {
            return Ok(());
        }
        if let Some((above, _)) = path.split() {
            self.make(&above)?;
        }
        let place = self.at(path);
        fs::create_dir(&place).at("create", &place)?;
        self.directories.insert(path.clone());
        Ok(())
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        if !self.named {
            // What is left is in nobody's way.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use umiak_spec::Limits;

    fn path(text: &str) -> TreePath {
        TreePath::from_archive(text.as_bytes(), &Limits::default()).unwrap()
    }

    #[test]
    fn nothing_is_written_through_a_link_or_over_a_file() {
        let above = tempfile::tempdir().unwrap();
        fs::create_dir(above.path().join("elsewhere")).unwrap();
        let place = above.path().join("out");
        let mut fresh = Fresh::create(&place).unwrap();
        fresh.symlink(&path("out"), b"../elsewhere").unwrap();
        assert!(fresh.file(&path("out/file"), 0o644, &mut &b"x"[..]).is_err());
        assert!(fresh.directory(&path("out"), 0o755).is_err());
        assert!(fresh.file(&path("out"), 0o644, &mut &b"x"[..]).is_err());
        assert!(fresh.hard_link(&path("again"), &path("out/file")).is_err());
        drop(fresh);
        assert_eq!(fs::read_dir(above.path().join("elsewhere")).unwrap().count(), 0);
        assert!(!place.exists());
        assert_eq!(fs::read_dir(above.path()).unwrap().count(), 1, "nothing is left");
    }

    #[test]
    fn what_was_filled_gets_its_name() {
        let above = tempfile::tempdir().unwrap();
        let place = above.path().join("out");
        fs::create_dir(&place).unwrap();
        let mut fresh = Fresh::create(&place).unwrap();
        fresh.file(&path("a/b/run.sh"), 0o755, &mut &b"#!"[..]).unwrap();
        fresh.hard_link(&path("a/again"), &path("a/b/run.sh")).unwrap();
        fresh.symlink(&path("a/link"), b"b/run.sh").unwrap();
        fresh.commit().unwrap();
        assert_eq!(fs::read(place.join("a/link")).unwrap(), b"#!");
        assert_eq!(fs::metadata(place.join("a/again")).unwrap().permissions().mode() & 0o777, 0o755);
        assert!(matches!(Fresh::create(&place), Err(BuildError::Refused(_))));
    }
}
