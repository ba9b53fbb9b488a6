//! The delta from the release before, beside the package.

use std::fs;
use std::path::{Path, PathBuf};

use umiak_build::delta::{Package, PackageWork};
use umiak_delta::{Effort, MakeOptions};
use umiak_repository::Repository;
use umiak_repository::package::{self, DeltaFile};
use umiak_spec::Digest;

use super::budget::Budget;
use super::previous::Previous;
use super::record::{NotWorth, Record};
use super::{Delta, DeltaState, Works};
use crate::durable;
use crate::error::ReleaseError;
use crate::name::PackageName;

/// What making a delta takes at most.
const MEMORY: u64 = 1200 << 20;

/// Makes the delta that leads to the package `name` from the release before it in `directory`, unless it is there. `None`
/// when there is no such release.
pub(super) fn make(
    works: &Works<'_>,
    budget: &Budget,
    (directory, effort): (&Path, Effort),
    name: &PackageName,
    repository: &Repository,
) -> Result<Option<Delta>, ReleaseError> {
    let Some(previous) = Previous::of(name, directory)? else { return Ok(None) };
    let target = works.project.package(name);
    let path: PathBuf = target.with_file_name(previous.delta(name));
    let base = previous.name.to_string();
    let states = (state(works, &previous.path)?, state(works, &target)?);
    let there = || {
        let delta = |bytes, state| Delta { path: path.clone(), base: base.clone(), bytes, state };
        if leads(&path, states) {
            return fs::metadata(&path).ok().map(|found| delta(found.len(), DeltaState::Unchanged));
        }
        let known = Record::read(repository.root())?.not_worth.filter(|known| known.states == states)?;
        Some(delta(known.bytes, DeltaState::NotWorth))
    };
    if let Some(found) = there() {
        return Ok(Some(found));
    }
    let share = budget.take(MEMORY, works.observer)?;
    // Another run may have made it while this one waited.
    let _lock = repository.lock(works.observer)?;
    if let Some(found) = there() {
        return Ok(Some(found));
    }
    durable::sweep_deltas(&works.project.releases(), &name.arch)?;
    let options = MakeOptions { effort, threads: works.threads, memory: share.bytes() };
    let scratch = target.parent().unwrap_or(Path::new("."));
    let work = PackageWork { scratch, options: &options, limits: works.limits, observer: works.observer };
    let stem = |name: &PackageName| format!("{}-{}", name.name, name.release());
    let made = work.make(
        Package { name: &stem(&previous.name), path: &previous.path },
        Package { name: &stem(name), path: &target },
        &path,
    )?;
    if made.worth {
        return Ok(Some(Delta { path, base, bytes: made.size, state: DeltaState::Made }));
    }
    // One of an earlier build under the same name leads elsewhere.
    durable::remove(&path)?;
    if let Some(mut record) = Record::read(repository.root()).filter(|record| record.ours) {
        record.not_worth = Some(NotWorth { states, bytes: made.size });
        record.keep(repository.root())?;
    }
    Ok(Some(Delta { path, base, bytes: made.size, state: DeltaState::NotWorth }))
}

/// The digest of a package's state.
fn state(works: &Works<'_>, package: &Path) -> Result<Digest, ReleaseError> {
    let state = package::state(package, &works.limits, works.observer)?;
    Ok(Digest::of(state.canonical().as_bytes()))
}

/// Whether the delta that is there leads from the one state to the other: names do not say it, since a package may be built
/// again under its name.
fn leads(delta: &Path, states: (Digest, Digest)) -> bool {
    let Ok(Some(found)) = DeltaFile::open(delta) else { return false };
    let told = found.delta();
    (told.base.state, told.target.state) == states
}
