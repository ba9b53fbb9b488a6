//! The law of taking archives apart: skeleton and contents make the archive again, whatever it is. And what must be in
//! which part, so that the law is not met by a skeleton that is everything.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::{archivable, indexed, member, seal, with_content, written};
use proptest::prelude::*;
use umiak_layer::{Body, LayerError, Skeleton, SkeletonView, flip_checksum, is_tar, skeleton};
use umiak_spec::{Digest, Limits, ReadAt, Silent};

fn apart(archive: &[u8]) -> Skeleton {
    skeleton(archive, &Limits::default(), &Silent).unwrap()
}

/// The skeleton in the form that deltas see.
fn bytes(skeleton: &Skeleton, archive: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(skeleton.size).unwrap()];
    SkeletonView::new(skeleton, archive).read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

/// What docs/formats/delta-containers.md says: from the parts to the archive.
fn together(mut skeleton: Vec<u8>, contents: &[(u64, bool, &[u8])]) -> Vec<u8> {
    skeleton.as_chunks_mut().0.iter_mut().for_each(flip_checksum);
    let mut rest = skeleton.as_slice();
    let mut archive = Vec::new();
    for (before, padded, content) in contents {
        let (part, after) = rest.split_at(usize::try_from(*before).unwrap());
        archive.extend_from_slice(part);
        archive.extend_from_slice(content);
        if *padded {
            let padding = (512 - <[u8]>::len(content) % 512) % 512;
            archive.resize(archive.len() + padding, 0);
        }
        rest = after;
    }
    archive.extend_from_slice(rest);
    archive
}

/// Takes apart, puts together, compares, and gives what it was taken apart into.
fn checked(archive: &[u8]) -> Skeleton {
    let parts = apart(archive);
    assert_eq!((parts.archive, parts.diff_id), (archive.len() as u64, Digest::of(archive)));
    let contents: Vec<_> = parts
        .contents
        .iter()
        .map(|content| {
            let start = usize::try_from(content.offset).unwrap();
            let bytes = &archive[start..start + usize::try_from(content.size).unwrap()];
            assert!(!bytes.is_empty());
            assert_eq!(content.digest, Digest::of(bytes));
            assert!(content.end() <= archive.len() as u64);
            (content.skeleton_before, content.padded, bytes)
        })
        .collect();
    assert!(together(bytes(&parts, archive), &contents) == archive, "the parts do not make the archive");
    parts
}

fn names(skeleton: &Skeleton) -> Vec<String> {
    skeleton.contents.iter().map(|content| String::from_utf8_lossy(&content.name).into_owned()).collect()
}

#[test]
fn contents_are_what_the_index_finds() {
    for seed in 0..40 {
        let archive = written(&archivable(seed, 60));
        let parts = checked(&archive);
        let expected: Vec<_> = indexed(&archive)
            .unwrap()
            .entries
            .into_iter()
            .filter_map(|entry| match entry.body {
                Body::File(content) if content.size > 0 => Some((entry.path.as_bytes().to_vec(), content.digest)),
                _ => None,
            })
            .collect();
        let found: Vec<_> = parts.contents.iter().map(|content| (content.name.clone(), content.digest)).collect();
        assert_eq!(found, expected, "seed {seed}");
        assert_eq!(parts.size % 512, 0);
        assert!(parts.contents.iter().all(|content| content.padded));
    }
}

#[test]
fn another_mtime_and_size_change_their_fields_alone() {
    let with = |mtime: &[u8; 11], content: &[u8]| {
        let mut archive = with_content("some/file", b'0', content);
        archive[136..147].copy_from_slice(mtime);
        seal(&mut archive);
        archive.extend([0; 1024]);
        archive
    };
    let (one, other) = (with(b"00000000000", b"one"), with(b"14745261637", b"another"));
    let (one, other) = (bytes(&checked(&one), &one), bytes(&checked(&other), &other));
    assert_eq!(one.len(), 512 + 1024);
    assert_eq!(one[148..156], [0; 8]);
    let changed = one.iter().zip(&other).enumerate().filter(|(_, (one, other))| one != other).map(|(at, _)| at);
    assert!(changed.clone().all(|at| (124..147).contains(&at)), "{:?}", changed.collect::<Vec<_>>());
}

#[test]
fn long_names_sizes_in_records_and_sparse_maps_are_skeleton() {
    let record = |text: &str| with_content("pax", b'x', text.as_bytes());
    let mut sparse = member("sparse", b'S', 700, |header| header[482] = 1);
    let mut map = vec![0; 1024];
    map[504] = 1;
    sparse.extend(map);
    sparse.extend([7; 700]);
    sparse.extend([0; 324]);
    let mut late = record("12 size=600\n");
    late.extend(member("late", b'0', 0, |_| {}));
    late.extend([9; 600]);
    late.extend([0; 424]);
    let archive = [
        record("18 path=pax-named\n"),
        with_content("short", b'0', b"1"),
        with_content("././@LongLink", b'L', b"a/long/name\0"),
        with_content("././@LongLink", b'K', b"a/long/target\0"),
        with_content("short", b'0', b"22"),
        with_content("short", b'7', b"333"),
        with_content("dir", b'5', b""),
        member("link", b'1', 5000, |_| {}),
        sparse,
        late,
        with_content("v", b'V', b""),
        with_content("empty", b'0', b""),
        vec![0; 1024],
    ]
    .concat();
    let parts = checked(&archive);
    assert_eq!(names(&parts), ["pax-named", "a/long/name", "short", "sparse", "late"]);
    let sizes: Vec<u64> = parts.contents.iter().map(|content| content.size).collect();
    assert_eq!(sizes, [1, 2, 3, 700, 600]);
    let before: Vec<u64> = parts.contents.iter().map(|content| content.skeleton_before / 512).collect();
    assert_eq!(before, [3, 5, 1, 5, 3]);
}

#[test]
fn records_count_as_far_as_they_can_be_read_and_whatever_others_say() {
    let of = |records: &str| {
        let late = [member("late", b'0', 0, |_| {}), vec![9; 600], vec![0; 424]].concat();
        let archive = [with_content("pax", b'x', records.as_bytes()), late].concat();
        let parts = checked(&archive);
        parts.contents.iter().map(|content| content.size).collect::<Vec<_>>()
    };
    assert_eq!(of("12 size=600\n"), [600]);
    // What is wrong with other records is nothing to the parts.
    assert_eq!(of("9 uid=-1\n22 GNU.sparse.map=x,y\n12 size=600\n"), [600]);
    assert_eq!(of("12 size=600\n12 size=500\n"), [500]);
    assert_eq!(of("12 size=600\n8 size=\n"), [0; 0]);
    assert_eq!(of("12 size=600\n12 size=6x0\n"), [0; 0]);
    assert_eq!(of("12 size=600\nrubbish"), [600]);
    assert_eq!(of("13 size=600\n"), [0; 0]);
}

#[test]
fn parts_do_not_depend_on_the_reader() {
    let archive = [with_content("pax", b'x', &[b' '; 5000]), with_content("one", b'0', b"1")].concat();
    let small = Limits { tar_header: 600, ..Limits::default() };
    assert_eq!(skeleton(archive.as_slice(), &small, &Silent).unwrap(), apart(&archive));
}

#[test]
fn strange_padding_and_cut_archives_keep_every_byte() {
    let mut archive =
        [with_content("one", b'0', &[1; 700]), with_content("two", b'0', &[2; 100]), vec![0; 512]].concat();
    assert!(checked(&archive).contents.iter().all(|content| content.padded));
    archive[512 + 1000] = 1;
    let strange = checked(&archive);
    assert_eq!(strange.contents.iter().map(|content| content.padded).collect::<Vec<_>>(), [false, true]);
    for cut in 0..archive.len() {
        checked(&archive[..cut]);
    }
    let cut = checked(&archive[..512 + 300]);
    assert_eq!((cut.contents[0].size, cut.contents[0].padded), (300, false));
}

#[test]
fn what_is_a_tar_is_told_by_its_first_block() {
    assert!(is_tar(&written(&archivable(1, 3))));
    assert!(!is_tar(&[0; 1024]));
    assert!(!is_tar(&member("x", b'0', 0, |_| {})[..511]));
    assert!(!is_tar(b"hsqs"));
    let nothing = checked(&[b'?'; 3000]);
    assert_eq!((nothing.size, nothing.contents.len()), (3000, 0));
    assert_eq!(checked(b"").size, 0);
}

#[test]
fn limits_are_kept() {
    let archive = [with_content("one", b'0', b"1"), with_content("two", b'0', b"2"), vec![0; 1024]].concat();
    for limits in [
        Limits { entries: 1, ..Limits::default() },
        Limits { metadata: 5, ..Limits::default() },
        Limits { expanded: 3000, ..Limits::default() },
    ] {
        let refused = skeleton(archive.as_slice(), &limits, &Silent);
        assert!(matches!(refused, Err(LayerError::Limit { .. })), "{refused:?}");
    }
}

/// A piece of an archive, sound or strange.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let kind =
        prop_oneof![Just(b'0'), Just(b'\0'), Just(b'7'), Just(b'S'), Just(b'x'), Just(b'L'), Just(b'5'), any::<u8>()];
    let body = proptest::collection::vec(any::<u8>(), 0..1500);
    let sound = (kind, body.clone()).prop_map(|(kind, body)| with_content("name", kind, &body));
    let v7 = body.clone().prop_map(|body| {
        let mut bytes = with_content("v7", b'\0', &body);
        bytes[257..265].fill(0);
        seal(&mut bytes);
        bytes
    });
    let large = any::<u64>().prop_map(|size| {
        member("large", b'0', 0, |block| {
            block[124..136].copy_from_slice(&[&[0x80, 0, 0, 0][..], &size.to_be_bytes()].concat());
        })
    });
    let record = prop_oneof![
        Just(&b"12 size=100\n"[..]),
        Just(&b"29 size=18446744073709551615\n"[..]),
        Just(&b"9 path=x\n"[..]),
        Just(&b"99 nonsense"[..])
    ];
    let record = record.prop_map(|record: &[u8]| with_content("pax", b'x', record));
    prop_oneof![4 => sound, 1 => v7, 1 => large, 1 => record, 1 => body, 1 => Just(vec![0; 512])]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn whatever_it_is_its_parts_make_it_again(
        pieces in proptest::collection::vec(piece(), 0..8),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        cut in any::<prop::sample::Index>(),
        whole in any::<bool>(),
    ) {
        let mut archive = pieces.concat();
        archive.push(0);
        for (place, byte) in damage {
            *place.get_mut(&mut archive) = byte;
        }
        if !whole {
            archive.truncate(cut.index(archive.len()));
        }
        checked(&archive);
    }

    #[test]
    fn the_view_reads_the_same_at_any_place(seed in 0..50_u64, reads in proptest::collection::vec((any::<prop::sample::Index>(), 0..3000_usize), 1..20)) {
        let mut archive = written(&archivable(seed, 30));
        archive.extend(b"and a piece of a block");
        let parts = checked(&archive);
        let all = bytes(&parts, &archive);
        let view = SkeletonView::new(&parts, archive.as_slice());
        prop_assert_eq!(view.len().unwrap(), all.len() as u64);
        for (start, length) in reads {
            let start = start.index(all.len());
            let mut part = vec![0; length];
            let read = view.read_exact_at(&mut part, start as u64);
            prop_assert_eq!(read.is_ok(), start + length <= all.len());
            if read.is_ok() {
                prop_assert!(part == all[start..start + length]);
            }
        }
    }

    #[test]
    fn flipping_twice_is_nothing(bytes in proptest::collection::vec(any::<u8>(), 512), ustar in any::<bool>()) {
        let mut block: [u8; 512] = bytes.try_into().unwrap();
        if ustar {
            block[257..262].copy_from_slice(b"ustar");
        }
        let before = block;
        flip_checksum(&mut block);
        prop_assert_eq!(block != before, ustar);
        flip_checksum(&mut block);
        prop_assert_eq!(block, before);
    }
}

#[test]
#[ignore = "needs: tar"]
fn archives_of_gnu_tar_in_every_format() {
    use std::os::unix::fs::FileExt as _;
    let area = tempfile::tempdir().unwrap();
    let directory = area.path().join("tree");
    std::fs::create_dir_all(directory.join("d".repeat(90)).join("e".repeat(60))).unwrap();
    for (name, size) in [("empty", 0), ("one", 1), ("block", 512), ("more", 513), ("large", 300_000)] {
        std::fs::write(
            directory.join(name),
            umiak_testkit::random::Chance::new(size).bytes(usize::try_from(size).unwrap()),
        )
        .unwrap();
    }
    std::fs::write(directory.join("d".repeat(90)).join("e".repeat(60)).join("f".repeat(50)), b"deep").unwrap();
    std::fs::hard_link(directory.join("one"), directory.join("one-again")).unwrap();
    let holes = std::fs::File::create(directory.join("holes")).unwrap();
    (0..40_u64).for_each(|number| holes.write_all_at(&[7; 5000], number * 65_536).unwrap());
    for (format, files) in [
        (&["--format=gnu"][..], 6),
        (&["--format=gnu", "--sparse", "--hole-detection=raw"], 6),
        (&["--format=oldgnu", "--sparse", "--hole-detection=raw"], 6),
        (&["--format=pax", "--sparse", "--sparse-version=1.0", "--hole-detection=raw"], 6),
        (&["--format=pax"], 6),
        // Names of more than 100 bytes are left out of V7 archives.
        (&["--format=v7", "--exclude=dddd*"], 5),
    ] {
        let archive = area.path().join("archive.tar");
        let mut command = std::process::Command::new("tar");
        command
            .args(["--create", "--sort=name", "--file"])
            .arg(&archive)
            .args(format)
            .arg("--directory")
            .arg(&directory);
        let output = command.arg(".").output().unwrap();
        assert!(output.status.success(), "{format:?}: {}", String::from_utf8_lossy(&output.stderr));
        let archive = std::fs::read(archive).unwrap();
        let parts = checked(&archive);
        assert_eq!(parts.contents.len(), files, "{format:?}: {:?}", names(&parts));
        let large = parts.contents.iter().find(|content| content.name.ends_with(b"large")).unwrap();
        assert_eq!((large.size, large.padded), (300_000, true), "{format:?}");
        let stored: u64 = parts.contents.iter().map(|content| content.size).sum();
        assert!(stored + parts.size + 512 * files as u64 >= parts.archive, "{format:?}");
        assert!(parts.size < 40_000, "{format:?}: {} bytes of skeleton", parts.size);
    }
}
