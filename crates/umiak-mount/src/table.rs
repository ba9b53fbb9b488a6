//! What is mounted, as `/proc/self/mountinfo` tells it (proc_pid_mountinfo(5)).
//!
//! This is how mounts are found again by a process that did not make them. Lines that are not understood are left out,
//! never guessed at.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use crate::error::{At, MountError};

/// Bytes of the table that are read: some hundred thousand mounts.
const TABLE_MAX: u64 = 64 << 20;

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Number of the mount, unique while it lasts.
    pub id: u64,
    /// The directory inside the file system that is shown.
    pub root: PathBuf,
    /// Where it is shown.
    pub point: PathBuf,
    /// Options of this mount, comma-separated (`ro,nosuid`).
    pub options: String,
    /// Name of the file system (`overlay`, `squashfs`).
    pub kind: String,
    /// What was mounted, as the file system was told.
    pub source: OsString,
    /// Options of the file system, comma-separated.
    pub super_options: String,
}

/// All mounts of this process's namespace, lowest first.
#[derive(Debug, Clone, Default)]
pub struct Table(Vec<Mount>);

impl Table {
    /// Reads the table.
    ///
    /// # Errors
    /// `/proc` is not there.
    pub fn read() -> Result<Self, MountError> {
        let path = Path::new("/proc/self/mountinfo");
        let mut bytes = Vec::new();
        let read = |bytes: &mut Vec<u8>| -> io::Result<()> {
            File::open(path)?.take(TABLE_MAX).read_to_end(bytes).map(|_| ())
        };
        read(&mut bytes).at("read", path)?;
        Ok(Self::parse(&bytes))
    }

    /// Reads a table from its text.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Self {
        Self(bytes.split(|byte| *byte == b'\n').filter_map(line).collect())
    }

    /// What is seen at `point`: the uppermost mount there.
    #[must_use]
    pub fn at(&self, point: &Path) -> Option<&Mount> {
        self.0.iter().rev().find(|mount| mount.point == point)
    }

    /// Mounts at `directory` and below it, uppermost first: the order to unmount them in.
    pub fn below<'a>(&'a self, directory: &'a Path) -> impl Iterator<Item = &'a Mount> {
        self.0.iter().rev().filter(move |mount| mount.point.starts_with(directory))
    }

    /// All of them.
    #[must_use]
    pub fn mounts(&self) -> &[Mount] {
        &self.0
    }
}

/// `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue`
fn line(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|byte| *byte == b' ');
    let id = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
    let root = unescape(fields.nth(2)?);
    let point = unescape(fields.next()?);
    let options = text(fields.next()?);
    // Zero or more tags end with a lone dash.
    fields.find(|field| *field == b"-")?;
    let kind = text(fields.next()?);
    let source = unescape(fields.next()?);
    let super_options = text(fields.next().unwrap_or_default());
    Some(Mount { id, root: PathBuf::from(root), point: PathBuf::from(point), options, kind, source, super_options })
}

fn text(field: &[u8]) -> String {
    unescape(field).to_string_lossy().into_owned()
}

/// Space, tab, newline and backslash are written as three octal digits.
fn unescape(field: &[u8]) -> OsString {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, tail)) = rest.split_first() {
        let digits = tail.get(..3).filter(|digits| digits.iter().all(|digit| (b'0'..=b'7').contains(digit)));
        match digits {
            Some(digits) if *first == b'\\' && digits[0] <= b'3' => {
                bytes.push(digits.iter().fold(0, |value: u8, digit| (value << 3) | (digit - b'0')));
                rest = &tail[3..];
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    OsString::from_vec(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] = b"36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 shared:2 - ext3 /dev/root rw,errors=continue\n\
        40 36 0:50 / /run/a\\040b\\134c ro,relatime - overlay umiak ro,lowerdir+=/l/0,lowerdir+=/l/1\n\
        nonsense\n41 36 0:51 / /run/a\\040b\\134c rw - tmpfs tmpfs rw\n42 36 0:52 /\n";

    #[test]
    fn lines_are_read_and_nonsense_left_out() {
        let table = Table::parse(TEXT);
        assert_eq!(table.mounts().len(), 3);
        let first = &table.mounts()[0];
        assert_eq!((first.id, first.root.as_path(), first.kind.as_str()), (36, Path::new("/mnt1"), "ext3"));
        assert_eq!(first.options, "rw,noatime");
        assert_eq!(first.super_options, "rw,errors=continue");
        assert_eq!(table.at(Path::new("/run/a b\\c")).unwrap().kind, "tmpfs", "the uppermost is seen");
        assert_eq!(table.mounts()[1].source, "umiak");
        assert!(table.at(Path::new("/run")).is_none());
        let ids: Vec<u64> = table.below(Path::new("/run")).map(|mount| mount.id).collect();
        assert_eq!(ids, [41, 40]);
    }

    #[test]
    fn any_bytes_are_read_without_panic() {
        for cut in 0..TEXT.len() {
            for byte in [0, b' ', b'\\', b'-', 0xff] {
                let mut text = TEXT.to_vec();
                text[cut] = byte;
                let _ = Table::parse(&text[..=cut]);
                let _ = Table::parse(&text);
            }
        }
        assert_eq!(unescape(b"\\04"), "\\04");
        assert_eq!(unescape(b"\\777"), "\\777", "not a byte");
    }

    #[test]
    fn our_own_table_has_a_root() {
        assert!(Table::read().unwrap().at(Path::new("/")).is_some());
    }
}
