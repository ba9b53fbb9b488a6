//! A project of packages for six platforms, and what is common to tests of them.

use umiak_layer::LayerWriter;
use umiak_spec::Limits;
use umiak_testkit::random::Chance;
use umiak_testkit::sample::{SampleImage, SampleLayer, index, layout};
use umiak_tree::{Metadata, TreePath};

use super::{Place, Said};

/// The platforms.
pub const SIX: &str = "linux/amd64,linux/arm/v6,linux/arm/v7,linux/arm64,linux/mips,linux/riscv64";

fn sample(platform: &str, release: u8) -> SampleImage {
    let seed = platform.bytes().map(u64::from).sum::<u64>();
    let program = Chance::new(seed).bytes(100 << 10);
    let mut archive = LayerWriter::new(Vec::new());
    for (path, content) in [("usr/bin/app", program), ("etc/release", vec![b'0' + release])] {
        let path = TreePath::from_archive(path.as_bytes(), &Limits::default()).unwrap();
        let metadata = Metadata::root_owned(0o755);
        archive.file(&path, &metadata, content.len() as u64, &mut content.as_slice()).unwrap();
    }
    SampleImage { platform: platform.into(), layers: vec![SampleLayer::plain(archive.finish().unwrap())] }
}

/// A project in `project`, its image in `project/images`, nothing made yet.
pub fn project(name: &str) -> Place {
    let place = Place::new(name);
    release(&place, 1);
    place.write("project/.keep", "");
    place
}

/// The image of this release, in place of the one before.
pub fn release(place: &Place, release: u8) {
    let samples: Vec<SampleImage> = SIX.split(',').map(|platform| sample(platform, release)).collect();
    layout(&place.path().join("project/images"), "master", &index(&samples)).unwrap();
}

/// A project with its source documents and a key, nothing made yet.
pub fn ready(name: &str) -> Place {
    let place = project(name);
    place.done_in("project", &format!("pkg init -p {SIX} oci:images:master pvwebstatus --group system"));
    place.done("keys new --days 1 --kind p256");
    place
}

/// Sizes of packages change with the compressors' releases.
pub fn sizes(transcript: &str) -> String {
    let blank = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let is_size = |at: usize| {
            ["KiB", "MiB", "B"].iter().any(|unit| words[at].trim_end_matches(',') == *unit) && at > 0
                || words.get(at + 1).is_some_and(|unit| ["KiB", "MiB", "B"].contains(&unit.trim_end_matches(',')))
        };
        let shown = |at: usize| if is_size(at) { "#" } else { words[at] };
        (0..words.len()).map(shown).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
    };
    transcript.lines().map(|line| blank(line) + "\n").collect()
}

/// A run that failed so, with these words.
pub fn refused(said: &Said, code: i32, words: &[&str]) {
    assert_eq!(said.code, code, "{}{}", said.out, said.err);
    for word in words {
        assert!(said.err.contains(word), "`{word}` is not in: {}", said.err);
    }
}
