//! Any bytes as a tar-diff blob, and as the operations in one: a target within its bounds, or an error. Names that reach
//! the tree stay below its root.
#![no_main]

use std::io;

use libfuzzer_sys::fuzz_target;
use umiak_delta::foreign::{Bounds, Files, tar_diff};
use umiak_spec::{ReadAt, Silent};

const BOUNDS: Bounds = Bounds { output: 1 << 20, operations: 100_000, window: 1 << 20 };

/// Every name is a file of 256 bytes.
struct Everywhere(Vec<u8>);

impl Files for Everywhere {
    fn open(&self, path: &[u8]) -> io::Result<Box<dyn ReadAt + '_>> {
        assert!(path.len() <= 4096 && !path.contains(&0));
        assert!(path.split(|byte| *byte == b'/').all(|part| !matches!(part, b"" | b"." | b"..")));
        Ok(Box::new(self.0.as_slice()))
    }
}

/// The bytes in a zstd frame of raw blocks, so that what is found is the operations and not the packing.
fn framed(bytes: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x28, 0xB5, 0x2F, 0xFD, 0, 0x38];
    for block in bytes.chunks(0xFFFF) {
        frame.extend(&((block.len() as u32) << 3).to_le_bytes()[..3]);
        frame.extend(block);
    }
    frame.extend([1, 0, 0]);
    frame
}

fuzz_target!(|bytes: &[u8]| {
    let files = Everywhere((0..=255).collect());
    for blob in [[&b"tardf2\n\0"[..], bytes].concat(), [&b"tardf2\n\0"[..], &framed(bytes)].concat()] {
        let mut out = Vec::new();
        if let Ok(count) = tar_diff(&files, &mut &*blob, &mut out, &BOUNDS, &Silent) {
            assert_eq!(count, out.len() as u64);
        }
        assert!(out.len() as u64 <= BOUNDS.output);
    }
});
