//! Writes layers: ustar headers, with a PAX extended header in front where ustar has no room.
//!
//! The bytes depend on what is appended and on nothing else: no names of users, no times but mtimes, no padding to
//! records beyond the two blocks of zeros at the end. A layer made from the same entries in the same order has the
//! same diff ID everywhere. GNU tar, libarchive and the OCI tools read it.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use umiak_tree::{Content, Device, InodeId, Kind, Metadata, Tree, TreePath};

use crate::header::{BLOCK, Block};

/// Name of every extended header; programs that know PAX never show it.
const EXTENDED_NAME: &[u8] = b"././@PaxHeader";

/// Largest number of eleven octal digits: sizes and mtimes.
const MAX_LONG: u64 = 0o777_7777_7777;

/// Largest number of seven octal digits: owners and devices.
const MAX_SHORT: u64 = 0o777_7777;

/// Why a layer could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The sink failed.
    #[error("cannot write {path} to the layer")]
    Write {
        /// The entry.
        path: TreePath,
        /// What the sink reports.
        #[source]
        source: io::Error,
    },
    /// The content could not be read.
    #[error("cannot read the content of {path}")]
    Content {
        /// The file.
        path: TreePath,
        /// What the reader reports.
        #[source]
        source: io::Error,
    },
    /// The content is shorter than announced.
    #[error("the content of {path} has {found} bytes, not {expected}: it changed meanwhile")]
    Length {
        /// The file.
        path: TreePath,
        /// Bytes announced.
        expected: u64,
        /// Bytes read.
        found: u64,
    },
    /// Sockets have no place in an archive, the root cannot be anything but a directory, and whiteouts need a name.
    #[error("{path} cannot be written to a layer: {reason}")]
    Inexpressible {
        /// The entry.
        path: TreePath,
        /// Why.
        reason: &'static str,
    },
}

/// Appends entries to an uncompressed layer.
pub struct LayerWriter<W> {
    sink: W,
}

impl<W: Write> LayerWriter<W> {
    /// Starts an archive.
    pub fn new(sink: W) -> Self {
        Self { sink }
    }

    /// A regular file of exactly `size` bytes.
    ///
    /// # Errors
    /// [`WriteError`]; the archive is not complete then.
    pub fn file(
        &mut self,
        path: &TreePath,
        metadata: &Metadata,
        size: u64,
        content: &mut dyn Read,
    ) -> Result<(), WriteError> {
        self.header(path, metadata, &Head { kind: b'0', size, ..Head::default() })?;
        // In two steps, so that the error says which side failed.
        let mut left = size;
        let mut buffer = vec![0; usize::try_from(size.min(256 << 10)).unwrap_or(0)];
        while left > 0 {
            let limit = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
            let count = match content.read(&mut buffer[..limit]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other.map_err(|source| WriteError::Content { path: path.clone(), source })?,
            };
            if count == 0 {
                return Err(WriteError::Length { path: path.clone(), expected: size, found: size - left });
            }
            self.write(path, &buffer[..count])?;
            left -= count as u64;
        }
        self.pad(path, size)
    }

    /// Anything but a file. The names inside a directory are not looked at.
    ///
    /// # Errors
    /// [`WriteError`]; a file or a socket is inexpressible here.
    pub fn other<C>(&mut self, path: &TreePath, metadata: &Metadata, kind: &Kind<C>) -> Result<(), WriteError> {
        let head = match kind {
            Kind::Directory(_) => Head { kind: b'5', ..Head::default() },
            Kind::Symlink(target) => Head { kind: b'2', link: target, ..Head::default() },
            Kind::CharDevice(device) => Head { kind: b'3', device: *device, ..Head::default() },
            Kind::BlockDevice(device) => Head { kind: b'4', device: *device, ..Head::default() },
            Kind::Fifo => Head { kind: b'6', ..Head::default() },
            Kind::File(_) => return inexpressible(path, "a file needs its content"),
            Kind::Socket => return inexpressible(path, "archives have no sockets"),
        };
        self.header(path, metadata, &head)
    }

    /// Another name of an entry that is already there.
    ///
    /// # Errors
    /// [`WriteError`].
    pub fn hard_link(&mut self, path: &TreePath, metadata: &Metadata, target: &TreePath) -> Result<(), WriteError> {
        self.header(path, metadata, &Head { kind: b'1', link: target.as_bytes(), ..Head::default() })
    }

    /// Hides what lower layers have at `path`.
    ///
    /// # Errors
    /// [`WriteError`]; the root cannot be hidden.
    pub fn whiteout(&mut self, path: &TreePath) -> Result<(), WriteError> {
        match path.split() {
            Some((parent, name)) => self.mark(&parent.join(&[b".wh.", name].concat())),
            None => inexpressible(path, "the root cannot be hidden"),
        }
    }

    /// Hides what lower layers have inside `directory`.
    ///
    /// # Errors
    /// [`WriteError`].
    pub fn opaque(&mut self, directory: &TreePath) -> Result<(), WriteError> {
        self.mark(&directory.join(b".wh..wh..opq"))
    }

    /// A whole tree, in walk order; `open` gives the content of a file.
    ///
    /// # Errors
    /// [`WriteError`].
    pub fn tree<C: Content, R: Read>(
        &mut self,
        tree: &Tree<C>,
        mut open: impl FnMut(&C) -> io::Result<R>,
    ) -> Result<(), WriteError> {
        let mut firsts: BTreeMap<InodeId, TreePath> = BTreeMap::new();
        let counts = tree.name_counts();
        for entry in tree.walk() {
            let (path, metadata) = (entry.path, &entry.inode.metadata);
            if let Some(first) = firsts.get(&entry.id) {
                self.hard_link(&path, metadata, first)?;
                continue;
            }
            match &entry.inode.kind {
                Kind::File(content) => {
                    let opened = open(content);
                    let mut reader = opened.map_err(|source| WriteError::Content { path: path.clone(), source })?;
                    self.file(&path, metadata, content.size(), &mut reader)?;
                }
                kind => self.other(&path, metadata, kind)?,
            }
            if counts[entry.id.index()] > 1 {
                firsts.insert(entry.id, path);
            }
        }
        Ok(())
    }

    /// Ends the archive; the sink is not flushed.
    ///
    /// # Errors
    /// [`WriteError`].
    pub fn finish(mut self) -> Result<W, WriteError> {
        self.write(&TreePath::root(), &[0; 2 * BLOCK])?;
        Ok(self.sink)
    }

    fn mark(&mut self, path: &TreePath) -> Result<(), WriteError> {
        self.header(path, &Metadata::root_owned(0), &Head { kind: b'0', ..Head::default() })
    }

    fn write(&mut self, path: &TreePath, bytes: &[u8]) -> Result<(), WriteError> {
        self.sink.write_all(bytes).map_err(|source| WriteError::Write { path: path.clone(), source })
    }

    fn pad(&mut self, path: &TreePath, size: u64) -> Result<(), WriteError> {
        let padding = usize::try_from(size.wrapping_neg() % BLOCK as u64).unwrap_or(0);
        self.write(path, &[0; BLOCK][..padding])
    }

    fn header(&mut self, path: &TreePath, metadata: &Metadata, head: &Head<'_>) -> Result<(), WriteError> {
        let mut name = path.as_bytes().to_vec();
        if path.is_root() {
            if head.kind != b'5' {
                return inexpressible(path, "the root is a directory");
            }
            name = b".".to_vec();
        }
        if head.kind == b'5' {
            name.push(b'/');
        }
        let mut records = Records::default();
        let block = head.block(&name, metadata, &mut records);
        if !records.0.is_empty() {
            let size = records.0.len() as u64;
            let extended = Head { kind: b'x', size, ..Head::default() };
            let plain = Metadata::root_owned(0o644);
            let extended = extended.block(EXTENDED_NAME, &plain, &mut Records::default());
            self.write(path, &extended)?;
            self.write(path, &records.0)?;
            self.pad(path, size)?;
        }
        self.write(path, &block)
    }
}

fn inexpressible(path: &TreePath, reason: &'static str) -> Result<(), WriteError> {
    Err(WriteError::Inexpressible { path: path.clone(), reason })
}

/// PAX records, in the order they are pushed.
#[derive(Default)]
struct Records(Vec<u8>);

impl Records {
    fn push(&mut self, key: &[u8], value: &[u8]) {
        let rest = key.len() + value.len() + 3;
        let mut length = rest + 1;
        while rest + length.to_string().len() > length {
            length += 1;
        }
        self.0.extend(format!("{length} ").as_bytes());
        self.0.extend([key, b"=", value, b"\n"].concat());
    }
}

/// What a header says besides name and metadata.
#[derive(Default)]
struct Head<'a> {
    kind: u8,
    size: u64,
    link: &'a [u8],
    device: Device,
}

impl Head<'_> {
    /// The ustar block; what does not fit goes to `records`.
    fn block(&self, name: &[u8], metadata: &Metadata, records: &mut Records) -> Block {
        let mut block = [0; BLOCK];
        self.names(name, &mut block, records);
        octal(&mut block[100..108], metadata.mode.into());
        let mut number = |range: std::ops::Range<usize>, value: u64, largest: u64, key: &str| {
            let fits = value <= largest;
            octal(&mut block[range], if fits { value } else { 0 });
            if !fits {
                records.push(key.as_bytes(), value.to_string().as_bytes());
            }
        };
        number(108..116, metadata.uid.into(), MAX_SHORT, "uid");
        number(116..124, metadata.gid.into(), MAX_SHORT, "gid");
        number(124..136, self.size, MAX_LONG, "size");
        number(329..337, self.device.major.into(), MAX_SHORT, "SCHILY.devmajor");
        number(337..345, self.device.minor.into(), MAX_SHORT, "SCHILY.devminor");
        let mtime = metadata.mtime;
        let seconds = u64::try_from(mtime.seconds).ok().filter(|seconds| *seconds <= MAX_LONG);
        octal(&mut block[136..148], seconds.unwrap_or(0));
        if seconds.is_none() || mtime.nanoseconds != 0 {
            records.push(b"mtime", mtime_text(mtime.seconds, mtime.nanoseconds).as_bytes());
        }
        for (name, value) in &metadata.xattrs {
            records.push(&[b"SCHILY.xattr.", &**name].concat(), value);
        }
        block[156] = self.kind;
        block[257..265].copy_from_slice(b"ustar\x0000");
        let sum = block.iter().map(|byte| u64::from(*byte)).sum::<u64>() + 8 * u64::from(b' ');
        octal(&mut block[148..155], sum);
        block[155] = b' ';
        block
    }

    fn names(&self, name: &[u8], block: &mut Block, records: &mut Records) {
        match split_name(name) {
            Some((prefix, name)) => {
                block[..name.len()].copy_from_slice(name);
                block[345..345 + prefix.len()].copy_from_slice(prefix);
            }
            None => {
                block[..100].copy_from_slice(&name[..100]);
                records.push(b"path", name);
            }
        }
        let link = &self.link[..self.link.len().min(100)];
        block[157..157 + link.len()].copy_from_slice(link);
        if link.len() < self.link.len() {
            records.push(b"linkpath", self.link);
        }
    }
}

/// The name as ustar's prefix and name, split at a slash if it must be; `None` if it does not fit.
fn split_name(name: &[u8]) -> Option<(&[u8], &[u8])> {
    if name.len() <= 100 {
        return Some((&[], name));
    }
    // The slash between them is not stored; a trailing one belongs to the name.
    let slash =
        name[..name.len() - 1].iter().enumerate().find(|(at, byte)| **byte == b'/' && name.len() - at - 1 <= 100);
    let (prefix, name) = name.split_at(slash?.0);
    (1..=155).contains(&prefix.len()).then(|| (prefix, &name[1..]))
}

/// Octal digits and a closing NUL, which always fit: callers check the range.
fn octal(field: &mut [u8], mut value: u64) {
    let Some((last, digits)) = field.split_last_mut() else { return };
    *last = 0;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (value & 7) as u8;
        value >>= 3;
    }
}

/// Decimal seconds with as many digits of a fraction as are needed.
fn mtime_text(seconds: i64, nanoseconds: u32) -> String {
    let (sign, seconds, nanoseconds) = match (seconds, nanoseconds) {
        (0.., _) => ("", seconds.unsigned_abs(), nanoseconds),
        (_, 0) => ("-", seconds.unsigned_abs(), 0),
        // Nanoseconds count forward from the second before.
        _ => ("-", seconds.unsigned_abs() - 1, 1_000_000_000 - nanoseconds),
    };
    let text = format!("{sign}{seconds}.{nanoseconds:09}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_pax_has_them() {
        for (seconds, nanoseconds, text) in [
            (0, 5, "0.000000005"),
            (10, 500_000_000, "10.5"),
            (-1, 0, "-1"),
            (-2, 750_000_000, "-1.25"),
            (-10, 0, "-10"),
        ] {
            assert_eq!(mtime_text(seconds, nanoseconds), text);
        }
    }

    #[test]
    fn long_names_are_split_at_a_slash_or_not_at_all() {
        let long = [b"d".repeat(100), b"/".to_vec(), b"n".repeat(100)].concat();
        assert_eq!(split_name(&long).map(|(p, n)| (p.len(), n.len())), Some((100, 100)));
        assert_eq!(split_name(&b"n".repeat(101)), None);
        assert_eq!(split_name(&[b"d".repeat(200), b"/n".to_vec()].concat()), None);
        assert_eq!(split_name(b"short"), Some((&b""[..], &b"short"[..])));
    }

    #[test]
    fn record_lengths_count_themselves() {
        let mut records = Records::default();
        records.push(b"path", b"x");
        records.push(b"k", &b"v".repeat(94));
        assert!(records.0.starts_with(b"9 path=x\n101 k="));
        assert_eq!(records.0.len(), 9 + 101);
    }
}
