//! Any text as an image reference: what is read prints as something that reads the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use umiak_spec::ImageReference;

fuzz_target!(|text: &str| {
    let Ok(reference) = text.parse::<ImageReference>() else { return };
    let printed = reference.to_string();
    assert_eq!(printed.parse::<ImageReference>().as_ref(), Ok(&reference), "{printed}");
});
