//! The names of a delta's sources: what was written is read, and no other bytes are believed or make the reader panic.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::sync::Arc;

use umiak_delta::Effort;
use umiak_delta::container::{Container, Part, Parts, Shape};
use umiak_delta::names::{NamedBase, name, read, write};
use umiak_spec::{Digest, Limits, ReadAt};

/// A tar of three contents and a skeleton, as far as names are concerned.
struct Sample(Parts, Vec<u8>);

impl Sample {
    fn new(seed: u8) -> Self {
        let part = |number: u8| Part {
            name: vec![number],
            size: u64::from(number) * 1000 + 1,
            digest: Digest::of(&[seed, number]),
            spacing: 1024,
        };
        let skeleton: Vec<u8> = (0..50_u8).flat_map(|at| [at ^ seed; 100]).collect();
        let contents = (0..3).map(part).collect();
        let digest = Digest::of(&[seed]);
        Self(Parts { shape: Shape::Tar, size: 12_000, digest, skeleton: 5000, contents }, skeleton)
    }
}

impl Container for Sample {
    fn parts(&self) -> &Parts {
        &self.0
    }

    fn skeleton(&self) -> io::Result<Arc<dyn ReadAt + '_>> {
        Ok(Arc::new(self.1.as_slice()))
    }

    fn content(&self, _: usize) -> io::Result<Arc<dyn ReadAt + '_>> {
        Err(io::ErrorKind::NotFound.into())
    }
}

fn back(blob: &[u8]) -> Result<(Vec<NamedBase>, Vec<u8>), umiak_delta::DeltaError> {
    let space: File = tempfile::tempfile().unwrap();
    let bases = read(blob, &Limits::default(), &space)?;
    let mut skeletons = vec![0; usize::try_from(ReadAt::len(&space).unwrap()).unwrap()];
    space.read_exact_at(&mut skeletons, 0).unwrap();
    Ok((bases, skeletons))
}

#[test]
fn names_come_back() {
    let samples = [Sample::new(1), Sample::new(2)];
    let bases: Vec<&dyn Container> = samples.iter().map(|sample| sample as &dyn Container).collect();
    let used = BTreeSet::from([2, 4, 6]);
    for effort in [Effort::Fast, Effort::Smallest] {
        let blob = write(&bases, &used, effort).unwrap();
        let (named, skeletons) = back(&blob).unwrap();
        assert_eq!(skeletons, [&samples[0].1[..], &samples[1].1].concat());
        let mut number = 0;
        for (named, sample) in named.iter().zip(&samples) {
            assert_eq!((named.whole.digest, named.skeleton), (sample.0.digest, 5000));
            for (content, part) in named.contents.iter().zip(&sample.0.contents) {
                number += 1;
                assert_eq!((content.size, content.spacing), (part.size, part.spacing));
                assert_eq!(content.name, used.contains(&number).then(|| name(&part.digest)));
            }
        }
        assert_eq!(number, 6);
    }
}

#[test]
fn other_bytes_are_refused_or_read_within_bounds() {
    let sample = Sample::new(7);
    let blob = write(&[&sample], &BTreeSet::from([1, 3]), Effort::Smallest).unwrap();
    let good = back(&blob).unwrap();
    for length in 0..blob.len() {
        assert!(back(&blob[..length]).is_err(), "{length} bytes");
    }
    assert!(back(&[&blob[..], b"x"].concat()).is_err());
    let mut same = 0;
    for at in 0..blob.len() {
        for bit in 0..8 {
            let mut changed = blob.clone();
            changed[at] ^= 1 << bit;
            same += usize::from(back(&changed).is_ok_and(|read| read == good));
        }
    }
    // A window may be larger than it must be, and behind the last plain byte a compressed stream has little to say.
    assert!(same * 50 < blob.len() * 8, "{same} of {}", blob.len() * 8);
}
