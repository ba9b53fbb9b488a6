//! What the files of a device directory are now: for each tracked file its content's digest, and which files are
//! untracked. Files whose `stat` is in the cache are not read; the others are read on all cores.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use umiak_pvr::json::ParseError;
use umiak_pvr::{Entry, State, StatePath, Value};
use umiak_spec::{Digest, Observer};

use crate::error::{Error, IoContext};
use crate::hash::{self, Stat};
use crate::pending::Pending;
use crate::stat_cache::{Kind, NextCache, StatCache};
use crate::{DOCUMENT_LIMIT, walk};

/// What a tracked file is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    /// Not there, or not a file.
    Missing,
    /// Its digest.
    Object(Digest),
    /// A JSON document: the digest of its canonical form.
    Document(Digest),
    /// Should be a JSON document and is none.
    NotJson(ParseError),
}

/// The files of a device directory.
#[derive(Debug, Default)]
pub(crate) struct Working {
    pub(crate) tracked: BTreeMap<StatePath, Found>,
    /// Sorted; regular files only.
    pub(crate) untracked: Vec<String>,
    /// What is neither a directory nor a regular file.
    pub(crate) special: Vec<String>,
    pub(crate) next: NextCache,
}

/// All tracked paths in order, and how each is tracked: as an added file says, else as the state has it.
fn tracked(pristine: &State, pending: &Pending) -> Vec<(StatePath, Kind)> {
    let kind = |inline| if inline { Kind::Document } else { Kind::Object };
    let committed = pristine.entries().iter().map(|(path, entry)| {
        let raw = pending.get(path) == Some(true);
        (path.clone(), kind(matches!(entry, Entry::Inline(_)) && !raw))
    });
    let mut all: Vec<_> = committed.collect();
    let added = pending.iter().filter(|(path, _)| pristine.get(path.as_str()).is_none());
    let before = all.len();
    all.extend(added.map(|(path, raw)| (path.clone(), kind(path.is_json() && !raw))));
    if all.len() > before {
        all.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    }
    all
}

struct Job {
    path: StatePath,
    kind: Kind,
    stat: Stat,
}

/// Looks at all files below `root`.
pub(crate) fn scan(
    root: &Path,
    pristine: &State,
    pending: &Pending,
    cache: &StatCache,
    started: Option<&Stat>,
    observer: &dyn Observer,
) -> Result<Working, Error> {
    let mut working = Working::default();
    let mut done = Vec::new();
    let mut jobs = Vec::new();
    let mut cursor = cache.cursor();
    let mut expected = tracked(pristine, pending).into_iter().peekable();
    for file in walk::files(root, observer)? {
        while let Some((path, kind)) = expected.next_if(|(path, _)| path.as_str() < file.path.as_str()) {
            unseen(root, path, kind, &mut jobs, &mut done);
        }
        let wanted = file.valid && file.regular;
        match expected.next_if(|(path, _)| wanted && path.as_str() == file.path) {
            Some((path, kind)) => match cursor.get(path.as_str(), kind, &file.stat) {
                Some(digest) => {
                    working.next.put(&path, kind, file.stat, digest, started);
                    done.push((path, found(kind, digest)));
                }
                None => jobs.push(Job { path, kind, stat: file.stat }),
            },
            None if file.regular => working.untracked.push(file.path),
            None => working.special.push(file.path),
        }
    }
    for (path, kind) in expected {
        unseen(root, path, kind, &mut jobs, &mut done);
    }
    working.next.fresh = !jobs.is_empty();
    observer.expect("Hashing", jobs.iter().map(|job| job.stat.size).sum());
    let results = hash::parallel(&jobs, |job| digest(root, job, observer))?;
    for (job, result) in jobs.into_iter().zip(results) {
        if let (Found::Object(digest) | Found::Document(digest), Some(stat)) = (&result.0, result.1) {
            working.next.put(&job.path, job.kind, stat, *digest, started);
        }
        done.push((job.path, result.0));
    }
    working.tracked = done.into_iter().collect();
    Ok(working)
}

fn found(kind: Kind, digest: Digest) -> Found {
    match kind {
        Kind::Object => Found::Object(digest),
        Kind::Document => Found::Document(digest),
    }
}

/// A tracked file that the walk did not come across: missing, or behind a symlink to a directory, which pvr follows.
fn unseen(root: &Path, path: StatePath, kind: Kind, jobs: &mut Vec<Job>, done: &mut Vec<(StatePath, Found)>) {
    match fs::metadata(root.join(&path)) {
        Ok(metadata) if metadata.is_file() => jobs.push(Job { path, kind, stat: Stat::of(&metadata) }),
        _ => done.push((path, Found::Missing)),
    }
}

/// Reads one file. The `stat` is returned if it was the same before and after.
fn digest(root: &Path, job: &Job, observer: &dyn Observer) -> Result<(Found, Option<Stat>), Error> {
    let path = root.join(&job.path);
    let mut file = match fs::File::open(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok((Found::Missing, None)),
        other => other.at("open", &path)?,
    };
    let found = match job.kind {
        Kind::Object => Found::Object(hash::opened(&mut file, &path, "Hashing", observer)?),
        Kind::Document => {
            let bytes = read_limited(&mut file, &path, observer)?;
            match Value::parse(&bytes, DOCUMENT_LIMIT) {
                Ok(value) => Found::Document(document_digest(&value)),
                Err(error) => Found::NotJson(error),
            }
        }
    };
    let after = Stat::of(&file.metadata().at("read", &path)?);
    Ok((found, (after == job.stat).then_some(after)))
}

fn read_limited(file: &mut fs::File, path: &Path, observer: &dyn Observer) -> Result<Vec<u8>, Error> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    file.take(DOCUMENT_LIMIT + 1).read_to_end(&mut bytes).at("read", path)?;
    observer.advance("Hashing", bytes.len() as u64);
    Ok(bytes)
}

/// The digest by which documents are compared.
pub(crate) fn document_digest(value: &Value) -> Digest {
    Digest::of(value.canonical().as_bytes())
}

impl Found {
    /// Whether the file is as the state has it.
    pub(crate) fn is(&self, entry: &Entry) -> bool {
        match (self, entry) {
            (Self::Object(found), Entry::Object(digest)) => found == digest,
            (Self::Document(found), Entry::Inline(value)) => *found == document_digest(value),
            _ => false,
        }
    }
}
