//! From a tree of layer contents to a squashfs image.
//!
//! Contents are added in the order in which the layers hold them, whether they are read, copied from a base or known
//! already: the image does not depend on what was at hand. A layer is decompressed only if one of its contents must
//! be read, and only as far as the last of those.

use std::collections::{BTreeMap, HashMap};
use std::io::{Seek, Write};
use std::path::Path;

use umiak_layer::LayerContent;
use umiak_spec::Observer;
use umiak_squashfs::{Base, FileRef, ImageOptions, ImageWriter, NewContent, Report};
use umiak_tree::{Kind, Tree};

use crate::error::BuildError;
use crate::layers::Layers;

const PHASE: &str = "Writing";

/// The contents of one layer by entry number, each with the first path that names it.
type Wanted = BTreeMap<u32, (LayerContent, Box<[u8]>)>;

/// Writes `tree` to `out`; `path` is what errors call it.
pub(crate) fn squash<W: Write + Seek>(
    tree: Tree<LayerContent>,
    layers: &Layers,
    base: Option<Base>,
    options: &ImageOptions,
    (out, path): (W, &Path),
    observer: &dyn Observer,
) -> Result<(W, Report), BuildError> {
    let failed = |source| match source {
        umiak_squashfs::Error::Cancelled(cancelled) => BuildError::from(cancelled),
        source => BuildError::Write { path: path.to_owned(), source },
    };
    let mut writer = ImageWriter::new(out, options).map_err(failed)?;
    if let Some(base) = base {
        writer = writer.with_base(base).map_err(failed)?;
    }
    let wanted = by_layer(&tree);
    let total = wanted.values().flat_map(BTreeMap::values).map(|(content, _)| content.size).sum();
    observer.expect(PHASE, total);

    let mut added: HashMap<(u32, u32), FileRef> = HashMap::new();
    for (number, contents) in &wanted {
        let mut adding = Adding { writer: &mut writer, added: &mut added, contents, observer, failed: &failed };
        adding.layer(*number, layers)?;
    }
    let tree = tree.try_map(|_, content| {
        added
            .get(&(content.layer, content.ordinal))
            .copied()
            .ok_or_else(|| BuildError::Refused(format!("entry {} of a layer was not read", content.ordinal)))
    })?;
    writer.finish(&tree, observer).map_err(failed)
}

fn by_layer(tree: &Tree<LayerContent>) -> BTreeMap<u32, Wanted> {
    let mut wanted: BTreeMap<u32, Wanted> = BTreeMap::new();
    for entry in tree.walk() {
        if let Kind::File(content) = &entry.inode.kind {
            let place = wanted.entry(content.layer).or_default().entry(content.ordinal);
            place.or_insert_with(|| (*content, entry.path.as_bytes().into()));
        }
    }
    wanted
}

/// The contents of one layer on their way into the writer.
struct Adding<'a, W: Write + Seek, F> {
    writer: &'a mut ImageWriter<W>,
    added: &'a mut HashMap<(u32, u32), FileRef>,
    contents: &'a Wanted,
    observer: &'a dyn Observer,
    failed: &'a F,
}

impl<W: Write + Seek, F: Fn(umiak_squashfs::Error) -> BuildError> Adding<'_, W, F> {
    /// Adds contents in order; those that must be read are announced first, so that the layer is read once.
    fn layer(&mut self, number: u32, layers: &Layers) -> Result<(), BuildError> {
        let contents = self.contents;
        let unknown: Vec<u32> = contents
            .iter()
            .filter(|(_, (content, name))| !self.writer.knows(&new(content, name)))
            .map(|(ordinal, _)| *ordinal)
            .collect();
        let mut rest = contents.iter().peekable();
        let observer = self.observer;
        layers.each_content(number, &unknown, observer, |ordinal, reader| {
            while let Some((_, known)) = rest.next_if(|(next, _)| **next < ordinal) {
                self.known(known)?;
            }
            match rest.next_if(|(next, _)| **next == ordinal) {
                Some((_, (content, name))) => {
                    let file = self.writer.add(&new(content, name), reader).map_err(self.failed)?;
                    self.done(content, file);
                    Ok(())
                }
                None => Err(BuildError::Refused(format!("entry {ordinal} of a layer came out of order"))),
            }
        })?;
        rest.try_for_each(|(_, known)| self.known(known))
    }

    fn known(&mut self, (content, name): &(LayerContent, Box<[u8]>)) -> Result<(), BuildError> {
        self.observer.check()?;
        let file = self.writer.add_known(&new(content, name)).map_err(self.failed)?;
        let file = file.ok_or_else(|| BuildError::Refused("a content that was known is not any more".into()))?;
        self.done(content, file);
        Ok(())
    }

    fn done(&mut self, content: &LayerContent, file: FileRef) {
        self.observer.advance(PHASE, content.size);
        self.added.insert((content.layer, content.ordinal), file);
    }
}

fn new<'a>(content: &LayerContent, name: &'a [u8]) -> NewContent<'a> {
    NewContent { size: content.size, digest: content.digest, name }
}
