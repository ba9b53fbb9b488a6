//! A root file system as an image of one layer: a tar archive as it is, a directory as the archive it would make.
//!
//! A directory is written once into a nameless file, as a deterministic archive: sorted, with numeric owners, hard
//! links and extended attributes. What may not be read is an error; sockets, which archives do not have, are left out.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Seek as _, SeekFrom};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use umiak_layer::LayerWriter;
use umiak_spec::{ImageConfig, Limits, Observer, Platform, Verified};
use umiak_tree::{Device, Directory, Kind, Metadata, Timestamp, TreePath, Xattrs};

use crate::blob::BlobFile;
use crate::cache::{Cache, whole};
use crate::error::{Error, IoContext as _};
use crate::image::{Image, Layer};
use crate::source::Source;
use crate::watch::Watched;

/// What an observer is told the comparing of digests is.
const PHASE: &str = "Reading";

/// A directory or tar archive.
pub(crate) struct RootFs {
    path: PathBuf,
    cache: Cache,
    limits: Limits,
    blob: Mutex<Option<BlobFile>>,
}

impl RootFs {
    pub(crate) fn new(path: &Path, cache: Cache, limits: Limits) -> Self {
        Self { path: path.to_owned(), cache, limits, blob: Mutex::default() }
    }

    fn blob(&self, observer: &dyn Observer) -> Result<BlobFile, Error> {
        let mut place = self.blob.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(blob) = &*place {
            return Ok(blob.clone());
        }
        let blob = if fs::metadata(&self.path).at("look at", &self.path)?.is_dir() {
            let file = self.cache.nameless()?;
            let length = archive(&self.path, &file, &self.limits, observer)?;
            whole(file, length)
        } else {
            BlobFile::open(&self.path)?
        };
        *place = Some(blob.clone());
        Ok(blob)
    }
}

impl Source for RootFs {
    fn resolve_watched(&self, _: &[Platform], observer: &dyn Observer) -> Result<Image, Error> {
        let blob = self.blob(observer)?;
        let reader = Watched::counted(blob.reader(), blob.len(), PHASE, observer);
        let (digest, size) = Verified::new(reader).finish().at("read", &self.path)?;
        Ok(Image {
            reference: digest.to_string(),
            manifest: None,
            config: ImageConfig { platform: Platform::host(), diff_ids: Vec::new(), text: "{}".into() },
            layers: vec![Layer { digest, size, media_type: String::new(), diff_id: None }],
        })
    }

    fn fetch(&self, _: &Layer, observer: &dyn Observer) -> Result<BlobFile, Error> {
        self.blob(observer)
    }
}

/// Writes `root` as an archive; returns its length.
fn archive(root: &Path, file: &File, limits: &Limits, observer: &dyn Observer) -> Result<u64, Error> {
    let writer = LayerWriter::new(BufWriter::with_capacity(1 << 20, file));
    let mut walk = Walk { writer, first_names: HashMap::new(), limits, observer };
    walk.add(root, &TreePath::root())?;
    let failed = |error: umiak_layer::WriteError| Error::Io {
        action: "read",
        path: root.to_owned(),
        source: io::Error::other(error),
    };
    let out = walk.writer.finish().map_err(failed)?;
    let mut file = out.into_inner().map_err(io::IntoInnerError::into_error).at("write", root)?;
    file.seek(SeekFrom::End(0)).at("write", root)
}

struct Walk<'a> {
    writer: LayerWriter<BufWriter<&'a File>>,
    /// The first path of every inode that has several names.
    first_names: HashMap<(u64, u64), TreePath>,
    limits: &'a Limits,
    observer: &'a dyn Observer,
}

impl Walk<'_> {
    fn add(&mut self, path: &Path, name: &TreePath) -> Result<(), Error> {
        self.observer.check()?;
        let found = fs::symlink_metadata(path).at("look at", path)?;
        let metadata = metadata(path, &found)?;
        let failed = |error: umiak_layer::WriteError| Error::Io {
            action: "read",
            path: path.to_owned(),
            source: io::Error::other(error),
        };
        if found.nlink() > 1 && !found.is_dir() {
            if let Some(first) = self.first_names.get(&(found.dev(), found.ino())) {
                return self.writer.hard_link(name, &metadata, first).map_err(failed);
            }
            self.first_names.insert((found.dev(), found.ino()), name.clone());
        }
        if found.is_file() {
            let mut content = Watched::stoppable(File::open(path).at("open", path)?, self.observer);
            let written = self.writer.file(name, &metadata, found.len(), &mut content);
            self.observer.check()?;
            return written.map_err(failed);
        }
        let Some(kind) = kind(path, &found)? else { return Ok(()) };
        self.writer.other(name, &metadata, &kind).map_err(failed)?;
        if found.is_dir() { self.children(path, name) } else { Ok(()) }
    }

    fn children(&mut self, path: &Path, name: &TreePath) -> Result<(), Error> {
        let entries = fs::read_dir(path).at("list", path)?;
        let mut names = entries.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>().at("list", path)?;
        names.sort();
        for child in names {
            let below = name.join(child.as_bytes());
            if below.components().count() > self.limits.depth {
                return Err(Error::Unsupported(format!("{} is nested too deeply", path.display())));
            }
            self.add(&path.join(&child), &below)?;
        }
        Ok(())
    }
}

/// What is no regular file; `None` for sockets, which archives do not have.
fn kind(path: &Path, found: &fs::Metadata) -> Result<Option<Kind<()>>, Error> {
    let device = || Device { major: rustix::fs::major(found.rdev()), minor: rustix::fs::minor(found.rdev()) };
    let file_type = found.file_type();
    Ok(Some(if file_type.is_dir() {
        Kind::Directory(Directory::new())
    } else if file_type.is_symlink() {
        Kind::Symlink(fs::read_link(path).at("read the link", path)?.as_os_str().as_bytes().into())
    } else if file_type.is_char_device() {
        Kind::CharDevice(device())
    } else if file_type.is_block_device() {
        Kind::BlockDevice(device())
    } else if file_type.is_fifo() {
        Kind::Fifo
    } else {
        return Ok(None);
    }))
}

fn metadata(path: &Path, found: &fs::Metadata) -> Result<Metadata, Error> {
    Ok(Metadata {
        mode: u16::try_from(found.mode() & 0o7777).unwrap_or(0),
        uid: found.uid(),
        gid: found.gid(),
        mtime: Timestamp { seconds: found.mtime(), nanoseconds: u32::try_from(found.mtime_nsec()).unwrap_or(0) },
        xattrs: xattrs(path)?,
    })
}

/// Extended attributes that mean something elsewhere: not the labels of this machine's security module.
fn xattrs(path: &Path) -> Result<Xattrs, Error> {
    let errno = |error: rustix::io::Errno| io::Error::from(error);
    let mut names = vec![0; 64 << 10];
    let length = match rustix::fs::llistxattr(path, &mut names[..]) {
        Err(rustix::io::Errno::NOTSUP) => return Ok(Xattrs::new()),
        other => other.map_err(errno).at("list the extended attributes of", path)?,
    };
    let mut found = Xattrs::new();
    for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        if name == b"security.selinux" || name.starts_with(b"system.") {
            continue;
        }
        let mut value = vec![0; 64 << 10];
        let length = rustix::fs::lgetxattr(path, name, &mut value[..])
            .map_err(errno)
            .at("read the extended attributes of", path)?;
        found.insert(name.into(), value[..length].into());
    }
    Ok(found)
}
