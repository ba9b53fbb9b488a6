//! One pass says what index and skeleton say by themselves; and out of what it says, the archive and the index come again.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::collections::BTreeMap;
use std::io::Read;

use common::{archivable, indexed, member, seal, with_content, written};
use proptest::prelude::*;
use umiak_layer::{
    Archive, Body, LayerError, SkeletonView, Survey, flatten, for_each_part, lower, reindex, skeleton, survey, unpack,
};
use umiak_spec::{Digest, Limits, ReadAt, Silent};

const LIMITS: fn() -> Limits = Limits::default;

/// Surveys, compares with what the passes say alone, and makes everything again. Nothing when the layer is refused.
fn checked(archive: &[u8]) -> Option<Survey> {
    let found = match (survey(archive, &LIMITS(), &Silent), indexed(archive)) {
        (Ok(found), Ok(index)) => {
            assert_eq!(found.index, index);
            found
        }
        (Err(one), Err(other)) => {
            assert_eq!(one.to_string(), other.to_string());
            return None;
        }
        (found, index) => panic!("{found:?} and {index:?}"),
    };
    assert_eq!(found.skeleton, skeleton(archive, &LIMITS(), &Silent).unwrap());
    let mut bytes = vec![0; usize::try_from(found.skeleton.size).unwrap()];
    SkeletonView::new(&found.skeleton, archive).read_exact_at(&mut bytes, 0).unwrap();
    assert_eq!(found.skeleton_digest, Digest::of(&bytes));

    let contents: Vec<&[u8]> = found
        .skeleton
        .contents
        .iter()
        .map(|content| {
            let start = usize::try_from(content.offset).unwrap();
            &archive[start..start + usize::try_from(content.size).unwrap()]
        })
        .collect();
    let open = |number: usize| -> std::io::Result<Box<dyn Read + Send + '_>> { Ok(Box::new(contents[number])) };
    let mut again = Vec::new();
    Archive::new(&found.skeleton, bytes.as_slice(), open).read_to_end(&mut again).unwrap();
    assert!(again == archive, "the archive does not come again");

    // Only contents that are no file as they are must be had to index the layer again.
    let whole: Vec<u32> = found.parts.iter().flatten().copied().collect();
    let open = |number: usize| -> std::io::Result<Box<dyn Read + Send + '_>> {
        let is_whole = whole.contains(&u32::try_from(number).unwrap());
        Ok(if is_whole { Box::new(std::io::repeat(0)) } else { Box::new(contents[number]) })
    };
    let others: BTreeMap<u32, Digest> = found
        .index
        .entries
        .iter()
        .zip(&found.parts)
        .filter_map(|(entry, part)| match entry.body {
            Body::File(content) if part.is_none() => Some((entry.ordinal, content.digest)),
            _ => None,
        })
        .collect();
    let bare = Archive::new(&found.skeleton, bytes.as_slice(), open);
    assert_eq!(reindex(bare, &found.skeleton, &others, &LIMITS(), &Silent).unwrap(), found.index);
    unpacked(archive, &found, &bytes, &contents);
    Some(found)
}

/// The second pass gives what the first one found.
fn unpacked(archive: &[u8], found: &Survey, bytes: &[u8], contents: &[&[u8]]) {
    let files: Vec<_> = found
        .index
        .entries
        .iter()
        .filter_map(|entry| match entry.body {
            Body::File(content) => Some((entry.ordinal, content.digest)),
            _ => None,
        })
        .collect();
    let wanted: Vec<u32> = files.iter().map(|(ordinal, _)| *ordinal).collect();
    let (mut skeleton, mut taken) = (Vec::new(), Vec::new());
    let take = |ordinal, content: &mut dyn Read| {
        let mut all = Vec::new();
        content.read_to_end(&mut all).unwrap();
        taken.push((ordinal, Digest::of(&all)));
        Ok::<_, LayerError>(())
    };
    let mut push = |part: &[u8]| {
        skeleton.extend_from_slice(part);
        Ok(())
    };
    unpack(archive, found, &wanted, &LIMITS(), &Silent, &mut push, take).unwrap();
    assert_eq!(taken, files);
    assert!(skeleton == bytes);
    let wanted: Vec<u32> = (0..u32::try_from(contents.len()).unwrap()).step_by(2).collect();
    let mut taken = Vec::new();
    let take = |number, content: &mut dyn Read| {
        let mut all = Vec::new();
        content.take(if number % 4 == 0 { u64::MAX } else { 3 }).read_to_end(&mut all).unwrap();
        assert!(contents[number as usize].starts_with(&all));
        taken.push(number);
        Ok::<_, LayerError>(())
    };
    for_each_part(archive, &found.skeleton, &wanted, &Silent, take).unwrap();
    assert_eq!(taken, wanted);
}

#[test]
fn a_layer_by_itself_is_the_tree_it_shows() {
    for seed in 0..40 {
        let archive = written(&archivable(seed, 60));
        let found = checked(&archive).unwrap();
        let files = found.index.entries.iter().filter(|entry| matches!(entry.body, Body::File(file) if file.size > 0));
        assert_eq!(found.parts.iter().flatten().count(), files.count(), "seed {seed}");
        let alone = umiak_layer::as_shown(flatten(&[&found.index], &LIMITS()).unwrap()).unwrap();
        let own = lower(&found.index, 0, &LIMITS()).unwrap();
        assert_eq!(umiak_tree::difference(&alone, &own), None, "seed {seed}");
    }
}

#[test]
fn a_sparse_file_has_a_content_of_its_own_in_the_archive() {
    let mut sparse = member("sparse", b'S', 700, |header| {
        header[386..397].copy_from_slice(b"00000002000"); // 1024
        header[398..409].copy_from_slice(b"00000001274"); // 700
        header[483..494].copy_from_slice(b"00000010000"); // 4096
    });
    sparse.extend([7; 700]);
    sparse.extend([0; 324]);
    let archive = [with_content("a", b'0', b"1"), sparse, with_content("b", b'0', b"2"), vec![0; 1024]].concat();
    let found = checked(&archive).unwrap();
    assert_eq!(found.parts, [Some(0), None, Some(2)]);
    assert_eq!(found.skeleton.contents[1].size, 700);
    assert!(matches!(found.index.entries[1].body, Body::File(file) if file.size == 4096));
}

#[test]
fn files_of_one_name_are_contents_of_their_own() {
    let twice = [with_content("a", b'0', b"first"), with_content("a", b'0', b"second")].concat();
    // What follows the end is another archive that nobody looks at; its files are contents all the same.
    let archive = [twice, vec![0; 1024], with_content("hidden", b'0', b"third"), b"tail".to_vec()].concat();
    let found = checked(&archive).unwrap();
    assert_eq!(found.parts, [Some(0), Some(1)]);
    assert_eq!(found.skeleton.contents.len(), 3);
}

/// A piece of an archive, mostly sound.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let kind = prop_oneof![
        4 => Just(b'0'), 1 => Just(b'\0'), 1 => Just(b'7'), 1 => Just(b'5'), 1 => Just(b'1'), 1 => Just(b'x'),
        1 => Just(b'g'), 1 => Just(b'L'), 1 => Just(b'V'),
    ];
    let name = prop_oneof![Just("a"), Just("b"), Just("a/c"), Just(".wh.a"), Just("d/.wh..wh..opq"), Just("d/")];
    let body = proptest::collection::vec(any::<u8>(), 0..1500);
    let sound = (name, kind, body.clone()).prop_map(|(name, kind, body)| match kind {
        b'x' | b'g' => with_content("pax", kind, b"12 size=100\n"),
        b'1' => {
            let mut bytes = member(name, kind, 0, |_| {});
            bytes[157] = b'a';
            seal(&mut bytes);
            bytes
        }
        kind => with_content(name, kind, &body),
    });
    prop_oneof![8 => sound, 1 => body, 1 => Just(vec![0; 512])]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn one_pass_says_what_two_say(
        pieces in proptest::collection::vec(piece(), 0..8),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..2),
    ) {
        let mut archive = pieces.concat();
        archive.push(0);
        for (place, byte) in damage {
            *place.get_mut(&mut archive) = byte;
        }
        checked(&archive);
    }
}
