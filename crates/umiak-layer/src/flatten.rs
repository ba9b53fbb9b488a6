//! Indexed layers to the tree they show together.

use umiak_spec::Limits;
use umiak_tree::{Directory, Kind, Stack, StackError, Tree};

use crate::entry::Body;
use crate::index::{IndexedEntry, LayerContent, LayerIndex};

/// The tree of `layers`, bottom first; a file's content says in which of them it is.
///
/// # Errors
/// [`StackError`].
pub fn flatten(layers: &[&LayerIndex], limits: &Limits) -> Result<Tree<LayerContent>, StackError> {
    let mut stack = Stack::new(*limits);
    for (number, layer) in (0_u32..).zip(layers) {
        stack.begin_layer()?;
        for entry in &layer.entries {
            match &entry.body {
                Body::Whiteout => stack.whiteout(entry.path.clone())?,
                Body::Opaque => stack.opaque(entry.path.clone())?,
                _ => add(&mut stack, number, entry)?,
            }
        }
    }
    stack.finish()
}

/// Adds an entry that is no mark.
pub(crate) fn add(stack: &mut Stack<LayerContent>, layer: u32, entry: &IndexedEntry) -> Result<(), StackError> {
    let kind = match &entry.body {
        Body::Directory => Kind::Directory(Directory::new()),
        Body::File(content) => {
            let (ordinal, size, digest) = (entry.ordinal, content.size, content.digest);
            Kind::File(LayerContent { layer, ordinal, size, digest })
        }
        Body::Symlink(target) => Kind::Symlink(target.clone()),
        Body::CharDevice(device) => Kind::CharDevice(*device),
        Body::BlockDevice(device) => Kind::BlockDevice(*device),
        Body::Fifo => Kind::Fifo,
        Body::HardLink(target) => return stack.link(entry.path.clone(), target.clone()),
        Body::Whiteout | Body::Opaque => return Ok(()),
    };
    stack.add(entry.path.clone(), entry.metadata.clone(), kind)
}
