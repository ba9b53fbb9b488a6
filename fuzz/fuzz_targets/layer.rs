//! Any bytes as a layer, compressed or not: an index or an error. An index comes back from its own bytes, and stacks
//! to a tree or an error.
#![no_main]

use libfuzzer_sys::fuzz_target;
use umiak_layer::LayerIndex;
use umiak_spec::{Limits, Silent};

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits { file: 1 << 20, expanded: 4 << 20, entries: 10_000, ..Limits::default() };
    let Ok(index) = umiak_layer::index(bytes, &limits, &Silent) else { return };
    assert_eq!(LayerIndex::from_bytes(&index.to_bytes(), &limits).expect("an index that was just made"), index);
    let _ = umiak_layer::flatten(&[&index, &index], &limits);
});
