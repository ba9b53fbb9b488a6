//! The delta artifact's manifest: golden bytes, round trips, and what is refused.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;

use proptest::prelude::*;
use umiak_spec::delta::{Content, LAYER_DELTA, NAMES, Offer, OnDevice, Part, PatchFiles, Reused, StoredFiles};
use umiak_spec::{DeltaError, DeltaManifest, Descriptor, Digest, Limits, media_type};

const GOLDEN: &str = include_str!("golden/delta-manifest.json");
const GOLDEN_EMPTY: &str = include_str!("golden/delta-manifest-empty.json");

fn digest(name: &str) -> Digest {
    Digest::of(name.as_bytes())
}

/// Two layers of three differ, one of them so much that it is carried as it is.
fn sample() -> DeltaManifest {
    let part = |content, to, kind: &str, blob: &str, size| {
        let blob = Descriptor::new(kind, digest(blob), size);
        Part { content, to: digest(to), blob }
    };
    DeltaManifest {
        subject: Descriptor::new(media_type::OCI_MANIFEST, digest("target manifest"), 715),
        base: Some(digest("base manifest")),
        base_config: Some(digest("base config")),
        base_diff_ids: vec![digest("lowest"), digest("base middle"), digest("base top")],
        reused: vec![Reused { digest: digest("lowest, gzip"), diff_id: digest("lowest") }],
        parts: vec![
            part(Content::Manifest, "target manifest", media_type::OCI_MANIFEST, "target manifest", 715),
            part(Content::Config, "target config", media_type::OCI_CONFIG, "target config", 299),
            part(Content::Layer, "target middle", LAYER_DELTA, "delta", 948_611),
            part(Content::Layer, "target top", media_type::OCI_LAYER_GZIP, "target top, gzip", 4_096),
            part(Content::Names, "target manifest", NAMES, "names", 12_345),
        ],
        full_size: 77_612_032,
        expanded_size: 256_102_400,
        device: vec![
            OnDevice {
                layer: digest("target middle"),
                spool: Some(5_600_000),
                whole: Some(StoredFiles { image: 71_000_064, skeleton: 1_200_345, record: 700 }),
                patch: Some(PatchFiles {
                    base: digest("base middle"),
                    files: StoredFiles { image: 4_096_000, skeleton: 1_200_349, record: 900 },
                }),
            },
            OnDevice { layer: digest("target top"), spool: None, whole: None, patch: None },
        ],
    }
}

/// Base and target are the same image under two names.
fn empty() -> DeltaManifest {
    let reused = |name| Reused { digest: digest(name), diff_id: digest(name) };
    DeltaManifest {
        base: None,
        base_config: None,
        base_diff_ids: vec![digest("lowest")],
        reused: vec![reused("target manifest"), reused("target config"), reused("lowest")],
        parts: Vec::new(),
        device: Vec::new(),
        ..sample()
    }
}

fn parse(text: &str) -> Result<DeltaManifest, DeltaError> {
    DeltaManifest::parse(text.as_bytes(), &Limits::default())
}

#[test]
fn the_bytes_are_the_golden_ones() {
    for (delta, golden) in [(sample(), GOLDEN), (empty(), GOLDEN_EMPTY)] {
        assert_eq!(String::from_utf8(delta.to_bytes()).unwrap(), golden.trim_end());
        assert_eq!(parse(golden).unwrap(), delta);
    }
}

#[test]
fn what_a_device_will_need_is_in_the_offer() {
    let annotation = "dev.umiak.delta.device.1";
    let document: serde_json::Value = serde_json::from_str(GOLDEN).unwrap();
    let mut annotations: BTreeMap<String, String> = serde_json::from_value(document["annotations"].clone()).unwrap();
    let offer = Offer::read(&annotations, &Limits::default()).unwrap();
    assert_eq!(offer.device, sample().device);
    let patch = offer.device[0].patch.unwrap();
    assert_eq!(patch.files.total(), 4_096_000 + 1_200_349 + 900);
    // Later members are passed over, nonsense is refused, and a delta of before has none.
    let later = format!(r#"[{{"layer":"{}","later":{{}}}}]"#, digest("x"));
    annotations.insert(annotation.into(), later);
    assert_eq!(Offer::read(&annotations, &Limits::default()).unwrap().device[0].layer, digest("x"));
    annotations.insert(annotation.into(), format!(r#"[{{"layer":"{}","spool":{}}}]"#, digest("x"), u64::MAX));
    assert!(matches!(Offer::read(&annotations, &Limits::default()), Err(DeltaError::TooLarge { .. })));
    annotations.insert(annotation.into(), "[{}]".into());
    assert!(matches!(Offer::read(&annotations, &Limits::default()), Err(DeltaError::Annotation { .. })));
    annotations.remove(annotation);
    assert_eq!(Offer::read(&annotations, &Limits::default()).unwrap().device, []);
}

#[test]
fn a_delta_for_the_same_image_is_small() {
    assert!(empty().to_bytes().len() + 2 < 2048, "{}", empty().to_bytes().len());
    assert_eq!(empty().size(), 0);
}

#[test]
fn the_config_is_the_empty_object() {
    let (descriptor, bytes) = DeltaManifest::config();
    assert_eq!((descriptor.digest, descriptor.size), (Digest::of(bytes), 2));
    assert!(GOLDEN.contains(&format!(
        r#""config":{{"mediaType":"{}","digest":"{}""#,
        media_type::OCI_EMPTY,
        descriptor.digest
    )));
}

#[test]
fn layers_are_found_by_diff_id() {
    let delta = sample();
    assert!(delta.layer(&digest("target middle")).unwrap().is_delta());
    assert!(!delta.layer(&digest("target top")).unwrap().is_delta());
    assert!(delta.layer(&digest("lowest")).is_none() && delta.reuses(&digest("lowest")));
    assert!(!delta.reuses(&digest("target top")));
    assert_eq!(delta.part(Content::Names).unwrap().blob.size, 12_345);
    assert_eq!(delta.size(), 715 + 299 + 948_611 + 4_096, "names are fetched by who has not the base");
}

/// The annotations as a registry copies them into a list of referrers.
fn annotations(text: &str) -> BTreeMap<String, String> {
    let document: serde_json::Value = serde_json::from_str(text).unwrap();
    serde_json::from_value(document["annotations"].clone()).unwrap()
}

#[test]
fn an_offer_says_what_a_planner_wants_to_know_first() {
    let delta = sample();
    let offer = Offer::read(&annotations(GOLDEN), &Limits::default()).unwrap();
    assert_eq!((offer.target, offer.base, offer.base_config), (delta.subject.digest, delta.base, delta.base_config));
    assert_eq!((offer.size, offer.full_size, offer.expanded_size), (delta.size(), 77_612_032, 256_102_400));
    assert_eq!(offer.base_diff_ids, delta.base_diff_ids);
    assert!(matches!(Offer::read(&BTreeMap::new(), &Limits::default()), Err(DeltaError::Version(v)) if v.is_empty()));
}

#[test]
fn what_later_programs_add_is_passed_over() {
    let signature = r#"{"mediaType":"a/b","digest":"sha512:00","size":1,"annotations":{"io.github.containers.delta.content":"cosign-signature"}},"#;
    let without_content = r#"{"mediaType":"a/b","digest":"x","size":1},"#;
    for layer in [signature, without_content] {
        let text = GOLDEN
            .replace(r#""layers":["#, &format!(r#""layers":[{layer}"#))
            .replace(r#","subject""#, r#","more":[{}],"subject""#);
        assert_eq!(parse(&text).unwrap(), sample());
    }
}

#[test]
fn documents_need_not_say_what_they_make() {
    let to = |name: &str| format!(r#","io.github.containers.delta.to":"{}""#, digest(name));
    let text = GOLDEN.replacen(&to("target manifest"), "", 1).replace(&to("target config"), "");
    assert_eq!(parse(&text).unwrap(), sample());
    let error = parse(&GOLDEN.replace(&to("target top"), "")).unwrap_err();
    assert!(error.to_string().contains("delta.to of image-layer is missing"), "{error}");
}

#[test]
fn what_is_no_delta_or_not_of_this_version_is_refused() {
    let other = parse(&GOLDEN.replace("vnd.umiak.delta.v1", "spdx+json")).unwrap_err();
    assert!(matches!(&other, DeltaError::Other(kind) if kind == "application/spdx+json"), "{other:?}");
    assert!(matches!(parse(r#"{"schemaVersion":2}"#), Err(DeltaError::Other(kind)) if kind.is_empty()));
    let later = GOLDEN.replace(r#"delta.version":"1""#, r#"delta.version":"2""#);
    assert!(matches!(parse(&later), Err(DeltaError::Version(version)) if version == "2"));
    let more = GOLDEN.replace(
        r#""dev.umiak.delta.size""#,
        r#""dev.umiak.delta.requires":"[\"dictionary\"]","dev.umiak.delta.size""#,
    );
    assert!(matches!(parse(&more), Err(DeltaError::Requires(name)) if name == "dictionary"));
    assert!(parse(&more.replace(r#"[\"dictionary\"]"#, "[]")).is_ok());
    assert!(matches!(parse("nonsense"), Err(DeltaError::Document(_))));
}

#[test]
fn contradictions_are_refused() {
    let says = |delta: &DeltaManifest, words: &str| {
        let error = DeltaManifest::parse(&delta.to_bytes(), &Limits::default()).unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
    };
    let changed = |change: &dyn Fn(&mut DeltaManifest)| {
        let mut delta = sample();
        change(&mut delta);
        delta
    };
    says(&changed(&|delta| delta.parts.push(delta.parts[2].clone())), "twice");
    says(&changed(&|delta| delta.parts[1].content = Content::Manifest), "twice, or another");
    says(&changed(&|delta| delta.parts[0].to = digest("x")), "should be");
    says(&changed(&|delta| delta.parts[4].to = digest("x")), "not for the subject");
    says(&changed(&|delta| delta.parts[2].to = digest("lowest")), "both carried and reused");
    says(&changed(&|delta| delta.parts[2].blob.media_type.clear()), "no media type");
    says(&changed(&|delta| delta.subject.media_type = media_type::OCI_INDEX.into()), "one platform");
    let unlike = GOLDEN.replacen(
        &format!(r#"delta.target":"{}""#, digest("target manifest")),
        &format!(r#"delta.target":"{}""#, digest("x")),
        1,
    );
    assert!(matches!(parse(&unlike), Err(DeltaError::Inconsistent(_))));
    let fewer = GOLDEN.replace(&format!(r#"reused":"[\"{}\"]"#, digest("lowest, gzip")), r#"reused":"[]"#);
    assert!(matches!(parse(&fewer), Err(DeltaError::Inconsistent(text)) if text.contains("0 layers and names 1")));
    let subject = GOLDEN.find(r#","subject""#).unwrap()..GOLDEN.find(r#","annotations":{"dev"#).unwrap();
    assert!(
        parse(&[&GOLDEN[..subject.start], &GOLDEN[subject.end..]].concat())
            .unwrap_err()
            .to_string()
            .contains("no subject")
    );
}

#[test]
fn limits_are_kept() {
    let read = |limits: Limits| DeltaManifest::parse(GOLDEN.as_bytes(), &limits).map(drop);
    let default = Limits::default();
    assert!(read(Limits { layers: 3, ..default }).is_ok());
    assert!(matches!(
        read(Limits { layers: 2, ..default }),
        Err(DeltaError::TooMany { what: "base layers", count: 3, limit: 2 })
    ));
    assert!(matches!(read(Limits { document: 700, ..default }), Err(DeltaError::Document(_))));
    assert!(matches!(
        read(Limits { expanded: 1 << 20, ..default }),
        Err(DeltaError::TooLarge { what: "a layer on a device", .. })
    ));
    let unmeasured = DeltaManifest { device: Vec::new(), ..sample() };
    assert!(matches!(
        unmeasured.check(&Limits { expanded: 1 << 20, ..default }),
        Err(DeltaError::TooLarge { what: "the target in full", .. })
    ));
    let mut huge = sample();
    huge.parts[2].blob.size = u64::MAX;
    huge.parts[3].blob.size = u64::MAX;
    assert!(matches!(huge.check(&default), Err(DeltaError::TooLarge { what: "the delta", .. })));
}

fn any_digest() -> impl Strategy<Value = Digest> {
    any::<[u8; 32]>().prop_map(Digest::from_bytes)
}

fn any_device() -> impl Strategy<Value = OnDevice> {
    let files = any::<[u32; 3]>().prop_map(|[image, skeleton, record]| StoredFiles {
        image: image.into(),
        skeleton: skeleton.into(),
        record: record.into(),
    });
    let patch = (any_digest(), files.clone()).prop_map(|(base, files)| PatchFiles { base, files });
    let spool = prop::option::of(0..1_u64 << 30);
    (any_digest(), spool, prop::option::of(files), prop::option::of(patch))
        .prop_map(|(layer, spool, whole, patch)| OnDevice { layer, spool, whole, patch })
}

fn any_blob() -> impl Strategy<Value = Descriptor> {
    let kind = prop::sample::select(vec![LAYER_DELTA, media_type::OCI_LAYER_GZIP, media_type::OCI_LAYER, "a/b+c.d-e"]);
    (kind, any_digest(), 0..1_u64 << 30).prop_map(|(kind, digest, size)| Descriptor::new(kind, digest, size))
}

prop_compose! {
    fn any_delta()(
        subject in any_digest(),
        base in prop::option::of(any_digest()),
        base_config in prop::option::of(any_digest()),
        base_diff_ids in prop::collection::vec(any_digest(), 0..5),
        reused in prop::collection::vec((any_digest(), any_digest()), 0..4),
        layers in prop::collection::vec((any_digest(), any_blob()), 0..5),
        documents in any::<[bool; 3]>(),
        sizes in any::<[u32; 2]>(),
        device in prop::collection::vec(any_device(), 0..3),
    ) -> DeltaManifest {
        let mut parts = Vec::new();
        let config = Digest::of(subject.as_bytes());
        for (wanted, content, kind, to) in [
            (documents[0], Content::Manifest, media_type::DOCKER_MANIFEST, subject),
            (documents[1], Content::Config, media_type::DOCKER_CONFIG, config),
            (documents[2], Content::Names, NAMES, subject),
        ] {
            let blob = Descriptor::new(kind, to, 7);
            parts.extend(wanted.then_some(Part { content, to, blob }));
        }
        parts.extend(layers.into_iter().map(|(to, blob)| Part { content: Content::Layer, to, blob }));
        DeltaManifest {
            subject: Descriptor::new(media_type::OCI_MANIFEST, subject, 1),
            base, base_config, base_diff_ids, parts,
            reused: reused.into_iter().map(|(digest, diff_id)| Reused { digest, diff_id }).collect(),
            full_size: sizes[0].into(),
            expanded_size: sizes[1].into(),
            device,
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_written_is_read_again(delta in any_delta()) {
        delta.check(&Limits::default()).unwrap();
        let bytes = delta.to_bytes();
        let read = DeltaManifest::parse(&bytes, &Limits::default()).unwrap();
        prop_assert_eq!(&read, &delta);
        prop_assert_eq!(read.to_bytes(), bytes);
        let text = String::from_utf8(delta.to_bytes()).unwrap();
        prop_assert_eq!(Offer::read(&annotations(&text), &Limits::default()).unwrap().size, delta.size());
    }
}

/// Every byte changed, removed; every beginning: an error, or a value that keeps every promise of `parse`.
#[test]
fn damaged_manifests_are_values_or_errors() {
    let limits = Limits::default();
    let (mut read, golden) = (0, GOLDEN.trim_end().as_bytes());
    for at in 0..golden.len() {
        let variants =
            [b'0', b'"', b'{', b'a', 0, 0xff].map(|byte| [&golden[..at], &[byte], &golden[at + 1..]].concat());
        let others = [golden[..at].to_vec(), [&golden[..at], &golden[at + 1..]].concat()];
        for bytes in variants.iter().chain(&others) {
            let Ok(delta) = DeltaManifest::parse(bytes, &limits) else { continue };
            delta.check(&limits).unwrap();
            assert_eq!(DeltaManifest::parse(&delta.to_bytes(), &limits).unwrap(), delta);
            read += 1;
        }
    }
    assert!(read > 100, "damage inside texts leaves the document readable: {read}");
}

#[test]
fn deeply_nested_documents_are_refused() {
    let deep = format!(r#"{{"artifactType":"application/vnd.umiak.delta.v1","layers":{}"#, "[".repeat(1_000_000));
    assert!(parse(&deep).is_err());
}
