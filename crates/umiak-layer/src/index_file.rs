//! A [`LayerIndex`] as bytes, to be kept by the layer's digest. The format is described in `docs/formats/layer-index.md`.
//!
//! Reading checks magic, version and checksum first and trusts nothing after that either: lengths are compared with
//! what is left, paths are checked like those of an archive, entries must be in order.

use umiak_spec::{Digest, Limits};
use umiak_tree::{Device, Metadata, Timestamp, TreePath, Xattrs};

use crate::entry::{Body, Entry};
use crate::index::{FileContent, IndexedEntry, LayerIndex};

/// First bytes of every index file.
const MAGIC: [u8; 8] = *b"umiakLIX";

/// The version this code writes, and the only one it reads.
const VERSION: u8 = 1;

/// Length of the checksum at the end.
const CHECKSUM: usize = 32;

/// Why bytes are no index file. The remedy is always to index the layer again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IndexFileError {
    /// Something else.
    #[error("this is no layer index: it does not begin with the magic bytes")]
    Magic,
    /// Written by another umiak.
    #[error("the layer index has format version {0}, this program reads version {VERSION}")]
    Version(u8),
    /// Damaged.
    #[error("the layer index is damaged: its checksum does not match")]
    Checksum,
    /// The checksum matches, but no umiak wrote this.
    #[error("the layer index is not valid: {0}")]
    Invalid(&'static str),
}

const DIRECTORY: u8 = 0;
const FILE: u8 = 1;
const HARD_LINK: u8 = 2;
const SYMLINK: u8 = 3;
const CHAR_DEVICE: u8 = 4;
const BLOCK_DEVICE: u8 = 5;
const FIFO: u8 = 6;
const WHITEOUT: u8 = 7;
const OPAQUE: u8 = 8;

impl LayerIndex {
    /// The bytes of the index file; equal indexes give equal bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Writer { bytes: Vec::with_capacity(64 + self.entries.len() * 80), path: Vec::new() };
        out.bytes.extend(MAGIC);
        out.bytes.push(VERSION);
        out.bytes.extend(self.diff_id.as_bytes());
        out.number(self.size);
        out.number(self.entries.len() as u64);
        let mut next = 0;
        for entry in &self.entries {
            out.number(u64::from(entry.ordinal.wrapping_sub(next)));
            next = entry.ordinal.wrapping_add(1);
            out.entry(entry);
        }
        let checksum = Digest::of(&out.bytes);
        out.bytes.extend(checksum.as_bytes());
        out.bytes
    }

    /// The index in `bytes`.
    ///
    /// # Errors
    /// [`IndexFileError`].
    pub fn from_bytes(bytes: &[u8], limits: &Limits) -> Result<Self, IndexFileError> {
        let body = bytes.strip_prefix(&MAGIC).ok_or(IndexFileError::Magic)?;
        match body.first() {
            Some(&VERSION) => {}
            Some(version) => return Err(IndexFileError::Version(*version)),
            None => return Err(IndexFileError::Checksum),
        }
        let end = body.len().checked_sub(CHECKSUM).filter(|end| *end > 0).ok_or(IndexFileError::Checksum)?;
        let (body, checksum) = body.split_at(end);
        if Digest::of(&bytes[..bytes.len() - CHECKSUM]).as_bytes() != checksum {
            return Err(IndexFileError::Checksum);
        }
        let mut input = Reader { rest: &body[1..], path: Vec::new(), limits };
        input.index()
    }
}

struct Writer {
    bytes: Vec<u8>,
    /// The path before, which the next one shares its beginning with.
    path: Vec<u8>,
}

impl Writer {
    /// LEB128.
    fn number(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push((value & 0x7f) as u8);
    }

    fn text(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.bytes.extend(bytes);
    }

    fn entry(&mut self, entry: &IndexedEntry) {
        let path = entry.path.as_bytes();
        let shared = path.iter().zip(&self.path).take_while(|(a, b)| a == b).count();
        self.number(shared as u64);
        self.text(&path[shared..]);
        self.path.truncate(shared);
        self.path.extend(&path[shared..]);
        self.metadata(&entry.metadata);
        match &entry.body {
            Body::Directory => self.bytes.push(DIRECTORY),
            Body::File(content) => {
                self.bytes.push(FILE);
                self.number(content.size);
                self.bytes.extend(content.digest.as_bytes());
            }
            Body::HardLink(target) => {
                self.bytes.push(HARD_LINK);
                self.text(target.as_bytes());
            }
            Body::Symlink(target) => {
                self.bytes.push(SYMLINK);
                self.text(target);
            }
            Body::CharDevice(device) => self.device(CHAR_DEVICE, *device),
            Body::BlockDevice(device) => self.device(BLOCK_DEVICE, *device),
            Body::Fifo => self.bytes.push(FIFO),
            Body::Whiteout => self.bytes.push(WHITEOUT),
            Body::Opaque => self.bytes.push(OPAQUE),
        }
    }

    fn device(&mut self, tag: u8, device: Device) {
        self.bytes.push(tag);
        self.number(device.major.into());
        self.number(device.minor.into());
    }

    fn metadata(&mut self, metadata: &Metadata) {
        self.number(metadata.mode.into());
        self.number(metadata.uid.into());
        self.number(metadata.gid.into());
        // Zigzag: small numbers of either sign are short.
        let seconds = metadata.mtime.seconds;
        self.number((seconds << 1 ^ seconds >> 63).cast_unsigned());
        self.number(metadata.mtime.nanoseconds.into());
        self.number(metadata.xattrs.len() as u64);
        for (name, value) in &metadata.xattrs {
            self.text(name);
            self.text(value);
        }
    }
}

struct Reader<'a> {
    rest: &'a [u8],
    path: Vec<u8>,
    limits: &'a Limits,
}

/// Shorter than spelling the error out.
type Parsed<T> = Result<T, IndexFileError>;

impl<'a> Reader<'a> {
    fn index(&mut self) -> Parsed<LayerIndex> {
        let diff_id = self.digest()?;
        let size = self.number()?;
        let count = self.number()?;
        if count > self.limits.entries as u64 {
            return Err(IndexFileError::Invalid("it has more entries than the limit"));
        }
        // An entry takes at least nine bytes, so this allocates no more than the file has.
        let mut entries = Vec::with_capacity(usize::try_from(count).unwrap_or(0).min(self.rest.len() / 9));
        let mut next = 0_u64;
        for _ in 0..count {
            let ordinal = next.checked_add(self.number()?).and_then(|number| u32::try_from(number).ok());
            let ordinal = ordinal.ok_or(IndexFileError::Invalid("an entry has too large a number"))?;
            next = u64::from(ordinal) + 1;
            entries.push(self.entry(ordinal)?);
        }
        if !self.rest.is_empty() {
            return Err(IndexFileError::Invalid("there are bytes after the last entry"));
        }
        Ok(LayerIndex { diff_id, size, entries })
    }

    fn bytes(&mut self, count: u64) -> Parsed<&'a [u8]> {
        let short = IndexFileError::Invalid("it ends early");
        let count = usize::try_from(count).ok().filter(|count| *count <= self.rest.len()).ok_or(short)?;
        let (bytes, rest) = self.rest.split_at(count);
        self.rest = rest;
        Ok(bytes)
    }

    fn number(&mut self) -> Parsed<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.bytes(1)?[0];
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                break;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(IndexFileError::Invalid("a number is too large"))
    }

    fn narrow<T: TryFrom<u64>>(&mut self) -> Parsed<T> {
        T::try_from(self.number()?).map_err(|_| IndexFileError::Invalid("a number is too large"))
    }

    fn text(&mut self) -> Parsed<&'a [u8]> {
        let length = self.number()?;
        self.bytes(length)
    }

    fn digest(&mut self) -> Parsed<Digest> {
        let mut digest = [0; 32];
        digest.copy_from_slice(self.bytes(32)?);
        Ok(Digest::from_bytes(digest))
    }

    fn tree_path(&self, bytes: &[u8]) -> Parsed<TreePath> {
        let path = TreePath::from_archive(bytes, self.limits).ok().filter(|path| path.as_bytes() == bytes);
        path.ok_or(IndexFileError::Invalid("a path is not normal"))
    }

    fn entry(&mut self, ordinal: u32) -> Parsed<IndexedEntry> {
        let shared = usize::try_from(self.number()?).ok().filter(|shared| *shared <= self.path.len());
        self.path.truncate(shared.ok_or(IndexFileError::Invalid("a path shares too much"))?);
        let suffix = self.text()?;
        self.path.extend(suffix);
        let path = self.tree_path(&self.path)?;
        let metadata = self.metadata()?;
        let body = match self.bytes(1)?[0] {
            DIRECTORY => Body::Directory,
            FILE => Body::File(FileContent { size: self.number()?, digest: self.digest()? }),
            HARD_LINK => {
                let target = self.text()?;
                Body::HardLink(self.tree_path(target)?)
            }
            SYMLINK => match self.text()? {
                target if target.is_empty() || target.contains(&0) || target.len() >= self.limits.path => {
                    return Err(IndexFileError::Invalid("a symbolic link has no valid target"));
                }
                target => Body::Symlink(target.into()),
            },
            CHAR_DEVICE => Body::CharDevice(self.device()?),
            BLOCK_DEVICE => Body::BlockDevice(self.device()?),
            FIFO => Body::Fifo,
            WHITEOUT => Body::Whiteout,
            OPAQUE => Body::Opaque,
            _ => return Err(IndexFileError::Invalid("an entry has an unknown type")),
        };
        Ok(Entry { ordinal, path, metadata, body })
    }

    fn device(&mut self) -> Parsed<Device> {
        Ok(Device { major: self.narrow()?, minor: self.narrow()? })
    }

    fn metadata(&mut self) -> Parsed<Metadata> {
        let mode = self.narrow::<u16>()?;
        let (uid, gid) = (self.narrow()?, self.narrow()?);
        let zigzag = self.number()?;
        let seconds = (zigzag >> 1).cast_signed() ^ -((zigzag & 1).cast_signed());
        let nanoseconds = self.narrow::<u32>()?;
        if mode > 0o7777 || nanoseconds > 999_999_999 {
            return Err(IndexFileError::Invalid("a mode or a time is out of range"));
        }
        let mut xattrs = Xattrs::new();
        for _ in 0..self.number()? {
            let name = self.text()?;
            let value = self.text()?;
            if name.is_empty() || name.contains(&0) || value.len() > self.limits.xattr {
                return Err(IndexFileError::Invalid("an extended attribute is out of range"));
            }
            xattrs.insert(name.into(), value.into());
        }
        Ok(Metadata { mode, uid, gid, mtime: Timestamp { seconds, nanoseconds }, xattrs })
    }
}
