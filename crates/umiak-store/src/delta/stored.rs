//! A stored layer as what a delta starts from: its skeleton and contents, read out of the two images.

use std::io;
use std::sync::Arc;

use umiak_delta::container::{Container, Part, Parts, Shape};
use umiak_delta::divide::{Placed, divide};
use umiak_spec::{Observer, ReadAt, Stretch};

use super::Layer;
use crate::layers::Content;

/// A layer taken apart. The names of its contents are empty: applying does not ask for them.
pub(crate) struct StoredTar {
    layer: Arc<Layer>,
    parts: Parts,
    /// Of each content of the delta: which of the layer it is of, and where in that it begins. Empty where all are whole.
    pieces: Vec<(u32, u64)>,
}

impl StoredTar {
    /// Contents that deltas divide are read once to see where.
    pub(crate) fn new(layer: Arc<Layer>, observer: &dyn Observer) -> io::Result<Self> {
        let (mut contents, mut pieces, mut divided) = (Vec::new(), Vec::new(), false);
        let skeleton = layer.skeleton();
        for (number, content) in (0_u32..).zip(&skeleton.contents) {
            let spacing = content.spacing();
            let part = Part { name: Vec::new(), size: content.size, digest: content.digest, spacing };
            let bytes = opened(&layer, number)?;
            let parts = divide(vec![Placed { offset: 0, part }], &bytes, observer)?;
            divided |= parts.len() > 1;
            for Placed { offset, part } in parts {
                contents.push(part);
                pieces.push((number, offset));
            }
        }
        if !divided {
            pieces = Vec::new();
        }
        let parts = Parts {
            shape: Shape::Tar,
            size: skeleton.archive,
            digest: skeleton.diff_id,
            skeleton: skeleton.size,
            contents,
        };
        Ok(Self { layer, parts, pieces })
    }

    /// From now on so many bytes of decompressed blocks are kept.
    pub(crate) fn keep(&self, bytes: usize) {
        self.layer.keep(bytes);
    }
}

fn opened(layer: &Layer, number: u32) -> io::Result<Content> {
    usize::try_from(number).ok().and_then(|number| layer.content(number)).ok_or(io::ErrorKind::NotFound.into())
}

impl Container for StoredTar {
    fn parts(&self) -> &Parts {
        &self.parts
    }

    fn skeleton(&self) -> io::Result<Arc<dyn ReadAt + '_>> {
        Ok(Arc::new(self.layer.skeleton_bytes()))
    }

    fn content(&self, number: usize) -> io::Result<Arc<dyn ReadAt + '_>> {
        let Some((whole, offset)) = self.pieces.get(number) else {
            return Ok(Arc::new(opened(&self.layer, u32::try_from(number).unwrap_or(u32::MAX))?));
        };
        let size = self.parts.contents.get(number).map(|part| part.size).ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(Stretch { bytes: opened(&self.layer, *whole)?, offset: *offset, size }))
    }
}
