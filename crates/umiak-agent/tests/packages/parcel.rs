//! The delta between two packages.

use std::collections::BTreeMap;
use std::io;

use umiak_delta::container::{Container, Plain};
use umiak_delta::{MakeOptions, make};
use umiak_pvr::delta::{Carried, Form, ObjectDelta, PackageDelta, Release};
use umiak_pvr::{Entry, State};
use umiak_repository::package::write_delta;
use umiak_spec::{Digest, ReadAt, Silent};

use super::Package;

/// Objects of fewer bytes come whole.
const LEAST: usize = 16 << 10;

fn read(package: &Package) -> State {
    State::parse(package.state().as_bytes(), 1 << 20).unwrap()
}

/// The delta from `base` to `target`: of what is large, from the object at its path.
pub fn delta(base: &Package, target: &Package) -> Vec<u8> {
    let (from, to) = (read(base), read(target));
    let mut carried: BTreeMap<Digest, Vec<u8>> = BTreeMap::new();
    let mut objects = BTreeMap::new();
    for (path, entry) in to.entries() {
        let Entry::Object(object) = entry else { continue };
        let bytes = &target.objects[&object.hex()];
        let like = match from.get(path.as_str()) {
            Some(Entry::Object(like)) if bytes.len() >= LEAST => Some(&base.objects[&like.hex()]),
            _ => None,
        };
        let form = if base.objects.contains_key(&object.hex()) {
            Form::Kept
        } else if let Some(like) = like {
            let (made, blob) = made(like, bytes);
            carried.insert(*object, blob);
            Form::Delta(made)
        } else {
            carried.insert(*object, bytes.clone());
            Form::Whole
        };
        objects.insert(*object, Carried { size: bytes.len() as u64, form });
    }
    let release =
        |name: &str, state: &State| Release { name: name.to_owned(), state: Digest::of(state.canonical().as_bytes()) };
    let delta = PackageDelta { base: release("base", &from), target: release("target", &to), objects };
    let content = |object: &Digest| -> io::Result<Box<dyn ReadAt>> { Ok(Box::new(carried[object].clone())) };
    let mut bytes = Vec::new();
    write_delta(&to, &delta, &content, &mut bytes, &Silent).unwrap();
    bytes
}

fn made(base: &[u8], target: &[u8]) -> (ObjectDelta, Vec<u8>) {
    let plain = |bytes: &[u8]| Plain::new(bytes.to_vec(), b"", bytes.len() as u64, Digest::of(bytes));
    let mut blob = Vec::new();
    make(&[&plain(base) as &dyn Container], &plain(target), &MakeOptions::default(), &mut blob, &Silent).unwrap();
    let (size, digest) = (blob.len() as u64, Digest::of(&blob));
    let (base, base_size) = (Digest::of(base), base.len() as u64);
    (ObjectDelta { base, base_size, blob: digest, size, spool: 0 }, blob)
}
