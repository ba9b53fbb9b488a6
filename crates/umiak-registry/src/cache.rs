//! Blobs kept by digest, so that nothing is fetched twice.
//!
//! ```text
//! <cache>/blobs/sha256/<hex>            a whole blob
//! <cache>/blobs/sha256/<hex>.partial    what an interrupted fetch left; locked while a fetch goes on
//! <cache>/unpacked/<hex>                an archive that came compressed, by the digest of the compressed file
//! <cache>/unpacked/<hex>.partial        one that is being unpacked, or what an interruption left of it
//! ```
//!
//! Guarantees: a file without suffix was complete when it was renamed into place; a blob was verified before that, is
//! verified again before every use, and dropped if it is damaged. Several processes and threads may use one cache: a
//! partial file is written by the one that holds its lock. After a power cut a rename may be undone: then the partial
//! file is found complete. A cache without a path keeps nothing. Beside `durable`, this is the only module of the crate that changes files.
#![allow(clippy::disallowed_methods)]

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek as _, SeekFrom, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use umiak_spec::{Cancelled, Digest, Limits, Observer, Sha256, Verified};

use crate::blob::BlobFile;
use crate::error::{Error, IoContext as _};
use crate::image::Layer;
use crate::landing::Landing;
use crate::watch::Watched;

/// What an observer is told it is.
const UNPACKING: &str = "Unpacking";

/// How often somebody else's lock is looked at.
const SHORT: Duration = Duration::from_millis(20);

/// Scratch files of processes that died in the moment before removing them.
const MAX_SCRATCH: u32 = 10_000;

/// A directory of blobs.
#[derive(Debug, Clone)]
pub(crate) struct Cache {
    root: PathBuf,
}

impl Cache {
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Whether there is none: an empty path keeps nothing.
    fn is_none(&self) -> bool {
        self.root.as_os_str().is_empty()
    }

    /// Where it is.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    fn blob(&self, digest: Digest) -> PathBuf {
        self.root.join("blobs/sha256").join(digest.hex())
    }

    /// The blob of `layer` if it is kept and whole.
    pub(crate) fn get(&self, layer: &Layer) -> Option<BlobFile> {
        if self.is_none() {
            return None;
        }
        let path = self.blob(layer.digest);
        let blob = BlobFile::open(&path).ok()?;
        match blob.verify(layer, &path) {
            Ok(()) => Some(blob),
            Err(_) => {
                let _ = fs::remove_file(&path);
                None
            }
        }
    }

    /// A kept manifest or config, if it is whole.
    pub(crate) fn document(&self, digest: Digest, limits: &Limits) -> Option<Vec<u8>> {
        if self.is_none() {
            return None;
        }
        let blob = BlobFile::open(&self.blob(digest)).ok().filter(|blob| blob.len() <= limits.document)?;
        blob.bytes().ok().filter(|bytes| Digest::of(bytes) == digest)
    }

    /// Keeps a verified manifest or config.
    pub(crate) fn keep_document(&self, digest: Digest, bytes: &[u8]) -> Result<BlobFile, Error> {
        let size = bytes.len() as u64;
        let blob = Layer { digest, size, media_type: String::new(), diff_id: None };
        let mut partial = self.partial(&blob, patiently)?;
        partial.restart()?;
        partial.append(bytes)?;
        self.keep(&blob, partial)
    }

    /// Bytes of `layer` that a fetch would have to bring, as far as can be told without reading.
    pub(crate) fn missing(&self, layer: &Layer) -> u64 {
        if self.is_none() {
            return layer.size;
        }
        let path = self.blob(layer.digest);
        let length = |path: &Path| fs::metadata(path).ok().map(|found| found.len());
        if length(&path) == Some(layer.size) {
            return 0;
        }
        let kept = length(&path.with_extension("partial")).filter(|kept| *kept <= layer.size);
        layer.size - kept.unwrap_or(0)
    }

    /// Starts or resumes a fetch. While somebody else fetches the same blob, `wait` is called again and again: it lets
    /// some time pass, or gives up.
    pub(crate) fn partial(&self, layer: &Layer, wait: impl FnMut() -> Result<(), Cancelled>) -> Result<Partial, Error> {
        if self.is_none() {
            return Err(Error::Unsupported("there is no cache to keep a blob in".into()));
        }
        let path = self.blob(layer.digest).with_extension("partial");
        let file = locked(&path, wait)?;
        let mut partial = Partial { path, file, hash: Sha256::new(), length: 0 };
        let kept = partial.file.metadata().at("look at", &partial.path)?.len();
        if kept > layer.size {
            partial.restart()?;
        } else {
            partial.hash_kept()?;
        }
        Ok(partial)
    }

    /// Makes a fetched blob a whole one.
    pub(crate) fn keep(&self, layer: &Layer, mut partial: Partial) -> Result<BlobFile, Error> {
        let what = || format!("layer {}", layer.digest);
        if partial.length != layer.size {
            return Err(Error::Size { what: what(), expected: layer.size, found: partial.length });
        }
        let found = std::mem::take(&mut partial.hash).finish();
        if found != layer.digest {
            // What is there is of no use for another try.
            partial.restart()?;
            return Err(Error::Digest { what: what(), expected: layer.digest, found });
        }
        let path = self.blob(layer.digest);
        partial.file.sync_all().at("write to disk", &partial.path)?;
        fs::rename(&partial.path, &path).at("rename into place", &path)?;
        BlobFile::open(&path)
    }

    /// The plain bytes of a compressed archive, unpacked once.
    pub(crate) fn unpacked(
        &self,
        archive: &Path,
        observer: &dyn Observer,
        unpack: impl FnOnce(Watched<'_, File>, &mut dyn Write) -> Result<(), Error>,
    ) -> Result<BlobFile, Error> {
        let mut file = File::open(archive).at("open", archive)?;
        let length = file.metadata().at("look at", archive)?.len();
        let reader = Watched::counted(&file, length, UNPACKING, observer);
        let (digest, _) = Verified::new(reader).finish().at("read", archive)?;
        let path = self.root.join("unpacked").join(digest.hex());
        if path.exists() {
            return BlobFile::open(&path);
        }
        let beside = path.with_extension("partial");
        let mut out = locked(&beside, || observer.check().and_then(|()| patiently()))?;
        // Whoever held the lock may have unpacked it meanwhile.
        if path.exists() {
            let _ = fs::remove_file(&beside);
            return BlobFile::open(&path);
        }
        let make = || {
            out.set_len(0).at("empty", &beside)?;
            file.seek(SeekFrom::Start(0)).at("read", archive)?;
            unpack(Watched::counted(file, length, UNPACKING, observer), &mut out)?;
            out.sync_all().at("write to disk", &beside)?;
            fs::rename(&beside, &path).at("rename into place", &path)
        };
        if let Err(error) = make() {
            let _ = fs::remove_file(&beside);
            return Err(error);
        }
        BlobFile::open(&path)
    }

    /// A file without a name: gone when it is closed, however the process ends.
    pub(crate) fn nameless(&self) -> Result<File, Error> {
        fs::create_dir_all(&self.root).at("create", &self.root)?;
        let mut number = 0;
        loop {
            // The name is taken by another thread that is about to remove it, or was left by a process that died here.
            let path = self.root.join(format!("scratch-{}-{number}", std::process::id()));
            match File::options().read(true).write(true).create_new(true).open(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && number < MAX_SCRATCH => number += 1,
                file => {
                    let file = file.at("create", &path)?;
                    fs::remove_file(&path).at("remove", &path)?;
                    return Ok(file);
                }
            }
        }
    }
}

/// Opens or makes a file and locks it. `wait` is called while somebody else has it.
fn locked(path: &Path, mut wait: impl FnMut() -> Result<(), Cancelled>) -> Result<File, Error> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).at("create", parent)?;
    }
    loop {
        let file = File::options().read(true).write(true).create(true).truncate(false).open(path).at("create", path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                wait()?;
                continue;
            }
            Err(TryLockError::Error(error)) => return Err(error).at("lock", path),
        }
        // Whoever held the lock may have renamed the file into place or removed it meanwhile: then it is not ours.
        let ours = file.metadata().at("look at", path)?;
        if fs::metadata(path).is_ok_and(|there| (there.dev(), there.ino()) == (ours.dev(), ours.ino())) {
            return Ok(file);
        }
    }
}

/// Waits for others where nobody watches.
fn patiently() -> Result<(), Cancelled> {
    std::thread::sleep(SHORT);
    Ok(())
}

/// A blob that is being fetched.
pub(crate) struct Partial {
    path: PathBuf,
    file: File,
    hash: Sha256,
    length: u64,
}

impl Landing for Partial {
    fn offset(&self) -> u64 {
        self.length
    }

    fn restart(&mut self, _: Option<&str>) -> io::Result<()> {
        Self::restart(self).map_err(io::Error::other)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.append(bytes).map_err(io::Error::other)
    }
}

impl Partial {
    /// Forgets what is here.
    pub(crate) fn restart(&mut self) -> Result<(), Error> {
        self.file.set_len(0).at("empty", &self.path)?;
        self.file.seek(SeekFrom::Start(0)).at("empty", &self.path)?;
        self.hash = Sha256::new();
        self.length = 0;
        Ok(())
    }

    /// Gives up what is here, because the whole blob has come into the cache by another way.
    pub(crate) fn discard(self) {
        let _ = fs::remove_file(&self.path);
    }

    /// Adds bytes.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.file.write_all(bytes).at("write", &self.path)?;
        self.hash.update(bytes);
        self.length += bytes.len() as u64;
        Ok(())
    }

    fn hash_kept(&mut self) -> Result<(), Error> {
        let mut buffer = vec![0; 256 << 10];
        loop {
            match self.file.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => {
                    self.hash.update(&buffer[..count]);
                    self.length += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error).at("read", &self.path),
            }
        }
    }
}

/// A nameless file as a blob.
pub(crate) fn whole(file: File, length: u64) -> BlobFile {
    BlobFile::part(&Arc::new(file), 0, length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(bytes: &[u8]) -> Layer {
        Layer { digest: Digest::of(bytes), size: bytes.len() as u64, media_type: String::new(), diff_id: None }
    }

    #[test]
    fn an_interrupted_fetch_is_resumed_and_kept_once_verified() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::new(directory.path());
        let layer = layer(b"hello world");
        cache.partial(&layer, patiently).unwrap().append(b"hello ").unwrap();
        assert!(cache.get(&layer).is_none());
        let mut again = cache.partial(&layer, patiently).unwrap();
        assert_eq!(again.offset(), 6);
        again.append(b"world").unwrap();
        assert_eq!(cache.keep(&layer, again).unwrap().bytes().unwrap(), b"hello world");
        assert_eq!(cache.get(&layer).unwrap().bytes().unwrap(), b"hello world");
    }

    #[test]
    fn wrong_bytes_are_never_kept_nor_used() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::new(directory.path());
        let layer = layer(b"hello world");
        let mut partial = cache.partial(&layer, patiently).unwrap();
        partial.append(b"hello w0rld").unwrap();
        assert!(matches!(cache.keep(&layer, partial), Err(Error::Digest { .. })));
        assert_eq!(cache.partial(&layer, patiently).unwrap().offset(), 0, "nothing of it is resumed");

        let path = cache.blob(layer.digest);
        fs::write(&path, "damaged").unwrap();
        assert!(cache.get(&layer).is_none());
        assert!(!path.exists(), "a damaged blob is dropped");
    }

    #[test]
    fn waiting_for_somebody_elses_fetch_can_be_given_up() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::new(directory.path());
        let layer = layer(b"hello world");
        let mut held = cache.partial(&layer, patiently).unwrap();
        let mut waits = 0;
        let given_up = cache.partial(&layer, || {
            waits += 1;
            if waits < 3 { Ok(()) } else { Err(Cancelled) }
        });
        assert!(matches!(given_up, Err(Error::Cancelled(_))));
        assert_eq!(waits, 3);

        held.append(b"hello ").unwrap();
        assert_eq!(cache.missing(&layer), 5);
        held.append(b"world").unwrap();
        let mut held = Some(held);
        let late = cache.partial(&layer, || {
            cache.keep(&layer, held.take().unwrap()).unwrap();
            Ok(())
        });
        assert_eq!(late.as_ref().unwrap().offset(), 0, "the blob itself is never opened for writing");
        late.unwrap().discard();
        assert_eq!(cache.missing(&layer), 0);
        assert!(!cache.blob(layer.digest).with_extension("partial").exists());
        assert_eq!(cache.get(&layer).unwrap().bytes().unwrap(), b"hello world");
    }

    #[test]
    fn an_archive_is_unpacked_once_however_many_want_it() {
        let directory = tempfile::tempdir().unwrap();
        let (cache, archive) = (Cache::new(directory.path()), directory.path().join("archive"));
        fs::write(&archive, "packed").unwrap();
        // What an interrupted unpacking left is longer than what comes now.
        let leftover = directory.path().join("unpacked").join(Digest::of(b"packed").hex()).with_extension("partial");
        fs::create_dir(leftover.parent().unwrap()).unwrap();
        fs::write(&leftover, "left by a process that was killed").unwrap();
        let times = std::sync::atomic::AtomicUsize::new(0);
        let unpack = |mut file: Watched<'_, File>, out: &mut dyn Write| {
            times.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            io::copy(&mut file, out).at("unpack", &archive).map(drop)
        };
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let blob = cache.unpacked(&archive, &umiak_spec::Silent, unpack).unwrap();
                    assert_eq!(blob.bytes().unwrap(), b"packed");
                });
            }
        });
        assert_eq!(times.into_inner(), 1);
        assert!(!leftover.exists());

        fs::write(&archive, "other").unwrap();
        let failing = |_: Watched<'_, File>, _: &mut dyn Write| Err(Error::Unsupported("no".into()));
        assert!(cache.unpacked(&archive, &umiak_spec::Silent, failing).is_err());
        assert_eq!(fs::read_dir(leftover.parent().unwrap()).unwrap().count(), 1, "a failure leaves nothing");
    }

    #[test]
    fn scratch_files_have_no_names() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::new(directory.path());
        fs::write(directory.path().join(format!("scratch-{}-0", std::process::id())), "left").unwrap();
        let mut files = [cache.nameless().unwrap(), cache.nameless().unwrap()];
        files[0].write_all(b"one").unwrap();
        assert_eq!(files[1].metadata().unwrap().len(), 0);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "only what a dead process left");
    }
}
