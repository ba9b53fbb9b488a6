//! Any bytes as a librsync delta, as a layer of a balena delta image, and as the config of one: a target within its
//! bounds, or an error.
#![no_main]

use libfuzzer_sys::fuzz_target;
use umiak_delta::foreign::{Bounds, balena, rdiff};
use umiak_spec::{Limits, Silent};

const BOUNDS: Bounds = Bounds { output: 1 << 20, operations: 100_000, window: 0 };
const MAGIC: [u8; 4] = [0x72, 0x73, 0x02, 0x36];

fuzz_target!(|bytes: &[u8]| {
    let base: Vec<u8> = (0..=255).collect();
    let mut out = Vec::new();
    // The magic is given: there is nothing to find in it.
    if let Ok(count) = rdiff(&base, &mut &*[&MAGIC, bytes].concat(), &mut out, &BOUNDS, &Silent) {
        assert_eq!(count, out.len() as u64);
    }
    assert!(out.len() as u64 <= BOUNDS.output);
    if let Ok(Some(mut entry)) = balena::layer(bytes) {
        let _ = rdiff(&base, &mut entry, &mut Vec::new(), &BOUNDS, &Silent);
    }
    let _ = balena::recognise(bytes, &Limits::default());
});
