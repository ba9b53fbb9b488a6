//! One archive member: its header and what extended headers said in its place.

use std::io::BufRead;

use umiak_spec::Limits;
use umiak_tree::{Device, Metadata, Timestamp};

use crate::content::Stored;
use crate::entry::{Body, tree_path};
use crate::error::{LayerError, shown};
use crate::header::{BLOCK, Header};
use crate::pax::{Extended, Sparse};
use crate::sparse::{self, Extent};

/// A member as the archive describes it; the path is still the archive's.
pub(crate) struct Member {
    pub path: Vec<u8>,
    pub metadata: Metadata,
    pub body: Body<u64>,
    /// Length of the content, holes included.
    pub size: u64,
    /// Bytes in the archive.
    stored: u64,
    map: Map,
}

enum Map {
    Plain,
    Old(Vec<Extent>),
    Records(Vec<u64>),
    Front,
}

impl Member {
    pub fn new(
        header: Header<'_>,
        mut extended: Extended,
        long_path: Option<Vec<u8>>,
        long_link: Option<Vec<u8>>,
        limits: &Limits,
    ) -> Result<Self, LayerError> {
        let mut sparse = std::mem::take(&mut extended.sparse);
        let path = sparse.name.take().or_else(|| extended.path.take()).or(long_path).unwrap_or_else(|| header.path());
        let link = extended.link.take().or(long_link).unwrap_or_else(|| header.link().to_vec());
        let fields = Fields { header, path: &path };
        let body = fields.body(&extended, &link, limits)?;
        let mut stored = match extended.size {
            Some(size) => size,
            None => fields.unsigned("size", header.size())?,
        };
        // A size that links and devices claim is a leftover of the file they were; no bytes follow.
        if !matches!(header.kind(), b'0' | b'\0' | b'7' | b'S' | b'D') {
            stored = 0;
        }
        let (size, map) = match body {
            Body::File(_) if header.kind() == b'S' => {
                let mut extents = Vec::new();
                let invalid = |reason| LayerError::Sparse { entry: shown(&path), reason };
                sparse::push_old(&mut extents, header.sparse_extents().0).map_err(invalid)?;
                (fields.unsigned("length of a sparse file", header.sparse_size())?, Map::Old(extents))
            }
            Body::File(_) => fields.pax_sparse(sparse, stored)?,
            _ => (0, Map::Plain),
        };
        let body = if let Body::File(_) = body { Body::File(size) } else { body };
        let metadata = fields.metadata(extended, matches!(body, Body::Symlink(_)), limits)?;
        Ok(Self { path, metadata, body, size, stored, map })
    }

    /// What an entry of this member will hold in memory: path, link target, extended attributes.
    pub fn metadata_bytes(&self) -> u64 {
        let link = match &self.body {
            Body::HardLink(target) => target.as_bytes().len(),
            Body::Symlink(target) => target.len(),
            _ => 0,
        };
        let xattrs = self.metadata.xattrs.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        (self.path.len() + link + xattrs) as u64
    }

    /// The map of an old GNU sparse file, to be completed.
    pub fn old_extents(&mut self) -> Option<&mut Vec<Extent>> {
        match &mut self.map {
            Map::Old(extents) => Some(extents),
            _ => None,
        }
    }

    /// Where the content lies; reads the map that stands in front of the stored bytes of PAX sparse files.
    pub fn stored(
        &self,
        source: &mut impl BufRead,
        invalid: &dyn Fn(&'static str) -> LayerError,
    ) -> Result<Stored, LayerError> {
        let padding = self.stored.checked_next_multiple_of(BLOCK as u64).map_or(0, |end| end - self.stored);
        let (extents, stored) = match &self.map {
            Map::Plain => return Ok(Stored::plain(self.stored, padding)),
            Map::Old(extents) => (extents.clone(), self.stored),
            Map::Records(numbers) => (sparse::from_numbers(numbers).map_err(invalid)?, self.stored),
            Map::Front => {
                let (extents, taken) = sparse::read_front(source, self.stored, invalid)?;
                (extents, self.stored - taken)
            }
        };
        sparse::check(&extents, self.size, stored).map_err(invalid)?;
        Ok(Stored::sparse(extents, self.size, stored, padding))
    }
}

/// The fields of a header with errors that name the entry.
struct Fields<'a> {
    header: Header<'a>,
    path: &'a [u8],
}

impl Fields<'_> {
    fn invalid(&self, field: &'static str, value: &[u8]) -> LayerError {
        LayerError::Field { entry: shown(self.path), field, value: shown(value) }
    }

    fn unsigned<T: TryFrom<i64>>(&self, field: &'static str, value: Option<i64>) -> Result<T, LayerError> {
        let text = || value.map_or_else(|| "unreadable".into(), |value| value.to_string());
        value.and_then(|value| T::try_from(value).ok()).ok_or_else(|| self.invalid(field, text().as_bytes()))
    }

    fn narrow(&self, field: &'static str, pax: Option<u64>, header: Option<i64>) -> Result<u32, LayerError> {
        match pax {
            Some(value) => u32::try_from(value).map_err(|_| self.invalid(field, value.to_string().as_bytes())),
            None => self.unsigned(field, header),
        }
    }

    fn body(&self, extended: &Extended, link: &[u8], limits: &Limits) -> Result<Body<u64>, LayerError> {
        Ok(match self.header.kind() {
            b'0' | b'\0' | b'7' if self.path.ends_with(b"/") => Body::Directory,
            b'0' | b'\0' | b'7' | b'S' => Body::File(0),
            b'1' => Body::HardLink(tree_path(link, self.path, limits)?),
            b'2' if link.is_empty() || link.contains(&0) || link.len() >= limits.path => {
                return Err(self.invalid("target of a symbolic link", link));
            }
            b'2' => Body::Symlink(link.into()),
            b'3' => Body::CharDevice(self.device(extended)?),
            b'4' => Body::BlockDevice(self.device(extended)?),
            b'5' | b'D' => Body::Directory,
            b'6' => Body::Fifo,
            other => {
                let kind = char::from(other).escape_default().to_string();
                return Err(LayerError::Type { entry: shown(self.path), kind });
            }
        })
    }

    fn device(&self, extended: &Extended) -> Result<Device, LayerError> {
        let major = self.narrow("major device number", extended.major, self.header.major())?;
        let minor = self.narrow("minor device number", extended.minor, self.header.minor())?;
        Ok(Device { major, minor })
    }

    /// Length and map of a file, PAX sparse files included.
    fn pax_sparse(&self, sparse: Sparse, stored: u64) -> Result<(u64, Map), LayerError> {
        let map = match sparse.major {
            Some(1) => Map::Front,
            Some(0) | None if sparse.has_map => Map::Records(sparse.map),
            Some(0) | None => return Ok((stored, Map::Plain)),
            Some(other) => return Err(self.invalid("version of the sparse format", other.to_string().as_bytes())),
        };
        let size = sparse.size.ok_or_else(|| self.invalid("length of a sparse file", b"missing"))?;
        Ok((size, map))
    }

    fn metadata(&self, extended: Extended, symlink: bool, limits: &Limits) -> Result<Metadata, LayerError> {
        let mode: i64 = self.unsigned("mode", self.header.mode())?;
        // Symbolic links have no mode of their own on Linux; archives disagree about what to write there.
        let mode = if symlink { 0o777 } else { u16::try_from(mode & 0o7777).unwrap_or(0) };
        let uid = self.narrow("uid", extended.uid, self.header.uid())?;
        let gid = self.narrow("gid", extended.gid, self.header.gid())?;
        let mtime = match extended.mtime {
            Some(mtime) => mtime,
            None => Timestamp { seconds: self.unsigned("mtime", self.header.mtime())?, nanoseconds: 0 },
        };
        let xattrs = extended.into_xattrs();
        if xattrs.values().any(|value| value.len() > limits.xattr) {
            let what = "bytes in an extended attribute";
            return Err(LayerError::Limit { entry: shown(self.path), what, limit: limits.xattr as u64 });
        }
        Ok(Metadata { mode, uid, gid, mtime, xattrs })
    }
}
