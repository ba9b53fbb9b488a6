//! Any bytes as the names of a delta's sources: bases within the limits, or an error.
#![no_main]

use libfuzzer_sys::fuzz_target;
use umiak_delta::names;
use umiak_spec::{Limits, WriteAt};

/// Takes what is decoded, and no more than a skeleton may have.
struct Nowhere;

impl WriteAt for Nowhere {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> std::io::Result<()> {
        assert!(offset + bytes.len() as u64 <= 16 << 20);
        Ok(())
    }
}

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits { expanded: 1 << 20, metadata: 1 << 20, layers: 16, entries: 1000, ..Limits::default() };
    // The magic is given: there is nothing to find in it.
    if let Ok(bases) = names::read(&*[b"UMIAKNM\x01", bytes].concat(), &limits, &Nowhere) {
        assert!(bases.len() <= 16 && bases.iter().map(|base| base.contents.len()).sum::<usize>() <= 1000);
    }
});
