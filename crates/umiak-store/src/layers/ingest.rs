//! From a tar to a layer.
//!
//! Two passes: the first learns what is in the tar and verifies the diff ID, the second writes the image and the skeleton at
//! once. Then the tar is read back out of them and compared with the diff ID, and the directory gets its name in one step. A
//! third pass over the source is made only of a tar that has contents which are in no tree.
//!
//! The bytes of both files depend on the tar, not on what else is stored: blocks are copied from another layer only where
//! they are what compressing would give (see `super::base`).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{self, Read, Seek, Write};
use std::path::Path;
use std::sync::Arc;
use std::thread;

use umiak_layer::{LayerContent, LayerError, Survey, for_each_part, lower, survey, unpack};
use umiak_spec::{Digest, Observer};
use umiak_squashfs::{Base, FileRef, ImageWriter, NewContent, Report};
use umiak_tree::{Kind, Tree};

use super::files::{self, IMAGE, RECORD, SKELETON};
use super::kind;
use super::record::LayerRecord;
use super::skeleton::{Push, SkeletonWriter};
use super::table::{Place, Table};
use super::{Keep, LayerOptions, LayerSource};
use crate::durable::StagedDirectory;
use crate::error::{IoContext as _, StoreError};
use crate::sealed;
use crate::store::Store;

/// The phase that bytes of the source are counted in, twice.
const PHASE: &str = "Converting";

/// What came of taking a layer in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerReport {
    /// What it is kept as.
    pub record: LayerRecord,
    /// It was here already, and nothing was read.
    pub was_here: bool,
    /// Bytes of the image that were copied from another layer's, compressed as they were.
    pub copied_bytes: u64,
}

/// What is to be written.
pub(crate) struct Form<'a> {
    pub(crate) survey: &'a Survey,
    /// To be mounted: whole, or above a base.
    pub(crate) tree: Tree<LayerContent>,
    /// Contents that need not be written, because the image of the base of a patch has them, as its file of this number.
    pub(crate) below: HashMap<Digest, u32>,
    /// For a patch.
    pub(crate) above: Option<(Digest, Vec<Digest>)>,
}

impl Store {
    /// Takes a layer in. One that is here already is left as it is.
    ///
    /// # Errors
    /// [`StoreError::WrongDigest`] when the source gives another layer; [`StoreError::Layer`], [`StoreError::Stack`] for one that
    /// cannot be kept; the file system. Nothing of it is left then.
    pub fn ingest_layer(
        &self,
        diff_id: &Digest,
        source: &dyn LayerSource,
        keep: &Keep,
        options: &LayerOptions,
        observer: &dyn Observer,
    ) -> Result<LayerReport, StoreError> {
        self.updating()?;
        if let Some(report) = self.layer_here(diff_id)? {
            return Ok(report);
        }
        self.replace_layer(diff_id, source, keep, options, observer)
    }

    /// What is to be said of a layer that is here already.
    pub(crate) fn layer_here(&self, diff_id: &Digest) -> Result<Option<LayerReport>, StoreError> {
        if !kind::has(self, diff_id) {
            return Ok(None);
        }
        let record = self.layer_record(diff_id)?;
        self.settle()?; // an earlier call may have failed with its very last operation
        Ok(record.map(|record| LayerReport { record, was_here: true, copied_bytes: 0 }))
    }

    /// The same in place of what is here, which is damaged or is to be kept in another form.
    ///
    /// # Errors
    /// As [`Store::ingest_layer`]; what was here is left as it is then.
    pub fn replace_layer(
        &self,
        diff_id: &Digest,
        source: &dyn LayerSource,
        keep: &Keep,
        options: &LayerOptions,
        observer: &dyn Observer,
    ) -> Result<LayerReport, StoreError> {
        self.updating()?;
        let survey = surveyed(*diff_id, source, options, observer)?;
        if survey.index.diff_id != *diff_id {
            return Err(StoreError::WrongDigest { wanted: *diff_id, found: survey.index.diff_id });
        }
        observer.expect(PHASE, survey.index.size);
        let tree = lower(&survey.index, 0, &options.limits)
            .map_err(|source| StoreError::Stack { diff_id: *diff_id, source })?;
        let form = self.form(&survey, tree, keep, options, observer)?;
        let base = self.find_base(&survey, options, observer)?;
        self.write_layer(form, source, base, options, observer)
    }

    /// Writes a layer in the form that was chosen.
    pub(crate) fn write_layer(
        &self,
        form: Form<'_>,
        source: &dyn LayerSource,
        base: Option<Base>,
        options: &LayerOptions,
        observer: &dyn Observer,
    ) -> Result<LayerReport, StoreError> {
        let diff_id = form.survey.index.diff_id;
        let staged = self.stage_directory()?;
        let (image, skeleton) = (staged.path().join(IMAGE), staged.path().join(SKELETON));
        let (image_file, image_out) = files::create(self, &image)?;
        let (skeleton_file, skeleton_out) = files::create(self, &skeleton)?;
        let report = Writing { form: &form, source, options, observer }.run(base, image_out, skeleton_out)?;
        image_file.sync().at("sync", &image)?;
        skeleton_file.sync().at("sync", &skeleton)?;
        let (base, below) = form.above.map_or((None, Vec::new()), |(base, below)| (Some(base), below));
        let record = LayerRecord {
            diff_id,
            size: form.survey.index.size,
            image: files::hash(&image, observer)?,
            skeleton: files::hash(&skeleton, observer)?,
            base,
            below,
        };
        // What has a name was seen to give the tar again, whatever memory, disk or a base did to it on the way.
        Arc::new(self.layer_at(staged.path(), record.clone(), &options.limits)?).verify(observer)?;
        self.write_record(&staged, &record)?;
        staged.publish(&kind::path(self, &diff_id))?;
        Ok(LayerReport { record, was_here: false, copied_bytes: report.copied_bytes })
    }

    /// The record and its copy, into a directory that has no name yet.
    fn write_record(&self, staged: &StagedDirectory<'_>, record: &LayerRecord) -> Result<(), StoreError> {
        let sealed = sealed::seal(&record.to_json());
        let place = staged.path().join(RECORD);
        for path in [sealed::copy_of(&place), place] {
            let file = self.disk.create(&path).at("create", &path)?;
            file.write_all_at(&sealed, 0).at("write", &path)?;
            file.sync().at("sync", &path)?;
        }
        Ok(())
    }
}

/// The first pass.
pub(crate) fn surveyed(
    diff_id: Digest,
    source: &dyn LayerSource,
    options: &LayerOptions,
    observer: &dyn Observer,
) -> Result<Survey, StoreError> {
    let read = ingesting(diff_id);
    let inner = source.open().map_err(|error| read(LayerError::Read(error)))?;
    survey(Advancing { inner, observer }, &options.limits, observer).map_err(read)
}

pub(crate) fn ingesting(diff_id: Digest) -> impl Fn(LayerError) -> StoreError {
    move |error| match error {
        LayerError::Cancelled(cancelled) => cancelled.into(),
        source => StoreError::Layer { diff_id, source },
    }
}

/// The second pass.
pub(crate) struct Writing<'a> {
    pub(crate) form: &'a Form<'a>,
    pub(crate) source: &'a dyn LayerSource,
    pub(crate) options: &'a LayerOptions,
    pub(crate) observer: &'a dyn Observer,
}

/// Which side failed.
enum Failed {
    Layer(LayerError),
    Store(StoreError),
}

impl From<LayerError> for Failed {
    fn from(error: LayerError) -> Self {
        Self::Layer(error)
    }
}

impl Writing<'_> {
    fn squashfs(&self, file: &'static str) -> impl Fn(umiak_squashfs::Error) -> StoreError + Copy + use<> {
        let diff_id = self.form.survey.index.diff_id;
        move |source| match source {
            umiak_squashfs::Error::Cancelled(cancelled) => cancelled.into(),
            source => StoreError::Squashfs { diff_id, file, source },
        }
    }

    fn reading(&self, error: LayerError) -> StoreError {
        ingesting(self.form.survey.index.diff_id)(error)
    }

    fn open(&self) -> Result<impl Read + Send, StoreError> {
        let inner = self.source.open().map_err(|error| self.reading(LayerError::Read(error)))?;
        Ok(Advancing { inner, observer: self.observer })
    }

    /// Writes image and skeleton.
    pub(crate) fn run(
        &self,
        base: Option<Base>,
        image_out: impl Write + Seek,
        skeleton_out: impl Write + Seek + Send,
    ) -> Result<Report, StoreError> {
        let failed = self.squashfs(IMAGE);
        let mut writer = ImageWriter::new(image_out, &self.options.image()).map_err(failed)?;
        if let Some(base) = base {
            writer = writer.with_base(base).map_err(failed)?;
        }
        let rest = ImageWriter::new(skeleton_out, &self.options.skeleton()).map_err(self.squashfs(SKELETON))?;

        let survey = self.form.survey;
        let about = (survey.skeleton.size, survey.skeleton_digest);
        let (mut push, pushed) = Push::new();
        let (added, mut rest) = thread::scope(|scope| {
            let behind = thread::Builder::new()
                .name("umiak-store-skeleton".into())
                .spawn_scoped(scope, move || SkeletonWriter::start(rest, about, pushed))
                .at("start a thread for", Path::new(SKELETON))?;
            let added = self.contents(&mut writer, &mut push);
            drop(push);
            let rest = behind.join().map_err(|_| io::Error::other("it stopped")).at("write", Path::new(SKELETON))?;
            // When the skeleton cannot be written, the other side fails for want of a listener.
            match (added, rest.map_err(self.squashfs(SKELETON))) {
                (Err(error @ StoreError::Cancelled(_)), _) | (_, Err(error)) | (Err(error), _) => Err(error),
                (Ok(added), Ok(rest)) => Ok((added, rest)),
            }
        })?;
        let tree = self.form.tree.clone().try_map(|_, content| {
            let lost = StoreError::Layer {
                diff_id: survey.index.diff_id,
                source: LayerError::NotAsIndexed { ordinal: content.ordinal, reason: "was not read" },
            };
            added.get(&content.ordinal).copied().ok_or(lost)
        })?;
        let (_, report) = writer.finish(&tree, self.observer).map_err(failed)?;
        let table = self.table();
        self.hidden(&table, &mut rest)?;
        rest.finish(&table).map_err(self.squashfs(SKELETON))?;
        Ok(report)
    }

    /// The contents of the tree into the image, in the tar's order; the skeleton's bytes on the way.
    fn contents<W: Write + Seek>(
        &self,
        writer: &mut ImageWriter<W>,
        push: &mut Push,
    ) -> Result<HashMap<u32, FileRef>, StoreError> {
        let wanted = wanted(&self.form.tree);
        let failed = self.squashfs(IMAGE);
        let unknown: Vec<u32> = wanted
            .iter()
            .filter(|(_, (content, name))| !writer.knows(&new(content, name)))
            .map(|(ordinal, _)| *ordinal)
            .collect();
        let mut added = HashMap::with_capacity(wanted.len());
        let mut rest = wanted.iter().peekable();
        let mut known = |writer: &mut ImageWriter<W>, content: &LayerContent, name: &[u8]| {
            self.observer.check()?;
            let file = writer.add_known(&new(content, name)).map_err(failed)?;
            let changed = LayerError::NotAsIndexed { ordinal: content.ordinal, reason: "is not known any more" };
            added.insert(content.ordinal, file.ok_or_else(|| self.reading(changed))?);
            Ok::<_, StoreError>(())
        };
        let mut read = Vec::new();
        let take = |ordinal: u32, reader: &mut dyn Read| {
            while let Some((_, (content, name))) = rest.next_if(|(next, _)| **next < ordinal) {
                known(writer, content, name).map_err(Failed::Store)?;
            }
            if let Some((_, (content, name))) = rest.next_if(|(next, _)| **next == ordinal) {
                let file = writer.add(&new(content, name), reader).map_err(|error| Failed::Store(failed(error)))?;
                read.push((ordinal, file));
            }
            Ok(())
        };
        let survey = self.form.survey;
        let mut pass = |bytes: &[u8]| push.push(bytes);
        unpack(self.open()?, survey, &unknown, &self.options.limits, self.observer, &mut pass, take).map_err(
            |error| match error {
                Failed::Store(error) => error,
                Failed::Layer(error) => self.reading(error),
            },
        )?;
        push.flush().map_err(|error| self.reading(error))?;
        for (_, (content, name)) in rest {
            known(writer, content, name)?;
        }
        added.extend(read);
        Ok(added)
    }

    /// Where the contents of the tar lie.
    fn table(&self) -> Table {
        let survey = self.form.survey;
        let mut files = HashMap::new();
        for (number, (_, inode)) in (0_u32..).zip(self.form.tree.inodes()) {
            if let Kind::File(content) = &inode.kind {
                files.entry((content.digest, content.size)).or_insert(number);
            }
        }
        let place = |content: &umiak_layer::SkeletonContent| {
            let own = files.get(&(content.digest, content.size)).copied().map(Place::Image);
            own.or_else(|| self.form.below.get(&content.digest).copied().map(Place::Base)).unwrap_or(Place::Own)
        };
        let places = survey.skeleton.contents.iter().map(place).collect();
        let others: BTreeMap<u32, Digest> = survey
            .index
            .entries
            .iter()
            .zip(&survey.parts)
            .filter_map(|(entry, part)| match &entry.body {
                umiak_layer::Body::File(content) if part.is_none() && content.size > 0 => {
                    Some((entry.ordinal, content.digest))
                }
                _ => None,
            })
            .collect();
        let mut skeleton = survey.skeleton.clone();
        skeleton.contents.iter_mut().for_each(|content| content.name = Vec::new());
        Table { skeleton, places, others }
    }

    /// Contents that are in no tree into the skeleton's file.
    fn hidden<W: Write + Seek>(&self, table: &Table, rest: &mut SkeletonWriter<W>) -> Result<(), StoreError> {
        let wanted: BTreeSet<u32> =
            (0_u32..).zip(&table.places).filter(|(_, place)| **place == Place::Own).map(|(number, _)| number).collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let wanted: Vec<u32> = wanted.into_iter().collect();
        let take = |number: u32, reader: &mut dyn Read| {
            let Some(content) = table.skeleton.contents.get(number as usize) else { return Ok(()) };
            let added = rest.add(number, (content.size, content.digest), reader);
            added.map_err(|error| Failed::Store(self.squashfs(SKELETON)(error)))
        };
        for_each_part(self.open()?, &table.skeleton, &wanted, self.observer, take).map_err(|error| match error {
            Failed::Store(error) => error,
            Failed::Layer(error) => self.reading(error),
        })
    }
}

/// The contents of a tree by entry, each with the first path that names it.
fn wanted(tree: &Tree<LayerContent>) -> BTreeMap<u32, (LayerContent, Box<[u8]>)> {
    let mut wanted = BTreeMap::new();
    for entry in tree.walk() {
        if let Kind::File(content) = &entry.inode.kind {
            wanted.entry(content.ordinal).or_insert_with(|| (*content, entry.path.as_bytes().into()));
        }
    }
    wanted
}

fn new<'a>(content: &LayerContent, name: &'a [u8]) -> NewContent<'a> {
    NewContent { size: content.size, digest: content.digest, name }
}

/// Tells the observer what was read.
struct Advancing<'a, R> {
    inner: R,
    observer: &'a dyn Observer,
}

impl<R: Read> Read for Advancing<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.observer.advance(PHASE, count as u64);
        Ok(count)
    }
}
