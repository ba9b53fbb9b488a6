//! Writing the files of a state.
//!
//! Everything is staged and verified first, so that a missing object, a full disk or a name that is in the way leaves
//! the files as they are; only then they are renamed to their places, one by one. A crash in between leaves every
//! single file whole, old or new; checking out again finishes the work.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use umiak_pvr::{Entry, State, StatePath, Value};
use umiak_spec::{Digest, Observer};

use crate::durable::{self, Staged, Staging};
use crate::error::{Error, IoContext};
use crate::read_file;
use crate::repository::{NEW, Repository};
use crate::working::{Found, Working};

/// How files are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CheckoutOptions {
    /// JSON documents in canonical form instead of indented by four spaces.
    pub canonical: bool,
    /// Files as hard links to the pool, read-only; documents are canonical then.
    pub hardlink: bool,
}

/// What a checkout did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CheckoutReport {
    /// Files written or linked.
    pub written: usize,
    /// Files that had their content already.
    pub unchanged: usize,
    /// Files deleted (by a deploy).
    pub deleted: usize,
}

impl Repository {
    /// Writes every file of the committed state that differs, and forgets what was added. Files that are not in the
    /// state stay.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Damaged`], [`Error::Blocked`], [`Error::Io`]: no file was changed, unless the error
    /// came while files were being renamed to their places.
    pub fn checkout(&self, options: CheckoutOptions, observer: &dyn Observer) -> Result<CheckoutReport, Error> {
        let _lock = self.lock(observer)?;
        let state = self.pristine()?;
        let pending = self.pending()?;
        let working = self.scan(&state, &pending, observer)?;
        let report = self.write_files(&state, &working, options, &[], observer)?;
        if !pending.is_empty() {
            durable::remove_file(&self.root().join(NEW))?;
        }
        Ok(report)
    }

    /// Makes the files those of `state`, and deletes the files `delete`. `working` is what the files are now.
    pub(crate) fn write_files(
        &self,
        state: &State,
        working: &Working,
        options: CheckoutOptions,
        delete: &[String],
        observer: &dyn Observer,
    ) -> Result<CheckoutReport, Error> {
        let deleted: BTreeSet<&str> = delete.iter().map(String::as_str).collect();
        let mut directories = BTreeSet::new();
        for path in state.entries().keys() {
            self.check_place(path, &deleted, &mut directories)?;
        }
        let canonical = options.canonical || options.hardlink;
        let mut todo = Vec::new();
        let mut report = CheckoutReport { deleted: delete.len(), ..CheckoutReport::default() };
        for (path, entry) in state.entries() {
            let same = match entry {
                Entry::Inline(value) => self.has_content(path, &document_text(value, canonical))?,
                Entry::Object(digest) => {
                    working.tracked.get(path) == Some(&Found::Object(*digest))
                        && (!options.hardlink || self.is_linked(path, digest))
                }
            };
            if same {
                report.unchanged += 1;
            } else {
                todo.push((path, entry));
            }
        }
        self.check_objects(&todo)?;
        let staging = self.staging()?;
        let mut staged = Vec::new();
        for (path, entry) in todo {
            observer.check()?;
            staged.push((path, self.stage_entry(&staging, entry, canonical, options.hardlink, observer)?));
        }
        report.written = staged.len();
        durable::sync(staged.iter().map(|(_, staged)| staged).collect::<Vec<_>>().into_iter())?;
        observer.check()?;
        self.delete_files(delete)?;
        for (path, staged) in staged {
            let place = self.root().join(path);
            durable::create_directories(durable::parent(&place))?;
            staged.publish(&place)?;
        }
        if report.written + report.deleted > 0 {
            durable::sync_file_system(self.root())?;
        }
        Ok(report)
    }

    /// Fails when something other than a file is where the file belongs, or something other than a directory above it.
    fn check_place<'s>(
        &self,
        path: &'s StatePath,
        deleted: &BTreeSet<&str>,
        directories: &mut BTreeSet<&'s str>,
    ) -> Result<(), Error> {
        let blocked = |by: &str, what| Err(Error::Blocked { path: path.clone(), by: by.to_owned(), what });
        for parent in path.parents() {
            if directories.contains(parent) {
                continue;
            }
            match fs::symlink_metadata(self.root().join(parent)) {
                Ok(metadata) if metadata.is_dir() => drop(directories.insert(parent)),
                Ok(_) if deleted.contains(parent) => return Ok(()),
                Ok(metadata) if metadata.is_symlink() => return blocked(parent, "a symbolic link"),
                Ok(_) => return blocked(parent, "not a directory"),
                Err(_) => return Ok(()),
            }
        }
        match fs::symlink_metadata(self.root().join(path)) {
            // A deploy deletes every file that is not in the state, and with them the directory.
            Ok(metadata) if metadata.is_dir() && deleted.is_empty() => blocked(path.as_str(), "a directory"),
            _ => Ok(()),
        }
    }

    fn has_content(&self, path: &StatePath, text: &str) -> Result<bool, Error> {
        let place = self.root().join(path);
        match fs::metadata(&place) {
            Ok(metadata) if metadata.is_file() && metadata.len() == text.len() as u64 => {
                Ok(read_file(&place)?.as_deref() == Some(text.as_bytes()))
            }
            _ => Ok(false),
        }
    }

    fn is_linked(&self, path: &StatePath, digest: &Digest) -> bool {
        let inode = |path: &Path| fs::symlink_metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()));
        let ours = inode(&self.root().join(path));
        ours.is_some() && ours == inode(&self.pool().path(digest))
    }

    fn check_objects(&self, todo: &[(&StatePath, &Entry)]) -> Result<(), Error> {
        let missing: Vec<_> = todo
            .iter()
            .filter_map(|(path, entry)| match entry {
                Entry::Object(digest) if !self.pool().contains(digest) => Some((*digest, (*path).clone())),
                _ => None,
            })
            .collect();
        if missing.is_empty() { Ok(()) } else { Err(Error::Missing(missing)) }
    }

    fn stage_entry(
        &self,
        staging: &Staging,
        entry: &Entry,
        canonical: bool,
        hardlink: bool,
        observer: &dyn Observer,
    ) -> Result<Staged, Error> {
        let digest = match entry {
            Entry::Inline(value) => return staging.write(document_text(value, canonical).as_bytes(), 0o644),
            Entry::Object(digest) => digest,
        };
        if !hardlink {
            return self.pool().copy_out(digest, staging, 0o644, observer);
        }
        self.pool().verify(digest, observer)?;
        let object = self.pool().path(digest);
        match staging.link(&object) {
            Ok(staged) => {
                durable::make_read_only(&object)?;
                Ok(staged)
            }
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
                observer.note("The object pool is on another file system: files are copied, not linked");
                self.pool().copy_out(digest, staging, 0o444, observer)
            }
            Err(error) => Err(error).at("link", &object),
        }
    }

    /// Deletes files, and directories that are empty then.
    fn delete_files(&self, paths: &[String]) -> Result<(), Error> {
        for path in paths {
            let place = self.root().join(path);
            durable::remove_file(&place)?;
            for directory in place.ancestors().skip(1).take_while(|directory| *directory != self.root()) {
                if !durable::remove_empty_directory(directory) {
                    break;
                }
            }
        }
        Ok(())
    }
}

/// A document as it is checked out.
fn document_text(value: &Value, canonical: bool) -> String {
    if canonical { value.canonical() } else { value.pretty("", "    ") }
}
