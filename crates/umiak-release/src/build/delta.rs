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
    let there = || -> Result<Option<Delta>, ReleaseError> {
        let leads = leads(works, &path, &previous.path, &target)?;
        let found = fs::metadata(&path).ok().filter(|_| leads);
        let state = DeltaState::Unchanged;
        Ok(found.map(|found| Delta { path: path.clone(), base: base.clone(), bytes: found.len(), state }))
    };
    if let Some(found) = there()? {
        return Ok(Some(found));
    }
    let share = budget.take(MEMORY, works.observer)?;
    // Another run may have made it while this one waited.
    let _lock = repository.lock(works.observer)?;
    if let Some(found) = there()? {
        return Ok(Some(found));
    }
    let options = MakeOptions { effort, threads: works.threads, memory: share.bytes() };
    let scratch = target.parent().unwrap_or(Path::new("."));
    let work = PackageWork { scratch, options: &options, limits: works.limits, observer: works.observer };
    let stem = |name: &PackageName| format!("{}-{}", name.name, name.release());
    let made = work.make(
        Package { name: &stem(&previous.name), path: &previous.path },
        Package { name: &stem(name), path: &target },
        &path,
    )?;
    let state = if made.worth { DeltaState::Made } else { DeltaState::NotWorth };
    if !made.worth {
        // One of an earlier build under the same name leads elsewhere.
        durable::remove(&path)?;
    }
    Ok(Some(Delta { path, base, bytes: made.size, state }))
}

/// Whether the delta that is there leads from this very package to that one: names do not say it, since a package may be
/// built again under its name.
fn leads(works: &Works<'_>, delta: &Path, base: &Path, target: &Path) -> Result<bool, ReleaseError> {
    let Ok(Some(found)) = DeltaFile::open(delta) else { return Ok(false) };
    let state = |path: &Path| -> Result<Digest, ReleaseError> {
        Ok(Digest::of(package::state(path, &works.limits, works.observer)?.canonical().as_bytes()))
    };
    let told = found.delta();
    Ok(told.base.state == state(base)? && told.target.state == state(target)?)
}
