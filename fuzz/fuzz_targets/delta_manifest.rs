//! Any bytes as a delta's manifest: what is read keeps its promises, and reads the same when it is written again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use umiak_spec::{DeltaManifest, Limits};

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits::default();
    let Ok(delta) = DeltaManifest::parse(bytes, &limits) else { return };
    delta.check(&limits).expect("what was read was checked");
    let written = delta.to_bytes();
    let again = DeltaManifest::parse(&written, &limits).expect("what was written can be read");
    assert_eq!(again, delta);
    assert_eq!(again.to_bytes(), written);
});
