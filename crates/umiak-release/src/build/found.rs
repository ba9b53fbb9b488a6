//! What is found in `releases/<arch>`, held against what the last build left there.
//!
//! The directories of the apps, their `_config` and `_sigs` are a build's own: what is otherwise in them is made again, what
//! no build made is nobody's to remove. Whatever else is there is not looked at.

use std::collections::BTreeSet;

use umiak_pvr::app::{LXC_CONF, RUN_JSON};
use umiak_repository::{ChangeKind, Differences, Repository};
use umiak_spec::Observer;

use super::record::{Left, digests};
use crate::carried::{CONFIG, SIGNATURES, is_made};
use crate::error::ReleaseError;
use crate::project::Source;

/// The signature over the state's format.
const SPEC_SIGNATURE: &str = "_spec";

/// What differs.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Files of a build that are changed, missing, or committed otherwise.
    pub(super) replaced: Vec<String>,
    /// Files that no build made, and what is no file.
    pub(super) foreign: Vec<String>,
}

impl Found {
    /// Looks at the files, by `stat` where they were looked at before. Without a record, all that is there differs.
    pub(super) fn of(
        repository: &Repository,
        source: &Source,
        left: Option<&Left>,
        observer: &dyn Observer,
    ) -> Result<Self, ReleaseError> {
        let none = Left::new();
        let left = left.unwrap_or(&none);
        let own = Own::new(source, left);
        let Differences { changes, special } = repository.differences(observer)?;
        let (gone, there): (Vec<_>, Vec<_>) =
            changes.into_iter().partition(|change| change.kind == ChangeKind::Removed);
        let gone: BTreeSet<String> = gone.into_iter().map(|change| change.path).collect();
        let mut differs: BTreeSet<String> = there
            .into_iter()
            .map(|change| change.path)
            .chain(gone.iter().cloned())
            .filter(|path| own.has(path))
            .collect();
        differs.extend(special.into_iter().filter(|path| own.is_within(path)));
        let committed = digests(&repository.pristine()?);
        let committed_otherwise =
            committed.iter().filter(|(path, digest)| own.has(path) && left.get(*path) != Some(digest));
        differs.extend(committed_otherwise.map(|(path, _)| path.clone()));
        differs.extend(left.keys().filter(|path| own.has(path) && !committed.contains_key(*path)).cloned());
        // By what the look says, not by name: a name that is not UTF-8 is nowhere to be found.
        let made = |path: &String| left.contains_key(path) || own.makes(path) || gone.contains(path);
        let (replaced, foreign) = differs.into_iter().partition(made);
        Ok(Self { replaced, foreign })
    }

    /// Says nothing of what goes along or went along: of a build that was stopped nobody knows how far it came with it.
    pub(super) fn without_carried(mut self) -> Self {
        self.replaced.retain(|path| match place(path) {
            Some(Place::App(_, name)) => is_made(name),
            Some(Place::Config(_)) => false,
            Some(Place::Signature(_)) | None => true,
        });
        self
    }

    /// Whether the images are as they were left, and what says of which images they are.
    pub(super) fn spares_images(&self) -> bool {
        let is_rendered = |name: &str| [RUN_JSON, LXC_CONF].contains(&name) || !is_made(name);
        self.replaced.iter().all(|path| match place(path) {
            Some(Place::App(_, name)) => is_rendered(name),
            Some(Place::Config(_) | Place::Signature(_)) | None => true,
        })
    }
}

/// What a build has left: its own files as they are committed.
pub(super) fn left(repository: &Repository, source: &Source) -> Result<Left, ReleaseError> {
    let none = Left::new();
    let own = Own::new(source, &none);
    Ok(digests(&repository.pristine()?).into_iter().filter(|(path, _)| own.has(path)).collect())
}

/// What belongs to a build.
struct Own<'a> {
    source: &'a Source,
    /// The apps that are made, and those that were.
    apps: BTreeSet<&'a str>,
}

impl<'a> Own<'a> {
    fn new(source: &'a Source, left: &'a Left) -> Self {
        let made = left.keys().filter_map(|path| place(path)).filter_map(|place| match place {
            Place::Signature(_) => None,
            Place::App(app, _) | Place::Config(app) => Some(app),
        });
        Self { source, apps: source.apps.keys().map(String::as_str).chain(made).collect() }
    }

    /// Whether a file is where a build puts files.
    fn has(&self, path: &str) -> bool {
        match place(path) {
            Some(Place::Signature(_)) => true,
            Some(Place::App(app, _) | Place::Config(app)) => self.apps.contains(app),
            None => false,
        }
    }

    /// Whether what is no file is where a build puts files, or directories of files.
    fn is_within(&self, path: &str) -> bool {
        path == CONFIG || self.has(path) || self.has(&format!("{path}/."))
    }

    /// Whether a build makes a file of this name.
    fn makes(&self, path: &str) -> bool {
        let carried = self.source.carried.contains_key(path);
        carried
            || match place(path) {
                Some(Place::Signature(name)) => name == SPEC_SIGNATURE || self.apps.contains(name),
                Some(Place::App(_, name)) => is_made(name),
                Some(Place::Config(_)) | None => false,
            }
    }
}

/// Where a file of a device directory is.
enum Place<'a> {
    /// The app, and the file's name in its directory.
    App(&'a str, &'a str),
    /// The app that it configures.
    Config(&'a str),
    /// The signature's name.
    Signature(&'a str),
}

fn place(path: &str) -> Option<Place<'_>> {
    let (first, rest) = path.split_once('/')?;
    match first {
        CONFIG => rest.split_once('/').map(|(app, _)| Place::Config(app)),
        SIGNATURES => Some(Place::Signature(rest.strip_suffix(".json").unwrap_or(""))),
        app => Some(Place::App(app, rest)),
    }
}
