//! One pass over a layer: what is in it, the digest of every file, and the diff ID.
//!
//! The compressed bytes are read to their end, so that the caller can verify the blob's digest around the source; it
//! must do so before it believes the index. Decompression runs on a second thread.

use std::io::{BufRead, Read};

use umiak_spec::{Digest, Limits, Observer, Sha256};
use umiak_tree::Content;

use crate::LayerError;
use crate::ahead::{Ahead, read_ahead};
use crate::compression::decompress;
use crate::entry::Entry;
use crate::reader::TarReader;

/// Size and digest of a file's content, holes read as zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FileContent {
    /// Bytes.
    pub size: u64,
    /// SHA-256.
    pub digest: Digest,
}

/// Where a file's content is: in which layer of a stack, and as which entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LayerContent {
    /// Number of the layer in the stack, 0 at the bottom.
    pub layer: u32,
    /// Number of the entry in the layer.
    pub ordinal: u32,
    /// Bytes.
    pub size: u64,
    /// SHA-256.
    pub digest: Digest,
}

impl Content for LayerContent {
    fn size(&self) -> u64 {
        self.size
    }

    fn digest(&self) -> Digest {
        self.digest
    }
}

/// An entry of an indexed layer.
pub type IndexedEntry = Entry<FileContent>;

/// What a layer holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerIndex {
    /// Digest of the uncompressed archive.
    pub diff_id: Digest,
    /// Length of the uncompressed archive.
    pub size: u64,
    /// Everything in it, in the archive's order.
    pub entries: Vec<IndexedEntry>,
}

/// Reads a layer, compressed or not, to its end.
///
/// # Errors
/// [`LayerError`]; [`LayerError::Cancelled`] soon after `observer` says so.
pub fn index(source: impl Read + Send, limits: &Limits, observer: &dyn Observer) -> Result<LayerIndex, LayerError> {
    let (mut hash, mut size) = (Sha256::new(), 0);
    let mut watch = |chunk: &[u8]| {
        hash.update(chunk);
        size += chunk.len() as u64;
    };
    let pass = |ahead: &mut Ahead<'_>| read_entries(ahead, limits, observer);
    let entries = read_ahead(|| decompress(source, limits), &mut watch, pass).map_err(LayerError::read)??;
    Ok(LayerIndex { diff_id: hash.finish(), size, entries })
}

/// All entries, and the stream to its end.
fn read_entries(
    ahead: &mut Ahead<'_>,
    limits: &Limits,
    observer: &dyn Observer,
) -> Result<Vec<IndexedEntry>, LayerError> {
    let mut reader = TarReader::new(&mut *ahead, *limits);
    let mut entries = Vec::new();
    while let Some(entry) = reader.next_entry()? {
        observer.check()?;
        let Entry { ordinal, path, metadata, body } = entry;
        let body = body.try_map(|size| {
            let digest = digest(&mut reader.content(), observer)?;
            Ok::<_, LayerError>(FileContent { size, digest })
        })?;
        entries.push(Entry { ordinal, path, metadata, body });
    }
    entries.shrink_to_fit();
    loop {
        let length = ahead.fill_buf().map_err(LayerError::read)?.len();
        if length == 0 {
            return Ok(entries);
        }
        observer.check()?;
        ahead.consume(length);
    }
}

pub(crate) fn digest(content: &mut impl BufRead, observer: &dyn Observer) -> Result<Digest, LayerError> {
    let mut hash = Sha256::new();
    loop {
        let bytes = content.fill_buf().map_err(LayerError::read)?;
        if bytes.is_empty() {
            return Ok(hash.finish());
        }
        hash.update(bytes);
        let length = bytes.len();
        content.consume(length);
        observer.check()?;
    }
}
