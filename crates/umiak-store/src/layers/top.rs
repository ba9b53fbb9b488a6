//! Writing what lies on top of a stack: a small image whose contents come out of the layers.

use std::collections::{BTreeMap, HashMap};

use umiak_layer::{LayerContent, lower};
use umiak_spec::{Digest, Observer};
use umiak_squashfs::{Error, FileRef, ImageWriter, NewContent};
use umiak_tree::{Kind, Tree};

use super::LayerOptions;
use super::content::Content;
use super::files::IMAGE;
use super::layer::Layer;
use super::record::LayerRecord;
use crate::disk::Stream;
use crate::durable::StagedFile;
use crate::error::StoreError;
use crate::store::Store;

/// Writes `tree`, whose contents are entries of the layers with these records, and reads it back.
pub(crate) fn write(
    store: &Store,
    staged: &StagedFile<'_>,
    tree: &Tree<LayerContent>,
    records: &[LayerRecord],
    options: &LayerOptions,
    observer: &dyn Observer,
) -> Result<(), StoreError> {
    let diff_id = records.last().map_or_else(|| Digest::of(&[]), |record| record.diff_id);
    let failed = |source| match source {
        Error::Cancelled(cancelled) => StoreError::from(cancelled),
        source => StoreError::Squashfs { diff_id, file: "the top of a stack", source },
    };
    let out = std::io::BufWriter::with_capacity(64 << 10, Stream::new(std::sync::Arc::clone(staged.file())));
    let mut writer = ImageWriter::new(out, &options.image()).map_err(failed)?;
    let mut added: HashMap<(u32, u32), FileRef> = HashMap::new();
    for (number, contents) in by_layer(tree) {
        let Some(record) = records.get(number as usize) else { continue };
        let missing = || StoreError::NoLayer(record.diff_id);
        let layer = store.layer(&record.diff_id, &options.limits)?.ok_or_else(missing)?;
        let places = Places::new(&layer, options, observer)?;
        for (ordinal, (content, name)) in contents {
            observer.check()?;
            let found = places.find(&layer, ordinal, &content).ok_or_else(|| StoreError::DamagedLayer {
                diff_id: record.diff_id,
                why: format!("the content of entry {ordinal} is lost"),
            })?;
            let about = NewContent { size: content.size, digest: content.digest, name: &name };
            added.insert((number, ordinal), writer.add(&about, &mut found.reader()).map_err(failed)?);
        }
    }
    let tree = tree.clone().try_map(|_, content| {
        let lost = StoreError::DamagedLayer { diff_id, why: "a content of its stack is lost".to_owned() };
        added.get(&(content.layer, content.ordinal)).copied().ok_or(lost)
    })?;
    writer.finish(&tree, observer).map_err(failed)?;
    Ok(())
}

/// Contents by layer and entry, each with a path that names it.
type ByLayer = BTreeMap<u32, BTreeMap<u32, (LayerContent, Box<[u8]>)>>;

fn by_layer(tree: &Tree<LayerContent>) -> ByLayer {
    let mut layers = ByLayer::new();
    for entry in tree.walk() {
        if let Kind::File(content) = &entry.inode.kind {
            let contents = layers.entry(content.layer).or_default();
            contents.entry(content.ordinal).or_insert_with(|| (*content, entry.path.as_bytes().into()));
        }
    }
    layers
}

/// Where a layer's contents lie: by digest those of its tar, by entry those that are in its image otherwise.
struct Places {
    parts: HashMap<Digest, usize>,
    inodes: HashMap<u32, u32>,
}

impl Places {
    fn new(layer: &Layer, options: &LayerOptions, observer: &dyn Observer) -> Result<Self, StoreError> {
        let parts = layer.skeleton().contents.iter().enumerate().map(|(number, content)| (content.digest, number));
        let parts = parts.collect();
        let mut inodes = HashMap::new();
        if layer.record().is_whole() {
            let stack = |source| StoreError::Stack { diff_id: layer.record().diff_id, source };
            let own = lower(&layer.index(observer)?, 0, &options.limits).map_err(stack)?;
            for (inode, (_, found)) in (0_u32..).zip(own.inodes()) {
                if let Kind::File(content) = &found.kind {
                    inodes.insert(content.ordinal, inode);
                }
            }
        }
        Ok(Self { parts, inodes })
    }

    fn find(&self, layer: &Layer, ordinal: u32, content: &LayerContent) -> Option<Content> {
        if content.size == 0 {
            return Some(Content::empty());
        }
        let part = self.parts.get(&content.digest).and_then(|number| layer.content(*number));
        let found = part.or_else(|| layer.image_content(*self.inodes.get(&ordinal)?));
        found.filter(|found| found.size() == content.size)
    }
}

/// The tree of a patch as it is mounted, its contents by digest: entry numbers stand for inodes.
pub(crate) fn tree_of(layer: &Layer, number: u32) -> Result<Tree<LayerContent>, StoreError> {
    let mut digests = HashMap::new();
    for (part, content) in layer.skeleton().contents.iter().enumerate() {
        if let Some(inode) = layer.inode(part) {
            digests.insert(inode as usize, content.digest);
        }
    }
    layer.tree().clone().try_map(|id, stored| {
        let size = stored.size();
        let lost = || StoreError::Squashfs { diff_id: layer.record().diff_id, file: IMAGE, source: Error::Broken };
        let digest = match digests.get(&id.index()) {
            Some(digest) => *digest,
            None if size == 0 => Digest::of(&[]),
            None => hash(&layer.image_content(u32::try_from(id.index()).unwrap_or(u32::MAX)).ok_or_else(lost)?)
                .map_err(|_| lost())?,
        };
        let ordinal = u32::try_from(id.index()).unwrap_or(u32::MAX);
        Ok(LayerContent { layer: number, ordinal, size, digest })
    })
}

pub(crate) fn hash(content: &Content) -> std::io::Result<Digest> {
    let mut hash = umiak_spec::Sha256::new();
    let (mut reader, mut piece) = (content.reader(), vec![0; 128 << 10]);
    loop {
        match std::io::Read::read(&mut reader, &mut piece)? {
            0 => return Ok(hash.finish()),
            count => hash.update(&piece[..count]),
        }
    }
}
