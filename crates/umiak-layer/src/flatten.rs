//! Indexed layers to the tree they show together.

use umiak_spec::Limits;
use umiak_tree::{Directory, Kind, Stack, StackError, Tree};

use crate::entry::Body;
use crate::index::{LayerContent, LayerIndex};

/// The tree of `layers`, bottom first; a file's content says in which of them it is.
///
/// # Errors
/// [`StackError`].
pub fn flatten(layers: &[&LayerIndex], limits: &Limits) -> Result<Tree<LayerContent>, StackError> {
    let mut stack = Stack::new(*limits);
    for (number, layer) in (0_u32..).zip(layers) {
        stack.begin_layer()?;
        for entry in &layer.entries {
            let kind = match &entry.body {
                Body::Directory => Kind::Directory(Directory::new()),
                Body::File(content) => {
                    let (ordinal, size, digest) = (entry.ordinal, content.size, content.digest);
                    Kind::File(LayerContent { layer: number, ordinal, size, digest })
                }
                Body::Symlink(target) => Kind::Symlink(target.clone()),
                Body::CharDevice(device) => Kind::CharDevice(*device),
                Body::BlockDevice(device) => Kind::BlockDevice(*device),
                Body::Fifo => Kind::Fifo,
                Body::HardLink(target) => {
                    stack.link(entry.path.clone(), target.clone())?;
                    continue;
                }
                Body::Whiteout => {
                    stack.whiteout(entry.path.clone())?;
                    continue;
                }
                Body::Opaque => {
                    stack.opaque(entry.path.clone())?;
                    continue;
                }
            };
            stack.add(entry.path.clone(), entry.metadata.clone(), kind)?;
        }
    }
    stack.finish()
}
