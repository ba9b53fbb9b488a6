//! What a layer will take in a store, known beforehand and elsewhere: by whoever publishes it.
//!
//! The files of a layer depend on its tar and the settings alone, so writing them to nowhere tells their sizes.

use std::collections::HashMap;
use std::io::{self, Seek, SeekFrom, Write};

use umiak_layer::lower;
use umiak_spec::{Digest, Observer};

use super::ingest::{Form, Writing, surveyed};
use super::{FileRecord, LayerOptions, LayerRecord, LayerSource};
use crate::error::StoreError;
use crate::sealed;

/// Bytes that a layer in whole form takes, file by file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerSizes {
    /// The layer.
    pub diff_id: Digest,
    /// Bytes of its tar.
    pub tar: u64,
    /// Bytes of `image.squashfs`.
    pub image: u64,
    /// Bytes of `skeleton.squashfs`.
    pub skeleton: u64,
    /// Bytes of `record`, and of its copy.
    pub record: u64,
}

impl LayerSizes {
    /// Inodes of a layer: its directory, the two images, the record and its copy.
    pub const INODES: u64 = 5;
}

/// What the layer that `source` gives would take, with no store at hand. As much work as taking it in.
///
/// # Errors
/// As [`crate::Store::ingest_layer`].
pub fn layer_sizes(
    source: &dyn LayerSource,
    options: &LayerOptions,
    observer: &dyn Observer,
) -> Result<LayerSizes, StoreError> {
    // Which layer it is, is only known behind the first pass; until then errors name the digest of nothing.
    let survey = surveyed(Digest::of(&[]), source, options, observer)?;
    let diff_id = survey.index.diff_id;
    let tree = lower(&survey.index, 0, &options.limits).map_err(|source| StoreError::Stack { diff_id, source })?;
    let form = Form { survey: &survey, tree, below: HashMap::new(), above: None };
    let (mut image, mut skeleton) = (Nowhere::default(), Nowhere::default());
    Writing { form: &form, source, options, observer }.run(None, &mut image, &mut skeleton)?;
    let (tar, image, skeleton) = (survey.index.size, image.length, skeleton.length);
    Ok(LayerSizes { diff_id, tar, image, skeleton, record: record(diff_id, tar, image, skeleton) })
}

/// Bytes of the record. All digests are equally long.
fn record(diff_id: Digest, tar: u64, image: u64, skeleton: u64) -> u64 {
    let file = |bytes| FileRecord { bytes, digest: diff_id };
    let (image, skeleton, below) = (file(image), file(skeleton), Vec::new());
    let record = LayerRecord { diff_id, size: tar, image, skeleton, base: None, below };
    sealed::seal(&record.to_json()).len() as u64
}

/// A file that keeps nothing but its length.
#[derive(Debug, Default)]
struct Nowhere {
    position: u64,
    length: u64,
}

impl Write for Nowhere {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.position = self.position.saturating_add(bytes.len() as u64);
        self.length = self.length.max(self.position);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Nowhere {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let moved = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
            SeekFrom::End(by) => self.length.checked_add_signed(by),
        };
        self.position = moved.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}
