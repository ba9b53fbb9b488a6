//! Making a damaged layer whole again out of what the store has.
//!
//! What each part is saved by: the record by its copy, else by the two files, whose tar has the diff ID; a content of the image by
//! the image itself where its blocks are whole, else by any other layer or blob that has the same content; the
//! layout of the image by the skeleton, which it is written again from. The skeleton's own bytes are nowhere else: without them
//! the layer can still be mounted, and must be fetched again to be whole.
//!
//! Guarantees: nothing is replaced but by a layer whose tar has the diff ID; everything that is used was hashed.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::Arc;

use umiak_layer::{Archive, Body};
use umiak_spec::{Digest, Observer, Sha256};

use super::content::Content;
use super::contents::prefix;
use super::files::{self, IMAGE, RECORD, SKELETON};
use super::layer::Mounted;
use super::record::LayerRecord;
use super::skeleton::Rest;
use super::table::Place;
use super::{Keep, LayerOptions, LayerSource, check, kind};
use crate::check::Depth;
use crate::error::StoreError;
use crate::store::Store;

/// A content that is nowhere in the store any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostContent {
    /// A file that has it, where the layer's tree names one.
    pub path: Option<String>,
    /// Bytes.
    pub size: u64,
    /// SHA-256.
    pub digest: Digest,
}

/// What came of a repair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Repaired {
    /// Nothing was wrong.
    Sound,
    /// The record or its copy was written again.
    Record,
    /// What had been found for stacks was mended, or removed: [`Store::root`] makes it again.
    Stacks,
    /// The layer was written again; of so many contents (and bytes of them) that its own image had lost, others had copies.
    Rewritten {
        /// Contents that came from other layers or blobs.
        contents: usize,
        /// Bytes of them.
        bytes: u64,
    },
    /// It has to be fetched again: these contents are nowhere else. Nothing was changed.
    Lost(Vec<LostContent>),
    /// It has to be fetched again: its skeleton is damaged. Nothing was changed.
    LostSkeleton,
}

impl Store {
    /// Makes the layer `diff_id` whole again, if that can be done without fetching it.
    ///
    /// # Errors
    /// [`StoreError::NoLayer`]; the file system, a full disk for one.
    pub fn repair_layer(
        &self,
        diff_id: &Digest,
        options: &LayerOptions,
        observer: &dyn Observer,
    ) -> Result<Repaired, StoreError> {
        self.updating()?;
        if !kind::has(self, diff_id) {
            return Err(StoreError::NoLayer(*diff_id));
        }
        let Some(why) = check::check(self, diff_id, Depth::Content, observer)? else { return Ok(Repaired::Sound) };
        observer.note(&format!("layer {}: {why}", diff_id.short()));
        match files::record(self, diff_id) {
            Ok(Some(record)) => self.repair_files(&record, options, observer),
            Ok(None) => Err(StoreError::NoLayer(*diff_id)),
            Err(StoreError::DamagedLayer { .. }) => self.repair_record(diff_id, options, observer),
            Err(error) => Err(error),
        }
    }

    /// The record can be read.
    fn repair_files(
        &self,
        record: &LayerRecord,
        options: &LayerOptions,
        observer: &dyn Observer,
    ) -> Result<Repaired, StoreError> {
        let sound = |file: &str, expected| {
            check::wrong(self, &record.diff_id, file, expected, Depth::Content, observer).map(|why| why.is_none())
        };
        if sound(IMAGE, record.image)? && sound(SKELETON, record.skeleton)? {
            let mended = self.mend_sealed(&files::place(self, &record.diff_id, RECORD))?;
            let stacks = self.drop_stacks(&record.diff_id, observer)?;
            return match check::check(self, &record.diff_id, Depth::Names, observer)? {
                None if mended || !stacks => Ok(Repaired::Record),
                None => Ok(Repaired::Stacks),
                Some(_) => self.salvage(&record.diff_id, options, observer),
            };
        }
        self.salvage(&record.diff_id, options, observer)
    }

    /// Mends what was found for stacks, or removes it; whether any was bad.
    fn drop_stacks(&self, diff_id: &Digest, observer: &dyn Observer) -> Result<bool, StoreError> {
        let mut any = false;
        for (document, _) in check::bad_stacks(self, diff_id, Depth::Content, observer)? {
            any = true;
            match self.mend_sealed(&document) {
                Ok(_) | Err(StoreError::DamagedDocument { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        for (document, _) in check::bad_stacks(self, diff_id, Depth::Content, observer)? {
            self.remove_sealed(&document)?;
            let top = document.with_extension("top");
            if top.exists() {
                self.discard(&top)?;
            }
        }
        Ok(any)
    }

    /// Neither record can be read: the files are believed when they give the tar.
    fn repair_record(
        &self,
        diff_id: &Digest,
        options: &LayerOptions,
        observer: &dyn Observer,
    ) -> Result<Repaired, StoreError> {
        let (image, skeleton) = (files::place(self, diff_id, IMAGE), files::place(self, diff_id, SKELETON));
        let hashes = files::hash(&image, observer).and_then(|image| Ok((image, files::hash(&skeleton, observer)?)));
        if let Ok((image, skeleton)) = hashes {
            let mut record = LayerRecord { diff_id: *diff_id, size: 0, image, skeleton, base: None, below: Vec::new() };
            if let Ok(layer) = self.layer_at(&kind::path(self, diff_id), record.clone(), &options.limits).map(Arc::new)
                && layer.verify(observer).is_ok()
            {
                record.size = layer.skeleton().archive;
                self.write_sealed(&files::place(self, diff_id, RECORD), &record.to_json())?;
                return Ok(Repaired::Record);
            }
        }
        self.salvage(diff_id, options, observer)
    }

    /// Writes the layer again out of all contents that can be found.
    fn salvage(
        &self,
        diff_id: &Digest,
        options: &LayerOptions,
        observer: &dyn Observer,
    ) -> Result<Repaired, StoreError> {
        let directory = kind::path(self, diff_id);
        let Ok(rest) = Rest::open(&directory, diff_id, &options.limits) else { return Ok(Repaired::LostSkeleton) };
        let own = Mounted::open(&directory, diff_id, &options.limits).ok();
        let others = self.contents(&options.limits)?;
        let mut salvaged = Salvaged { rest: Arc::new(rest), contents: Vec::new() };
        let (mut lost, mut contents, mut bytes) = (Vec::new(), 0, 0);
        let rest = Arc::clone(&salvaged.rest);
        for (number, content) in (0_u32..).zip(&rest.table.skeleton.contents) {
            let place = rest.table.places.get(number as usize);
            let here = match place {
                Some(Place::Image(inode)) => own.as_ref().and_then(|own| own.content(*inode)),
                Some(Place::Own) => rest.hidden.get(&number).cloned(),
                _ => None,
            };
            if let Some(here) = here.filter(|here| here.size() == content.size)
                && is(&here, &content.digest, observer)?
            {
                salvaged.contents.push(here);
                continue;
            }
            let mut found = None;
            for (_, other) in others.all(&prefix(&content.digest)).filter(|(_, other)| other.size() == content.size) {
                if is(&other, &content.digest, observer)? {
                    found = Some(other);
                    break;
                }
            }
            match found {
                Some(found) => {
                    contents += 1;
                    bytes += content.size;
                    salvaged.contents.push(found);
                }
                None => lost.push((number, content.size, content.digest)),
            }
        }
        if !lost.is_empty() {
            return Ok(Repaired::Lost(named(&rest, diff_id, &lost, options, observer)));
        }
        match self.replace_layer(diff_id, &salvaged, &Keep::Whole, options, observer) {
            Ok(_) => Ok(Repaired::Rewritten { contents, bytes }),
            // All contents are right: it is the skeleton.
            Err(StoreError::WrongDigest { .. } | StoreError::Layer { .. }) => Ok(Repaired::LostSkeleton),
            Err(error) => Err(error),
        }
    }
}

/// Whether a content has this digest; one that cannot be read has not.
fn is(content: &Content, digest: &Digest, observer: &dyn Observer) -> Result<bool, StoreError> {
    let (mut reader, mut hash, mut piece) = (content.reader(), Sha256::new(), vec![0; 128 << 10]);
    loop {
        observer.check()?;
        match reader.read(&mut piece) {
            Ok(0) => return Ok(hash.finish() == *digest),
            Ok(count) => hash.update(&piece[..count]),
            Err(_) => return Ok(false),
        }
    }
}

/// The files that have lost contents.
fn named(
    rest: &Rest,
    diff_id: &Digest,
    lost: &[(u32, u64, Digest)],
    options: &LayerOptions,
    observer: &dyn Observer,
) -> Vec<LostContent> {
    let mut paths = BTreeMap::new();
    if let Ok(index) = rest.index(diff_id, &options.limits, observer) {
        for entry in index.entries {
            if let Body::File(content) = entry.body {
                paths.entry(content.digest).or_insert_with(|| entry.path.to_string());
            }
        }
    }
    lost.iter()
        .map(|(_, size, digest)| LostContent { path: paths.get(digest).cloned(), size: *size, digest: *digest })
        .collect()
}

/// A layer out of its skeleton and contents that were found.
struct Salvaged {
    rest: Arc<Rest>,
    contents: Vec<Content>,
}

impl LayerSource for Salvaged {
    fn open(&self) -> io::Result<Box<dyn Read + Send + '_>> {
        let open = |number: usize| -> io::Result<Box<dyn Read + Send + '_>> {
            Ok(Box::new(self.contents.get(number).ok_or(io::ErrorKind::NotFound)?.reader()))
        };
        Ok(Box::new(Archive::new(&self.rest.table.skeleton, self.rest.bytes.reader(), open)))
    }
}
