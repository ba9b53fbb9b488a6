//! Packs a project's directory into a bundle: a gzip tar with the pinned compose file in it.
//!
//! Everybody packs the same bytes: names in lexical order within each directory, owner 0, times 0, modes 0755 for
//! directories and what the owner may execute, 0644 for other files; links as they are; a fixed gzip header and level.
//! Left out are what `.composeappignores` names, that file, and the compose files that the pinned one was made from. What
//! this does not do: make the pinned text, or write to the directory.

mod ignore;

use std::collections::BTreeSet;
use std::fs::{self, File, Metadata as FileMetadata};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use flate2::{Compression, GzBuilder, write::GzEncoder};
use umiak_layer::{LayerWriter, WriteError};
use umiak_spec::app::{BUNDLE_LIMIT, BundleIndex};
use umiak_spec::{Cancelled, Digest, Limits, Observer, Sha256};
use umiak_tree::{Kind, Metadata, PathError, TreePath};

pub use ignore::{Ignore, IgnoreError};

/// The compose file of a bundle: the only name that devices read.
pub const COMPOSE_FILE: &str = "docker-compose.yml";
/// What stays out of a bundle.
pub const IGNORE_FILE: &str = ".composeappignores";

/// Bytes of one file: what composectl unpacks.
const FILE_LIMIT: u64 = BUNDLE_LIMIT - (1 << 20);
/// Names in a bundle.
const ENTRIES: usize = super::unpacked::ENTRIES;
/// Nested directories.
const DEPTH: usize = 256;

/// What was packed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    /// The digest of every file.
    pub index: BundleIndex,
    /// Bytes of the tar, before compression.
    pub size: u64,
}

/// Why a project could not be packed. What was written so far is no bundle.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// A file or directory could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system reports.
        source: io::Error,
    },
    /// The ignore file is none.
    #[error("cannot use {}", path.display())]
    Ignore {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: IgnoreError,
    },
    /// The ignore file takes the compose file away.
    #[error("{IGNORE_FILE} leaves out {COMPOSE_FILE}, and without it there is no app")]
    NoComposeFile,
    /// A file that a bundle cannot hold.
    #[error("{name} cannot be in a bundle: {reason}")]
    Unfit {
        /// Its name in the bundle.
        name: String,
        /// Why.
        reason: &'static str,
    },
    /// Too much.
    #[error("{name} is beyond the limit of {limit} {what}")]
    Limit {
        /// The file at which it was found out.
        name: String,
        /// What is limited.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// The archive could not be written, or a file changed meanwhile.
    #[error("cannot write the bundle")]
    Write(#[source] Box<WriteError>),
    /// Stopped on request.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

/// Packs `directory` with the pinned text `compose` into `output`. `left_out` are paths below the directory: the compose
/// files of the project, of which [`COMPOSE_FILE`] stays all the same.
///
/// # Errors
/// [`PackError`]; what was written to `output` must be thrown away then.
pub fn pack(
    directory: &Path,
    compose: &str,
    left_out: &BTreeSet<String>,
    output: impl Write,
    observer: &dyn Observer,
) -> Result<Packed, PackError> {
    let ignore = read_ignore(directory)?;
    if ignore.ignores(COMPOSE_FILE) {
        return Err(PackError::NoComposeFile);
    }
    let mut walk = Walk { directory, ignore, left_out, found: vec![] };
    walk.list("", 0)?;
    let encoder = GzBuilder::new().operating_system(255).write(output, Compression::default());
    let mut packing = Packing {
        directory,
        writer: LayerWriter::new(Counted { inner: encoder, count: 0 }),
        index: BundleIndex::default(),
        limits: Limits::default(),
        size: 0,
    };
    for (name, metadata) in &walk.found {
        observer.check()?;
        match metadata {
            Some(metadata) => packing.entry(name, metadata, observer)?,
            None => packing.file(name, 0o644, compose.len() as u64, &mut compose.as_bytes())?,
        }
    }
    packing.finish()
}

fn read_ignore(directory: &Path) -> Result<Ignore, PackError> {
    let path = directory.join(IGNORE_FILE);
    let mut bytes = Vec::new();
    match File::open(&path).and_then(|file| file.take(ignore::MAX_BYTES as u64 + 1).read_to_end(&mut bytes)) {
        Ok(_) => Ignore::parse(&bytes).map_err(|source| PackError::Ignore { path, source }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Ignore::default()),
        Err(source) => Err(PackError::Read { path, source }),
    }
}

/// Lists what goes in, in the order of the archive.
struct Walk<'a> {
    directory: &'a Path,
    ignore: Ignore,
    left_out: &'a BTreeSet<String>,
    /// Names and what they are; `None` for the compose file.
    found: Vec<(String, Option<FileMetadata>)>,
}

impl Walk<'_> {
    /// What is in `inside`, a directory below the project's, or the project's own if it is empty.
    fn list(&mut self, inside: &str, depth: usize) -> Result<(), PackError> {
        if depth > DEPTH {
            return Err(limit(inside, "nested directories", DEPTH as u64));
        }
        for name in self.names(inside)? {
            if name == COMPOSE_FILE {
                self.push(name, None)?;
                continue;
            }
            if name == IGNORE_FILE || self.left_out.contains(&name) {
                continue;
            }
            let path = self.directory.join(&name);
            let metadata = fs::symlink_metadata(&path).map_err(|source| PackError::Read { path, source })?;
            let (ignored, is_directory) = (self.ignore.ignores(&name), metadata.is_dir());
            if !ignored {
                self.push(name.clone(), Some(metadata))?;
            }
            if is_directory && (!ignored || self.ignore.takes_back()) {
                self.list(&name, depth + 1)?;
            }
        }
        Ok(())
    }

    /// Paths of all names in a directory, in the order of their bytes; the compose file is always there.
    fn names(&self, inside: &str) -> Result<BTreeSet<String>, PackError> {
        let path = self.directory.join(inside);
        let unreadable = |source| PackError::Read { path: path.clone(), source };
        let mut names = BTreeSet::new();
        for entry in fs::read_dir(&path).map_err(unreadable)? {
            let name = entry.map_err(unreadable)?.file_name();
            let Some(text) = name.to_str() else {
                let name = format!("{inside}/{}", name.to_string_lossy());
                return Err(unfit(&name, "its name is not UTF-8, and the index of a bundle is a text"));
            };
            names.insert(if inside.is_empty() { text.to_owned() } else { format!("{inside}/{text}") });
            if names.len() > ENTRIES {
                return Err(limit(inside, "files and directories", ENTRIES as u64));
            }
        }
        if inside.is_empty() {
            names.insert(COMPOSE_FILE.to_owned());
        }
        Ok(names)
    }

    fn push(&mut self, name: String, metadata: Option<FileMetadata>) -> Result<(), PackError> {
        if self.found.len() >= ENTRIES {
            return Err(limit(&name, "files and directories", ENTRIES as u64));
        }
        self.found.push((name, metadata));
        Ok(())
    }
}

/// Writes the archive.
struct Packing<'a, W: Write> {
    directory: &'a Path,
    writer: LayerWriter<Counted<GzEncoder<W>>>,
    index: BundleIndex,
    limits: Limits,
    /// Bytes of files so far.
    size: u64,
}

impl<W: Write> Packing<'_, W> {
    fn entry(&mut self, name: &str, metadata: &FileMetadata, observer: &dyn Observer) -> Result<(), PackError> {
        let path = self.directory.join(name);
        let kind = metadata.file_type();
        let unreadable = |source| PackError::Read { path: path.clone(), source };
        if kind.is_dir() {
            let directory = Kind::<()>::Directory(std::collections::BTreeMap::new());
            return self.other(name, 0o755, &directory);
        }
        if kind.is_symlink() {
            let target = fs::read_link(&path).map_err(unreadable)?;
            let Some(text) = target.to_str() else { return Err(unfit(name, "what it points at is not UTF-8")) };
            if !super::unpacked::stays_inside(name, text) {
                return Err(unfit(name, "it points out of the bundle"));
            }
            self.index.insert(name, Digest::of(b""));
            return self.other(name, 0o777, &Kind::<()>::Symlink(text.as_bytes().into()));
        }
        if !kind.is_file() {
            return Err(unfit(name, "it is no file, directory or link"));
        }
        let mut file = File::open(&path).map_err(unreadable)?;
        observer.expect("Packing", metadata.len());
        let mode = if metadata.permissions().mode() & 0o100 == 0 { 0o644 } else { 0o755 };
        self.file(name, mode, metadata.len(), &mut file)?;
        observer.advance("Packing", metadata.len());
        Ok(())
    }

    fn file(&mut self, name: &str, mode: u16, size: u64, content: &mut dyn Read) -> Result<(), PackError> {
        if size > FILE_LIMIT {
            return Err(limit(name, "bytes in a file", FILE_LIMIT));
        }
        self.size += size;
        if self.size > BUNDLE_LIMIT {
            return Err(limit(name, "bytes in a bundle", BUNDLE_LIMIT));
        }
        let mut content = Hashed { inner: content, hash: Sha256::new() };
        let path = self.path(name)?;
        let written = self.writer.file(&path, &Metadata::root_owned(mode), size, &mut content);
        written.map_err(failed)?;
        self.index.insert(name, content.hash.finish());
        Ok(())
    }

    fn other(&mut self, name: &str, mode: u16, kind: &Kind<()>) -> Result<(), PackError> {
        let path = self.path(name)?;
        self.writer.other(&path, &Metadata::root_owned(mode), kind).map_err(failed)
    }

    fn path(&self, name: &str) -> Result<TreePath, PackError> {
        if name.split('/').any(|part| part.starts_with(".wh.")) {
            return Err(unfit(name, "in archives, names that begin with `.wh.` stand for what is gone"));
        }
        TreePath::from_archive(name.as_bytes(), &self.limits).map_err(|error| match error {
            PathError::TooLong { what, limit: most, .. } => limit(name, what, most as u64),
            _ => unfit(name, "its name is no path"),
        })
    }

    fn finish(self) -> Result<Packed, PackError> {
        let counted = self.writer.finish().map_err(failed)?;
        if counted.count > BUNDLE_LIMIT {
            return Err(limit("the archive", "bytes in a bundle", BUNDLE_LIMIT));
        }
        let write = |source| failed(WriteError::Write { path: TreePath::root(), source });
        counted.inner.finish().and_then(|mut output| output.flush()).map_err(write)?;
        Ok(Packed { index: self.index, size: counted.count })
    }
}

fn unfit(name: &str, reason: &'static str) -> PackError {
    PackError::Unfit { name: name.to_owned(), reason }
}

fn limit(name: &str, what: &'static str, limit: u64) -> PackError {
    let name = if name.is_empty() { "the project" } else { name };
    PackError::Limit { name: name.to_owned(), what, limit }
}

/// A request to stop stays one.
fn failed(error: WriteError) -> PackError {
    match &error {
        WriteError::Write { source, .. } | WriteError::Content { source, .. } if Cancelled::is_behind(source) => {
            Cancelled.into()
        }
        _ => PackError::Write(Box::new(error)),
    }
}

/// Hashes what is read.
struct Hashed<'a> {
    inner: &'a mut dyn Read,
    hash: Sha256,
}

impl Read for Hashed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hash.write_all(&buffer[..count])?;
        Ok(count)
    }
}

/// Counts what is written.
struct Counted<W> {
    inner: W,
    count: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.count += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
