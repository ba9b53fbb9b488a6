//! OCI tar layers to and from trees.
//!
//! ```text
//!            decompress          TarReader           index                flatten
//! blob ------------------> tar ------------> Entry ---------> LayerIndex ---------> Tree<LayerContent>
//!                                                             diff ID,       (umiak_tree::Stack)
//!                                                             file digests
//!            for_each_content: the same way again, only for the files that are wanted
//! measure: what the layer takes when an engine unpacks it, from the tar alone
//! entries, tree -- LayerWriter --> tar
//! skeleton: tar --> contents of its files + every other byte, which make it again bit for bit
//! survey: index and skeleton in one pass; unpack: the second pass; Archive: the tar again
//! lower: one layer by itself as overlayfs wants it
//! ```
//!
//! Nothing is extracted to a directory and no file content is ever held in memory. Everything is bounded by
//! `umiak_spec::Limits`, and any bytes give a value or an error. A [`LayerIndex`] can be kept as bytes
//! (`docs/formats/layer-index.md`).

mod ahead;
mod base64;
mod compression;
mod content;
mod contents;
mod entry;
mod error;
mod flatten;
mod go_gzip;
mod header;
mod index;
mod index_file;
mod lower;
mod measure;
mod member;
mod pax;
mod reader;
mod rebuild;
mod skeleton;
mod skeleton_view;
mod skeleton_walk;
mod sparse;
mod survey;
mod unpack;
mod writer;

pub use compression::{Compression, ExpansionError, Plain, decompress};
pub use content::Content;
pub use contents::for_each_content;
pub use entry::{Body, Entry};
pub use error::LayerError;
pub use flatten::flatten;
pub use index::{FileContent, IndexedEntry, LayerContent, LayerIndex, index};
pub use index_file::IndexFileError;
pub use lower::{as_shown, is_showable, lower};
pub use measure::{HashSeed, measure, measure_with};
pub use reader::{Counted, TarReader};
pub use rebuild::{Archive, reindex};
pub use skeleton::{Skeleton, SkeletonContent, is_tar, skeleton};
pub use skeleton_view::{SkeletonView, flip_checksum};
pub use survey::{Survey, survey};
pub use unpack::{for_each_part, unpack};
pub use writer::{LayerWriter, WriteError};
