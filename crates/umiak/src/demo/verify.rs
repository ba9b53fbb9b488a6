//! Compares what a device would see, base and patch merged as overlayfs does it, with an image made on its own.
//!
//! The merging is our model of overlayfs; that the kernel shows the same is tested elsewhere and, as root, shown by
//! the demo itself.

use std::fs::File;
use std::num::NonZeroUsize;
use std::path::Path;

use umiak_spec::{Digest, Limits, Observer};
use umiak_squashfs::Image;
use umiak_tree::{Content, Tree, TreeError, apply, difference};

/// What is compared of a file's content.
#[derive(Clone, Copy)]
struct Known {
    size: u64,
    digest: Digest,
}

impl Content for Known {
    fn size(&self) -> u64 {
        self.size
    }

    fn digest(&self) -> Digest {
        self.digest
    }
}

/// Why the comparison could not be made, or failed.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// An image cannot be read.
    #[error("cannot read {0}")]
    Image(String, #[source] Box<dyn std::error::Error + Send + Sync>),
    /// The merged tree is no tree.
    #[error("base and patch cannot be merged")]
    Merge(#[from] TreeError),
    /// They differ.
    #[error("what a device would see is not the target: {0}")]
    Differs(String),
}

/// Compares `patch` above `base`, or `base` alone, with `target`; gives the number of names that were compared.
///
/// # Errors
/// [`VerifyError`].
pub fn shows(base: &Path, patch: Option<&Path>, target: &Path, observer: &dyn Observer) -> Result<usize, VerifyError> {
    let base = tree(base, observer)?;
    let merged = match patch {
        Some(patch) => apply(&base, &tree(patch, observer)?)?,
        None => base,
    };
    let target = tree(target, observer)?;
    match difference(&merged, &target) {
        Some(how) => Err(VerifyError::Differs(how)),
        None => Ok(target.walk().count()),
    }
}

/// The tree of an image with the digest of every file.
fn tree(path: &Path, observer: &dyn Observer) -> Result<Tree<Known>, VerifyError> {
    let unreadable =
        |error: Box<dyn std::error::Error + Send + Sync>| VerifyError::Image(path.display().to_string(), error);
    let file = File::open(path).map_err(|error| unreadable(error.into()))?;
    let image = Image::open(file, &Limits::default()).map_err(|error| unreadable(error.into()))?;
    let tree = image.tree().map_err(|error| unreadable(error.into()))?;
    let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let digests = image.digests(&tree, threads, observer).map_err(|error| unreadable(error.into()))?;
    tree.try_map(|id, content| {
        let size = content.size();
        let digest = digests.get(id).ok_or_else(|| unreadable("a file has no digest".into()))?;
        Ok(Known { size, digest })
    })
}
