//! Inodes as bytes: the basic form where it can say everything, else the extended one.

use umiak_tree::{Device, InodeId, Kind};

use super::directories::Listing;
use crate::layout::{NO_FRAGMENT, NO_XATTRS, inode_type};

/// What every inode has.
pub(super) struct Common {
    pub(super) mode: u16,
    pub(super) uid: u16,
    pub(super) gid: u16,
    pub(super) mtime: u32,
    pub(super) number: u32,
    pub(super) names: u32,
    pub(super) xattrs: Option<u32>,
}

/// A file's places, all known.
pub(super) struct FilePlaces<'a> {
    pub(super) size: u64,
    pub(super) start: u64,
    pub(super) blocks: &'a [u32],
    pub(super) fragment: Option<(u32, u32)>,
    /// Plain bytes of the holes.
    pub(super) sparse: u64,
}

/// Bytes of one inode.
pub(super) struct InodeBytes(pub(super) Vec<u8>);

impl InodeBytes {
    fn new(basic: u16, extended: bool, common: &Common) -> Self {
        let mut bytes = Self(Vec::with_capacity(64));
        bytes.u16(if extended { basic + inode_type::EXTENDED } else { basic });
        bytes.u16(common.mode);
        bytes.u16(common.uid);
        bytes.u16(common.gid);
        bytes.u32(common.mtime);
        bytes.u32(common.number);
        bytes
    }

    fn u16(&mut self, value: u16) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn u32(&mut self, value: u32) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn xattrs(&mut self, common: &Common) {
        self.u32(common.xattrs.unwrap_or(NO_XATTRS));
    }

    pub(super) fn directory(common: &Common, listing: &Listing, parent: u32) -> Self {
        let size = listing.length + 3;
        let index = u16::try_from(listing.index.len()).unwrap_or(0);
        let short = u16::try_from(size).ok().filter(|_| common.xattrs.is_none() && index == 0);
        let mut bytes = Self::new(inode_type::DIRECTORY, short.is_none(), common);
        if let Some(short) = short {
            bytes.u32(listing.place.block);
            bytes.u32(common.names);
            bytes.u16(short);
            bytes.u16(listing.place.offset);
            bytes.u32(parent);
            return bytes;
        }
        bytes.u32(common.names);
        bytes.u32(size);
        bytes.u32(listing.place.block);
        bytes.u32(parent);
        bytes.u16(index);
        bytes.u16(listing.place.offset);
        bytes.xattrs(common);
        for entry in listing.index.iter().take(usize::from(index)) {
            bytes.u32(entry.position);
            bytes.u32(entry.block);
            bytes.u32(u32::try_from(entry.name.len() - 1).expect("names are at most 256 bytes"));
            bytes.0.extend_from_slice(&entry.name);
        }
        bytes
    }

    pub(super) fn file(common: &Common, file: &FilePlaces<'_>) -> Self {
        let (fragment, offset) = file.fragment.unwrap_or((NO_FRAGMENT, 0));
        let short = match (u32::try_from(file.start), u32::try_from(file.size)) {
            (Ok(start), Ok(size)) if common.names == 1 && common.xattrs.is_none() && file.sparse == 0 => {
                Some((start, size))
            }
            _ => None,
        };
        let mut bytes = Self::new(inode_type::FILE, short.is_none(), common);
        if let Some((start, size)) = short {
            bytes.u32(start);
            bytes.u32(fragment);
            bytes.u32(offset);
            bytes.u32(size);
        } else {
            bytes.u64(file.start);
            bytes.u64(file.size);
            bytes.u64(file.sparse);
            bytes.u32(common.names);
            bytes.u32(fragment);
            bytes.u32(offset);
            bytes.xattrs(common);
        }
        file.blocks.iter().for_each(|word| bytes.u32(*word));
        bytes
    }

    pub(super) fn symlink(common: &Common, target: &[u8]) -> Self {
        let mut bytes = Self::new(inode_type::SYMLINK, common.xattrs.is_some(), common);
        bytes.u32(common.names);
        bytes.u32(u32::try_from(target.len()).expect("targets are at most 65535 bytes"));
        bytes.0.extend_from_slice(target);
        if common.xattrs.is_some() {
            bytes.xattrs(common);
        }
        bytes
    }

    /// Devices, pipes and sockets.
    pub(super) fn special(common: &Common, basic: u16, device: Option<Device>) -> Self {
        let mut bytes = Self::new(basic, common.xattrs.is_some(), common);
        bytes.u32(common.names);
        if let Some(device) = device {
            bytes.u32(device.major << 8 | device.minor & 0xff | (device.minor & 0xf_ff00) << 12);
        }
        if common.xattrs.is_some() {
            bytes.xattrs(common);
        }
        bytes
    }
}

/// The type number of a kind, as directories and basic inodes have it.
pub(super) const fn type_number<C>(kind: &Kind<C>) -> u16 {
    match kind {
        Kind::Directory(_) => inode_type::DIRECTORY,
        Kind::File(_) => inode_type::FILE,
        Kind::Symlink(_) => inode_type::SYMLINK,
        Kind::BlockDevice(_) => inode_type::BLOCK_DEVICE,
        Kind::CharDevice(_) => inode_type::CHAR_DEVICE,
        Kind::Fifo => inode_type::FIFO,
        Kind::Socket => inode_type::SOCKET,
    }
}

/// Where inodes are and what they are called by number: filled as they are written.
pub(super) struct InodePlaces {
    pub(super) numbers: Vec<u32>,
    pub(super) places: Vec<u64>,
}

impl InodePlaces {
    pub(super) fn number(&self, id: InodeId) -> u32 {
        self.numbers[id.index()]
    }

    pub(super) fn place(&self, id: InodeId) -> u64 {
        self.places[id.index()]
    }
}
