//! Digests of files: one, or many on all cores.

use std::fs::{File, Metadata};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use umiak_spec::{Cancelled, Digest, Observer, Sha256};

use crate::error::{Error, IoContext};

const BUFFER: usize = 128 << 10;

/// What tells that a file is still the one that was hashed: times in nanoseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) size: u64,
    pub(crate) mtime: i64,
    pub(crate) ctime: i64,
    pub(crate) inode: u64,
    pub(crate) device: u64,
}

impl Stat {
    pub(crate) fn of(metadata: &Metadata) -> Self {
        let nanoseconds = |seconds: i64, rest: i64| seconds.saturating_mul(1_000_000_000).saturating_add(rest);
        Self {
            size: metadata.len(),
            mtime: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
            ctime: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
            inode: metadata.ino(),
            device: metadata.dev(),
        }
    }
}

/// Feeds the rest of `reader` to `each`, chunk by chunk; stops when cancelled. Returns the number of bytes.
pub(crate) fn pump(
    reader: &mut dyn Read,
    path: &Path,
    phase: &'static str,
    observer: &dyn Observer,
    mut each: impl FnMut(&[u8]) -> Result<(), Error>,
) -> Result<u64, Error> {
    let mut buffer = vec![0; BUFFER];
    let mut total = 0;
    loop {
        observer.check()?;
        let count = match reader.read(&mut buffer) {
            Ok(count) => count,
            Err(error) if Cancelled::is_behind(&error) => return Err(Cancelled.into()),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error).at("read", path),
        };
        if count == 0 {
            return Ok(total);
        }
        each(&buffer[..count])?;
        total += count as u64;
        observer.advance(phase, count as u64);
    }
}

/// The digest of a file's content.
pub(crate) fn file(path: &Path, phase: &'static str, observer: &dyn Observer) -> Result<Digest, Error> {
    opened(&mut File::open(path).at("open", path)?, path, phase, observer)
}

/// The digest of what is left of an open file.
pub(crate) fn opened(
    file: &mut File,
    path: &Path,
    phase: &'static str,
    observer: &dyn Observer,
) -> Result<Digest, Error> {
    let mut hash = Sha256::new();
    pump(file, path, phase, observer, |bytes| {
        hash.update(bytes);
        Ok(())
    })?;
    Ok(hash.finish())
}

/// Does `work` on every item, on all cores; results in the order of the items. The first error stops all.
pub(crate) fn parallel<T: Sync, R: Send>(
    items: &[T],
    work: impl Fn(&T) -> Result<R, Error> + Sync,
) -> Result<Vec<R>, Error> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(8).min(items.len().div_ceil(16));
    if threads <= 1 {
        return items.iter().map(work).collect();
    }
    let next = AtomicUsize::new(0);
    let results: Mutex<Vec<(usize, R)>> = Mutex::new(Vec::with_capacity(items.len()));
    let failed: Mutex<Option<Error>> = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut mine = Vec::new();
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(index) else { break };
                    match work(item) {
                        Ok(result) => mine.push((index, result)),
                        Err(error) => {
                            next.store(items.len(), Ordering::Relaxed);
                            failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                            break;
                        }
                    }
                }
                results.lock().unwrap_or_else(PoisonError::into_inner).append(&mut mine);
            });
        }
    });
    if let Some(error) = failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(error);
    }
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_unstable_by_key(|(index, _)| *index);
    Ok(results.into_iter().map(|(_, result)| result).collect())
}
