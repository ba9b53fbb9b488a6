//! squashfs images to and from trees, reproducible.
//!
//! [`Image`] reads what mksquashfs 4.5 and this crate make: the tree, contents by stream or at random, the digests of
//! all contents in one pass. [`ImageWriter`] takes contents in any order and then the tree that names them; it copies
//! compressed blocks out of a [`Base`] where that has the same contents.
//!
//! ```text
//! byte 0       superblock, 96 bytes
//!              compressor options, one metadata block        if the compressor has any
//! blocks       data and fragment blocks                      compressed each by itself, in order of arrival
//! inodes       metadata blocks                               superblock.inode_table
//! directories  metadata blocks                               superblock.directory_table
//! fragments    metadata blocks, then where each starts       superblock.fragment_table names the second part
//! export       metadata blocks, then where each starts       the same; inode number -> place
//! ids          metadata blocks, then where each starts       the same; numeric owners and groups
//! xattrs       pairs, sets, then where each block of sets starts
//! bytes_used   zeros to a multiple of 4096
//!
//! metadata block   u16 length, bit 15: stored | at most 8192 plain bytes
//! block            its length is in the inode or the fragment table, bit 24: stored; 0: a hole
//! file             full blocks in a row from one place, the rest in a block of its own or in a fragment block
//! inode place      byte of its metadata block in the inode table << 16 | plain byte in that block
//! ```
//!
//! [`take_apart`] and [`rebuild`] are for deltas: an image of this writer is made again, bit for bit, of a listing and the
//! contents of its files (`docs/formats/delta-containers.md`).
//!
//! What our writer chooses within the format, and what is reproducible, is in `docs/formats/squashfs.md`.
//!
//! Guarantees: decoders return typed errors on any bytes and keep to [`umiak_spec::Limits`]; the bytes of an image do
//! not depend on threads, clock, user or locale. This crate does not mount, and it does not read directories.
//!
//! ```
//! use std::io::Cursor;
//! use umiak_spec::{Digest, Limits, Silent};
//! use umiak_squashfs::{FileRef, Image, ImageOptions, ImageWriter, NewContent};
//! use umiak_tree::{Builder, Inode, InodeId, Kind, Metadata};
//!
//! let text = b"hello\n";
//! let mut writer = ImageWriter::new(Cursor::new(Vec::new()), &ImageOptions::default())?;
//! let content = NewContent { size: 6, digest: Digest::of(text), name: b"hello.txt" };
//! let file: FileRef = writer.add(&content, &mut text.as_slice())?;
//!
//! let mut tree = Builder::new(Metadata::root_owned(0o755));
//! let id = tree.add(Inode { metadata: Metadata::root_owned(0o644), kind: Kind::File(file) })?;
//! tree.directory(InodeId::ROOT).ok_or("the root is a directory")?.insert(b"hello.txt".as_slice().into(), id);
//! let (out, report) = writer.finish(&tree.finish()?, &Silent)?;
//! assert_eq!(report.contents, 1);
//!
//! let image = Image::open(out.into_inner(), &Limits::default())?;
//! assert_eq!(image.tree()?.len(), 2);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod codec;
mod compressor;
mod error;
mod layout;
mod lzo;
mod options;
mod parts;
mod reader;
mod writer;

pub use compressor::Compressor;
pub use error::Error;
pub use layout::Superblock;
pub use options::ImageOptions;
pub use parts::{Contents, PartContent, PartReader, Parts, Rebuild, content_names, rebuild, take_apart};
pub use reader::{ContentReader, Digests, Image, StoredContent};
pub use umiak_spec::ReadAt;
pub use writer::{Base, BaseMatch, FileRef, ImageWriter, NewContent, Report, check};
