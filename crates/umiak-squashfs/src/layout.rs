//! Numbers of the squashfs 4.0 format, and its superblock.
//!
//! All integers on disk are little-endian. Checks here are those that need nothing but the superblock itself.

use crate::{Compressor, Error};

/// `hsqs` read as a little-endian number.
pub(crate) const MAGIC: u32 = 0x7371_7368;
/// Bytes of the superblock.
pub(crate) const SUPERBLOCK_BYTES: usize = 96;
/// Plain bytes of a full metadata block.
pub(crate) const METADATA_BYTES: usize = 8192;
/// Bit of a metadata block's length that says "stored, not compressed".
pub(crate) const METADATA_STORED: u16 = 0x8000;
/// Bit of a block's length that says "stored, not compressed".
pub(crate) const BLOCK_STORED: u32 = 1 << 24;
/// A table that is not there.
pub(crate) const NO_TABLE: u64 = u64::MAX;
/// A file without a fragment.
pub(crate) const NO_FRAGMENT: u32 = u32::MAX;
/// An inode without extended attributes.
pub(crate) const NO_XATTRS: u32 = u32::MAX;
/// The file is a multiple of this long, for loop devices.
pub(crate) const PADDING: u64 = 4096;
/// Smallest and largest block size.
pub(crate) const BLOCK_SIZES: std::ops::RangeInclusive<u32> = 4096..=1 << 20;
/// Longest file name.
pub(crate) const NAME_BYTES: usize = 256;
/// Entries below one directory header.
pub(crate) const HEADER_ENTRIES: usize = 256;
/// Longest symbolic link target the kernel accepts.
pub(crate) const SYMLINK_BYTES: usize = 65_535;

/// Superblock flags.
pub(crate) mod flags {
    pub(crate) const DUPLICATES: u16 = 0x0040;
    pub(crate) const EXPORTABLE: u16 = 0x0080;
    pub(crate) const COMPRESSOR_OPTIONS: u16 = 0x0400;
}

/// Inode type numbers of the basic inodes; an extended inode has [`inode_type::EXTENDED`] more.
pub(crate) mod inode_type {
    pub(crate) const DIRECTORY: u16 = 1;
    pub(crate) const FILE: u16 = 2;
    pub(crate) const SYMLINK: u16 = 3;
    pub(crate) const BLOCK_DEVICE: u16 = 4;
    pub(crate) const CHAR_DEVICE: u16 = 5;
    pub(crate) const FIFO: u16 = 6;
    pub(crate) const SOCKET: u16 = 7;
    pub(crate) const EXTENDED: u16 = 7;
}

/// What the first 96 bytes of an image say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Superblock {
    /// How many inodes there are.
    pub inodes: u32,
    /// Seconds since 1970 when the image was made, or what stands for it.
    pub image_time: u32,
    /// Plain bytes of a full data block.
    pub block_size: u32,
    /// How many fragment blocks there are.
    pub fragments: u32,
    /// Compressor of blocks and metadata.
    pub compressor: Compressor,
    /// Flag bits as stored.
    pub flags: u16,
    /// How many numeric owners and groups there are.
    pub ids: u16,
    /// Where the root directory's inode lies in the inode table.
    pub root: u64,
    /// Bytes of the image without the padding at its end.
    pub bytes_used: u64,
    /// Byte where the id table's index lies.
    pub id_table: u64,
    /// Byte where the extended attribute table's index lies, or all ones.
    pub xattr_table: u64,
    /// Byte where the inode table starts.
    pub inode_table: u64,
    /// Byte where the directory table starts.
    pub directory_table: u64,
    /// Byte where the fragment table's index lies, or all ones.
    pub fragment_table: u64,
    /// Byte where the export table's index lies, or all ones.
    pub export_table: u64,
}

impl Superblock {
    /// Decodes and checks a superblock of an image of `length` bytes.
    ///
    /// # Errors
    /// Another file type, format revision or compressor; block sizes and table positions that cannot be.
    pub(crate) fn decode(bytes: &[u8; SUPERBLOCK_BYTES], length: u64) -> Result<Self, Error> {
        let mut fields = Fields(bytes);
        if fields.u32() != MAGIC {
            return Err(Error::NotSquashfs("it does not start with `hsqs`"));
        }
        let inodes = fields.u32();
        let image_time = fields.u32();
        let block_size = fields.u32();
        let fragments = fields.u32();
        let compressor_number = fields.u16();
        let block_log = fields.u16();
        let flags = fields.u16();
        let ids = fields.u16();
        let (major, minor) = (fields.u16(), fields.u16());
        if (major, minor) != (4, 0) {
            return Err(Error::Revision { major, minor });
        }
        let compressor =
            Compressor::from_number(compressor_number).ok_or(Error::UnknownCompressor(compressor_number))?;
        if !BLOCK_SIZES.contains(&block_size) || !block_size.is_power_of_two() {
            return Err(Error::damaged("the block size is not a power of two from 4 KiB to 1 MiB", 12));
        }
        if u32::from(block_log) != block_size.ilog2() {
            return Err(Error::damaged("block size and its logarithm do not agree", 22));
        }
        let superblock = Self {
            inodes,
            image_time,
            block_size,
            fragments,
            compressor,
            flags,
            ids,
            root: fields.u64(),
            bytes_used: fields.u64(),
            id_table: fields.u64(),
            xattr_table: fields.u64(),
            inode_table: fields.u64(),
            directory_table: fields.u64(),
            fragment_table: fields.u64(),
            export_table: fields.u64(),
        };
        superblock.check(length)?;
        Ok(superblock)
    }

    fn check(&self, length: u64) -> Result<(), Error> {
        if self.bytes_used > length {
            return Err(Error::damaged("the image is cut short", length));
        }
        if self.inodes == 0 {
            return Err(Error::damaged("there is no inode", 4));
        }
        let header = SUPERBLOCK_BYTES as u64;
        let tables = [(self.id_table, 48), (self.inode_table, 64), (self.directory_table, 72)];
        if let Some((_, field)) = tables.iter().find(|(at, _)| *at < header || *at >= self.bytes_used) {
            return Err(Error::damaged("a table lies outside the image", *field));
        }
        if self.inode_table > self.directory_table {
            return Err(Error::damaged("the inode table lies behind the directory table", 64));
        }
        let optional = [(self.xattr_table, 56), (self.fragment_table, 80), (self.export_table, 88)];
        let outside = |at: u64| at != NO_TABLE && (at < header || at >= self.bytes_used);
        if let Some((_, field)) = optional.iter().find(|(at, _)| outside(*at)) {
            return Err(Error::damaged("a table lies outside the image", *field));
        }
        Ok(())
    }

    /// The 96 bytes.
    pub(crate) fn encode(&self) -> [u8; SUPERBLOCK_BYTES] {
        let mut bytes = Vec::with_capacity(SUPERBLOCK_BYTES);
        for word in [MAGIC, self.inodes, self.image_time, self.block_size, self.fragments] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        let log = u16::try_from(self.block_size.ilog2()).expect("a logarithm of 32 bits is at most 31");
        for half in [self.compressor.number(), log, self.flags, self.ids, 4, 0] {
            bytes.extend_from_slice(&half.to_le_bytes());
        }
        for long in [
            self.root,
            self.bytes_used,
            self.id_table,
            self.xattr_table,
            self.inode_table,
            self.directory_table,
            self.fragment_table,
            self.export_table,
        ] {
            bytes.extend_from_slice(&long.to_le_bytes());
        }
        bytes.try_into().expect("5 words, 6 halves and 8 longs are 96 bytes")
    }
}

/// Takes little-endian numbers off the front of bytes; what is missing reads as zero.
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let mut field = [0; N];
        let (head, rest) = self.0.split_at(N.min(self.0.len()));
        field[..head.len()].copy_from_slice(head);
        self.0 = rest;
        field
    }

    pub(crate) fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.take())
    }

    pub(crate) fn i16(&mut self) -> i16 {
        i16::from_le_bytes(self.take())
    }

    pub(crate) fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }

    pub(crate) fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Superblock {
        Superblock {
            inodes: 3,
            image_time: 7,
            block_size: 131_072,
            fragments: 1,
            compressor: Compressor::Xz,
            flags: flags::DUPLICATES,
            ids: 1,
            root: 0x20,
            bytes_used: 900,
            id_table: 800,
            xattr_table: NO_TABLE,
            inode_table: 200,
            directory_table: 300,
            fragment_table: 400,
            export_table: NO_TABLE,
        }
    }

    #[test]
    fn a_superblock_survives_and_has_the_known_bytes() {
        let bytes = sample().encode();
        assert_eq!(&bytes[..4], b"hsqs");
        assert_eq!(&bytes[20..32], &[4, 0, 17, 0, 0x40, 0, 1, 0, 4, 0, 0, 0]);
        assert_eq!(Superblock::decode(&bytes, 4096).unwrap(), sample());
    }

    #[test]
    fn impossible_superblocks_are_refused() {
        let broken = |change: fn(&mut Superblock)| {
            let mut superblock = sample();
            change(&mut superblock);
            Superblock::decode(&superblock.encode(), 4096)
        };
        assert!(matches!(broken(|s| s.bytes_used = 5000), Err(Error::Damaged { .. })));
        assert!(matches!(broken(|s| s.inode_table = 301), Err(Error::Damaged { .. })));
        assert!(matches!(broken(|s| s.id_table = 900), Err(Error::Damaged { .. })));
        assert!(matches!(broken(|s| s.xattr_table = 3), Err(Error::Damaged { .. })));
        assert!(matches!(broken(|s| s.block_size = 131_073), Err(Error::Damaged { .. })));
        assert!(matches!(Superblock::decode(&[0; 96], 96), Err(Error::NotSquashfs(_))));
    }
}
