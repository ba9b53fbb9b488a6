//! Archives that are broken, lie, or want out of the tree.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::{archivable, indexed, member, seal, tree_of, with_content, written};
use umiak_layer::{ExpansionError, LayerError, index};
use umiak_spec::{Limits, Silent};
use umiak_testkit::random::Chance;

#[track_caller]
fn error(layer: &[u8]) -> LayerError {
    indexed(layer).unwrap_err()
}

#[test]
fn any_bytes_give_a_value_or_an_error() {
    let samples: Vec<_> = (0..6).map(|seed| written(&archivable(seed, 25))).collect();
    let mut chance = Chance::new(7);
    let limits = Limits { file: 1 << 20, expanded: 4 << 20, tar_header: 1 << 16, ..Limits::default() };
    let (mut good, mut bad) = (0, 0);
    for round in 0..4000 {
        let mut bytes = samples[round % samples.len()].clone();
        for _ in 0..=chance.below(3) {
            let at = chance.below(bytes.len());
            match chance.below(4) {
                0 => bytes[at] = chance.bits().to_le_bytes()[0],
                1 => bytes[at] ^= 1 << chance.below(8),
                2 => bytes.truncate(at + 1),
                _ => {
                    let from = chance.below(bytes.len()) / 512 * 512;
                    let block: Vec<_> = bytes[from..].iter().take(512).copied().collect();
                    let at = at / 512 * 512;
                    bytes.splice(at..at, block);
                }
            }
        }
        // Most mutations only break a checksum: mend it in half of the rounds, so that what lies behind is reached.
        if round % 2 == 0 {
            let count = bytes.len() / 512;
            for block in bytes.chunks_exact_mut(512).take(count) {
                if block[257..262] == *b"ustar" {
                    seal(block);
                }
            }
        }
        match index(&bytes[..], &limits, &Silent) {
            Ok(_) => good += 1,
            Err(_) => bad += 1,
        }
    }
    assert!(good > 200 && bad > 200, "{good} good, {bad} bad: the mutations are too weak or too strong");
}

#[test]
fn every_truncation_is_noticed_or_ends_between_members() {
    let layer = [with_content("a", b'0', &[b'x'; 700]), with_content("b", b'0', b"y")].concat();
    for length in 0..layer.len() {
        let whole = match length {
            0 => 0,
            // The padding behind the content may be missing.
            1212..=1536 => 1,
            2049.. => 2,
            _ => {
                assert!(matches!(error(&layer[..length]), LayerError::Truncated { .. }), "{length}");
                continue;
            }
        };
        assert_eq!(indexed(&layer[..length]).unwrap().entries.len(), whole, "{length}");
    }
}

#[test]
fn what_follows_the_end_belongs_to_the_diff_id_only() {
    let mut layer = with_content("a", b'0', b"x");
    layer.extend([0; 512]);
    layer.extend(b"not a header");
    let found = indexed(&layer).unwrap();
    assert_eq!((found.entries.len(), found.size), (1, layer.len() as u64));
    assert_eq!(found.diff_id, umiak_spec::Digest::of(&layer));
}

#[test]
fn paths_stay_inside_the_tree() {
    for name in ["../etc/passwd", "a/../../b", "a/.."] {
        let found = error(&member(name, b'0', 0, |_| {}));
        assert!(matches!(&found, LayerError::Path { entry, .. } if entry == name), "{found}");
    }
    let link =
        |target: &'static [u8]| member("l", b'1', 0, |block| block[157..157 + target.len()].copy_from_slice(target));
    assert!(matches!(error(&link(b"../../x")), LayerError::Path { entry, .. } if entry == "l"));
    assert_eq!(tree_of(&member("/abs//x", b'0', 0, |_| {})).walk().last().unwrap().path.to_string(), "/abs/x");
    // A symbolic link out of the root is followed inside it.
    let symlink = member("out", b'2', 0, |block| block[157..175].copy_from_slice(b"/../../somewhere/x"));
    let names: Vec<_> = tree_of(&[symlink, member("out/f", b'0', 0, |_| {})].concat())
        .walk()
        .map(|entry| entry.path.to_string())
        .collect();
    assert_eq!(names, ["/", "/out", "/somewhere", "/somewhere/x", "/somewhere/x/f"]);
}

#[test]
fn lying_numbers_are_errors() {
    let limits = Limits { file: 1000, expanded: 1500, entries: 3, tar_header: 600, ..Limits::default() };
    let limited = |layer: &[u8]| index(layer, &limits, &Silent).unwrap_err();
    assert!(matches!(limited(&member("a", b'0', 1001, |_| {})), LayerError::Limit { limit: 1000, .. }));
    let two = [with_content("a", b'0', &[0; 900]), with_content("b", b'0', &[0; 900])].concat();
    assert!(matches!(limited(&two), LayerError::Read(_)), "more comes out than `expanded`");
    assert!(matches!(limited(&member("a", b'x', 601, |_| {})), LayerError::Limit { limit: 600, .. }));
    let four: Vec<u8> = (0..4).flat_map(|n| member(&n.to_string(), b'6', 0, |_| {})).collect();
    assert!(matches!(
        index(&four[..], &Limits { expanded: 1 << 20, ..limits }, &Silent),
        Err(LayerError::Limit { .. })
    ));
    assert!(matches!(
        error(
            &member("a", b'0', 0, |b| b[124..136].copy_from_slice(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe"))
        ),
        LayerError::Field { field: "size", .. }
    ));
    assert!(matches!(
        error(&member("a", b'0', 0, |b| b[108..116].copy_from_slice(b"zzzzzzzz"))),
        LayerError::Field { field: "uid", .. }
    ));
    assert!(matches!(error(&member("a", b'0', 1 << 30, |_| {})), LayerError::Truncated { .. }));
    assert!(matches!(error(&[1; 512]), LayerError::Checksum { position: 0 }));
    assert!(matches!(error(&member("a", b'M', 0, |_| {})), LayerError::Type { kind, .. } if kind == "M"));
    assert!(matches!(error(&with_content("a", b'x', b"99 path=x\n")), LayerError::ExtendedHeader { .. }));
    assert!(matches!(error(&member("a", b'2', 0, |_| {})), LayerError::Field { .. }), "a link to nothing");
}

#[test]
fn a_global_header_does_not_multiply_without_bound() {
    let value = "v".repeat(59_998);
    let record = format!("60020 SCHILY.xattr.x={value}\n");
    assert_eq!(record.len(), 60_020);
    let mut layer = with_content("g", b'g', record.as_bytes());
    for number in 0..20 {
        layer.extend(member(&number.to_string(), b'6', 0, |_| {}));
    }
    assert_eq!(indexed(&layer).unwrap().entries.len(), 20);
    let limits = Limits { metadata: 1 << 20, ..Limits::default() };
    assert!(matches!(index(&layer[..], &limits, &Silent), Err(LayerError::Limit { limit: 1_048_576, .. })));
}

#[test]
fn sizes_of_links_and_directories_have_no_bytes_behind_them() {
    let layer = [
        member("d", b'5', 4096, |_| {}),
        member("l", b'2', 7, |block| block[157] = b'x'),
        with_content("f", b'0', b"content"),
    ]
    .concat();
    assert_eq!(indexed(&layer).unwrap().entries.len(), 3);
}

#[test]
fn sparse_maps_must_fit() {
    let sparse = |records: &[&str], content: &[u8]| {
        let records: String = records
            .iter()
            .map(|record| {
                let rest = record.len() + 2;
                let length = (rest + 1..).find(|length| rest + length.to_string().len() == *length).unwrap();
                format!("{length} {record}\n")
            })
            .collect();
        [with_content("x", b'x', records.as_bytes()), with_content("f", b'0', content)].concat()
    };
    let good = sparse(&["GNU.sparse.size=9", "GNU.sparse.map=1,2,6,1"], b"abc");
    let found = indexed(&good).unwrap();
    let umiak_layer::Body::File(content) = found.entries[0].body else { panic!() };
    assert_eq!((content.size, content.digest), (9, umiak_spec::Digest::of(b"\0ab\0\0\0c\0\0")));
    for records in [
        &["GNU.sparse.size=9", "GNU.sparse.map=1,2,6,2"][..],
        &["GNU.sparse.size=9", "GNU.sparse.map=1,2,0,1"],
        &["GNU.sparse.size=5", "GNU.sparse.map=1,2,6,1"],
        &["GNU.sparse.size=9", "GNU.sparse.map=1,2,6"],
        &["GNU.sparse.size=9", "GNU.sparse.map=18446744073709551615,3"],
        &["GNU.sparse.major=1", "GNU.sparse.realsize=9"],
    ] {
        let found = error(&sparse(records, b"abc"));
        assert!(matches!(found, LayerError::Sparse { .. }), "{records:?}: {found}");
    }
    assert!(matches!(error(&sparse(&["GNU.sparse.map=0,3"], b"abc")), LayerError::Field { .. }));
    assert!(matches!(error(&sparse(&["GNU.sparse.major=2"], b"abc")), LayerError::Field { .. }));
    assert!(matches!(
        error(&sparse(&["GNU.sparse.size=99999999999999", "GNU.sparse.map=0,3"], b"abc")),
        LayerError::Limit { .. }
    ));
}

#[test]
fn a_bomb_is_named_as_one() {
    let mut layer = member("zeros", b'0', 80 << 20, |_| {});
    layer.resize(80 << 20, 0);
    let bomb = zstd::stream::encode_all(&layer[..], 3).unwrap();
    let LayerError::Read(found) = error(&bomb) else { panic!() };
    let found = found.get_ref().unwrap().downcast_ref::<ExpansionError>();
    assert_eq!(found, Some(&ExpansionError::Bomb(1200)));
}
