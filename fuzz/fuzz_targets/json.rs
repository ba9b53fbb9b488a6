//! Any bytes as JSON: what can be read has a canonical form that reads as the same value.
#![no_main]

use libfuzzer_sys::fuzz_target;
use umiak_pvr::Value;

fuzz_target!(|bytes: &[u8]| {
    let Ok(value) = Value::parse(bytes, 1 << 20) else { return };
    let canonical = value.canonical();
    let again = Value::parse(canonical.as_bytes(), u64::MAX).expect("canonical JSON is JSON");
    assert_eq!(again.canonical(), canonical);
    let _ = umiak_pvr::State::from_value(value);
});
