//! Is a layer what it was when it was taken in?

use std::fs;
use std::path::PathBuf;

use umiak_spec::{Digest, Observer};

use super::files::{self, CHECKING, IMAGE, RECORD, SKELETON};
use super::kind;
use super::record::FileRecord;
use super::stack::StackRecord;
use crate::check::Depth;
use crate::durable;
use crate::error::StoreError;
use crate::sealed;
use crate::store::Store;

/// What is wrong with a layer that is here, in one clause; `None` when nothing is.
pub(crate) fn check(
    store: &Store,
    diff_id: &Digest,
    depth: Depth,
    observer: &dyn Observer,
) -> Result<Option<String>, StoreError> {
    let record = match files::record(store, diff_id) {
        Ok(Some(record)) => record,
        Ok(None) => return Ok(Some("it is no directory".to_owned())),
        Err(StoreError::DamagedLayer { why, .. }) => return Ok(Some(why)),
        Err(error) => return Err(error),
    };
    if let Some(why) = sealed::wrong(&files::place(store, diff_id, RECORD))? {
        return Ok(Some(format!("of its record {why}")));
    }
    if let Some(base) = record.base.filter(|base| !kind::has(store, base)) {
        return Ok(Some(format!("its base {} is not here", base.short())));
    }
    for (file, expected) in [(IMAGE, record.image), (SKELETON, record.skeleton)] {
        if let Some(why) = wrong(store, diff_id, file, expected, depth, observer)? {
            return Ok(Some(why));
        }
    }
    if let Some((_, why)) = bad_stacks(store, diff_id, depth, observer)?.pop() {
        return Ok(Some(why));
    }
    strays(store, diff_id)
}

/// Documents of stacks that end with this layer and are damaged, or whose top is; and why.
pub(crate) fn bad_stacks(
    store: &Store,
    diff_id: &Digest,
    depth: Depth,
    observer: &dyn Observer,
) -> Result<Vec<(PathBuf, String)>, StoreError> {
    let mut documents = kind::documents(store, diff_id)?;
    documents.retain(|name| name.ends_with(kind::STACK));
    let mut bad = Vec::new();
    for name in documents {
        let path = files::place(store, diff_id, &name);
        if let Some(why) = sealed::wrong(&path)? {
            bad.push((path, format!("of what was found for a stack {why}")));
            continue;
        }
        let body = sealed::read(&path)?.unwrap_or_default();
        let why = match serde_json::from_slice::<StackRecord>(&body) {
            Err(_) => Some("what was found for a stack cannot be read".to_owned()),
            Ok(StackRecord { top: None, .. }) => None,
            Ok(StackRecord { top: Some(top), .. }) => {
                let file = name.replace(".stack", ".top");
                wrong(store, diff_id, &file, top, depth, observer)?.map(|why| format!("the top of a stack: {why}"))
            }
        };
        bad.extend(why.map(|why| (path, why)));
    }
    Ok(bad)
}

/// What is wrong with one of the files.
pub(crate) fn wrong(
    store: &Store,
    diff_id: &Digest,
    file: &str,
    expected: FileRecord,
    depth: Depth,
    observer: &dyn Observer,
) -> Result<Option<String>, StoreError> {
    let path = files::place(store, diff_id, file);
    let bytes = match fs::metadata(&path) {
        Ok(metadata) if metadata.is_file() => metadata.len(),
        Ok(_) => return Ok(Some(format!("{file} is no file"))),
        Err(error) => return Ok(Some(format!("{file} cannot be read: {error}"))),
    };
    if bytes != expected.bytes {
        return Ok(Some(format!("{file} has {bytes} bytes, it had {}", expected.bytes)));
    }
    if depth == Depth::Names {
        return Ok(None);
    }
    observer.expect(CHECKING, bytes);
    match files::hash(&path, observer) {
        Ok(found) if found == expected => Ok(None),
        Ok(_) => Ok(Some(format!("{file} is not what was written"))),
        Err(StoreError::Io { source, .. }) => Ok(Some(format!("{file} cannot be read: {source}"))),
        Err(error) => Err(error),
    }
}

/// Files that no layer has.
fn strays(store: &Store, diff_id: &Digest) -> Result<Option<String>, StoreError> {
    for name in durable::entries(&kind::path(store, diff_id))? {
        let plain = name.strip_suffix('~').unwrap_or(&name);
        let stack = name.strip_suffix(".top").or_else(|| plain.strip_suffix(".stack"));
        let ours = [IMAGE, SKELETON].contains(&&*name) || plain == RECORD;
        if !ours && stack.is_none_or(|chain| Digest::from_hex(chain).is_err()) {
            return Ok(Some(format!("it holds {name:?}, which umiak has not put there")));
        }
    }
    Ok(None)
}
