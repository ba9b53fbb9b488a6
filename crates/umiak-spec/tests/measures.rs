//! umiak's measures of an app as a document: golden bytes, what is passed over, what is refused.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;

use umiak_spec::app::AppError;
use umiak_spec::app::measures::{
    DeltaOf, Document, Inodes, KnownDelta, LayerMeasure, MeasuredLayer, Measures, OtherBlocks, ServiceImage,
};
use umiak_spec::delta::StoredFiles;
use umiak_spec::{Digest, Limits};

fn layer(number: u64) -> MeasuredLayer {
    let other = |blocks| OtherBlocks { directories: blocks, directories_at_most: blocks + 1, ..OtherBlocks::default() };
    MeasuredLayer {
        archive_size: 300 + number,
        measure: LayerMeasure {
            diff_id: Digest::of(&[9, 9]),
            tar_size: 10_240,
            size: 4_000,
            entries: 3,
            tar_split: 250,
            inodes: Inodes { directories: 2, files: 2, ..Inodes::default() },
            file_blocks: [9, 5, 3, 2, 2, 2, 2, 2],
            largest_file: 3_500,
            ext4: [other(2), other(2), other(2)],
            xfs: OtherBlocks::default(),
        },
        device: Some(StoredFiles { image: 4096, skeleton: 4096, record: 400 }),
    }
}

fn sample() -> Measures {
    let digest = Digest::of(b"layer");
    let document = |name: &[u8]| Document { digest: Digest::of(name), size: 500 };
    let image = ServiceImage { manifest: document(b"m"), config: document(b"c"), layers: vec![digest] };
    let delta = KnownDelta {
        of: DeltaOf::Image,
        base: Digest::of(b"base"),
        target: Digest::of(b"m"),
        artifact: Digest::of(b"delta"),
        size: 77,
    };
    Measures {
        platforms: BTreeMap::from([("linux/arm/v7".parse().unwrap(), BTreeMap::from([("web".to_owned(), image)]))]),
        layers: BTreeMap::from([(digest, layer(0))]),
        deltas: vec![delta],
    }
}

fn parse(text: &str) -> Result<Measures, AppError> {
    Measures::parse(text.as_bytes(), &Limits::default())
}

#[test]
fn the_document_is_this_and_nothing_else() {
    let text = String::from_utf8(sample().to_bytes()).unwrap();
    let golden = include_str!("golden/measures.json");
    assert_eq!(text, golden.trim_end());
    assert_eq!(parse(&text).unwrap(), sample());
}

#[test]
fn what_is_not_known_is_passed_over() {
    let text = String::from_utf8(sample().to_bytes()).unwrap();
    let more = text.replace("{\"schemaVersion\":1,", "{\"schemaVersion\":1,\"later\":{\"a\":[1]},");
    let more = more.replace("\"archiveSize\"", "\"erofs\":{\"size\":1},\"archiveSize\"");
    let more = more.replace(
        "\"deltas\":[",
        "\"deltas\":[{\"of\":\"chunk\",\"base\":\"BASE\",\"target\":\"BASE\",\"artifact\":\"BASE\",\"size\":1},",
    );
    let more = more.replace("BASE", &Digest::of(b"x").to_string());
    assert!(more.len() > text.len() + 100);
    assert_eq!(parse(&more).unwrap(), sample());
    assert_eq!(parse("{\"schemaVersion\":1,\"layers\":null}").unwrap(), Measures::default());
}

#[test]
fn what_makes_no_sense_is_refused() {
    let text = String::from_utf8(sample().to_bytes()).unwrap();
    let refused = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        parse(&text.replace(from, to)).unwrap_err().to_string()
    };
    assert!(refused("\"schemaVersion\":1", "\"schemaVersion\":2").contains("version `2`"));
    assert!(refused("linux/arm/v7", "linux arm").contains("no platform"));
    assert!(refused("\"archiveSize\":300", "\"archiveSize\":3000000000000").contains("more than the limit"));
    assert!(refused("\"entries\":3", "\"entries\":9000000").contains("more than the limit"));
    assert!(refused("[9,5,", "[18000000000000000000,5,").contains("more than the limit"));
    let mut unmeasured = sample();
    unmeasured.layers.clear();
    assert!(unmeasured.check(&Limits::default()).unwrap_err().to_string().contains("service web for linux/arm/v7"));
    let small = Limits { document: 100, ..Limits::default() };
    assert!(Measures::parse(text.as_bytes(), &small).is_err());
}

#[test]
fn two_are_merged_unless_they_contradict() {
    let (mut all, mut other) = (sample(), sample());
    other.layers.values_mut().for_each(|layer| layer.device = None);
    other.layers.insert(Digest::of(b"second"), layer(1));
    other.platforms =
        other.platforms.into_values().map(|services| ("linux/amd64".parse().unwrap(), services)).collect();
    all.merge(other.clone()).unwrap();
    assert_eq!((all.platforms.len(), all.layers.len(), all.deltas.len()), (2, 2, 1));
    assert!(all.layers[&Digest::of(b"layer")].device.is_some(), "what one of them knows is kept");
    other.layers.insert(Digest::of(b"layer"), layer(5));
    assert!(all.merge(other).unwrap_err().to_string().contains("measured twice"));
}

#[test]
fn no_bytes_make_it_panic() {
    let text = sample().to_bytes();
    for at in 0..text.len() {
        for byte in [0, b'"', b'9', b'}', 0xff] {
            let mut mutated = text.clone();
            mutated[at] = byte;
            if let Ok(measures) = Measures::parse(&mutated, &Limits::default()) {
                assert_eq!(Measures::parse(&measures.to_bytes(), &Limits::default()).unwrap(), measures);
            }
        }
        assert!(Measures::parse(&text[..at], &Limits::default()).is_err());
    }
}
