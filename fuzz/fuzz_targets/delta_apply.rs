//! Any bytes as the streams of a delta, its digests put right so that what is found lies behind them: an error, or
//! exactly as many bytes as the index says, with the digest that it says.
#![no_main]

use std::io;
use std::sync::{Arc, Mutex};

use libfuzzer_sys::fuzz_target;
use umiak_delta::container::{Container, Part, Parts, Shape};
use umiak_delta::{Delta, Scratch, Space, apply};
use umiak_spec::{Digest, ReadAt, Sha256, Silent, WriteAt};

/// Most bytes of a target.
const MOST: u64 = 1 << 20;

/// A base in memory: a skeleton, and contents of different natures.
struct Base {
    skeleton: Vec<u8>,
    contents: Vec<Vec<u8>>,
    parts: Parts,
}

impl Base {
    fn new() -> Self {
        let text = b"all that is gold does not glitter\n".repeat(40);
        let mut program = b"\x7FELF\x02\x01\x01".to_vec();
        program.resize(64, 0);
        program.extend((0..2000u32).flat_map(|number| [0xE8, number as u8, (number >> 8) as u8, 0, 0]));
        // An empty gzip member.
        let gzip = [&b"\x1F\x8B\x08\0\0\0\0\0\0\x03\x03\0"[..], &[0; 8]].concat();
        let contents = vec![text, program, gzip, (0..=255).collect()];
        let skeleton = vec![7; 1536];
        let part = |content: &Vec<u8>| {
            let (size, digest) = (content.len() as u64, Digest::of(content));
            Part { name: b"name".to_vec(), size, digest, spacing: 1024 }
        };
        let parts = Parts {
            shape: Shape::Tar,
            size: 12_345,
            digest: Digest::of(b"base"),
            skeleton: skeleton.len() as u64,
            contents: contents.iter().map(part).collect(),
        };
        Self { skeleton, contents, parts }
    }
}

impl Container for Base {
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

/// A file in memory. Far ahead of its end a real one would have holes; here it has an end.
#[derive(Default)]
struct Heap(Mutex<Vec<u8>>);

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
        let end = offset + bytes.len() as u64;
        if end > 64 * MOST {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let mut all = self.0.lock().unwrap();
        let (start, end) = (offset as usize, end as usize);
        let length = all.len().max(end);
        all.resize(length, 0);
        all[start..end].copy_from_slice(bytes);
        Ok(())
    }
}

struct Heaps;

impl Scratch for Heaps {
    fn space(&self) -> io::Result<Box<dyn Space>> {
        Ok(Box::new(Heap::default()))
    }
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value > 0x7F {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A delta as docs/formats/delta.md has it: `bytes` are shape, sizes, and then all streams, each with its length before it.
fn blob(bytes: &[u8], base: &Parts) -> Option<Vec<u8>> {
    let (head, mut rest) = bytes.split_first_chunk::<6>()?;
    let size = u64::from(u32::from_be_bytes([0, head[1], head[2], head[3]])).min(MOST);
    let mut index = Vec::new();
    varint(&mut index, u64::from(head[0] & 1));
    varint(&mut index, size);
    index.extend(Digest::of(rest).as_bytes());
    varint(&mut index, u64::from(u16::from_be_bytes([head[4], head[5]])));
    varint(&mut index, 1);
    varint(&mut index, base.shape as u64);
    varint(&mut index, base.size);
    index.extend(base.digest.as_bytes());
    let mut streams = Vec::new();
    for number in [0, 1, 2, 3, 5, 6, 7, 9, 10, 11, 13, 14, 15] {
        let Some((length, more)) = rest.split_first_chunk::<2>() else { break };
        let length = usize::from(u16::from_be_bytes(*length)).min(more.len());
        let (stream, more) = more.split_at(length);
        rest = more;
        if !stream.is_empty() {
            streams.push((number, stream));
        }
    }
    varint(&mut index, streams.len() as u64);
    for (number, stream) in &streams {
        // Stored, without a window, in one frame.
        let length = <[u8]>::len(stream) as u64;
        [*number, 0, 0, length, length].into_iter().for_each(|value| varint(&mut index, value));
        index.extend(Digest::of(stream).as_bytes());
    }
    let mut blob = b"UMIAKDL\x01\x03\0\0\0".to_vec();
    blob.extend((index.len() as u32).to_le_bytes());
    let mut hash = Sha256::new();
    hash.update(&blob);
    hash.update(&index);
    blob.extend(hash.finish().as_bytes());
    blob.extend(index);
    streams.iter().for_each(|(_, stream)| blob.extend(*stream));
    Some(blob)
}

fuzz_target!(|bytes: &[u8]| {
    let base = Base::new();
    let Some(blob) = blob(bytes, &base.parts) else { return };
    let delta = Delta::open(blob).expect("its index is made as it should be");
    let target = delta.index().target;
    let space = Heap::default();
    if apply(&delta, &[&base], &space, &Heaps, &Silent).is_ok() {
        let made = space.0.into_inner().unwrap();
        assert_eq!((made.len() as u64, Digest::of(&made)), (target.size, target.digest));
    }
});
