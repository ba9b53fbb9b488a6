//! Decoding of single inodes, basic and extended.

use umiak_tree::Device;

use super::content::StoredContent;
use super::metadata::Cursor;
use crate::layout::{Fields, NO_FRAGMENT, NO_XATTRS, SYMLINK_BYTES, inode_type};
use crate::{Error, ReadAt};

/// An inode as stored.
pub(crate) struct StoredInode {
    pub(crate) mode: u16,
    pub(crate) uid: u16,
    pub(crate) gid: u16,
    pub(crate) mtime: u32,
    /// Index into the extended attribute table.
    pub(crate) xattrs: Option<u32>,
    pub(crate) kind: StoredKind,
}

/// What an inode is, as stored.
pub(crate) enum StoredKind {
    /// Where the listing starts in the directory table, and its plain bytes.
    Directory {
        block: u32,
        offset: u16,
        length: u32,
    },
    File(StoredContent),
    Symlink(Box<[u8]>),
    BlockDevice(Device),
    CharDevice(Device),
    Fifo,
    Socket,
}

/// What bounds a file: sizes of the image and the caller's limit.
pub(crate) struct FileRules {
    pub(crate) block_size: u32,
    pub(crate) fragments: usize,
    pub(crate) bytes_used: u64,
    pub(crate) largest_file: u64,
}

/// Reads the inode at `cursor`.
pub(crate) fn read<R: ReadAt>(cursor: &mut Cursor<'_, '_, R>, rules: &FileRules) -> Result<StoredInode, Error> {
    let head: [u8; 16] = cursor.array()?;
    let mut fields = Fields(&head);
    let number = fields.u16();
    let (mode, uid, gid, mtime) = (fields.u16(), fields.u16(), fields.u16(), fields.u32());
    let extended = number > inode_type::EXTENDED;
    let basic = if extended { number - inode_type::EXTENDED } else { number };
    let (kind, xattrs) = match basic {
        inode_type::DIRECTORY => directory(cursor, extended)?,
        inode_type::FILE => file(cursor, extended, rules)?,
        inode_type::SYMLINK => symlink(cursor, extended)?,
        inode_type::BLOCK_DEVICE | inode_type::CHAR_DEVICE => {
            let _names = cursor.array::<4>()?;
            let device = device(u32::from_le_bytes(cursor.array()?));
            let kind = match basic {
                inode_type::BLOCK_DEVICE => StoredKind::BlockDevice(device),
                _ => StoredKind::CharDevice(device),
            };
            (kind, trailing_xattrs(cursor, extended)?)
        }
        inode_type::FIFO | inode_type::SOCKET => {
            let _names = cursor.array::<4>()?;
            let kind = if basic == inode_type::FIFO { StoredKind::Fifo } else { StoredKind::Socket };
            (kind, trailing_xattrs(cursor, extended)?)
        }
        _ => return Err(Error::damaged("an inode has an unknown type", cursor.block())),
    };
    Ok(StoredInode { mode, uid, gid, mtime, xattrs, kind })
}

type Parts = (StoredKind, Option<u32>);

fn xattr_index(number: u32) -> Option<u32> {
    (number != NO_XATTRS).then_some(number)
}

fn trailing_xattrs<R: ReadAt>(cursor: &mut Cursor<'_, '_, R>, extended: bool) -> Result<Option<u32>, Error> {
    Ok(if extended { xattr_index(u32::from_le_bytes(cursor.array()?)) } else { None })
}

fn directory<R: ReadAt>(cursor: &mut Cursor<'_, '_, R>, extended: bool) -> Result<Parts, Error> {
    let (block, offset, size, xattrs) = if extended {
        let bytes: [u8; 24] = cursor.array()?;
        let mut fields = Fields(&bytes);
        let (_names, size, block, _parent) = (fields.u32(), fields.u32(), fields.u32(), fields.u32());
        let (_index, offset) = (fields.u16(), fields.u16());
        (block, offset, size, xattr_index(fields.u32()))
    } else {
        let bytes: [u8; 16] = cursor.array()?;
        let mut fields = Fields(&bytes);
        let (block, _names, size, offset) = (fields.u32(), fields.u32(), fields.u16(), fields.u16());
        (block, offset, u32::from(size), None)
    };
    // The stored size counts three bytes for `.` and `..`, which are not stored.
    Ok((StoredKind::Directory { block, offset, length: size.saturating_sub(3) }, xattrs))
}

fn file<R: ReadAt>(cursor: &mut Cursor<'_, '_, R>, extended: bool, rules: &FileRules) -> Result<Parts, Error> {
    let (start, size, fragment, offset, xattrs) = if extended {
        let bytes: [u8; 40] = cursor.array()?;
        let mut fields = Fields(&bytes);
        let (start, size, _sparse, _names) = (fields.u64(), fields.u64(), fields.u64(), fields.u32());
        (start, size, fields.u32(), fields.u32(), xattr_index(fields.u32()))
    } else {
        let bytes: [u8; 16] = cursor.array()?;
        let mut fields = Fields(&bytes);
        let (start, fragment, offset) = (fields.u32(), fields.u32(), fields.u32());
        (u64::from(start), u64::from(fields.u32()), fragment, offset, None)
    };
    let at = cursor.block();
    if size > rules.largest_file {
        return Err(Error::Limit { what: "bytes in one file", limit: rules.largest_file });
    }
    let block_size = u64::from(rules.block_size);
    let fragment = if fragment == NO_FRAGMENT {
        None
    } else {
        let tail = size % block_size;
        let inside = u64::from(offset) + tail <= block_size;
        if fragment as usize >= rules.fragments || !inside || tail == 0 {
            return Err(Error::damaged("a file's fragment cannot be", at));
        }
        Some((fragment, offset))
    };
    let count = if fragment.is_some() { size / block_size } else { size.div_ceil(block_size) };
    let blocks = block_words(cursor, count, rules)?;
    let length: u64 = blocks.iter().map(|word| u64::from(super::content::stored_bytes(*word))).sum();
    if length > 0 && start.checked_add(length).is_none_or(|end| end > rules.bytes_used) {
        return Err(Error::damaged("a file's blocks lie outside the image", at));
    }
    Ok((StoredKind::File(StoredContent::new(size, start, blocks, fragment)), xattrs))
}

/// The list of block lengths: memory grows with what is really there.
fn block_words<R: ReadAt>(
    cursor: &mut Cursor<'_, '_, R>,
    count: u64,
    rules: &FileRules,
) -> Result<std::sync::Arc<[u32]>, Error> {
    let count =
        usize::try_from(count).map_err(|_| Error::Limit { what: "bytes in one file", limit: rules.largest_file })?;
    let bytes = cursor.bytes(count.saturating_mul(4))?;
    let words = bytes.chunks_exact(4).map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]]));
    let words: std::sync::Arc<[u32]> = words.collect();
    if words.iter().any(|word| super::content::stored_bytes(*word) > rules.block_size) {
        return Err(Error::damaged("a block is longer than the block size", cursor.block()));
    }
    Ok(words)
}

fn symlink<R: ReadAt>(cursor: &mut Cursor<'_, '_, R>, extended: bool) -> Result<Parts, Error> {
    let _names = cursor.array::<4>()?;
    let length = u32::from_le_bytes(cursor.array()?) as usize;
    if length > SYMLINK_BYTES {
        return Err(Error::damaged("a symbolic link is longer than 65535 bytes", cursor.block()));
    }
    let target = cursor.bytes(length)?.into_boxed_slice();
    Ok((StoredKind::Symlink(target), trailing_xattrs(cursor, extended)?))
}

/// Linux' 32-bit device number: 12 bits of major, 20 of minor in two pieces.
fn device(number: u32) -> Device {
    Device { major: number >> 8 & 0xfff, minor: number & 0xff | number >> 12 & 0xf_ff00 }
}
