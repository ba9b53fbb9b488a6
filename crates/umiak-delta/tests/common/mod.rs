//! Containers in memory, and making and applying deltas between them.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::io::{self, Read};
use std::sync::{Arc, Mutex};

use umiak_delta::apply::{SpooledTar, spool};
use umiak_delta::container::{Container, Part, Parts, Shape};
use umiak_delta::{Delta, DeltaError, MakeOptions, Scratch, Space, apply, make};
use umiak_spec::{Digest, ReadAt, Silent, WriteAt};

/// A tar-shaped container: skeleton bytes before each content and behind the last.
pub struct Memory {
    pub bytes: Vec<u8>,
    skeleton: Vec<u8>,
    contents: Vec<Vec<u8>>,
    parts: Parts,
}

impl Memory {
    /// `files`: skeleton before, name, content. Skeleton must not hold "ustar" blocks: they are not flipped here.
    pub fn new(files: &[(Vec<u8>, String, Vec<u8>)], end: &[u8]) -> Self {
        let (mut bytes, mut skeleton, mut contents, mut parts) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut spacing = 0;
        for (before, name, content) in files {
            bytes.extend_from_slice(before);
            skeleton.extend_from_slice(before);
            spacing += before.len() as u64;
            if content.is_empty() {
                continue;
            }
            bytes.extend_from_slice(content);
            bytes.resize(bytes.len() + content.len().next_multiple_of(512) - content.len(), 0);
            let (size, digest) = (content.len() as u64, Digest::of(content));
            parts.push(Part { name: name.clone().into_bytes(), size, digest, spacing: spacing * 2 });
            contents.push(content.clone());
            spacing = 0;
        }
        bytes.extend_from_slice(end);
        skeleton.extend_from_slice(end);
        let (size, digest) = (bytes.len() as u64, Digest::of(&bytes));
        let parts = Parts { shape: Shape::Tar, size, digest, skeleton: skeleton.len() as u64, contents: parts };
        Self { bytes, skeleton, contents, parts }
    }
}

impl Container for Memory {
    fn parts(&self) -> &Parts {
        &self.parts
    }

    fn skeleton(&self) -> io::Result<Arc<dyn ReadAt + '_>> {
        Ok(Arc::new(self.skeleton.as_slice()))
    }

    fn content(&self, number: usize) -> io::Result<Arc<dyn ReadAt + '_>> {
        Ok(Arc::new(self.contents[number].as_slice()))
    }
}

/// A temporary file in memory.
#[derive(Default)]
pub struct Heap(Mutex<Vec<u8>>);

impl Heap {
    pub fn into_bytes(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}

impl ReadAt for Heap {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.lock().unwrap().as_slice().read_exact_at(buffer, offset)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().len() as u64)
    }
}

impl WriteAt for Heap {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut all = self.0.lock().unwrap();
        let end = usize::try_from(offset).unwrap() + bytes.len();
        assert!(end < 1 << 30, "a target of a GiB in a test");
        if all.len() < end {
            all.resize(end, 0);
        }
        all[end - bytes.len()..end].copy_from_slice(bytes);
        Ok(())
    }
}

pub struct HeapScratch;

impl Scratch for HeapScratch {
    fn space(&self) -> io::Result<Box<dyn Space>> {
        Ok(Box::new(Heap::default()))
    }
}

pub fn make_delta(bases: &[&dyn Container], target: &dyn Container, options: &MakeOptions) -> Vec<u8> {
    let mut blob = Vec::new();
    make(bases, target, options, &mut blob, &Silent).unwrap();
    blob
}

pub fn apply_delta(bases: &[&dyn Container], blob: &[u8]) -> Result<Vec<u8>, DeltaError> {
    let delta = Delta::open(blob)?;
    let space = Heap::default();
    apply(&delta, bases, &space, &HeapScratch, &Silent)?;
    Ok(space.into_bytes())
}

/// What a tar's parts read as, verified, and how many bytes were spooled for it.
pub fn spool_delta(bases: &[&dyn Container], blob: &[u8]) -> Result<(Vec<u8>, u64), DeltaError> {
    let delta = Delta::open(blob)?;
    let space = Heap::default();
    let spool = spool(&delta, bases, &space, &HeapScratch, &Silent)?;
    let tar = SpooledTar::new(&spool, bases, &space)?;
    tar.verify(&Silent)?;
    let mut bytes = Vec::new();
    tar.reader().read_to_end(&mut bytes)?;
    assert_eq!(space.len()?, spool.size);
    Ok((bytes, spool.size))
}
