//! Files that a command makes together, none of which may be there yet: all of them or none.
//!
//! Guarantees: nothing gets its name before every file is whole and on disk beside its place; names are given in the order
//! of the files, so that who finds the last one finds all of them; a file that is there is never replaced, no other run's
//! file is touched, and of several runs at once one wins. Whatever fails leaves nothing, not even the directory that was
//! made for the files. A power cut between the names leaves the first ones, and never the last alone: the others are on
//! disk before it is given. A run that was killed leaves what it wrote beside, as closed to others as the file itself:
//! nobody can tell it from what another run is writing.
#![allow(clippy::disallowed_methods, reason = "files are written beside, synced and named here")]

use std::collections::VecDeque;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;

use crate::error::{Failure, Kind, Outcome};

/// Names beside a place that are tried, at most.
const TURNS: u32 = 1000;

/// A file that is going to be made.
pub struct NewFile<'a> {
    /// Its name in the directory.
    pub place: &'a Path,
    /// What is in it.
    pub bytes: &'a [u8],
    /// Who may read and write it, at most, from its first byte on.
    pub mode: u32,
}

/// Makes the files in `directory`, which only its owner looks into if it has to be made.
///
/// # Errors
/// One of the names is taken, the file system cannot keep others out of a file, or what the system says. There is then
/// what there was before.
pub fn write_new(directory: &Path, files: &[NewFile<'_>]) -> Outcome {
    let mut traces = Traces::default();
    traces.directory(directory)?;
    for file in files {
        traces.stage(file)?;
    }
    for (at, file) in files.iter().enumerate() {
        if at > 0 && at + 1 == files.len() {
            sync(directory)?;
        }
        traces.name(file.place).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => there_already(file.place),
            _ => Failure::of_io("write", file.place, &error),
        })?;
    }
    sync(directory)?;
    traces.named.clear();
    traces.directories.clear();
    Ok(())
}

/// What is said of a name that is taken.
pub fn there_already(place: &Path) -> Failure {
    Failure::new(Kind::Usage, format!("{} is there already", place.display()))
}

/// What was made so far; taken away again when dropped.
#[derive(Default)]
struct Traces {
    /// The outermost first.
    directories: Vec<PathBuf>,
    /// Those that have no place yet, or one name more; the next to be named first.
    staged: VecDeque<PathBuf>,
    /// Names beside a place that has the file, too.
    spare: Vec<PathBuf>,
    named: Vec<PathBuf>,
}

impl Traces {
    /// Makes a directory, and those above it that are missing.
    fn directory(&mut self, path: &Path) -> Outcome {
        let missing: Vec<&Path> = path.ancestors().take_while(|path| !path.exists()).collect();
        for path in missing.into_iter().rev().filter(|path| *path != Path::new("")) {
            match DirBuilder::new().mode(0o700).create(path) {
                Ok(()) => self.directories.push(path.to_owned()),
                // Another run was faster: it is not ours to take away.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(Failure::of_io("create", path, &error)),
            }
            sync(parent(path))?;
        }
        Ok(())
    }

    /// Writes a file beside its place.
    fn stage(&mut self, file: &NewFile<'_>) -> Outcome {
        let failed = |error| Failure::of_io("write", file.place, &error);
        let (path, mut staged) = beside(file).map_err(failed)?;
        self.staged.push_back(path);
        let mode = staged.metadata().map_err(failed)?.permissions().mode() & 0o777;
        if mode & !file.mode != 0 {
            let text = format!("others could read {}: its file system keeps no modes of files", file.place.display());
            return Err(Failure::new(Kind::Environment, text).hint("name a directory on another one"));
        }
        staged.write_all(file.bytes).and_then(|()| staged.sync_all()).map_err(failed)
    }

    /// Gives the next file its name.
    fn name(&mut self, place: &Path) -> io::Result<()> {
        let Some(staged) = self.staged.front() else { return Ok(()) };
        let kept = name(staged, place)?;
        // A name that was given up may be another run's by now.
        self.spare.extend(self.staged.pop_front().filter(|_| kept));
        self.named.push(place.to_owned());
        Ok(())
    }
}

/// A new file beside a place. Our number may be another run's as well, where containers share a directory: what has the name
/// is left alone.
fn beside(file: &NewFile<'_>) -> io::Result<(PathBuf, File)> {
    let mut taken = io::Error::from(io::ErrorKind::AlreadyExists);
    for turn in 0..TURNS {
        let mut name = file.place.file_name().unwrap_or_default().to_owned();
        name.push(format!(".new-{}-{turn}", std::process::id()));
        let path = file.place.with_file_name(name);
        match OpenOptions::new().write(true).create_new(true).mode(file.mode).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => taken = error,
            result => return Ok((path, result?)),
        }
    }
    Err(taken)
}

impl Drop for Traces {
    fn drop(&mut self) {
        for file in self.staged.iter().chain(&self.spare).chain(self.named.iter().rev()) {
            let _ = fs::remove_file(file);
        }
        for directory in self.directories.iter().rev() {
            let _ = fs::remove_dir(directory);
        }
    }
}

/// Gives a file that lies beside its place its name, unless the name is taken; whether it has the other name still.
fn name(staged: &Path, place: &Path) -> io::Result<bool> {
    match fs::hard_link(staged, place) {
        Err(error) if has_no_links(&error) => rename_new(staged, place).map(|()| false),
        result => result.map(|()| true),
    }
}

/// Whether this is how a file system says that a file has one name only.
fn has_no_links(error: &io::Error) -> bool {
    [Errno::PERM, Errno::OPNOTSUPP, Errno::NOSYS].iter().any(|known| error.raw_os_error() == Some(known.raw_os_error()))
}

/// The same where a file has one name only.
fn rename_new(staged: &Path, place: &Path) -> io::Result<()> {
    match rustix::fs::renameat_with(CWD, staged, CWD, place, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS) => take_name(staged, place),
        result => Ok(result?),
    }
}

/// The same where a rename may always replace: the name is taken first, by an empty file, and only that is replaced.
fn take_name(staged: &Path, place: &Path) -> io::Result<()> {
    drop(OpenOptions::new().write(true).create_new(true).mode(0o600).open(place)?);
    fs::rename(staged, place).inspect_err(|_| {
        let _ = fs::remove_file(place);
    })
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."))
}

fn sync(directory: &Path) -> Outcome {
    let synced = File::open(directory).and_then(|directory| directory.sync_all());
    synced.map_err(|error| Failure::of_io("write to disk", directory, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn three(directory: &Path) -> Vec<PathBuf> {
        ["authority", "public", "key"].map(|name| directory.join(name)).to_vec()
    }

    fn write(directory: &Path, places: &[PathBuf]) -> Outcome {
        let file = |place| NewFile { place, bytes: b"secret", mode: 0o600 };
        write_new(directory, &places.iter().map(|place| file(place)).collect::<Vec<_>>())
    }

    #[test]
    fn all_are_there_and_only_their_owner_reads_them() {
        let scratch = tempfile::tempdir().unwrap();
        let directory = scratch.path().join("a/b");
        write(&directory, &three(&directory)).unwrap();
        assert_eq!(names(&scratch.path().join("a/b")), ["authority", "key", "public"]);
        for place in [three(&directory), vec![directory.clone(), scratch.path().join("a")]].concat() {
            assert_eq!(fs::metadata(&place).unwrap().permissions().mode() & 0o077, 0, "{}", place.display());
        }
    }

    #[test]
    fn a_name_that_is_taken_leaves_nothing_of_the_others() {
        for taken in 0..3 {
            let scratch = tempfile::tempdir().unwrap();
            let places = three(scratch.path());
            fs::write(&places[taken], "before").unwrap();
            assert!(write(scratch.path(), &places).is_err());
            assert_eq!(names(scratch.path()).len(), 1, "{taken}");
            assert_eq!(fs::read_to_string(&places[taken]).unwrap(), "before");
        }
    }

    #[test]
    fn what_cannot_be_written_takes_its_directories_along() {
        let scratch = tempfile::tempdir().unwrap();
        fs::create_dir(scratch.path().join("mine")).unwrap();
        let directory = scratch.path().join("mine/a/b");
        let places = [directory.join("key"), directory.join("nowhere/public")];
        assert!(write(&directory, &places).is_err());
        assert_eq!(names(&scratch.path().join("mine")), [""; 0]);
    }

    #[test]
    fn what_another_run_of_our_number_writes_is_no_obstacle_and_stays() {
        let scratch = tempfile::tempdir().unwrap();
        let other = format!("key.new-{}-0", std::process::id());
        fs::write(scratch.path().join(&other), "half").unwrap();
        write(scratch.path(), &three(scratch.path())).unwrap();
        assert_eq!(names(scratch.path()), ["authority", "key", &other, "public"]);
        assert_eq!(fs::read_to_string(scratch.path().join(&other)).unwrap(), "half");
        assert_eq!(fs::read_to_string(scratch.path().join("key")).unwrap(), "secret");
    }

    #[test]
    fn without_links_nothing_is_replaced_either() {
        for (way, name) in [("rename", rename_new as fn(&Path, &Path) -> io::Result<()>), ("take", take_name)] {
            let scratch = tempfile::tempdir().unwrap();
            let (staged, place) = (scratch.path().join("staged"), scratch.path().join("place"));
            fs::write(&staged, "next").unwrap();
            fs::write(&place, "before").unwrap();
            assert_eq!(name(&staged, &place).unwrap_err().kind(), io::ErrorKind::AlreadyExists, "{way}");
            assert_eq!(fs::read_to_string(&place).unwrap(), "before");
            fs::remove_file(&place).unwrap();
            name(&staged, &place).unwrap();
            assert_eq!(fs::read_to_string(&place).unwrap(), "next");
            assert_eq!(names(scratch.path()), ["place"]);
            assert!(name(&staged, &scratch.path().join("other")).is_err());
            assert_eq!(names(scratch.path()), ["place"], "{way}");
        }
    }
}
