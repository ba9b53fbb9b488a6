//! As much of tar as packages need: plain files by name and size.
//!
//! Reads ustar, GNU long names and PAX `path` and `size`; everything that is not a file or a directory is reported as
//! such for the caller to refuse. Names come as they stand in the archive: a package is refused for an absolute name,
//! which a reader for layers has every reason to forgive; that is why this is not `umiak_layer::TarReader`.

use std::io::{self, Read};
use std::path::Path;

use super::PackageError;

const BLOCK: usize = 512;
/// Bytes of an extended header; names in a package are short.
const EXTENSION_LIMIT: u64 = 64 << 10;
/// The first size that eleven octal digits cannot say.
pub(super) const SIZE_LIMIT: u64 = 8 << 30;

/// An entry of an archive.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) name: Vec<u8>,
    pub(super) kind: Kind,
    pub(super) size: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Directory,
    Other,
}

/// Reads an archive entry by entry.
pub(super) struct Reader<'a, R> {
    inner: R,
    package: &'a Path,
    position: u64,
    /// Content of the current entry that was not read yet, and the padding behind it.
    left: u64,
    padding: u64,
}

impl<'a, R: Read> Reader<'a, R> {
    pub(super) fn new(inner: R, package: &'a Path) -> Self {
        Self { inner, package, position: 0, left: 0, padding: 0 }
    }

    /// The next entry; `None` at the end of the archive. What was not read of the one before is passed over.
    pub(super) fn next(&mut self) -> Result<Option<Header>, PackageError> {
        let (mut long_name, mut long_size) = (None, None);
        loop {
            self.pass_over()?;
            let Some(block) = self.block()? else { return Ok(None) };
            let (name, size) = self.checked(&block).ok_or_else(|| self.not_tar())?;
            self.set_content(size);
            match block[156] {
                b'L' => {
                    let mut text = self.extension()?;
                    text.truncate(text.iter().position(|byte| *byte == 0).unwrap_or(text.len()));
                    long_name = Some(text);
                }
                b'x' => {
                    let records = self.extension()?;
                    let (path, size) = pax(&records).ok_or_else(|| self.not_tar())?;
                    long_name = path.or(long_name);
                    long_size = size.or(long_size);
                }
                b'g' => drop(self.extension()?),
                kind => {
                    let name = long_name.unwrap_or(name);
                    let size = long_size.unwrap_or(size);
                    let kind = match kind {
                        b'0' | b'\0' if name.ends_with(b"/") => Kind::Directory,
                        b'0' | b'\0' | b'7' => Kind::File,
                        b'5' => Kind::Directory,
                        _ => Kind::Other,
                    };
                    self.set_content(if kind == Kind::File { size } else { 0 });
                    return Ok(Some(Header { name, kind, size }));
                }
            }
        }
    }

    /// The content of the current entry. It fails rather than end early.
    pub(super) fn content(&mut self) -> Content<'_, 'a, R> {
        Content(self)
    }

    /// Reads what follows the end of the archive, so that a compressed stream checks its checksum.
    pub(super) fn finish(mut self) -> Result<(), PackageError> {
        io::copy(&mut self.inner, &mut io::sink()).map(drop).map_err(|error| self.read_error(error))
    }

    fn set_content(&mut self, size: u64) {
        self.left = size;
        self.padding = size.wrapping_neg() % BLOCK as u64;
    }

    fn not_tar(&self) -> PackageError {
        PackageError::NotTar { package: self.package.to_owned(), at: self.position.saturating_sub(BLOCK as u64) }
    }

    fn read_error(&self, source: io::Error) -> PackageError {
        PackageError::Read { package: self.package.to_owned(), source }
    }

    fn truncated(&self, what: &str) -> PackageError {
        PackageError::Truncated { package: self.package.to_owned(), what: what.to_owned() }
    }

    fn block(&mut self) -> Result<Option<[u8; BLOCK]>, PackageError> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            match self.inner.read(&mut block[filled..]) {
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => return Err(self.truncated("a header")),
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted && error.get_ref().is_none() => {}
                Err(error) => return Err(self.read_error(error)),
            }
        }
        self.position += BLOCK as u64;
        Ok(block.iter().any(|byte| *byte != 0).then_some(block))
    }

    /// Name and size of a header whose checksum is right.
    fn checked(&self, block: &[u8; BLOCK]) -> Option<(Vec<u8>, u64)> {
        let sum: u64 = block
            .iter()
            .enumerate()
            .map(|(at, byte)| if (148..156).contains(&at) { 32 } else { u64::from(*byte) })
            .sum();
        if number(&block[148..156])? != sum {
            return None;
        }
        let text = |range: std::ops::Range<usize>| {
            let field = &block[range];
            &field[..field.iter().position(|byte| *byte == 0).unwrap_or(field.len())]
        };
        let prefix = if &block[257..263] == b"ustar\0" { text(345..500) } else { b"" };
        let name = match prefix {
            b"" => text(0..100).to_vec(),
            prefix => [prefix, b"/", text(0..100)].concat(),
        };
        Some((name, number(&block[124..136])?))
    }

    fn extension(&mut self) -> Result<Vec<u8>, PackageError> {
        if self.left > EXTENSION_LIMIT {
            return Err(self.not_tar());
        }
        let mut bytes = Vec::new();
        self.content().read_to_end(&mut bytes).map_err(|error| self.content_error(error))?;
        Ok(bytes)
    }

    fn pass_over(&mut self) -> Result<(), PackageError> {
        if let Err(error) = io::copy(&mut self.content(), &mut io::sink()) {
            return Err(self.content_error(error));
        }
        let padding = std::mem::take(&mut self.padding);
        let skipped = io::copy(&mut self.inner.by_ref().take(padding), &mut io::sink());
        let skipped = skipped.map_err(|error| self.read_error(error))?;
        self.position += skipped;
        if skipped == padding { Ok(()) } else { Err(self.truncated("the padding of a file")) }
    }

    fn content_error(&self, error: io::Error) -> PackageError {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => self.truncated("a file"),
            _ => self.read_error(error),
        }
    }
}

/// See [`Reader::content`].
pub(super) struct Content<'r, 'a, R>(&'r mut Reader<'a, R>);

impl<R: Read> Read for Content<'_, '_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.0.left).unwrap_or(usize::MAX).min(buffer.len());
        if wanted == 0 {
            return Ok(0);
        }
        let count = self.0.inner.read(&mut buffer[..wanted])?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.0.left -= count as u64;
        self.0.position += count as u64;
        Ok(count)
    }
}

/// An octal field, or a base-256 one.
fn number(field: &[u8]) -> Option<u64> {
    if let [0x80, rest @ ..] = field {
        let (high, low) = rest.split_at(rest.len().checked_sub(8)?);
        return high.iter().all(|byte| *byte == 0).then(|| u64::from_be_bytes(low.try_into().unwrap_or_default()));
    }
    let text = std::str::from_utf8(field).ok()?.trim_matches([' ', '\0']);
    if text.is_empty() { Some(0) } else { u64::from_str_radix(text, 8).ok().filter(|_| !text.starts_with('+')) }
}

/// `path` and `size` of PAX records; `None` when they are malformed.
fn pax(mut records: &[u8]) -> Option<(Option<Vec<u8>>, Option<u64>)> {
    let (mut path, mut size) = (None, None);
    while !records.is_empty() {
        let space = records.iter().take(20).position(|byte| *byte == b' ')?;
        let length: usize = std::str::from_utf8(&records[..space]).ok()?.parse().ok()?;
        let record = records.get(space + 1..length)?.strip_suffix(b"\n")?;
        let equals = record.iter().position(|byte| *byte == b'=')?;
        match &record[..equals] {
            b"path" => path = Some(record[equals + 1..].to_vec()),
            b"size" => size = Some(std::str::from_utf8(&record[equals + 1..]).ok()?.parse().ok()?),
            _ => {}
        }
        records = &records[length..];
    }
    Some((path, size))
}

/// A ustar header of a plain file: owner 0, no owner names, one second after the epoch (GNU tar calls 0 implausible).
/// `name` has at most 100 bytes and `size` is below [`SIZE_LIMIT`].
pub(super) fn header(name: &str, mode: u32, size: u64) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let mut put = |at: usize, text: &str| block[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, &format!("{mode:07o}"));
    put(108, "0000000");
    put(116, "0000000");
    put(124, &format!("{size:011o}"));
    put(136, "00000000001");
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\x0000");
    put(329, "0000000");
    put(337, "0000000");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

/// The length that a header says.
pub(super) fn size(header: &[u8; BLOCK]) -> Option<u64> {
    number(&header[124..136])
}

/// Zeros behind a content of `size` bytes.
pub(super) fn padding(size: u64) -> &'static [u8] {
    let length = size.wrapping_neg() % BLOCK as u64;
    &[0; BLOCK][..usize::try_from(length).unwrap_or(0)] // less than 512
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut archive = Vec::new();
        for (name, content) in [("json", &b"{}"[..]), ("objects/a", &[7; 512]), ("objects/b", b"")] {
            archive.extend(header(name, 0o644, content.len() as u64));
            archive.extend(content);
            archive.extend(padding(content.len() as u64));
        }
        archive.extend([0; 1024]);
        let mut reader = Reader::new(&archive[..], Path::new("x"));
        let mut seen = Vec::new();
        while let Some(header) = reader.next().unwrap() {
            let mut content = Vec::new();
            reader.content().read_to_end(&mut content).unwrap();
            seen.push((String::from_utf8(header.name).unwrap(), content.len()));
        }
        assert_eq!(seen, [("json".into(), 2), ("objects/a".into(), 512), ("objects/b".into(), 0)]);
        for cut in [100, 513, 600, 1100] {
            let mut reader = Reader::new(&archive[..cut], Path::new("x"));
            let result = std::iter::from_fn(|| reader.next().transpose()).find(Result::is_err);
            assert!(matches!(result, Some(Err(PackageError::Truncated { .. }))), "{cut}");
        }
    }

    #[test]
    fn numbers_and_records() {
        assert_eq!(number(b"0000012\0"), Some(10));
        assert_eq!(number(b"   12 \0"), Some(10));
        assert_eq!(number(b"\x80\0\0\0\0\0\0\0\0\0\x01\0"), Some(256));
        assert_eq!(number(b"\x80\x01\0\0\0\0\0\0\0\0\x01\0"), None);
        assert_eq!(number(b"9"), None);
        assert_eq!(pax(b"12 path=a/b\n10 size=5\n").unwrap(), (Some(b"a/b".to_vec()), Some(5)));
        for bad in [&b"5"[..], b"0 a=b\n", b"99 path=a\n", b"8 path\n", b"12 path=a/b", b"3 \n"] {
            assert_eq!(pax(bad), None);
        }
    }
}
