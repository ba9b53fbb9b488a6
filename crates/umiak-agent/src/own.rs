//! What an update writes beside what it fetches, told to the planner: documents, logs, directories of services.
//!
//! Guarantee: what is there already is not told; what an engine makes on another file system than the store's is not told
//! either.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use umiak_engine::Made;
use umiak_plan::{Own, Record};
use umiak_spec::Digest;
use umiak_spec::target::Target;
use umiak_store::Name;

use crate::arrangement::Arrangement;
use crate::error::AgentError;
use crate::kept::{self, Kept};
use crate::revision::Revision;
use crate::session::{Session, journal_name};
use crate::target::{pin, trusted};
use crate::{forms, rebuild, update};

/// What the journal grows by in an update: a line each for staging, switching and the verdict, and what is under way.
const JOURNAL: u64 = 1 << 10;

/// Bytes of a digest with a sign before or behind it.
const NAMED: u64 = 72;

/// Bytes of a number.
const NUMBER: u64 = 20;

impl Session<'_> {
    /// What an update to a target writes for itself.
    pub(crate) fn own(&self, target: &Target, kept: &Kept, arrangement: &Arrangement) -> Result<Own, AgentError> {
        let revision = Revision::of(target);
        let digest = revision.digest();
        let (directories, files) =
            missing(&self.made(arrangement)?, &Place::of(&self.agent.root), &self.agent.projects);
        Ok(Own {
            begun: self.begun_records(&digest, target),
            named: self.named_records(&digest, target, kept),
            blobs: if self.store.has_blob(&digest) { vec![] } else { vec![revision.to_bytes().len() as u64] },
            files,
            directories,
        })
    }

    /// Documents that are written before anything comes.
    fn begun_records(&self, revision: &Digest, target: &Target) -> Vec<Record> {
        let journal = self.journal.to_bytes().len() as u64;
        // Which asking it is makes no difference in length.
        let pinned = update::to_bytes(*revision, target).len() as u64;
        let mut begun = vec![
            self.record(&journal_name(), journal.saturating_add(JOURNAL)),
            self.record(&update::pinned_name(), pinned),
        ];
        if target.generation > 0 {
            begun.push(self.record(&pin::name(), NUMBER));
        }
        begun
    }

    /// Documents that are written once all is here, and when the verdict is good.
    fn named_records(&self, revision: &Digest, target: &Target, kept: &Kept) -> Vec<Record> {
        let mut named =
            vec![self.record(&kept::name(revision), kept::size(kept)), self.record(&rebuild::record(), NAMED)];
        if self.agent.policy.prune {
            let revisions = self.kept().len() as u64 + 1;
            named.push(self.record(&forms::record(), revisions.saturating_mul(NAMED)));
        }
        let generations = self.agent.supply.committed_bytes(&self.store, target);
        named.extend(generations.map(|bytes| self.record(&trusted::record(), bytes)));
        named
    }

    /// One that cannot be read counts as if it were not there: that is the greater figure, and no reason to stop.
    fn record(&self, name: &Name, after: u64) -> Record {
        let before = self.store.record(name).ok().flatten().map(|bytes| bytes.len() as u64);
        Record { before, after }
    }

    /// What the engine makes for all services, and where projects are unpacked.
    fn made(&self, arrangement: &Arrangement) -> Result<Made, AgentError> {
        let projects = &self.agent.projects;
        let mut all = Made::default();
        if arrangement.apps.values().flatten().any(|one| one.project.is_some()) {
            all.directories.insert(projects.clone());
        }
        for app in arrangement.apps.keys() {
            for revision in arrangement.groups(app) {
                let none = |_: &_| Ok::<_, AgentError>(Vec::new());
                let deployment = arrangement.deployment(app, revision, none, |project| projects.join(project.hex()))?;
                let made = self.agent.engine.makes(&deployment)?;
                all.directories.extend(made.directories);
                all.files.extend(made.files);
            }
        }
        Ok(all)
    }
}

/// A path with the file system that it is on, or will be.
struct Place<'a> {
    /// The directories that are not there, the lowest first.
    missing: Vec<&'a Path>,
    device: Option<u64>,
}

impl<'a> Place<'a> {
    fn of(path: &'a Path) -> Self {
        let mut missing = Vec::new();
        for above in path.ancestors() {
            match fs::metadata(above) {
                Ok(found) => return Self { missing, device: Some(found.dev()) },
                Err(_) => missing.push(above),
            }
        }
        Self { missing, device: None }
    }
}

/// Directories and files that are not there yet, on the store's file system. A project's own directory comes with the
/// project.
fn missing(made: &Made, store: &Place<'_>, projects: &Path) -> (u64, Vec<u64>) {
    let mut directories: BTreeSet<PathBuf> = BTreeSet::new();
    let mut note = |place: Place<'_>| {
        let here = place.device == store.device;
        directories.extend(place.missing.into_iter().filter(|_| here).map(Path::to_owned));
        here
    };
    let mut files = Vec::new();
    for (path, bytes) in made.files.iter().filter(|(path, _)| !path.exists()) {
        if path.parent().is_some_and(|above| note(Place::of(above))) {
            files.push(*bytes);
        }
    }
    for path in &made.directories {
        note(Place::of(path));
    }
    directories.retain(|path| path.parent() != Some(projects));
    (directories.len() as u64, files)
}
