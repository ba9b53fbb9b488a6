//! What a package was made of, so that it is not made again: `releases/<arch>/.pvr/umiak-release`.
//!
//! The record is believed only about a package that is still there as it was made. Losing it costs time, nothing else.

use std::fs;
use std::path::Path;
use std::time::UNIX_EPOCH;

use umiak_pvr::Value;
use umiak_spec::{Digest, Sha256, Verified};

use crate::durable;
use crate::error::{IoContext as _, ReleaseError};

/// Where it is, below the device directory.
const RECORD: &str = ".pvr/umiak-release";

/// Its format.
const SPEC: &str = "umiak-release@1";

/// Who makes packages: what another one has made is made again from nothing.
const MAKER: &str = concat!("umiak ", env!("CARGO_PKG_VERSION"));

/// Bytes of a record.
const LIMIT: u64 = 64 << 10;

/// A record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    /// Digest of all that decides the package's bytes.
    pub(super) input: String,
    /// Its length and digest.
    pub(super) file: (u64, Digest),
    /// When the file was written, nanoseconds since 1970, so that it need not be read to be known.
    written: String,
}

/// Everything that decides a package's bytes, hashed line by line.
pub(super) struct Input(Sha256);

impl Input {
    pub(super) fn new() -> Self {
        Self(Sha256::new()).line(SPEC).line(MAKER)
    }

    pub(super) fn line(mut self, text: &str) -> Self {
        self.0.update(&(text.len() as u64).to_le_bytes());
        self.0.update(text.as_bytes());
        self
    }

    pub(super) fn finish(self) -> String {
        self.0.finish().hex()
    }
}

impl Record {
    /// The record of a package that was just made.
    pub(super) fn of(input: String, package: &Path) -> Result<Self, ReleaseError> {
        let file = fs::File::open(package).at("open", package)?;
        let (digest, length) = Verified::new(&file).finish().at("read", package)?;
        Ok(Self { input, file: (length, digest), written: written(package)? })
    }

    /// The record in a device directory, when it is of this maker.
    pub(super) fn read(release: &Path) -> Option<Self> {
        let value = Value::parse(&fs::read(release.join(RECORD)).ok()?, LIMIT).ok()?;
        let text = |member: &str| value.get(member).and_then(Value::as_str);
        if text("#spec") != Some(SPEC) || text("maker") != Some(MAKER) {
            return None;
        }
        let length = text("size")?.parse().ok()?;
        let digest = Digest::from_hex(text("sha256")?).ok()?;
        Some(Self { input: text("input")?.to_owned(), file: (length, digest), written: text("written")?.to_owned() })
    }

    /// Keeps it.
    pub(super) fn keep(&self, release: &Path) -> Result<(), ReleaseError> {
        let members = [
            ("#spec", SPEC),
            ("input", &self.input),
            ("maker", MAKER),
            ("sha256", &self.file.1.hex()),
            ("size", &self.file.0.to_string()),
            ("written", &self.written),
        ];
        let value = Value::object(members.map(|(name, text)| (name, Value::from(text))));
        durable::put(&release.join(RECORD), value.canonical().as_bytes())
    }

    /// Whether `package` is the file that it tells of.
    pub(super) fn is_of(&self, package: &Path) -> bool {
        let (length, digest) = self.file;
        let Ok(found) = fs::metadata(package) else { return false };
        if found.len() != length {
            return false;
        }
        if written(package).is_ok_and(|time| time == self.written) {
            return true;
        }
        let hashed = fs::File::open(package).and_then(|file| Verified::new(&file).finish());
        hashed.is_ok_and(|(found, _)| found == digest)
    }
}

fn written(package: &Path) -> Result<String, ReleaseError> {
    let time = fs::metadata(package).and_then(|found| found.modified()).at("look at", package)?;
    Ok(time.duration_since(UNIX_EPOCH).map_or_else(|_| "0".to_owned(), |since| since.as_nanos().to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_believed_about_the_file_it_tells_of() {
        let scratch = tempfile::tempdir().unwrap();
        let package = scratch.path().join("a.tgz");
        fs::create_dir_all(scratch.path().join(".pvr")).unwrap();
        assert_eq!(Record::read(scratch.path()), None);
        fs::write(&package, "one").unwrap();
        let record = Record::of(Input::new().line("x").finish(), &package).unwrap();
        record.keep(scratch.path()).unwrap();
        assert_eq!(Record::read(scratch.path()).unwrap(), record);
        assert!(record.is_of(&package));
        // Touched, it is read and found the same; of another content it is another.
        let other = Record { written: "1".into(), ..record.clone() };
        assert!(other.is_of(&package));
        fs::write(&package, "two").unwrap();
        assert!(!other.is_of(&package));
        fs::write(&package, "three").unwrap();
        assert!(!record.is_of(&package) && !record.is_of(scratch.path()));
        let of_another = fs::read_to_string(scratch.path().join(RECORD)).unwrap().replace(MAKER, "umiak 0.0.0");
        fs::write(scratch.path().join(RECORD), of_another).unwrap();
        assert_eq!(Record::read(scratch.path()), None);
    }

    #[test]
    fn lines_do_not_run_into_one_another() {
        assert_ne!(Input::new().line("ab").line("c").finish(), Input::new().line("a").line("bc").finish());
    }
}
