//! Damaged archives give values or errors, and never an image that passes for the one it is not.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::fs;

use common::archives::{archive_of, docker_archive};
use common::{context, image, source};
use umiak_registry::{BlobFile, Context, Error, Image};
use umiak_spec::{Digest, Silent};
use umiak_testkit::sample;

/// Damaged archives of each kind.
const ROUNDS: u64 = 1500;

/// A sequence of numbers that is always the same (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % bound as u64).unwrap()
    }
}

/// One to three bytes changed, blocks exchanged, or the end cut off.
fn damaged(archive: &[u8], numbers: &mut Numbers) -> Vec<u8> {
    let mut bytes = archive.to_vec();
    match numbers.below(8) {
        0 => bytes.truncate(numbers.below(archive.len())),
        1 => {
            let blocks = archive.len() / 512;
            let (one, other) = (numbers.below(blocks) * 512, numbers.below(blocks) * 512);
            bytes[one..one + 512].copy_from_slice(&archive[other..other + 512]);
        }
        _ => {
            for _ in 0..=numbers.below(3) {
                let at = numbers.below(archive.len());
                bytes[at] = [0, b'0', b'7', b'/', b'.', b'"', 0xff, bytes[at] ^ 1][numbers.below(8)];
            }
        }
    }
    bytes
}

fn everything(reference: &str, context: &Context) -> Result<(Image, Vec<BlobFile>), Error> {
    let source = source(reference, context)?;
    let image = source.resolve(&[])?;
    let blobs = image.layers.iter().map(|layer| source.fetch(layer, &Silent)).collect::<Result<_, _>>()?;
    Ok((image, blobs))
}

#[test]
fn damaged_archives_never_pass_for_what_they_are_not() {
    let directory = tempfile::tempdir().unwrap();
    let context = context(directory.path());
    let layout = directory.path().join("layout");
    let sample = image("linux/amd64", 2, 700);
    sample::layout(&layout, "1", &sample::image(&sample)).unwrap();
    let path = directory.path().join("archive.tar");
    for (transport, archive) in
        [("oci-archive", archive_of(&layout)), ("docker-archive", docker_archive(&sample, r#"["app:1"]"#))]
    {
        let reference = format!("{transport}:{}", path.display());
        fs::write(&path, &archive).unwrap();
        let (whole, _) = everything(&reference, &context).unwrap();
        let (mut read, mut refused) = (0, 0);
        let mut numbers = Numbers(1);
        for round in 0..ROUNDS {
            fs::write(&path, damaged(&archive, &mut numbers)).unwrap();
            let Ok((image, blobs)) = everything(&reference, &context) else {
                refused += 1;
                continue;
            };
            read += 1;
            if image.reference == whole.reference {
                assert_eq!(image, whole, "{transport} {round}: same digest, another image");
            }
            for (layer, blob) in image.layers.iter().zip(&blobs) {
                let bytes = common::bytes(blob);
                if Digest::of(&bytes) == layer.digest {
                    assert!(sample.layers.iter().any(|sample| sample.blob == bytes), "{transport} {round}");
                }
            }
        }
        assert!(read > 100 && refused > 100, "{transport}: {read} read, {refused} refused");
    }
}
