//! Any bytes as the rest of a listing of an image: an image that can be read, or an error.
#![no_main]

use std::io::{self, Cursor};
use std::num::NonZeroUsize;
use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use umiak_spec::{Limits, ReadAt, Silent};
use umiak_squashfs::{Contents, Image, Rebuild, rebuild};

/// The head of an lz4 image with blocks of 4096 bytes; there is nothing to find in the mark of its encoder.
const HEAD: &[u8; 19] = b"SQL\x01\x00\x10\0\0\0\0\0\0\x05\x01\0\x5e\x1e\xe6\x83";
const SIZES: [usize; 4] = [1, 5000, 4096, 3000];

struct Noughts;

impl Contents for Noughts {
    fn count(&self) -> usize {
        SIZES.len()
    }

    fn size(&self, number: usize) -> u64 {
        SIZES[number] as u64
    }

    fn in_base(&self, _: usize) -> Option<(usize, usize)> {
        None
    }

    fn open(&self, number: usize) -> io::Result<Arc<dyn ReadAt + '_>> {
        Ok(Arc::new(vec![b'0'; SIZES[number]]))
    }
}

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits { entries: 10_000, ..Limits::default() };
    let listing = [HEAD, bytes].concat();
    let from = Rebuild { listing: &listing, contents: &Noughts, bases: &[], threads: NonZeroUsize::MIN, limits: &limits };
    let Ok(image) = rebuild(&from, Cursor::new(Vec::new()), &Silent) else { return };
    let image = Image::open(image.into_inner(), &limits).expect("an image of ours opens");
    image.tree().expect("an image of ours has a tree");
});
