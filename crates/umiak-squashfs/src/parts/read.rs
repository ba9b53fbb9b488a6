//! From a listing to what our writer is to do. The listing is not trusted.
//!
//! Guarantees: one listing for one image; memory is what the listing itself takes, a few times over; nothing is allocated
//! because a number says so.

use std::num::NonZeroUsize;

use umiak_spec::Limits;
use umiak_tree::{Builder, Device, Inode, InodeId, Kind, Metadata, Name, Timestamp, Tree, Xattrs};

use super::numbers::{Reader, moved};
use super::{MAGIC, row};
use crate::{Compressor, Error, FileRef, ImageOptions};

/// What a listing says.
pub(super) struct Listing {
    pub(super) options: ImageOptions,
    /// What the encoder makes of a known text.
    pub(super) mark: [u8; 4],
    /// Content `number` is `FileRef(number + 1)`, an empty one `FileRef(0)`.
    pub(super) tree: Tree<FileRef>,
    pub(super) fragments: Vec<Shared>,
    /// The contents that have blocks of their own, in the order of these.
    pub(super) order: Vec<usize>,
}

/// A fragment block.
pub(super) struct Shared {
    /// So many contents' own blocks lie before it.
    pub(super) before: usize,
    /// Contents that end in it.
    pub(super) members: Vec<usize>,
}

impl Listing {
    /// Reads a listing of an image of contents of these sizes.
    pub(super) fn read(bytes: &[u8], sizes: &[u64], limits: &Limits) -> Result<Self, Error> {
        let mut reader = Reader(bytes);
        let (options, mark) = head(&mut reader)?;
        let mut rows = Rows { reader, limits, inodes: vec![InodeId::ROOT], contents: 0, count: sizes.len() };
        let tree = rows.tree()?;
        let Rows { mut reader, contents, .. } = rows;
        if contents != sizes.len() {
            return Err(Error::Listing("it names fewer contents than there are"));
        }
        let mut shares = vec![false; sizes.len()];
        let fragments = fragments(&mut reader, &mut shares)?;
        let whole_block = |number: &usize| sizes[*number] >= u64::from(options.block_size);
        let own: Vec<usize> = (0..sizes.len()).filter(|number| !shares[*number] || whole_block(number)).collect();
        if fragments.last().is_some_and(|last| last.before > own.len()) {
            return Err(Error::Listing("a fragment block has no place"));
        }
        let order = order(&mut reader, &own)?;
        Ok(Self { options, mark, tree, fragments, order })
    }
}

/// The first path of each content in a listing of an image of contents of these sizes.
///
/// # Errors
/// The listing is not valid.
pub fn content_names(listing: &[u8], sizes: &[u64], limits: &Limits) -> Result<Vec<Vec<u8>>, Error> {
    let listing = Listing::read(listing, sizes, limits)?;
    let mut names = Vec::with_capacity(sizes.len());
    for entry in listing.tree.walk() {
        // Contents are numbered as they are met.
        if let Kind::File(FileRef(number)) = entry.inode.kind
            && number == names.len() + 1
        {
            names.push(entry.path.as_bytes().to_vec());
        }
    }
    Ok(names)
}

fn head(reader: &mut Reader<'_>) -> Result<(ImageOptions, [u8; 4]), Error> {
    if &reader.array()? != MAGIC {
        return Err(Error::Listing("it is of another kind or version"));
    }
    let (block_size, image_time) = (reader.u32()?, reader.u32()?);
    let compressor = Compressor::from_number(reader.u8()?.into());
    let compressor = compressor.ok_or(Error::Listing("it has an unknown compressor"))?;
    let exportable = match reader.u8()? {
        0 => false,
        1 => true,
        _ => return Err(Error::Listing("it has an unknown flag")),
    };
    let level = match (reader.u8()?, compressor.levels()) {
        (0, None) => None,
        (level, Some(_)) => Some(i32::from(level)),
        (_, None) => return Err(Error::Listing("its compressor has no levels")),
    };
    let threads = NonZeroUsize::MIN;
    Ok((ImageOptions { compressor, level, block_size, threads, image_time, exportable }, reader.array()?))
}

struct Rows<'a> {
    reader: Reader<'a>,
    limits: &'a Limits,
    inodes: Vec<InodeId>,
    contents: usize,
    /// How many contents there are.
    count: usize,
}

impl Rows<'_> {
    fn tree(&mut self) -> Result<Tree<FileRef>, Error> {
        let kind = self.reader.u8()?;
        let metadata = self.metadata(kind)?;
        if kind & !row::XATTRS != row::DIRECTORY || !self.reader.text()?.is_empty() {
            return Err(Error::Listing("it does not begin with a root directory"));
        }
        let mut builder = Builder::new(metadata);
        let mut open: Vec<(InodeId, Name)> = vec![(InodeId::ROOT, Name::default())];
        let mut names = 0;
        while let Some((directory, last)) = open.last_mut() {
            let kind = self.reader.u8()?;
            if kind == row::END {
                open.pop();
                continue;
            }
            let id = self.inode(kind, &mut builder)?;
            let name = self.name(last)?;
            *last = name.clone();
            if let Some(names) = builder.directory(*directory) {
                names.insert(name, id);
            }
            names += 1;
            if names > self.limits.entries {
                return Err(Error::Limit { what: "names", limit: self.limits.entries as u64 });
            }
            if builder.get(id).kind.is_directory() {
                open.push((id, Name::default()));
            }
            // The root is open, too.
            if open.len() > self.limits.depth + 1 {
                return Err(Error::Limit { what: "nested directories", limit: self.limits.depth as u64 });
            }
        }
        Ok(builder.finish()?)
    }

    /// A name that follows `last` in its directory.
    fn name(&mut self, last: &[u8]) -> Result<Name, Error> {
        let name = self.reader.text()?;
        let proper = !matches!(name, b"" | b"." | b"..") && !name.contains(&b'/') && name.len() <= self.limits.name;
        if !proper || name <= last {
            return Err(Error::Listing("a name is improper or not in order"));
        }
        Ok(name.into())
    }

    /// A new inode, or one that had a name before.
    fn inode(&mut self, kind: u8, builder: &mut Builder<FileRef>) -> Result<InodeId, Error> {
        if kind == row::AGAIN {
            let back = self.reader.index()?;
            let known = self.inodes.len().checked_sub(1).and_then(|last| last.checked_sub(back));
            let id = known.and_then(|known| self.inodes.get(known)).copied();
            let id = id.filter(|id| !builder.get(*id).kind.is_directory());
            return id.ok_or(Error::Listing("a hard link to what is no file before it"));
        }
        let metadata = self.metadata(kind)?;
        let kind = self.kind(kind & !row::XATTRS)?;
        let id = builder.add(Inode { metadata, kind })?;
        self.inodes.push(id);
        Ok(id)
    }

    fn kind(&mut self, kind: u8) -> Result<Kind<FileRef>, Error> {
        Ok(match kind {
            row::DIRECTORY => Kind::Directory(umiak_tree::Directory::new()),
            row::FILE if self.contents < self.count => {
                self.contents += 1;
                Kind::File(FileRef(self.contents))
            }
            row::FILE_AGAIN => {
                let known = self.contents.checked_sub(self.reader.index()?).filter(|known| *known > 0);
                Kind::File(FileRef(known.ok_or(Error::Listing("a content that was not met before"))?))
            }
            row::EMPTY_FILE => Kind::File(FileRef(0)),
            row::SYMLINK => {
                let length = self.reader.index()?;
                Kind::Symlink(self.reader.bytes(length)?.into())
            }
            row::BLOCK_DEVICE => Kind::BlockDevice(self.device()?),
            row::CHAR_DEVICE => Kind::CharDevice(self.device()?),
            row::FIFO => Kind::Fifo,
            row::SOCKET => Kind::Socket,
            row::FILE => return Err(Error::Listing("it names more contents than there are")),
            _ => return Err(Error::Listing("it has a row of an unknown kind")),
        })
    }

    fn device(&mut self) -> Result<Device, Error> {
        let (major, minor) = (u32::try_from(self.reader.number()?), u32::try_from(self.reader.number()?));
        match (major, minor) {
            (Ok(major), Ok(minor)) => Ok(Device { major, minor }),
            _ => Err(Error::Listing("a device number is too large")),
        }
    }

    fn metadata(&mut self, kind: u8) -> Result<Metadata, Error> {
        let mode = self.reader.u16()?;
        if mode & !0o7777 != 0 {
            return Err(Error::Listing("a mode has unknown bits"));
        }
        let mtime = Timestamp { seconds: self.reader.u32()?.into(), nanoseconds: 0 };
        let (uid, gid) = (self.reader.u32()?, self.reader.u32()?);
        let xattrs = if kind & row::XATTRS == 0 { Xattrs::new() } else { self.xattrs()? };
        Ok(Metadata { mode, uid, gid, mtime, xattrs })
    }

    fn xattrs(&mut self) -> Result<Xattrs, Error> {
        let mut xattrs = Xattrs::new();
        let count = self.reader.index()?;
        for _ in 0..count {
            let name: Name = self.reader.text()?.into();
            let length = self.reader.index()?;
            let value = self.reader.bytes(length)?;
            if length > self.limits.xattr {
                return Err(Error::Limit { what: "bytes in one extended attribute", limit: self.limits.xattr as u64 });
            }
            if xattrs.last_key_value().is_some_and(|(last, _)| *last >= name) {
                return Err(Error::Listing("extended attributes are not in order"));
            }
            xattrs.insert(name, value.into());
        }
        if xattrs.is_empty() { Err(Error::Listing("a set of no extended attributes")) } else { Ok(xattrs) }
    }
}

/// The fragment blocks; marks the contents that end in one.
fn fragments(reader: &mut Reader<'_>, shares: &mut [bool]) -> Result<Vec<Shared>, Error> {
    let mut fragments = Vec::new();
    let (mut before, mut expected) = (0_usize, 0);
    loop {
        let more = reader.index()?;
        let mut members = Vec::new();
        while let Some(value) = reader.number()?.checked_sub(1) {
            let number = moved(expected, value).filter(|number| shares.get(*number) == Some(&false));
            let number = number.ok_or(Error::Listing("a tail that is not there or has a place already"))?;
            shares[number] = true;
            members.push(number);
            expected = number + 1;
        }
        if members.is_empty() {
            return if more == 0 { Ok(fragments) } else { Err(Error::Listing("a fragment block of no tails")) };
        }
        before = before.checked_add(more).ok_or(Error::Listing("a fragment block has no place"))?;
        fragments.push(Shared { before, members });
    }
}

/// The contents with blocks of their own by the order of these, up to the end of the listing.
fn order(reader: &mut Reader<'_>, own: &[usize]) -> Result<Vec<usize>, Error> {
    let wrong = Error::Listing("the order of the blocks is not one of the contents");
    let mut left: Vec<Option<usize>> = own.iter().copied().map(Some).collect();
    let mut order = Vec::with_capacity(own.len());
    let mut expected = 0;
    while !reader.0.is_empty() {
        let (first, more) = (moved(expected, reader.number()?), reader.index()?);
        let run = first.and_then(|first| left.get_mut(first..=first.checked_add(more)?));
        let Some(run) = run else { return Err(wrong) };
        for number in run {
            let Some(number) = number.take() else { return Err(wrong) };
            order.push(number);
        }
        expected = first.unwrap_or(0) + more + 1;
    }
    if order.len() == own.len() { Ok(order) } else { Err(wrong) }
}
