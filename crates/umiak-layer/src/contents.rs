//! The second pass over a layer: hands out the contents that are wanted, in the archive's order.

use std::io::{self, BufRead, Read};

use umiak_spec::{Limits, Observer, Sha256};

use crate::LayerError;
use crate::ahead::{Ahead, read_ahead};
use crate::compression::decompress;
use crate::entry::{Body, Entry};
use crate::index::{FileContent, LayerIndex};
use crate::reader::TarReader;

/// Calls `take` with number and content of every file in `wanted` (numbers of entries, sorted), in the archive's order,
/// and stops decompressing after the last. Path, size and digest of each are compared with the index; what `take`
/// leaves unread is read here. The digest is known only after `take` has returned: its result must not be used before
/// this function succeeds.
///
/// # Errors
/// Errors of `take`; [`LayerError::NotAsIndexed`] and [`LayerError::ContentDigest`] when the layer is another; all that
/// reading a layer can meet.
pub fn for_each_content<E: From<LayerError>>(
    source: impl Read + Send,
    index: &LayerIndex,
    wanted: &[u32],
    limits: &Limits,
    observer: &dyn Observer,
    take: impl FnMut(u32, &mut dyn Read) -> Result<(), E>,
) -> Result<(), E> {
    if wanted.is_empty() {
        return Ok(());
    }
    let pass = |ahead: &mut Ahead<'_>| {
        let mut reader = TarReader::new(ahead, *limits);
        hand_out(&mut reader, index, wanted, true, observer, take)
    };
    read_ahead(|| decompress(source, limits), &mut |_| {}, pass).map_err(LayerError::read)?
}

/// See [`for_each_content`]; contents are compared with their digests if `hashed`.
pub(crate) fn hand_out<E: From<LayerError>>(
    reader: &mut TarReader<impl BufRead>,
    index: &LayerIndex,
    wanted: &[u32],
    hashed: bool,
    observer: &dyn Observer,
    mut take: impl FnMut(u32, &mut dyn Read) -> Result<(), E>,
) -> Result<(), E> {
    for ordinal in wanted {
        let expected = expected(index, *ordinal)?;
        let entry = loop {
            observer.check().map_err(LayerError::from)?;
            let differs = |reason| LayerError::NotAsIndexed { ordinal: *ordinal, reason };
            match reader.next_entry()? {
                None => return Err(differs("is missing").into()),
                Some(entry) if entry.ordinal > *ordinal => return Err(differs("is no entry there").into()),
                Some(entry) if entry.ordinal == *ordinal => break entry,
                Some(_) => {}
            }
        };
        let content = compare(&entry, &expected)?;
        if !hashed {
            take(*ordinal, &mut reader.content())?;
            continue;
        }
        let mut hashed = Hashed { inner: reader.content(), hash: Sha256::new() };
        take(*ordinal, &mut hashed)?;
        io::copy(&mut hashed, &mut io::sink()).map_err(LayerError::read)?;
        let found = hashed.hash.finish();
        if found != content.digest {
            return Err(LayerError::ContentDigest { ordinal: *ordinal, expected: content.digest, found }.into());
        }
    }
    Ok(())
}

fn expected(index: &LayerIndex, ordinal: u32) -> Result<Entry<FileContent>, LayerError> {
    let found = index.entries.binary_search_by_key(&ordinal, |entry| entry.ordinal).map(|at| &index.entries[at]);
    found.cloned().map_err(|_| LayerError::NotAsIndexed { ordinal, reason: "is not in the index" })
}

fn compare(entry: &Entry<u64>, expected: &Entry<FileContent>) -> Result<FileContent, LayerError> {
    let differs = |reason| LayerError::NotAsIndexed { ordinal: expected.ordinal, reason };
    let Body::File(content) = expected.body else { return Err(differs("is no file in the index")) };
    if entry.path != expected.path {
        return Err(differs("has another path"));
    }
    match entry.body {
        Body::File(size) if size == content.size => Ok(content),
        Body::File(_) => Err(differs("has another size")),
        _ => Err(differs("is no file")),
    }
}

struct Hashed<R> {
    inner: R,
    hash: Sha256,
}

impl<R: BufRead> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hash.update(&buffer[..count]);
        Ok(count)
    }
}
