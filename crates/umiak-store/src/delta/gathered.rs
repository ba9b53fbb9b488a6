//! Bases that are not here, put together by the names of their contents from anything that is stored.
//!
//! What is lacking is told before anything is made. What is found is not hashed: the target is.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::sync::Arc;

use umiak_delta::DeltaError;
use umiak_delta::container::{Container, Part, Parts};
use umiak_delta::names::{self, Name, NamedBase};
use umiak_spec::{Digest, Limits, ReadAt, Stretch, WriteAt};

use super::scratch::{ScratchFile, Scratches};
use super::{Contents, LayerOptions, failing};
use crate::error::StoreError;
use crate::store::Store;

/// Where the contents are that the names of a delta tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedSources {
    /// Layers that have them, sorted: as long as these are here, the delta can be applied with its names.
    pub layers: BTreeSet<Digest>,
    /// Bytes of skeleton that lie beside while it is applied, more than where its bases are here.
    pub skeletons: u64,
}

impl Store {
    /// Where the contents are that the names of a delta tell; nothing where one of them is in no layer. No content is read.
    ///
    /// # Errors
    /// They are no names; as [`Store::contents`].
    pub fn named_sources(&self, names: &[u8], limits: &Limits) -> Result<Option<NamedSources>, StoreError> {
        let bases = names::read(names, limits, &Nowhere).map_err(failing(Digest::of(names)))?;
        let skeletons = bases.iter().fold(0_u64, |sum, base| sum.saturating_add(base.skeleton));
        let contents = self.contents(limits)?;
        let wanted = bases.iter().flat_map(|base| &base.contents).filter_map(|content| content.name);
        let layers = wanted.map(|name| contents.holder(&name)).collect::<Option<BTreeSet<_>>>();
        Ok(layers.map(|layers| NamedSources { layers, skeletons }))
    }
}

/// Keeps nothing of what is written.
struct Nowhere;

impl WriteAt for Nowhere {
    fn write_all_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        Ok(())
    }
}

/// A base by its names. A content is looked up when it is read: what is open at a time does not grow with their number.
pub(crate) struct Gathered<'s> {
    parts: Parts,
    names: Vec<Option<Name>>,
    /// Skeletons of all bases in a row, and where this one's begins.
    skeletons: Arc<ScratchFile>,
    offset: u64,
    contents: Arc<Contents<'s>>,
}

/// The bases that the names tell, which must be those of the delta.
pub(crate) fn gather<'s>(
    diff_id: &Digest,
    wanted: &[Digest],
    names: &dyn ReadAt,
    contents: &Arc<Contents<'s>>,
    scratches: &Scratches,
    options: &LayerOptions,
) -> Result<Vec<Gathered<'s>>, StoreError> {
    let failed = failing(*diff_id);
    let skeletons = scratches.file().map_err(|error| failed(error.into()))?;
    let length = names.len().map_err(|error| failed(error.into()))?;
    let blob = InOrder { bytes: names, at: 0, length };
    let bases = names::read(blob, &options.limits, &skeletons).map_err(&failed)?;
    if !bases.iter().map(|base| base.whole.digest).eq(wanted.iter().copied()) {
        return Err(failed(DeltaError::Malformed("its names are of other bases")));
    }
    let (mut count, mut bytes) = (0, 0_u64);
    for content in bases.iter().flat_map(|base| &base.contents) {
        if content.name.is_some_and(|name| !contents.has(&name)) {
            (count, bytes) = (count + 1, bytes.saturating_add(content.size));
        }
    }
    if count > 0 {
        return Err(StoreError::MissingContents { diff_id: *diff_id, count, bytes });
    }
    let skeletons = Arc::new(skeletons);
    let mut offset = 0;
    let gathered = bases.iter().map(|base| {
        let begins = offset;
        offset += base.skeleton;
        let names = base.contents.iter().map(|content| content.name).collect();
        let (skeletons, contents) = (Arc::clone(&skeletons), Arc::clone(contents));
        Gathered { parts: parts(base), names, skeletons, offset: begins, contents }
    });
    Ok(gathered.collect())
}

fn parts(base: &NamedBase) -> Parts {
    // Applying goes by sizes and spacings alone: digests are the maker's affair.
    let nothing = Digest::from_bytes([0; 32]);
    let part = |content: &names::NamedContent| {
        let (size, spacing) = (content.size, content.spacing);
        Part { name: Vec::new(), size, digest: nothing, spacing }
    };
    Parts {
        shape: base.whole.shape,
        size: base.whole.size,
        digest: base.whole.digest,
        skeleton: base.skeleton,
        contents: base.contents.iter().map(part).collect(),
    }
}

impl Gathered<'_> {
    /// From now on so many bytes of decompressed blocks are kept, of all bases together.
    pub(crate) fn keep(&self, bytes: usize) {
        self.contents.keep(bytes);
    }
}

impl Container for Gathered<'_> {
    fn parts(&self) -> &Parts {
        &self.parts
    }

    fn skeleton(&self) -> io::Result<Arc<dyn ReadAt + '_>> {
        let bytes: &ScratchFile = &self.skeletons;
        Ok(Arc::new(Stretch { bytes, offset: self.offset, size: self.parts.skeleton }))
    }

    fn content(&self, number: usize) -> io::Result<Arc<dyn ReadAt + '_>> {
        let name = self.names.get(number).copied().flatten().ok_or(io::ErrorKind::NotFound)?;
        let size = self.parts.contents.get(number).map(|part| part.size);
        let mut found = self.contents.all(&name).map(|(_, content)| content);
        let content = found.find(|content| Some(content.size()) == size).ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(content))
    }
}

/// Reads from the beginning to the end.
struct InOrder<'a> {
    bytes: &'a dyn ReadAt,
    at: u64,
    length: u64,
}

impl Read for InOrder<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.length.saturating_sub(self.at);
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        self.bytes.read_exact_at(&mut buffer[..count], self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}
