//! OCI tar layers to and from trees.

mod ahead;
mod base64;
mod compression;
mod content;
mod contents;
mod entry;
mod error;
mod flatten;
mod header;
mod index;
mod member;
mod pax;
mod reader;
mod sparse;

pub use compression::{Compression, ExpansionError, decompress};
pub use content::Content;
pub use contents::for_each_content;
pub use entry::{Body, Entry};
pub use error::LayerError;
pub use flatten::flatten;
pub use index::{FileContent, IndexedEntry, LayerContent, LayerIndex, index};
pub use reader::{Counted, TarReader};
