//! What a package was made of, so that it is not made again, and what a build left in the device directory:
//! `releases/<arch>/.pvr/umiak-release`.
//!
//! The record is believed only about a package and files that are still there as they were made. Without it everything is made
//! again, and a file that went along before and does not any more is taken for one that no build made.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::UNIX_EPOCH;

use umiak_pvr::{Entry, State, Value};
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
const LIMIT: u64 = 4 << 20;

/// A record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    /// Digest of all that decides the package's bytes; empty from when a build begins until it is done.
    pub(super) input: String,
    /// Its length and digest.
    pub(super) file: (u64, Digest),
    /// Whether it is of this very program. Of a build that began it is what was true before.
    pub(super) ours: bool,
    /// The committed files of the device directory, as [`digests`] has them.
    pub(super) left: Left,
    /// A delta to the package that turned out to be no smaller than its objects.
    pub(super) not_worth: Option<NotWorth>,
    /// When the file was written, nanoseconds since 1970, so that it need not be read to be known.
    written: String,
}

/// What need not be tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NotWorth {
    /// The states that it starts from and leads to.
    pub(super) states: (Digest, Digest),
    /// Bytes that it would have.
    pub(super) bytes: u64,
}

impl NotWorth {
    fn read(value: &Value) -> Option<Self> {
        let text = |member: &str| value.get(member).and_then(Value::as_str);
        let digest = |member: &str| Digest::from_hex(text(member)?).ok();
        Some(Self { states: (digest("base")?, digest("target")?), bytes: text("size")?.parse().ok()? })
    }

    fn value(&self) -> Value {
        let (base, target) = self.states;
        let members = [("base", base.hex()), ("size", self.bytes.to_string()), ("target", target.hex())];
        Value::object(members.map(|(name, text)| (name, Value::from(text))))
    }
}

/// Files by name, and the SHA-256 of each in hexadecimal digits.
pub(super) type Left = BTreeMap<String, String>;

/// The files of a state; a document's digest is that of its canonical form.
pub(super) fn digests(state: &State) -> Left {
    let digest = |entry: &Entry| match entry {
        Entry::Object(digest) => digest.hex(),
        Entry::Inline(value) => Digest::of(value.canonical().as_bytes()).hex(),
    };
    state.entries().iter().map(|(path, entry)| (path.to_string(), digest(entry))).collect()
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
    /// The record of a package that was just made from a device directory with these files.
    pub(super) fn of(input: String, left: Left, package: &Path) -> Result<Self, ReleaseError> {
        let file = fs::File::open(package).at("open", package)?;
        let (digest, length) = Verified::new(&file).finish().at("read", package)?;
        Ok(Self { input, file: (length, digest), ours: true, left, not_worth: None, written: written(package)? })
    }

    /// The record of a build that begins where there was this one: whatever becomes of it, these files are its own as well.
    pub(super) fn begun(before: Option<&Self>, carried: Left) -> Self {
        let nothing = || Self {
            input: String::new(),
            file: (0, Digest::of(b"")),
            ours: false,
            left: Left::new(),
            not_worth: None,
            written: String::new(),
        };
        let mut record = before.cloned().unwrap_or_else(nothing);
        record.input.clear();
        for (name, digest) in carried {
            record.left.entry(name).or_insert(digest);
        }
        record
    }

    /// Whether it is of a build that was done.
    pub(super) fn is_done(&self) -> bool {
        !self.input.is_empty()
    }

    /// The record in a device directory.
    pub(super) fn read(release: &Path) -> Option<Self> {
        let value = Value::parse(&fs::read(release.join(RECORD)).ok()?, LIMIT).ok()?;
        let text = |member: &str| value.get(member).and_then(Value::as_str);
        if text("#spec") != Some(SPEC) {
            return None;
        }
        let Value::Object(left) = value.get("left")? else { return None };
        let digest = |value: &Value| Digest::from_hex(value.as_str()?).ok().map(|digest| digest.hex());
        Some(Self {
            input: text("input")?.to_owned(),
            file: (text("size")?.parse().ok()?, Digest::from_hex(text("sha256")?).ok()?),
            ours: text("maker")? == MAKER,
            left: left.iter().map(|(path, value)| Some((path.to_string(), digest(value)?))).collect::<Option<_>>()?,
            not_worth: value.get("notWorth").and_then(NotWorth::read),
            written: text("written")?.to_owned(),
        })
    }

    /// Keeps it. The caller holds the directory's lock.
    pub(super) fn keep(&self, release: &Path) -> Result<(), ReleaseError> {
        let left = self.left.iter().map(|(path, digest)| (path.as_str(), Value::from(digest.as_str())));
        let members = [
            ("#spec", Value::from(SPEC)),
            ("input", Value::from(self.input.as_str())),
            ("left", Value::object(left)),
            ("maker", Value::from(if self.ours { MAKER } else { "" })),
            ("sha256", Value::from(self.file.1.hex())),
            ("size", Value::from(self.file.0.to_string())),
            ("written", Value::from(self.written.as_str())),
        ];
        let not_worth = self.not_worth.as_ref().map(|not_worth| ("notWorth", not_worth.value()));
        let value = Value::object(members.into_iter().chain(not_worth));
        durable::put_within(release, &release.join(RECORD), value.canonical().as_bytes())
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
        let left = Left::from([("web/run.json".to_owned(), Digest::of(b"{}").hex())]);
        let record = Record::of(Input::new().line("x").finish(), left, &package).unwrap();
        record.keep(scratch.path()).unwrap();
        assert_eq!(Record::read(scratch.path()).unwrap(), record);
        let states = (Digest::of(b"one"), Digest::of(b"other"));
        let record = Record { not_worth: Some(NotWorth { states, bytes: 7 }), ..record };
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
        let of_another = Record { ours: false, ..record };
        assert_eq!(Record::read(scratch.path()).unwrap(), of_another);
        // What another one made does not become ours because a build began.
        let carried = Left::from([("web/mdev.json".to_owned(), Digest::of(b"{}").hex())]);
        let begun = Record::begun(Some(&of_another), carried.clone());
        begun.keep(scratch.path()).unwrap();
        assert_eq!(Record::read(scratch.path()).unwrap(), begun);
        assert!(of_another.is_done() && !begun.is_done() && !begun.ours);
        assert_eq!(begun.left.keys().collect::<Vec<_>>(), ["web/mdev.json", "web/run.json"]);
        assert_eq!(Record::begun(None, carried.clone()).left, carried);
    }

    #[test]
    fn lines_do_not_run_into_one_another() {
        assert_ne!(Input::new().line("ab").line("c").finish(), Input::new().line("a").line("bc").finish());
    }
}
