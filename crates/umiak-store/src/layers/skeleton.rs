//! The skeleton's file: a squashfs image of the skeleton's bytes, the table, and the contents that are not in the layer's image.
//!
//! ```text
//! /skeleton     the bytes, checksum fields flipped (docs/formats/delta-containers.md)
//! /table        docs/formats/store-layers.md
//! /00000012     content 12 of the tar: a file that another of the same name replaced, the stored bytes of a sparse file, …
//! ```
//!
//! squashfs, because it is read at random, compresses, and needs no format of ours.

use std::collections::BTreeMap;
use std::io::{self, Read, Seek, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use umiak_layer::LayerError;
use umiak_spec::{Digest, ReadAt as _, Silent};
use umiak_squashfs::{FileRef, ImageWriter, NewContent, StoredContent};
use umiak_tree::{Builder, Inode, InodeId, Kind, Metadata, Tree};

use super::content::Content;
use super::files::{OpenImage, SKELETON};
use super::table::{Place, Table};
use crate::error::StoreError;

const BYTES: &[u8] = b"skeleton";
const TABLE: &[u8] = b"table";

/// Bytes of a table, at most: what is read into memory.
const MOST_TABLE: u64 = 1 << 30;

/// A layer but for its image.
pub(crate) struct Rest {
    pub(crate) table: Table,
    pub(crate) bytes: Content,
    /// By number in the tar.
    pub(crate) hidden: BTreeMap<u32, Content>,
}

/// Reads a skeleton's file.
pub(crate) fn read(image: &OpenImage, diff_id: &Digest) -> Result<Rest, StoreError> {
    let squashfs = |source| StoreError::Squashfs { diff_id: *diff_id, file: SKELETON, source };
    let damaged = |why: &str| StoreError::DamagedLayer { diff_id: *diff_id, why: format!("of its skeleton {why}") };
    let tree = image.tree().map_err(squashfs)?;
    let file = |name: &[u8]| named(&tree, name).map(|stored| Content::in_image(image, stored.clone()));
    let bytes = file(BYTES).ok_or_else(|| damaged("the bytes are missing"))?;
    let stored = file(TABLE).filter(|table| table.size() <= MOST_TABLE);
    let stored = stored.ok_or_else(|| damaged("the table is missing"))?;
    // The image's reader has seen that so many bytes can be there.
    let mut table = vec![0; usize::try_from(stored.size()).unwrap_or(0)];
    stored.read_exact_at(&mut table, 0).map_err(|_| damaged("the table cannot be read"))?;
    let table = Table::from_bytes(&table, *diff_id).map_err(damaged)?;
    if table.skeleton.size != bytes.size() {
        return Err(damaged("the bytes have another length"));
    }
    let mut hidden = BTreeMap::new();
    for (number, place) in (0_u32..).zip(&table.places) {
        if *place == Place::Own {
            let content = file(&hidden_name(number)).ok_or_else(|| damaged("a content is missing"))?;
            hidden.insert(number, content);
        }
    }
    Ok(Rest { table, bytes, hidden })
}

fn named<'t>(tree: &'t Tree<StoredContent>, name: &[u8]) -> Option<&'t StoredContent> {
    match &tree.inode(*tree.directory(InodeId::ROOT)?.get(name)?).kind {
        Kind::File(stored) => Some(stored),
        _ => None,
    }
}

fn hidden_name(number: u32) -> Vec<u8> {
    format!("{number:08}").into_bytes()
}

/// Writes a skeleton's file: its bytes are pushed in from another thread, then come contents, then the table.
pub(crate) struct SkeletonWriter<W: Write + Seek> {
    writer: ImageWriter<W>,
    names: BTreeMap<Vec<u8>, FileRef>,
}

impl<W: Write + Seek> SkeletonWriter<W> {
    /// Takes the skeleton's bytes out of `bytes`, which must be so many and have this digest.
    pub(crate) fn start(
        mut writer: ImageWriter<W>,
        (size, digest): (u64, Digest),
        bytes: Receiver<Vec<u8>>,
    ) -> Result<Self, umiak_squashfs::Error> {
        let content = NewContent { size, digest, name: BYTES };
        let file = writer.add(&content, &mut Pushed { bytes, piece: Vec::new(), taken: 0 })?;
        Ok(Self { writer, names: [(BYTES.to_vec(), file)].into() })
    }

    /// Content `number` of the tar.
    pub(crate) fn add(
        &mut self,
        number: u32,
        (size, digest): (u64, Digest),
        content: &mut dyn Read,
    ) -> Result<(), umiak_squashfs::Error> {
        let name = hidden_name(number);
        let file = self.writer.add(&NewContent { size, digest, name: &name }, content)?;
        self.names.insert(name, file);
        Ok(())
    }

    pub(crate) fn finish(mut self, table: &Table) -> Result<W, umiak_squashfs::Error> {
        let bytes = table.to_bytes();
        let content = NewContent { size: bytes.len() as u64, digest: Digest::of(&bytes), name: TABLE };
        let file = self.writer.add(&content, &mut bytes.as_slice())?;
        self.names.insert(TABLE.to_vec(), file);
        let mut tree = Builder::new(Metadata::root_owned(0o700));
        for (name, file) in self.names {
            let id = tree.add(Inode { metadata: Metadata::root_owned(0o600), kind: Kind::File(file) })?;
            if let Some(names) = tree.directory(InodeId::ROOT) {
                names.insert(name.into(), id);
            }
        }
        Ok(self.writer.finish(&tree.finish()?, &Silent)?.0)
    }
}

/// Bytes of skeleton on their way from the thread that reads the tar: a few pieces are held.
pub(crate) struct Push {
    to: SyncSender<Vec<u8>>,
    piece: Vec<u8>,
}

/// Bytes that are passed on at a time.
const PIECE: usize = 64 << 10;

impl Push {
    pub(crate) fn new() -> (Self, Receiver<Vec<u8>>) {
        let (to, from) = sync_channel(4);
        (Self { to, piece: Vec::with_capacity(PIECE) }, from)
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<(), LayerError> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE { self.flush() } else { Ok(()) }
    }

    pub(crate) fn flush(&mut self) -> Result<(), LayerError> {
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE));
        // Only when writing has failed does nobody listen; then that is what is told.
        self.to.send(piece).map_err(|_| LayerError::Read(io::ErrorKind::BrokenPipe.into()))
    }
}

struct Pushed {
    bytes: Receiver<Vec<u8>>,
    piece: Vec<u8>,
    taken: usize,
}

impl Read for Pushed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.taken == self.piece.len() {
            match self.bytes.recv() {
                Ok(piece) => (self.piece, self.taken) = (piece, 0),
                Err(_) => return Ok(0),
            }
        }
        let count = buffer.len().min(self.piece.len() - self.taken);
        buffer[..count].copy_from_slice(&self.piece[self.taken..self.taken + count]);
        self.taken += count;
        Ok(count)
    }
}
