//! Small documents that must not be lost: sealed with their digest, and kept twice.
//!
//! A document `x` of a directory is the file `x` and its copy `x~`, both complete. The first that is whole counts: a damaged
//! or lost file is made again from the other one when the store is opened for changes. Writing puts both beside, syncs
//! them, renames `x`, renames `x~` and syncs the directory: after a crash the document is the one before or the one after,
//! and a disk that fills up is met before the first rename. Removing begins with the copy.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use umiak_spec::Digest;

use crate::durable;
use crate::error::{IoContext as _, StoreError};
use crate::name::Name;
use crate::store::Store;

/// Bytes of a ref's or record's content.
pub const DOCUMENT_LIMIT: usize = 4 << 20;

/// First word of a sealed file.
const MAGIC: &str = "umiak-sealed-1";

/// Bytes of the first line: the word, 64 digits, a length, two spaces and the end.
const LINE_LIMIT: usize = MAGIC.len() + 64 + 20 + 3;

/// `body` behind a line that says its digest and length.
pub(crate) fn seal(body: &[u8]) -> Vec<u8> {
    let mut sealed = format!("{MAGIC} {} {}\n", Digest::of(body).hex(), body.len()).into_bytes();
    sealed.extend_from_slice(body);
    sealed
}

/// What [`seal`] was given, or what is wrong.
pub(crate) fn unseal(sealed: &[u8]) -> Result<&[u8], &'static str> {
    let head = &sealed[..sealed.len().min(LINE_LIMIT)];
    let end = head.iter().position(|byte| *byte == b'\n').ok_or("it has no first line")?;
    let (line, body) = (&sealed[..end], &sealed[end + 1..]);
    let text = str::from_utf8(line).map_err(|_| "its first line is not text")?;
    let mut words = text.split(' ');
    let (magic, hex, length) = (words.next(), words.next(), words.next());
    if magic != Some(MAGIC) || words.next().is_some() {
        return Err("its first line is not ours");
    }
    if length != Some(body.len().to_string().as_str()) {
        return Err("it has the wrong length");
    }
    if hex != Some(Digest::of(body).hex().as_str()) {
        return Err("its content has another digest");
    }
    Ok(body)
}

/// One file of a pair.
enum Half {
    Absent,
    Whole(Vec<u8>),
    Bad(&'static str),
}

fn half(path: &Path) -> Result<Half, StoreError> {
    let limit = LINE_LIMIT + DOCUMENT_LIMIT;
    let mut sealed = Vec::new();
    let read = File::open(path).and_then(|file| file.take(limit as u64 + 1).read_to_end(&mut sealed));
    match read {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Half::Absent),
        // A bad block, or a directory that bears the name: that file is lost, the other one may do.
        Err(error) if is_damage(&error) => return Ok(Half::Bad("it cannot be read")),
        other => other.at("read", path)?,
    };
    if sealed.len() > limit {
        return Ok(Half::Bad("it is too large"));
    }
    Ok(unseal(&sealed).map(<[u8]>::to_vec).map_or_else(Half::Bad, Half::Whole))
}

fn is_damage(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
        || error.raw_os_error() == Some(rustix::io::Errno::UCLEAN.raw_os_error())
        || error.kind() == io::ErrorKind::IsADirectory
}

/// The name of the copy.
pub(crate) fn copy_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("~");
    PathBuf::from(name)
}

/// Content of the document `path`; `None` when there is none.
pub(crate) fn read(path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    match (half(path)?, half(&copy_of(path))?) {
        (Half::Whole(body), _) | (_, Half::Whole(body)) => Ok(Some(body)),
        (Half::Absent, Half::Absent) => Ok(None),
        (Half::Bad(why), _) | (_, Half::Bad(why)) => Err(StoreError::DamagedDocument { path: path.to_owned(), why }),
    }
}

/// Whether both files of the document are whole and equal; what is wrong otherwise.
pub(crate) fn wrong(path: &Path) -> Result<Option<&'static str>, StoreError> {
    Ok(match (half(path)?, half(&copy_of(path))?) {
        (Half::Whole(one), Half::Whole(other)) if one == other => None,
        (Half::Whole(_), Half::Whole(_)) => Some("its copy is another one"),
        (Half::Bad(why), _) | (_, Half::Bad(why)) => Some(why),
        (Half::Absent, Half::Absent) => None,
        (Half::Absent, _) => Some("it is lost, its copy is there"),
        (_, Half::Absent) => Some("its copy is lost"),
    })
}

/// The documents of a directory, by name.
pub(crate) fn list(directory: &Path) -> Result<Vec<Name>, StoreError> {
    let names = durable::entries(directory)?;
    let mut names: Vec<Name> =
        names.iter().filter_map(|name| name.strip_suffix('~').unwrap_or(name).parse().ok()).collect();
    names.sort_unstable();
    names.dedup();
    Ok(names)
}

impl Store {
    /// Writes the document `path`.
    pub(crate) fn write_sealed(&self, path: &Path, body: &[u8]) -> Result<(), StoreError> {
        if body.len() > DOCUMENT_LIMIT {
            return Err(StoreError::TooLarge { what: path.display().to_string(), limit: DOCUMENT_LIMIT as u64 });
        }
        let sealed = seal(body);
        let (mut one, mut copy) = (self.stage_bytes(&sealed)?, self.stage_bytes(&sealed)?);
        one.rename(path)?;
        copy.rename(&copy_of(path))?;
        self.sync_names(durable::parent(path))
    }

    /// Removes the document `path`, if there is one.
    pub(crate) fn remove_sealed(&self, path: &Path) -> Result<(), StoreError> {
        self.updating()?;
        for half in [copy_of(path), path.to_owned()] {
            match self.disk.unlink(&half) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => other.at("remove", &half)?,
            }
        }
        self.sync_names(durable::parent(path))
    }

    /// Makes a damaged, lost or stale file of the document `path` again from the other one; whether that was needed.
    pub(crate) fn mend_sealed(&self, path: &Path) -> Result<bool, StoreError> {
        if wrong(path)?.is_none() {
            return Ok(false);
        }
        let Some(body) = read(path)? else { return Ok(false) };
        for place in [path.to_owned(), copy_of(path)] {
            if place.is_dir() {
                durable::remove_tree(&*self.disk, &place)?;
            }
        }
        self.write_sealed(path, &body)?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_document_has_golden_bytes() {
        let sealed = seal(b"{}\n");
        let digest = "ca3d163bab055381827226140568f3bef7eaac187cebd76878e0b63e9e442356";
        assert_eq!(String::from_utf8(sealed.clone()).unwrap(), format!("umiak-sealed-1 {digest} 3\n{{}}\n"));
        assert_eq!(unseal(&sealed), Ok(&b"{}\n"[..]));
    }

    #[test]
    fn every_changed_or_missing_byte_is_noticed() {
        let sealed = seal(b"the quick brown fox");
        for at in 0..sealed.len() {
            for bit in 0..8 {
                let mut bad = sealed.clone();
                bad[at] ^= 1 << bit;
                assert!(unseal(&bad).is_err(), "byte {at} bit {bit}");
            }
            assert!(unseal(&sealed[..at]).is_err(), "cut at {at}");
        }
        assert!(unseal(&[&sealed[..], b"x"].concat()).is_err());
        assert!(unseal(b"").is_err());
    }
}
