//! The tables behind the blocks: inodes, directories, fragments, export, ids, extended attributes.
//!
//! Inodes are written and numbered directory by directory, a directory's names in order and in a row, subdirectories'
//! contents before their parents'; so a listing needs few headers and numbers go up by one.

use std::collections::HashMap;
use std::io::Write;

use umiak_spec::Observer;
use umiak_tree::{InodeId, Kind, Tree};

use super::FileRef;
use super::blocks::{BlockWriter, FileRecord};
use super::directories::{self, Entry, Listing};
use super::fragments::TailPlace;
use super::inodes::{Common, FilePlaces, InodeBytes, InodePlaces, type_number};
use super::metadata::MetadataWriter;
use super::xattrs::XattrWriter;
use crate::Error;
use crate::compressor::Settings;
use crate::layout::{NO_TABLE, Superblock, inode_type};

/// Writes all tables and returns the superblock's fields that they decide.
pub(super) fn write<W: Write>(
    blocks: &mut BlockWriter<W>,
    tree: &Tree<FileRef>,
    tails: &[TailPlace],
    settings: Settings,
    exportable: bool,
    observer: &dyn Observer,
) -> Result<Superblock, Error> {
    let mut tables = Tables::new(tree, &blocks.files, tails, settings)?;
    let order = tables.order()?;
    for directory in order {
        observer.check()?;
        tables.directory(directory)?;
    }
    tables.inode(InodeId::ROOT)?;
    let root = tables.known.place(InodeId::ROOT);
    let Tables { inodes, listings, xattrs, ids, known, .. } = tables;

    let inode_table = blocks.position;
    blocks.append(&inodes.finish()?)?;
    let directory_table = blocks.position;
    blocks.append(&listings.finish()?)?;

    let fragments = blocks.fragments.clone();
    let mut table = MetadataWriter::new(settings)?;
    for (place, word) in &fragments {
        table.write(&place.to_le_bytes())?;
        table.write(&u64::from(*word).to_le_bytes())?;
    }
    let fragment_table = append_table(blocks, table, !fragments.is_empty())?;

    let mut table = MetadataWriter::new(settings)?;
    if exportable {
        let mut by_number: Vec<(u32, u64)> = known.numbers.iter().copied().zip(known.places).collect();
        by_number.sort_unstable();
        by_number.iter().try_for_each(|(_, place)| table.write(&place.to_le_bytes()))?;
    }
    let export_table = append_table(blocks, table, exportable)?;

    let mut table = MetadataWriter::new(settings)?;
    ids.in_order.iter().try_for_each(|id| table.write(&id.to_le_bytes()))?;
    let id_table = append_table(blocks, table, true)?;
    let (table, xattr_table) = xattrs.finish(blocks.position)?;
    blocks.append(&table)?;

    let count =
        |length: usize, what| u32::try_from(length).map_err(|_| Error::TooMany { what, limit: u64::from(u32::MAX) });
    Ok(Superblock {
        inodes: count(tree.len(), "inodes")?,
        image_time: 0,
        block_size: settings.block_size,
        fragments: count(fragments.len(), "fragment blocks")?,
        compressor: settings.compressor,
        flags: 0,
        ids: u16::try_from(ids.in_order.len()).map_err(|_| too_many_ids())?,
        root,
        bytes_used: blocks.position,
        id_table,
        xattr_table,
        inode_table,
        directory_table,
        fragment_table,
        export_table,
    })
}

fn append_table<W: Write>(blocks: &mut BlockWriter<W>, table: MetadataWriter, wanted: bool) -> Result<u64, Error> {
    if !wanted {
        return Ok(NO_TABLE);
    }
    let (bytes, index) = table.finish_table(blocks.position, &[])?;
    blocks.append(&bytes)?;
    Ok(index)
}

const fn too_many_ids() -> Error {
    Error::TooMany { what: "different owners and groups", limit: u16::MAX as u64 }
}

/// Owners and groups in order of first use.
#[derive(Default)]
struct Ids {
    in_order: Vec<u32>,
    numbers: HashMap<u32, u16>,
}

impl Ids {
    fn number(&mut self, id: u32) -> Result<u16, Error> {
        if let Some(number) = self.numbers.get(&id) {
            return Ok(*number);
        }
        let number = u16::try_from(self.in_order.len()).ok().filter(|number| *number < u16::MAX);
        let number = number.ok_or_else(too_many_ids)?;
        self.in_order.push(id);
        self.numbers.insert(id, number);
        Ok(number)
    }
}

struct Tables<'a> {
    tree: &'a Tree<FileRef>,
    files: &'a [FileRecord],
    tails: &'a [TailPlace],
    block_size: u64,
    names: Vec<u32>,
    parents: Vec<InodeId>,
    known: InodePlaces,
    written: Vec<bool>,
    /// Listings whose directory's inode is still to be written.
    pending: HashMap<InodeId, Listing>,
    inodes: MetadataWriter,
    listings: MetadataWriter,
    xattrs: XattrWriter,
    ids: Ids,
}

impl<'a> Tables<'a> {
    fn new(
        tree: &'a Tree<FileRef>,
        files: &'a [FileRecord],
        tails: &'a [TailPlace],
        settings: Settings,
    ) -> Result<Self, Error> {
        Ok(Self {
            tree,
            files,
            tails,
            block_size: u64::from(settings.block_size),
            names: tree.name_counts(),
            parents: vec![InodeId::ROOT; tree.len()],
            known: InodePlaces { numbers: vec![0; tree.len()], places: vec![0; tree.len()] },
            written: vec![false; tree.len()],
            pending: HashMap::new(),
            inodes: MetadataWriter::new(settings)?,
            listings: MetadataWriter::new(settings)?,
            xattrs: XattrWriter::new(settings)?,
            ids: Ids::default(),
        })
    }

    /// The directories, children before parents; numbers all inodes in the order in which they will be written.
    fn order(&mut self) -> Result<Vec<InodeId>, Error> {
        let mut order = Vec::new();
        let mut pending = vec![InodeId::ROOT];
        while let Some(directory) = pending.pop() {
            order.push(directory);
            for child in self.tree.directory(directory).into_iter().flat_map(|names| names.values()) {
                if self.tree.inode(*child).kind.is_directory() {
                    self.parents[child.index()] = directory;
                    pending.push(*child);
                }
            }
        }
        order.reverse();
        let limit = Error::TooMany { what: "inodes", limit: u64::from(u32::MAX) };
        let last = u32::try_from(self.tree.len()).map_err(|_| limit)?;
        let mut next = 1;
        for directory in &order {
            for child in self.tree.directory(*directory).into_iter().flat_map(|names| names.values()) {
                let number = &mut self.known.numbers[child.index()];
                if *number == 0 {
                    *number = next;
                    next += 1;
                }
            }
        }
        self.known.numbers[InodeId::ROOT.index()] = last;
        Ok(order)
    }

    /// Writes the inodes of a directory's names, then its listing.
    fn directory(&mut self, id: InodeId) -> Result<(), Error> {
        let Some(names) = self.tree.directory(id) else { return Ok(()) };
        let mut entries = Vec::with_capacity(names.len());
        for (name, child) in names {
            if !self.written[child.index()] {
                self.inode(*child)?;
            }
            entries.push(Entry {
                name,
                place: self.known.place(*child),
                number: self.known.number(*child),
                kind: type_number(&self.tree.inode(*child).kind),
            });
        }
        let listing = directories::write(&mut self.listings, &entries)?;
        self.pending.insert(id, listing);
        Ok(())
    }

    fn inode(&mut self, id: InodeId) -> Result<(), Error> {
        let inode = self.tree.inode(id);
        let metadata = &inode.metadata;
        let mut common = Common {
            mode: metadata.mode & 0o7777,
            uid: self.ids.number(metadata.uid)?,
            gid: self.ids.number(metadata.gid)?,
            mtime: metadata.mtime.squashfs_seconds(),
            number: self.known.number(id),
            names: self.names[id.index()],
            xattrs: self.xattrs.number(&metadata.xattrs)?,
        };
        let bytes = match &inode.kind {
            Kind::Directory(names) => {
                let below = names.values().filter(|child| self.tree.inode(**child).kind.is_directory()).count();
                common.names = u32::try_from(below).unwrap_or(u32::MAX).saturating_add(2);
                let listing = self.pending.remove(&id).unwrap_or_default();
                // The root has no parent; Linux expects one more than the last number.
                let parent = match id {
                    InodeId::ROOT => common.number.saturating_add(1),
                    _ => self.known.number(self.parents[id.index()]),
                };
                InodeBytes::directory(&common, &listing, parent)
            }
            Kind::File(file) => InodeBytes::file(&common, &self.places(*file)?),
            Kind::Symlink(target) => InodeBytes::symlink(&common, target),
            Kind::BlockDevice(device) => InodeBytes::special(&common, inode_type::BLOCK_DEVICE, Some(*device)),
            Kind::CharDevice(device) => InodeBytes::special(&common, inode_type::CHAR_DEVICE, Some(*device)),
            Kind::Fifo => InodeBytes::special(&common, inode_type::FIFO, None),
            Kind::Socket => InodeBytes::special(&common, inode_type::SOCKET, None),
        };
        self.known.places[id.index()] = self.inodes.place()?.word();
        self.written[id.index()] = true;
        self.inodes.write(&bytes.0)
    }

    fn places(&self, file: FileRef) -> Result<FilePlaces<'a>, Error> {
        let record = self.files.get(file.0).ok_or(Error::Broken)?;
        let fragment = record.tail.map(|tail| (self.tails[tail].fragment, self.tails[tail].offset));
        let block_length = |index: usize| {
            let before = index as u64 * self.block_size;
            record.size.saturating_sub(before).min(self.block_size)
        };
        let holes = record.blocks.iter().enumerate().filter(|(_, word)| **word == 0);
        let sparse: u64 = holes.map(|(index, _)| block_length(index)).sum();
        // As mksquashfs has it: a file of holes only still counts one byte, so that it shows one block, not none.
        let sparse = if sparse > 0 && sparse == record.size { sparse - 1 } else { sparse };
        Ok(FilePlaces { size: record.size, start: record.start, blocks: &record.blocks, fragment, sparse })
    }
}
