//! Where `get`, `merge`, `clone` and `deploy` take from: another device directory (or its `.pvr`), an unpacked package,
//! a package file.

use std::fs::File;
use std::path::{Path, PathBuf};

use umiak_pvr::{Entry, Parts, Reference, State, StatePath};
use umiak_spec::{Digest, Limits, Observer};

use crate::config::Config;
use crate::error::{Error, IoContext};
use crate::package;
use crate::pool::{Pool, PoolStage};
use crate::repository::{CONFIG, JSON, read_state};

/// Something that has a state and its objects.
pub(crate) enum Source {
    Directory { state: PathBuf, pools: Vec<Pool> },
    Package(PathBuf),
}

impl Source {
    /// Finds out what `path` is.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let directory = |state: PathBuf, pools: Vec<PathBuf>| Self::Directory {
            state,
            pools: pools.into_iter().map(Pool::new).collect(),
        };
        if path.join(JSON).is_file() {
            let configured = Config::read(&path.join(CONFIG))?.objects(path);
            return Ok(directory(path.join(JSON), vec![configured, path.join(".pvr/objects")]));
        }
        if path.join("json").is_file() {
            let root = path.parent().unwrap_or(path);
            let mut pools = vec![path.join("objects")];
            if path.join("config").is_file() {
                pools.insert(0, Config::read(&path.join("config"))?.objects(root));
            }
            return Ok(directory(path.join("json"), pools));
        }
        if path.is_file() { Ok(Self::Package(path.to_owned())) } else { Err(Error::NotASource(path.to_owned())) }
    }

    /// The state's `parts`, with every object that `stage`'s pool `have` does not have (verified) put into `stage`.
    pub(crate) fn take(
        &self,
        parts: &Parts,
        stage: &mut PoolStage<'_>,
        have: &Pool,
        observer: &dyn Observer,
    ) -> Result<State, Error> {
        match self {
            Self::Directory { state, pools } => {
                let state = read_state(state)?.filter(parts);
                let mut missing = Vec::new();
                for (digest, path) in first_paths(&state) {
                    observer.check()?;
                    if stage.holds(&digest) {
                        continue;
                    }
                    let others = || pools.iter().filter(|pool| pool.directory() != have.directory());
                    match others().find(|pool| pool.contains(&digest)) {
                        _ if is_good(have, &digest, others().next().is_none(), observer)? => {}
                        Some(pool) => stage.add_object(&digest, pool, observer)?,
                        None => missing.push((digest, path)),
                    }
                }
                if missing.is_empty() { Ok(state) } else { Err(Error::Missing(missing)) }
            }
            Self::Package(path) => {
                let mut file = File::open(path).at("open", path)?;
                let (state, _) = package::read(&mut file, path, parts, stage, have, &Limits::default(), observer)?;
                Ok(state)
            }
        }
    }
}

/// Every object of a state, with the first path that has it.
pub(crate) fn first_paths(state: &State) -> Vec<(Digest, StatePath)> {
    let mut objects = std::collections::BTreeMap::new();
    for (path, entry) in state.entries() {
        if let Entry::Object(digest) = entry {
            objects.entry(*digest).or_insert_with(|| path.clone());
        }
    }
    objects.into_iter().collect()
}

/// Whether `pool` has the object, and (unless there is no other pool to take it from) undamaged.
fn is_good(pool: &Pool, digest: &Digest, only: bool, observer: &dyn Observer) -> Result<bool, Error> {
    if !pool.contains(digest) || only {
        return Ok(pool.contains(digest));
    }
    match pool.verify(digest, observer) {
        Ok(()) => Ok(true),
        Err(Error::Damaged { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// A source and the parts of it that are meant.
pub(crate) fn open_reference(reference: &Reference) -> Result<(Source, &Parts), Error> {
    Ok((Source::open(Path::new(&reference.path))?, &reference.parts))
}
