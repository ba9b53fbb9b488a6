//! The format file: which version of the layout this is, and what a program has to know to read or change it.
//!
//! `format` (and its copy) is the last thing that is made of a new store: without it there is no store, and nothing in the
//! directory is of value. Features are names in three lists: who does not know a *compatible* one ignores it, a
//! *read-only* one may read and not change, an *incompatible* one may not open the store.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::disk::Disk;
use crate::durable;
use crate::error::{IoContext as _, StoreError};
use crate::sealed;

/// The version of the layout that this code makes and knows.
pub const VERSION: u32 = 1;

/// Features that this code knows, of all three kinds. None so far.
const KNOWN: [&str; 0] = [];

const FORMAT: &str = "format";

/// Directories of a store, outermost first.
pub(crate) const DIRECTORIES: [&str; 8] =
    ["staging", "ingest", "incoming", "blobs", "blobs/sha256", "layers", "refs", "records"];

/// Other names at the top of a store.
pub(crate) const FILES: [&str; 5] = ["format", "format~", "lock", "updater", "reserve"];

/// What others put there: a file system into its own root, the agent what it must be able to write without the store.
pub(crate) const FOREIGN: [&str; 3] = ["lost+found", "inbox", "projects"];

#[derive(Serialize, Deserialize)]
struct Format {
    version: u32,
    #[serde(default)]
    features: Features,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Features {
    compatible: Vec<String>,
    read_only: Vec<String>,
    incompatible: Vec<String>,
}

/// Makes the directory `root` where it is missing, and refuses one that is full of other things.
pub(crate) fn make_root(root: &Path, disk: &dyn Disk) -> Result<(), StoreError> {
    durable::make_directories(disk, root)?;
    let names = durable::entries(root)?;
    let ours = |name: &String| DIRECTORIES.contains(&&**name) || FILES.contains(&&**name) || FOREIGN.contains(&&**name);
    if !names.iter().any(|name| name.starts_with(FORMAT)) && !names.iter().all(ours) {
        return Err(StoreError::NotAStore(root.to_owned()));
    }
    Ok(())
}

/// Reads the format file, or with `create` makes a store where there is none. Returns the names of features that this
/// code would have to know to make changes.
pub(crate) fn check(root: &Path, disk: &dyn Disk, create: bool) -> Result<Vec<String>, StoreError> {
    let Some(body) = sealed::read(&root.join(FORMAT))? else {
        if !create || !is_empty(root)? {
            return Err(StoreError::NotAStore(root.to_owned()));
        }
        return make(root, disk).map(|()| Vec::new());
    };
    read(root, &body)
}

fn read(root: &Path, body: &[u8]) -> Result<Vec<String>, StoreError> {
    let path = root.join(FORMAT);
    let bad = |why| StoreError::DamagedDocument { path: path.clone(), why };
    // The version first: a later one may have any form.
    let value: serde_json::Value = serde_json::from_slice(body).map_err(|_| bad("it is not JSON"))?;
    let version = value["version"].as_u64().ok_or_else(|| bad("it has no version"))?;
    let too_new = |needs| Err(StoreError::TooNew { path: root.to_owned(), needs });
    if version != u64::from(VERSION) {
        return too_new(vec![format!("version {version}")]);
    }
    let format: Format = serde_json::from_value(value).map_err(|_| bad("it has another form"))?;
    let unknown = |names: Vec<String>| -> Vec<String> {
        names.into_iter().filter(|name| !KNOWN.contains(&&**name)).map(|name| format!("the feature {name}")).collect()
    };
    let incompatible = unknown(format.features.incompatible);
    if !incompatible.is_empty() {
        return too_new(incompatible);
    }
    Ok(unknown(format.features.read_only))
}

/// Whether there is nothing of value: only what an unfinished [`make`] leaves.
fn is_empty(root: &Path) -> Result<bool, StoreError> {
    let holds = |name: &str| Ok::<_, StoreError>(!durable::entries(&root.join(name))?.is_empty());
    Ok(!holds("blobs/sha256")? && !holds("layers")? && !holds("refs")? && !holds("records")?)
}

fn make(root: &Path, disk: &dyn Disk) -> Result<(), StoreError> {
    for directory in DIRECTORIES {
        durable::make_directories(disk, &root.join(directory))?;
    }
    let format = Format { version: VERSION, features: Features::default() };
    let mut body = serde_json::to_vec(&format).expect("numbers and text are JSON");
    body.push(b'\n');
    let sealed = sealed::seal(&body);
    let place = root.join(FORMAT);
    for (name, place) in [("format", place.clone()), ("format~", sealed::copy_of(&place))] {
        let beside = root.join("staging").join(name);
        if beside.exists() {
            disk.unlink(&beside).at("remove", &beside)?;
        }
        let file = disk.create(&beside).at("create", &beside)?;
        file.write_all_at(&sealed, 0).at("write", &beside)?;
        file.sync().at("sync", &beside)?;
        disk.rename(&beside, &place).at("create", &place)?;
    }
    disk.sync_dir(root).at("sync", root)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needs(body: &str) -> Result<Vec<String>, StoreError> {
        read(Path::new("/s"), body.as_bytes())
    }

    #[test]
    fn features_decide_what_may_be_done() {
        assert!(needs(r#"{"version":1}"#).unwrap().is_empty());
        assert!(needs(r#"{"version":1,"features":{"compatible":["fresh-paint"]}}"#).unwrap().is_empty());
        let read_only = needs(r#"{"version":1,"features":{"readOnly":["packed-refs"]}}"#).unwrap();
        assert_eq!(read_only, ["the feature packed-refs"]);
        for (body, word) in [
            (r#"{"version":1,"features":{"incompatible":["erofs"]}}"#, "the feature erofs"),
            (r#"{"version":2,"features":"of another form"}"#, "version 2"),
        ] {
            let Err(StoreError::TooNew { needs, .. }) = needs(body) else { panic!("{body}") };
            assert_eq!(needs, [word]);
        }
        for bad in ["", "[]", "{}", r#"{"version":-1}"#, r#"{"version":1,"features":7}"#] {
            assert!(matches!(needs(bad), Err(StoreError::DamagedDocument { .. })), "{bad}");
        }
    }
}
