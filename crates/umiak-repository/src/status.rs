//! Which files differ from the committed state, and putting new files on the list for the next commit.

use umiak_pvr::{Glob, StatePath};
use umiak_spec::Observer;

use crate::durable;
use crate::error::Error;
use crate::repository::{NEW, Repository};
use crate::secret;
use crate::walk;
use crate::working::Found;

/// How a file differs from the committed state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChangeKind {
    /// `A`: it will be part of the next commit.
    Added,
    /// `C`: its content is another one.
    Changed,
    /// `D`: it is gone.
    Removed,
    /// `?`: it is not part of the device.
    Untracked,
}

impl ChangeKind {
    /// pvr's letter for it.
    #[must_use]
    pub fn letter(self) -> char {
        match self {
            Self::Added => 'A',
            Self::Changed => 'C',
            Self::Removed => 'D',
            Self::Untracked => '?',
        }
    }
}

/// One file that differs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// How.
    pub kind: ChangeKind,
    /// Which; an untracked file's name may be one that cannot be tracked.
    pub path: String,
}

/// All that differs from the committed state.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Differences {
    /// Files, sorted by kind and path.
    pub changes: Vec<Change>,
    /// What is neither file nor directory and cannot be tracked: pipes, sockets, devices, symlinks other than to files.
    pub special: Vec<String>,
}

/// How files are tracked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AddOptions {
    /// `.json` files are kept as objects, byte for byte.
    pub raw: bool,
    /// Private keys are files like any other.
    pub private_keys: bool,
}

/// What `add` did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AddReport {
    /// Files that will be part of the next commit and were not tracked before, or not this way.
    pub added: Vec<StatePath>,
    /// Files that match but cannot be tracked, and why.
    pub refused: Vec<(String, String)>,
    /// Patterns that match no file at all.
    pub unmatched: Vec<String>,
}

impl Repository {
    /// The files that differ from the committed state, sorted by kind and path. Empty when there is nothing to say.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::State`], [`Error::Cancelled`].
    pub fn status(&self, observer: &dyn Observer) -> Result<Vec<Change>, Error> {
        Ok(self.differences(observer)?.changes)
    }

    /// The same, and what cannot be a file of the device.
    ///
    /// # Errors
    /// Those of [`Repository::status`].
    pub fn differences(&self, observer: &dyn Observer) -> Result<Differences, Error> {
        let _lock = self.lock_shared(observer)?;
        let pristine = self.pristine()?;
        let working = self.scan(&pristine, &self.pending()?, observer)?;
        let mut changes = Vec::new();
        for (path, found) in &working.tracked {
            let kind = match (pristine.get(path.as_str()), found) {
                (None, Found::Missing) => continue,
                (None, _) => ChangeKind::Added,
                (Some(_), Found::Missing) => ChangeKind::Removed,
                (Some(entry), found) if found.is(entry) => continue,
                (Some(_), _) => ChangeKind::Changed,
            };
            changes.push(Change { kind, path: path.as_str().to_owned() });
        }
        changes.extend(working.untracked.into_iter().map(|path| Change { kind: ChangeKind::Untracked, path }));
        changes.sort();
        Ok(Differences { changes, special: working.special })
    }

    /// Puts files on the list for the next commit: all that are untracked, or those that match one of `patterns` (Go's
    /// `filepath.Match`, or the name of a file or directory).
    ///
    /// # Errors
    /// [`Error::Glob`] for a malformed pattern; [`Error::PrivateKeys`], unless they are asked for: then nothing is put
    /// there; [`Error::Io`].
    pub fn add(&self, patterns: &[String], options: AddOptions, observer: &dyn Observer) -> Result<AddReport, Error> {
        let all = patterns.is_empty() || patterns.iter().any(|pattern| pattern.trim_end_matches('/') == ".");
        let patterns = if all { &[] } else { patterns };
        let patterns = patterns.iter().map(|text| Pattern::parse(text)).collect::<Result<Vec<_>, _>>()?;
        let _lock = self.lock(observer)?;
        let pristine = self.pristine()?;
        let mut pending = self.pending()?;
        let before = pending.clone();
        let mut report = AddReport::default();
        let mut matched = vec![false; patterns.len()];
        for file in walk::files(self.root(), observer)?.into_iter().filter(|file| file.regular) {
            let mut wanted = all;
            for (pattern, matched) in patterns.iter().zip(&mut matched) {
                let this = pattern.matches(&file.path);
                *matched |= this;
                wanted |= this;
            }
            if !wanted {
                continue;
            }
            let path = match StatePath::new(&file.path) {
                Ok(path) if file.valid => path,
                Ok(_) => {
                    report.refused.push((file.path, "its name is not UTF-8".to_owned()));
                    continue;
                }
                Err(error) => {
                    report.refused.push((file.path, error.reason.to_owned()));
                    continue;
                }
            };
            let as_object = options.raw && path.is_json();
            let known = match pristine.get(path.as_str()) {
                Some(umiak_pvr::Entry::Inline(_)) => !as_object,
                Some(umiak_pvr::Entry::Object(_)) => true,
                None => pending.get(&path) == Some(as_object),
            };
            if !known {
                pending.add(path.clone(), as_object);
                report.added.push(path);
            }
        }
        if !options.private_keys {
            self.without_keys(report.added.iter().map(StatePath::as_str))?;
        }
        let unmatched = patterns.into_iter().zip(matched).filter(|(_, matched)| !matched);
        report.unmatched = unmatched.map(|(pattern, _)| pattern.text).collect();
        if pending != before {
            durable::replace(&self.staging()?, &self.root().join(NEW), pending.to_text().as_bytes(), 0o644)?;
        }
        Ok(report)
    }

    /// Refuses files with private keys: tracked, they would be carried to every device.
    ///
    /// # Errors
    /// [`Error::PrivateKeys`] with all of them; [`Error::Io`].
    pub fn without_keys<'p>(&self, paths: impl Iterator<Item = &'p str>) -> Result<(), Error> {
        let mut keys = Vec::new();
        for path in paths {
            if secret::has_key(&self.root().join(path))? {
                keys.push(path.to_owned());
            }
        }
        if keys.is_empty() { Ok(()) } else { Err(Error::PrivateKeys { root: self.root().to_owned(), keys }) }
    }
}

struct Pattern {
    text: String,
    glob: Glob,
}

impl Pattern {
    fn parse(text: &str) -> Result<Self, Error> {
        let name = text.strip_prefix("./").unwrap_or(text).trim_end_matches('/');
        Ok(Self { text: name.to_owned(), glob: Glob::parse(name)? })
    }

    fn matches(&self, path: &str) -> bool {
        let below = path.strip_prefix(&self.text).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        below || self.glob.matches(path)
    }
}
