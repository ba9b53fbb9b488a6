//! squashfs images to and from trees, reproducible.

mod codec;
mod compressor;
mod error;
mod layout;
mod lzo;
mod options;
mod read_at;
mod reader;
mod writer;

pub use compressor::Compressor;
pub use error::Error;
pub use layout::Superblock;
pub use options::ImageOptions;
pub use read_at::ReadAt;
pub use reader::{ContentReader, Digests, Image, StoredContent};
pub use writer::{Base, BaseMatch, FileRef, ImageWriter, NewContent, Report, check};
