//! A tar archive while it is written: every blob is compared with its digest as it passes.

use std::io::{self, Read, Write};
use std::path::Path;

use umiak_layer::LayerWriter;
use umiak_spec::{Cancelled, Descriptor, Limits, Observer, ReadAt, Verified};
use umiak_tree::{Kind, Metadata, TreePath};

use super::Piece;
use super::project::{ProjectEntry, What};
use crate::error::{BuildError, IoContext as _};

/// The word under which bytes are counted.
pub(super) const PHASE: &str = "Writing";

/// Mode of the files that we make.
const MODE: u16 = 0o644;

/// The archive while it is written.
pub(super) struct Tar<'a, W> {
    pub(super) writer: LayerWriter<W>,
    pub(super) place: &'a Path,
    pub(super) limits: &'a Limits,
    pub(super) observer: &'a dyn Observer,
}

impl<W: Write> Tar<'_, W> {
    pub(super) fn finish(self) -> Result<(), BuildError> {
        let mut out = self.writer.finish().map_err(|error| failed(self.place, error))?;
        out.flush().at("write", self.place)
    }

    pub(super) fn small(&mut self, name: &str, bytes: &[u8]) -> Result<(), BuildError> {
        let path = self.path(name.as_bytes())?;
        let metadata = Metadata::root_owned(MODE);
        self.writer
            .file(&path, &metadata, bytes.len() as u64, &mut &bytes[..])
            .map_err(|error| failed(self.place, error))
    }

    /// A blob, compared with its digest as it passes.
    pub(super) fn blob(&mut self, name: &str, piece: &Piece) -> Result<(), BuildError> {
        let Descriptor { digest, size, .. } = piece.blob;
        let path = self.path(name.as_bytes())?;
        let found = piece.content.len().at("look at a blob for", self.place)?;
        if found != size {
            let text = format!("blob {digest} has {found} bytes, and its descriptor says {size}");
            return Err(BuildError::Refused(text));
        }
        let reader = Sequential { content: piece.content.as_ref(), position: 0, size, observer: self.observer };
        let mut verified = Verified::new(reader);
        let metadata = Metadata::root_owned(MODE);
        self.writer.file(&path, &metadata, size, &mut verified).map_err(|error| failed(self.place, error))?;
        let (found, _) = verified.finish().at("read a blob for", self.place)?;
        if found != digest {
            return Err(BuildError::WrongLayer { layer: digest, expected: digest, found });
        }
        Ok(())
    }

    /// An entry of a project, at `path`; `below` says where in the archive another of its paths is.
    pub(super) fn entry(
        &mut self,
        path: &TreePath,
        entry: &ProjectEntry,
        content: &mut dyn Read,
        below: impl Fn(&TreePath) -> Vec<u8>,
    ) -> Result<(), BuildError> {
        match &entry.what {
            What::Directory => return self.directory(path, &entry.metadata),
            What::File(size) => self.writer.file(path, &entry.metadata, *size, content),
            What::HardLink(target) => {
                let target = self.path(&below(target))?;
                self.writer.hard_link(path, &entry.metadata, &target)
            }
            What::Symlink(target) => {
                let kind: Kind<()> = Kind::Symlink(target.clone());
                self.writer.other(path, &entry.metadata, &kind)
            }
        }
        .map_err(|error| failed(self.place, error))
    }

    pub(super) fn directory(&mut self, path: &TreePath, metadata: &Metadata) -> Result<(), BuildError> {
        let kind: Kind<()> = Kind::Directory(umiak_tree::Directory::new());
        self.writer.other(path, metadata, &kind).map_err(|error| failed(self.place, error))
    }

    pub(super) fn path(&self, name: &[u8]) -> Result<TreePath, BuildError> {
        TreePath::from_archive(name, self.limits).map_err(io::Error::other).at("write", self.place)
    }
}

fn failed(place: &Path, error: umiak_layer::WriteError) -> BuildError {
    // What stopped the reader may have been a request to stop.
    let source = match error {
        umiak_layer::WriteError::Content { source, .. } | umiak_layer::WriteError::Write { source, .. } => source,
        other => io::Error::other(other),
    };
    if Cancelled::is_behind(&source) {
        return Cancelled.into();
    }
    BuildError::Io { action: "write", path: place.to_owned(), source }
}

/// Reads bytes from the first to the last.
struct Sequential<'a> {
    content: &'a dyn ReadAt,
    position: u64,
    size: u64,
    observer: &'a dyn Observer,
}

impl Read for Sequential<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.observer.check()?;
        let left = self.size - self.position;
        let count = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
        self.content.read_exact_at(&mut buffer[..count], self.position)?;
        self.position += count as u64;
        self.observer.advance(PHASE, count as u64);
        Ok(count)
    }
}
