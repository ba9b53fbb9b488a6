//! Any bytes as a compose file: a project or an error. A project that was read can be pinned, and the pinned file read
//! again with the same services.
#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use umiak_compose::{ComposeError, ComposeLimits, Project};
use umiak_spec::Digest;

fuzz_target!(|bytes: &[u8]| {
    let limits = ComposeLimits { expanded: 20_000, expanded_text: 1 << 20, ..ComposeLimits::default() };
    let read = |bytes: &[u8]| {
        let files = BTreeMap::from([("docker-compose.yml".to_owned(), bytes.to_vec())]);
        Project::read(&files, &[], &BTreeMap::new(), &limits)
    };
    let _ = umiak_compose::published_services("docker-compose.yml", bytes, &limits);
    let Ok(project) = read(bytes) else { return };
    let Ok(pinned) = project.pinned(|_| Ok::<_, ComposeError>(Digest::of(b""))) else { return };
    let again = read(pinned.text.as_bytes()).expect("a pinned project can be read");
    assert_eq!(again.services().len(), project.services().len());
});
