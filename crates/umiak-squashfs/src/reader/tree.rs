//! The whole directory tree of an image.
//!
//! ```text
//! directory   runs of: u32 entries - 1 | u32 inode block | u32 inode number base | entries
//! entry       u16 offset in the inode block | i16 number - base | u16 type | u16 length - 1 | name
//! ```
//!
//! Two names of one inode place are hard links; a directory met twice is an error, so no loop can be followed.

use std::collections::HashMap;

use umiak_tree::{Builder, Inode, InodeId, Kind, Metadata, Timestamp, Tree, TreePath};

use super::Image;
use super::content::StoredContent;
use super::inode::{self, FileRules, StoredInode, StoredKind};
use super::metadata::MetadataReader;
use super::xattrs::XattrTable;
use crate::layout::{Fields, HEADER_ENTRIES, METADATA_BYTES};
use crate::{Error, ReadAt};

/// Memory of names, link targets, block lists and attributes per entry allowed by `Limits::entries`.
const BYTES_PER_ENTRY: usize = 128;

/// A directory whose names are still to be read.
struct Pending {
    id: InodeId,
    path: TreePath,
    depth: usize,
    block: u32,
    offset: u16,
    length: u32,
}

struct Loading<'a, R> {
    image: &'a Image<R>,
    metadata: MetadataReader<'a, R>,
    xattrs: XattrTable,
    rules: FileRules,
    builder: Builder<StoredContent>,
    seen: HashMap<u64, InodeId>,
    pending: Vec<Pending>,
    names: usize,
    memory: usize,
    expanded: u64,
}

impl<R: ReadAt> Image<R> {
    /// Reads the tree: every inode, hard links recognised; contents stay in the image.
    ///
    /// # Errors
    /// The image cannot be read, is damaged, or is beyond the limits it was opened with.
    pub fn tree(&self) -> Result<Tree<StoredContent>, Error> {
        let rules = FileRules {
            block_size: self.superblock.block_size,
            fragments: self.fragments.len(),
            bytes_used: self.superblock.bytes_used,
            largest_file: self.limits.file,
        };
        let mut loading = Loading {
            image: self,
            metadata: MetadataReader::new(self)?,
            xattrs: XattrTable::read(self)?,
            rules,
            builder: Builder::new(Metadata::root_owned(0o755)),
            seen: HashMap::new(),
            pending: Vec::new(),
            names: 0,
            memory: 0,
            expanded: 0,
        };
        loading.root()?;
        while let Some(directory) = loading.pending.pop() {
            loading.directory(&directory)?;
        }
        Ok(loading.builder.finish()?)
    }
}

impl<R: ReadAt> Loading<'_, R> {
    fn root(&mut self) -> Result<(), Error> {
        let place = self.image.superblock.root;
        let stored = self.stored(place)?;
        let StoredKind::Directory { block, offset, length } = stored.kind else {
            return Err(Error::damaged("the root is no directory", place >> 16));
        };
        let metadata = self.inode_metadata(&stored)?;
        self.builder.inode(InodeId::ROOT).metadata = metadata;
        self.seen.insert(place, InodeId::ROOT);
        self.pending.push(Pending { id: InodeId::ROOT, path: TreePath::root(), depth: 0, block, offset, length });
        Ok(())
    }

    fn stored(&mut self, place: u64) -> Result<StoredInode, Error> {
        let superblock = &self.image.superblock;
        let block = superblock.inode_table.saturating_add(place >> 16);
        if block >= superblock.directory_table {
            return Err(Error::damaged("an inode lies outside the inode table", block));
        }
        let offset = usize::try_from(place & 0xffff).unwrap_or(METADATA_BYTES);
        inode::read(&mut self.metadata.at(block, offset)?, &self.rules)
    }

    fn spend(&mut self, bytes: usize) -> Result<(), Error> {
        let limit = self.image.limits.entries.saturating_mul(BYTES_PER_ENTRY);
        self.memory = self.memory.saturating_add(bytes);
        if self.memory > limit {
            return Err(Error::Limit { what: "bytes of names, block lists and attributes", limit: limit as u64 });
        }
        Ok(())
    }

    fn inode_metadata(&mut self, stored: &StoredInode) -> Result<Metadata, Error> {
        let ids = &self.image.ids;
        let id = |index: u16| {
            let missing = Error::damaged("an owner is not in the id table", self.image.superblock.id_table);
            ids.get(usize::from(index)).copied().ok_or(missing)
        };
        let (uid, gid) = (id(stored.uid)?, id(stored.gid)?);
        let xattrs = match stored.xattrs {
            Some(index) => self.xattrs.set(index, &mut self.metadata, self.image.limits.xattr)?,
            None => umiak_tree::Xattrs::new(),
        };
        self.spend(xattrs.iter().map(|(name, value)| 64 + name.len() + value.len()).sum())?;
        let mtime = Timestamp { seconds: i64::from(stored.mtime), nanoseconds: 0 };
        Ok(Metadata { mode: stored.mode & 0o7777, uid, gid, mtime, xattrs })
    }

    fn directory(&mut self, directory: &Pending) -> Result<(), Error> {
        for (name, place) in self.names(directory)? {
            let id = match self.seen.get(&place) {
                Some(id) => *id,
                None => self.add(directory, &name, place)?,
            };
            let Some(names) = self.builder.directory(directory.id) else { continue };
            if names.insert(name.clone().into_boxed_slice(), id).is_some() {
                return Err(bad_name(&directory.path, &name));
            }
        }
        Ok(())
    }

    fn add(&mut self, directory: &Pending, name: &[u8], place: u64) -> Result<InodeId, Error> {
        let stored = self.stored(place)?;
        let metadata = self.inode_metadata(&stored)?;
        let mut listing = None;
        let kind = match stored.kind {
            StoredKind::Directory { block, offset, length } => {
                listing = Some((block, offset, length));
                Kind::Directory(umiak_tree::Directory::new())
            }
            StoredKind::File(content) => {
                self.expanded = self.expanded.saturating_add(content.size());
                if self.expanded > self.image.limits.expanded {
                    return Err(Error::Limit { what: "bytes in all files", limit: self.image.limits.expanded });
                }
                self.spend(4 * content.blocks().len())?;
                Kind::File(content)
            }
            StoredKind::Symlink(target) => {
                self.spend(target.len())?;
                Kind::Symlink(target)
            }
            StoredKind::BlockDevice(device) => Kind::BlockDevice(device),
            StoredKind::CharDevice(device) => Kind::CharDevice(device),
            StoredKind::Fifo => Kind::Fifo,
            StoredKind::Socket => Kind::Socket,
        };
        let id = self.builder.add(Inode { metadata, kind })?;
        self.seen.insert(place, id);
        if let Some((block, offset, length)) = listing {
            let depth = directory.depth + 1;
            if depth > self.image.limits.depth {
                return Err(Error::Limit { what: "nested directories", limit: self.image.limits.depth as u64 });
            }
            let path = directory.path.join(name);
            self.pending.push(Pending { id, path, depth, block, offset, length });
        }
        Ok(id)
    }

    /// The names of a directory and the places of their inodes.
    fn names(&mut self, directory: &Pending) -> Result<Vec<(Vec<u8>, u64)>, Error> {
        let superblock = &self.image.superblock;
        let block = superblock.directory_table.saturating_add(u64::from(directory.block));
        let longest = self.image.limits.name;
        let mut names = Vec::new();
        let mut left = directory.length;
        let mut spent = 0;
        let mut cursor = self.metadata.at(block, usize::from(directory.offset))?;
        while left > 0 {
            let head: [u8; 12] = cursor.array()?;
            let mut fields = Fields(&head);
            let (count, inode_block) = (fields.u32(), fields.u32());
            if count as usize >= HEADER_ENTRIES {
                return Err(Error::damaged("a directory header counts more than 256 entries", cursor.block()));
            }
            left = left.checked_sub(12).ok_or(Error::damaged("a directory ends inside a header", cursor.block()))?;
            for _ in 0..=count {
                let entry: [u8; 8] = cursor.array()?;
                let mut fields = Fields(&entry);
                let (offset, _, _) = (fields.u16(), fields.i16(), fields.u16());
                let length = u32::from(fields.u16()) + 1;
                let name = cursor.bytes(length.min(NAME_READ) as usize)?;
                if length as usize > longest || !proper(&name) {
                    return Err(bad_name(&directory.path, &name));
                }
                let ended = Error::damaged("a directory ends inside an entry", cursor.block());
                left = left.checked_sub(8 + length).ok_or(ended)?;
                spent += 64 + name.len();
                names.push((name, u64::from(inode_block) << 16 | u64::from(offset)));
                self.names += 1;
                if self.names > self.image.limits.entries {
                    return Err(Error::Limit { what: "names", limit: self.image.limits.entries as u64 });
                }
            }
        }
        self.spend(spent)?;
        Ok(names)
    }
}

/// No more of a name is read than shows that it is too long.
const NAME_READ: u32 = 1024;

fn proper(name: &[u8]) -> bool {
    !matches!(name, b"" | b"." | b"..") && !name.iter().any(|byte| matches!(byte, 0 | b'/'))
}

fn bad_name(directory: &TreePath, name: &[u8]) -> Error {
    let shown = String::from_utf8_lossy(&name[..name.len().min(80)]).escape_debug().to_string();
    Error::Name { directory: directory.clone(), name: shown }
}
