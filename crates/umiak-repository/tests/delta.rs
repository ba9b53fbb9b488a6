//! Files of deltas between packages: written and read again, judged whole by their headers, and any damage found.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "a test works in a scratch directory")]

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use umiak_delta::container::{Container, Plain};
use umiak_delta::{MakeOptions, make};
use umiak_pvr::State;
use umiak_pvr::delta::{Carried, Form, ObjectDelta, PackageDelta, Release};
use umiak_repository::Error;
use umiak_repository::package::{DeltaFile, delta_size, state, verify, write_delta};
use umiak_spec::{Digest, Limits, ReadAt, Silent};

/// A delta of three objects: one stays, one is new, one is made of another.
struct Sample {
    state: State,
    delta: PackageDelta,
    /// What is carried, by object.
    carried: BTreeMap<Digest, Vec<u8>>,
    target: Vec<u8>,
    whole: Vec<u8>,
}

fn blob(base: &[u8], target: &[u8]) -> Vec<u8> {
    let plain = |bytes: &[u8]| Plain::new(bytes.to_vec(), b"file", bytes.len() as u64, Digest::of(bytes));
    let (base, target) = (plain(base), plain(target));
    let mut blob = Vec::new();
    make(&[&base as &dyn Container], &target, &MakeOptions::default(), &mut blob, &Silent).unwrap();
    blob
}

fn sample() -> Sample {
    let base: Vec<u8> = (0..5000_u32).flat_map(|line| format!("{line} ").into_bytes()).collect();
    let mut target = base.clone();
    target.splice(700..702, *b"changed");
    let (whole, kept) = (b"all of it".to_vec(), Digest::of(b"kept"));
    let blob = blob(&base, &target);
    let (of_target, of_whole) = (Digest::of(&target), Digest::of(&whole));
    let text = format!(
        r##"{{"#spec":"pantavisor-service-system@1","a/kept":"{}","a/target":"{}","a/whole":"{}"}}"##,
        kept.hex(),
        of_target.hex(),
        of_whole.hex()
    );
    let state = State::parse(text.as_bytes(), 1 << 20).unwrap();
    let made = ObjectDelta {
        base: Digest::of(&base),
        base_size: base.len() as u64,
        blob: Digest::of(&blob),
        size: blob.len() as u64,
        spool: 0,
    };
    let delta = PackageDelta {
        base: Release { name: "a-1".into(), state: Digest::of(b"before") },
        target: Release { name: "a-2".into(), state: Digest::of(state.canonical().as_bytes()) },
        objects: [
            (kept, Carried { size: 4, form: Form::Kept }),
            (of_target, Carried { size: target.len() as u64, form: Form::Delta(made) }),
            (of_whole, Carried { size: whole.len() as u64, form: Form::Whole }),
        ]
        .into(),
    };
    let carried = [(of_target, blob), (of_whole, whole.clone())].into();
    Sample { state, delta, carried, target, whole }
}

impl Sample {
    fn bytes(&self) -> Result<Vec<u8>, Error> {
        let content = |object: &Digest| -> io::Result<Box<dyn ReadAt>> {
            Ok(Box::new(self.carried.get(object).ok_or(io::ErrorKind::NotFound)?.clone()))
        };
        let mut bytes = Vec::new();
        write_delta(&self.state, &self.delta, &content, &mut bytes, &Silent)?;
        Ok(bytes)
    }
}

fn put(directory: &Path, bytes: &[u8]) -> PathBuf {
    let path = directory.join("a-1..2.arm64v8.delta");
    fs::write(&path, bytes).unwrap();
    path
}

fn read(part: &impl ReadAt) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(part.len().unwrap()).unwrap()];
    part.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

#[test]
fn what_is_written_is_read_again() {
    let (sample, area) = (sample(), tempfile::tempdir().unwrap());
    let bytes = sample.bytes().unwrap();
    assert_eq!(bytes, sample.bytes().unwrap());
    assert_eq!(bytes.len() as u64, delta_size(&sample.state, &sample.delta));
    let path = put(area.path(), &bytes);
    let file = DeltaFile::open(&path).unwrap().unwrap();
    assert_eq!((file.state(), file.delta()), (&sample.state, &sample.delta));
    let (target, whole, kept) = (Digest::of(&sample.target), Digest::of(&sample.whole), Digest::of(b"kept"));
    assert_eq!(read(&file.whole(&whole).unwrap()), sample.whole);
    let (made, part) = file.made(&target).unwrap();
    assert_eq!((Digest::of(&read(&part)), part.size), (made.blob, made.size));
    assert!(file.whole(&target).is_none() && file.made(&whole).is_none());
    assert!(file.whole(&kept).is_none() && file.made(&kept).is_none());
    file.verify(&Silent).unwrap();
    // Whoever judges packages judges deltas, and reads their states.
    let contents = verify(&path, &Limits::default(), &Silent).unwrap();
    assert_eq!((contents.state, contents.delta), (sample.state.clone(), Some(sample.delta.clone())));
    assert_eq!(contents.objects[&target], sample.target.len() as u64);
    assert_eq!(state(&path, &Limits::default(), &Silent).unwrap(), sample.state);
    // What GNU tar says is in it.
    let listed = std::process::Command::new("tar").arg("tf").arg(&path).output().unwrap();
    let names = String::from_utf8(listed.stdout).unwrap();
    let mut wanted = [(whole, "objects"), (target, "deltas")];
    wanted.sort();
    let wanted: Vec<String> = wanted.iter().map(|(digest, kind)| format!("{kind}/{}", digest.hex())).collect();
    assert_eq!(names.lines().collect::<Vec<_>>(), ["json", "delta.json", &wanted[0], &wanted[1]]);
}

#[test]
fn what_is_no_delta_is_said_to_be_none() {
    let area = tempfile::tempdir().unwrap();
    let package = area.path().join("package");
    for bytes in [&b""[..], b"{}", &[0; 2000], &sample().bytes().unwrap()[..700]] {
        fs::write(&package, bytes).unwrap();
        assert!(DeltaFile::open(&package).unwrap().is_none(), "{} bytes", bytes.len());
    }
    assert!(DeltaFile::open(&area.path().join("gone")).is_err());
}

#[test]
fn a_damaged_file_is_refused() {
    let (sample, area) = (sample(), tempfile::tempdir().unwrap());
    let bytes = sample.bytes().unwrap();
    let sound = |bytes: &[u8]| match DeltaFile::open(&put(area.path(), bytes)) {
        // What it says of itself and nobody else says is another delta.
        Ok(Some(file)) => file.delta() == &sample.delta && file.verify(&Silent).is_ok(),
        Ok(None) | Err(_) => false,
    };
    assert!(sound(&bytes));
    for length in (0..bytes.len()).step_by(97).chain([bytes.len() - 1, bytes.len() - 512]) {
        assert!(!sound(&bytes[..length]), "cut to {length}");
    }
    for at in (0..bytes.len()).step_by(5) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x40;
        // Padding is not looked at.
        assert!(!sound(&damaged) || bytes[at] == 0, "byte {at}");
    }
    let more = [bytes.clone(), vec![0; 512]].concat();
    let error = DeltaFile::open(&put(area.path(), &more)).unwrap_err();
    assert!(error.to_string().contains("does not belong there"), "{error}");
}

#[test]
fn who_carries_something_else_is_told() {
    let area = tempfile::tempdir().unwrap();
    let mut other = sample();
    *other.carried.get_mut(&Digest::of(&other.whole)).unwrap() = b"all of IT".to_vec();
    assert!(matches!(other.bytes(), Err(Error::Damaged { .. })));
    other.carried.remove(&Digest::of(&other.whole));
    assert!(matches!(other.bytes(), Err(Error::Io { .. })));
    // The document says what it makes, and the delta makes something else.
    let mut other = sample();
    let blob = blob(b"one file", b"another file");
    let target = Digest::of(&other.target);
    let Some(Carried { form: Form::Delta(made), .. }) = other.delta.objects.get_mut(&target) else { panic!() };
    (made.blob, made.size) = (Digest::of(&blob), blob.len() as u64);
    other.carried.insert(target, blob);
    let file = DeltaFile::open(&put(area.path(), &other.bytes().unwrap())).unwrap().unwrap();
    let error = file.verify(&Silent).unwrap_err();
    assert!(error.to_string().contains("starts from something else"), "{error}");
}
