//! Files that go into a package as they are: those beside a source document, and `_config/<app>/` of its architecture.
//!
//! Guarantees: each has a name that a state can have; none has the name of a file that a build makes. Symbolic links to
//! files count as files; what is neither file nor directory is refused rather than left out.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use umiak_pvr::StatePath;
use umiak_pvr::app::{DOCKER_DIGEST_SUFFIX, LXC_CONF, ROOT_OVL_SQUASHFS, ROOT_SQUASHFS, RUN_JSON, SRC_JSON};

use crate::error::{IoContext as _, ReleaseError};
use crate::project::Source;

/// Where configurations of apps are, in a state and in `pvpkg/<arch>`.
pub(crate) const CONFIG: &str = "_config";

/// Where signatures are.
pub(crate) const SIGNATURES: &str = "_sigs";

/// Files of one app, at most.
const MOST: usize = 10_000;

/// Files by their names in the state, and where each is.
pub type Carried = BTreeMap<StatePath, PathBuf>;

/// Whether a build makes files of this name in an app's directory.
pub(crate) fn is_made(name: &str) -> bool {
    let squashfs = |name: &str| [ROOT_SQUASHFS, ROOT_OVL_SQUASHFS].contains(&name);
    [SRC_JSON, RUN_JSON, LXC_CONF].contains(&name) || squashfs(name.strip_suffix(DOCKER_DIGEST_SUFFIX).unwrap_or(name))
}

/// What goes along with an app; `platform` is its architecture's directory in `pvpkg/`.
pub(crate) fn of(platform: &Path, app: &str) -> Result<Carried, ReleaseError> {
    let mut found = Carried::new();
    let directory = platform.join(app);
    for (name, path) in files(&directory)? {
        // What begins with a dot is the project's, such as `.gitignore`.
        if name == SRC_JSON || name.starts_with('.') {
            continue;
        }
        if is_made(&name) {
            return Err(ReleaseError::Refused { path, reason: "a build makes the file of this name".to_owned() });
        }
        found.insert(state_path(app, &name, &path)?, path);
    }
    for (name, path) in files(&platform.join(CONFIG).join(app))? {
        found.insert(state_path(&format!("{CONFIG}/{app}"), &name, &path)?, path);
    }
    Ok(found)
}

/// Refuses files with private keys: whoever has the package would have them.
pub(crate) fn without_keys(sources: &[Source]) -> Result<(), ReleaseError> {
    let mut keys = Vec::new();
    for path in sources.iter().flat_map(|source| source.carried.values()) {
        if umiak_repository::has_key(path)? {
            keys.push(path.clone());
        }
    }
    if keys.is_empty() { Ok(()) } else { Err(ReleaseError::PrivateKeys(keys)) }
}

fn state_path(above: &str, name: &str, path: &Path) -> Result<StatePath, ReleaseError> {
    let refused = |error: umiak_pvr::path::PathError| ReleaseError::Refused {
        path: path.to_owned(),
        reason: format!("its name {}", error.reason),
    };
    StatePath::new(&format!("{above}/{name}")).map_err(refused)
}

/// The files below a directory, by their names from there; none when it is not there.
pub(crate) fn files(directory: &Path) -> Result<BTreeMap<String, PathBuf>, ReleaseError> {
    let mut found = BTreeMap::new();
    let mut directories = vec![(String::new(), directory.to_owned())];
    while let Some((above, directory)) = directories.pop() {
        let entries = match fs::read_dir(&directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            result => result.at("list", &directory)?,
        };
        for entry in entries {
            let entry = entry.at("list", &directory)?;
            let path = entry.path();
            let Some(own) = entry.file_name().to_str().map(str::to_owned) else {
                return Err(ReleaseError::Refused { path, reason: "its name is not UTF-8".to_owned() });
            };
            let name = if above.is_empty() { own } else { format!("{above}/{own}") };
            if entry.file_type().at("look at", &path)?.is_dir() {
                directories.push((name, path));
            } else if path.is_file() {
                found.insert(name, path);
            } else {
                return Err(ReleaseError::Refused { path, reason: "it is no file".to_owned() });
            }
            if found.len() + directories.len() > MOST {
                let reason = format!("there are more than {MOST} files");
                return Err(ReleaseError::Refused { path: directory, reason });
            }
        }
    }
    Ok(found)
}
