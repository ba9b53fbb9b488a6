//! Replacing an app's directory in one step.
//!
//! ```text
//! <repository>/.pvr/umiak-stage/<app>/    the next directory: hard links to what stays, new files beside them
//!        | fsync everything new, then renameat2(RENAME_EXCHANGE)
//! <repository>/<app>/                     the old directory until that instant, the new one after it
//! ```
//!
//! Guarantees: whatever stops the program before [`Stage::commit`] exchanged the two directories leaves the app as
//! it was; afterwards it is the new one, complete and on disk. Leftovers of a run that was killed are removed by the
//! next one. The caller holds the repository's lock. This is the only module of the crate that changes an app's
//! directory (see the lint `disallowed_methods`).
#![allow(clippy::disallowed_methods)]

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, RenameFlags};

use crate::error::{BuildError, IoContext as _};

const STAGES: &str = ".pvr/umiak-stage";

/// Where an app waits on file systems without an atomic exchange, until the next one stands in its place.
const MOVED: &str = ".pvr/umiak-moved";

/// The next directory of one app while it is being made; dropped without commit it vanishes.
#[derive(Debug)]
pub(crate) struct Stage {
    directory: PathBuf,
    app: PathBuf,
    moved: PathBuf,
    fresh: Vec<PathBuf>,
}

impl Stage {
    /// Starts from what the app's directory holds now (nothing, when there is none).
    pub(crate) fn begin(repository: &Path, app: &str) -> Result<Self, BuildError> {
        let directory = repository.join(STAGES).join(app);
        let (moved, place) = (repository.join(MOVED).join(app), repository.join(app));
        come_back(&moved, &place)?;
        remove_tree(&directory)?;
        fs::create_dir_all(&directory).at("create", &directory)?;
        let stage = Self { app: place, moved, directory, fresh: Vec::new() };
        if stage.app.is_dir() {
            link_tree(&stage.app, &stage.directory)?;
        }
        Ok(stage)
    }

    /// Where `name` is while it is staged.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// A new, empty file `name`, open for reading and writing; what stood there is not written to.
    pub(crate) fn create(&mut self, name: &str) -> Result<File, BuildError> {
        let path = self.path(name);
        self.remove(name)?;
        let file = File::options().read(true).write(true).create_new(true).open(&path).at("create", &path)?;
        self.fresh.push(path);
        Ok(file)
    }

    /// The file `name` with these bytes; nothing is done when it has them already.
    pub(crate) fn put(&mut self, name: &str, bytes: &[u8]) -> Result<(), BuildError> {
        let path = self.path(name);
        if fs::metadata(&path).is_ok_and(|found| found.len() == bytes.len() as u64)
            && fs::read(&path).at("read", &path)? == bytes
        {
            return Ok(());
        }
        self.create(name)?.write_all(bytes).at("write", &path)
    }

    /// No file `name`.
    pub(crate) fn remove(&mut self, name: &str) -> Result<(), BuildError> {
        let path = self.path(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result.at("remove", &path),
        }
    }

    /// Makes the staged directory the app's directory.
    pub(crate) fn commit(self) -> Result<(), BuildError> {
        for path in &self.fresh {
            if path.exists() {
                sync(path)?;
            }
        }
        sync_directories(&self.directory)?;
        if self.app.exists() {
            exchange(&self.directory, &self.app, &self.moved)?;
        } else {
            fs::rename(&self.directory, &self.app).at("rename into place", &self.app)?;
        }
        if let Some(parent) = self.app.parent() {
            sync(parent)?;
        }
        Ok(())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // After a commit this holds what the app's directory held before.
        let _ = remove_tree(&self.directory);
    }
}

/// Swaps two directories; on file systems without an atomic exchange the app is away for an instant.
fn exchange(staged: &Path, app: &Path, moved: &Path) -> Result<(), BuildError> {
    match rustix::fs::renameat_with(CWD, staged, CWD, app, RenameFlags::EXCHANGE) {
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => replace(staged, app, moved),
        result => result.map_err(io::Error::from).at("exchange with its next contents", app),
    }
}

/// Two renames instead of one exchange. Whatever stops it between them, [`come_back`] undoes the first.
fn replace(staged: &Path, app: &Path, moved: &Path) -> Result<(), BuildError> {
    if let Some(parent) = moved.parent() {
        fs::create_dir_all(parent).at("create", parent)?;
    }
    fs::rename(app, moved).at("move away", app)?;
    if let Err(error) = fs::rename(staged, app).at("rename into place", app) {
        come_back(moved, app)?;
        return Err(error);
    }
    if let Some(parent) = app.parent() {
        sync(parent)?;
    }
    remove_tree(moved)
}

/// Puts an app back that was moved away and not followed; drops what was followed.
fn come_back(moved: &Path, app: &Path) -> Result<(), BuildError> {
    if moved.exists() && !app.exists() {
        return fs::rename(moved, app).at("put back", app);
    }
    remove_tree(moved)
}

/// Puts the names in a directory, and in those below it, on disk.
fn sync_directories(path: &Path) -> Result<(), BuildError> {
    for entry in fs::read_dir(path).at("list", path)? {
        let entry = entry.at("list", path)?;
        if entry.file_type().at("look at", &entry.path())?.is_dir() {
            sync_directories(&entry.path())?;
        }
    }
    sync(path)
}

fn sync(path: &Path) -> Result<(), BuildError> {
    File::open(path).and_then(|file| file.sync_all()).at("write to disk", path)
}

fn remove_tree(path: &Path) -> Result<(), BuildError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result.at("remove", path),
    }
}

/// Gives every file below `from` a second name below `to`; symbolic links are linked, not followed.
fn link_tree(from: &Path, to: &Path) -> Result<(), BuildError> {
    for entry in fs::read_dir(from).at("list", from)? {
        let entry = entry.at("list", from)?;
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type().at("look at", &path)?.is_dir() {
            fs::create_dir(&target).at("create", &target)?;
            link_tree(&path, &target)?;
        } else {
            rustix::fs::linkat(CWD, &path, CWD, &target, AtFlags::empty())
                .map_err(io::Error::from)
                .at("link", &path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("web/_dm")).unwrap();
        fs::write(root.path().join("web/root.squashfs"), "old root").unwrap();
        fs::write(root.path().join("web/_dm/root.json"), "{}").unwrap();
        root
    }

    fn read(root: &tempfile::TempDir, path: &str) -> Option<String> {
        fs::read_to_string(root.path().join(path)).ok()
    }

    #[test]
    fn commit_changes_all_files_at_once_and_keeps_the_others() {
        let root = repository();
        let mut stage = Stage::begin(root.path(), "web").unwrap();
        stage.put("root.squashfs", b"new root").unwrap();
        stage.put("src.json", b"{}").unwrap();
        assert_eq!(read(&root, "web/root.squashfs").unwrap(), "old root", "untouched before the commit");
        stage.commit().unwrap();
        assert_eq!(read(&root, "web/root.squashfs").unwrap(), "new root");
        assert_eq!(read(&root, "web/_dm/root.json").unwrap(), "{}");
        assert_eq!(read(&root, "web/src.json").unwrap(), "{}");
        assert!(!root.path().join(STAGES).join("web").exists());
    }

    #[test]
    fn a_dropped_stage_and_a_killed_one_leave_the_app_alone() {
        let root = repository();
        let mut stage = Stage::begin(root.path(), "web").unwrap();
        stage.put("root.squashfs", b"half").unwrap();
        drop(stage);
        assert_eq!(read(&root, "web/root.squashfs").unwrap(), "old root");

        let mut killed = Stage::begin(root.path(), "web").unwrap();
        killed.put("junk", b"left over").unwrap();
        std::mem::forget(killed);
        Stage::begin(root.path(), "web").unwrap().commit().unwrap();
        assert_eq!(read(&root, "web/junk"), None);
        assert_eq!(read(&root, "web/root.squashfs").unwrap(), "old root");
    }

    #[test]
    fn without_an_exchange_a_cut_between_the_renames_is_undone() {
        let root = repository();
        let (app, moved) = (root.path().join("web"), root.path().join(MOVED).join("web"));
        let mut stage = Stage::begin(root.path(), "web").unwrap();
        stage.put("root.squashfs", b"new root").unwrap();
        replace(&stage.directory, &app, &moved).unwrap();
        assert_eq!(read(&root, "web/root.squashfs").unwrap(), "new root");
        assert!(!moved.exists());

        fs::rename(&app, &moved).unwrap();
        drop(Stage::begin(root.path(), "web").unwrap());
        assert_eq!(read(&root, "web/root.squashfs").unwrap(), "new root", "it came back");
        assert!(replace(&root.path().join("nothing"), &app, &moved).is_err());
        assert_eq!(read(&root, "web/root.squashfs").unwrap(), "new root", "a failure puts it back at once");
    }

    #[test]
    fn a_first_app_appears_whole() {
        let root = repository();
        let mut stage = Stage::begin(root.path(), "new").unwrap();
        stage.put("src.json", b"1").unwrap();
        stage.remove("absent").unwrap();
        stage.commit().unwrap();
        assert_eq!(read(&root, "new/src.json").unwrap(), "1");
    }
}
