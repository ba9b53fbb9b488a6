//! The documents of a Compose App: the bytes of a real published one, round trips, and what is refused.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;

use proptest::prelude::*;
use umiak_spec::app::{
    AppError, AppManifest, ArchitectureMeta, BundleIndex, Form, LayerMeta, LayersIndex, LayersMeta, OCTET_STREAM,
};
use umiak_spec::{Descriptor, Digest, Limits};

const MANIFEST: &str = include_str!("golden/compose-app/manifest.json");
const META: &str = include_str!("golden/compose-app/layers-meta.json");
const INDEXES: [(&str, &str, &str); 3] = [
    (
        "amd64",
        include_str!("golden/compose-app/layers-index-amd64.json"),
        "84a2b686ac33f5dce1c15ee575fae14d89bdca2207eaec3b06fad6fdeba56632",
    ),
    (
        "arm",
        include_str!("golden/compose-app/layers-index-arm.json"),
        "272d1c0ba9cb31e4fcc916e4530cf0c016b8e00508fd0f121ed4f5edf0231eef",
    ),
    (
        "arm64",
        include_str!("golden/compose-app/layers-index-arm64.json"),
        "4f81d5330f22fa1f2dfd415b9b3b4b5230d95f357b014079362730a293766b0c",
    ),
];
/// The app's own, by which devices pull it.
const APP: &str = "927e670305d2984088c45ec0837b032a466a2250d21de6e482fdfd8f5ba1c65b";
const META_DIGEST: &str = "f8e0b960f955dc633b78a2b8ba79ae4dad94d397cbfa0222bd1b9188766e49af";
const ARTIFACT: &str = include_str!("golden/compose-app/manifest-artifact.json");

fn limits() -> Limits {
    Limits::default()
}

fn parse(text: &str) -> Result<AppManifest, AppError> {
    AppManifest::parse(text.as_bytes(), &limits())
}

fn blob(content: &str, size: u64) -> Descriptor {
    Descriptor::new(OCTET_STREAM, Digest::of(content.as_bytes()), size)
}

/// An app with all that umiak publishes by default.
fn artifact() -> AppManifest {
    AppManifest {
        bundle_index: Some(blob("index", 164)),
        layers_meta: Some(blob("meta", 3344)),
        measures: Some(blob("measures", 9000)),
        ..AppManifest::new(Form::Artifact, Digest::of(b"bundle"), 456)
    }
}

#[test]
fn the_published_app_comes_out_byte_for_byte() {
    let indexes = INDEXES.map(|(architecture, text, digest)| {
        let index = LayersIndex::parse(text.as_bytes(), &limits()).unwrap();
        assert_eq!(index.architecture(), architecture);
        // Whatever order the layers are found in, and however often.
        let layers = index.layers().iter().rev().chain(index.layers()).cloned();
        let made = LayersIndex::new(architecture, layers).unwrap();
        assert_eq!(String::from_utf8(made.to_bytes()).unwrap(), text);
        assert_eq!(made.entry().digest.hex(), digest);
        made
    });

    let meta = LayersMeta::parse(META.as_bytes(), &limits()).unwrap();
    assert_eq!(String::from_utf8(meta.to_bytes()).unwrap(), META);
    assert_eq!(Digest::of(&meta.to_bytes()).hex(), META_DIGEST);

    let bundle = "4ec01af7d04fa694b03b3f96c665cfbc6ddc14bf9293cac12144e44ad8eaf56d";
    let mut app = AppManifest::new(Form::Legacy, Digest::from_hex(bundle).unwrap(), 456);
    app.layers_meta = Some(Descriptor::new(OCTET_STREAM, Digest::of(META.as_bytes()), META.len() as u64));
    app.layers_indexes = indexes.iter().map(LayersIndex::entry).collect();
    assert_eq!(String::from_utf8(app.to_bytes()).unwrap(), MANIFEST);
    assert_eq!(Digest::of(&app.to_bytes()).hex(), APP);
    assert_eq!(parse(MANIFEST).unwrap(), app);
    app.publishable(&limits()).unwrap();
}

#[test]
fn the_artifact_form_has_the_order_of_composectl() {
    let app = artifact();
    app.publishable(&limits()).unwrap();
    assert_eq!(String::from_utf8(app.to_bytes()).unwrap(), ARTIFACT.trim_end());
    assert_eq!(parse(ARTIFACT).unwrap(), app);
}

#[test]
fn configs_are_the_two_that_are_known() {
    for form in [Form::Legacy, Form::Artifact] {
        let (config, bytes) = form.config();
        assert_eq!((config.digest, config.size), (Digest::of(bytes), bytes.len() as u64));
    }
    assert!(MANIFEST.contains(&Form::Legacy.config().0.digest.to_string()));
    assert!(ARTIFACT.contains(r#""size": 2,"#));
    assert!(!MANIFEST.contains(r#""size": 0"#));
}

#[test]
fn what_others_add_is_passed_over() {
    let layer = r#"{"mediaType":"a/b","digest":"sha512:00","size":1,"annotations":{"x":"y"}}"#;
    let text = ARTIFACT.replace("   ],\n   \"annotations\"", &format!(",{layer}],\n\"annotations\""));
    assert_ne!(text, ARTIFACT);
    assert_eq!(parse(&text).unwrap(), artifact());
    // Metadata of a later version is none: so it is in the existing readers.
    let later = ARTIFACT.replace(r#""layers-meta": "v1""#, r#""layers-meta": "v2""#);
    assert_eq!(parse(&later).unwrap(), AppManifest { layers_meta: None, measures: None, ..artifact() });
    let later = ARTIFACT.replace(r#""umiak-layers-meta": "v1""#, r#""umiak-layers-meta": "v2""#);
    assert_eq!(parse(&later).unwrap(), AppManifest { measures: None, ..artifact() });
    // composectl does not ask for the annotation.
    let unmarked = ARTIFACT.replace(r#""compose-app": "v1""#, "");
    assert_eq!(parse(&unmarked).unwrap(), artifact());
}

#[test]
fn what_is_no_app_says_what_it_is() {
    let blob = r#"{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":0}"#;
    let image = format!(r#"{{"schemaVersion":2,"config":{blob},"layers":[{blob}]}}"#);
    for (text, why) in [
        (image.as_str(), "container image"),
        (r#"{"manifests":[{}]}"#, "index of images"),
        (r#"{"artifactType":"a/b"}"#, "`a/b`"),
        ("{}", "no annotation"),
        (r#"{"annotations":{"compose-app":"v1"},"mediaType":"a/b"}"#, "`a/b`"),
    ] {
        assert!(matches!(parse(text), Err(AppError::Other(said)) if said.contains(why)), "{text}");
    }
    let later = MANIFEST.replace(r#""compose-app": "v1""#, r#""compose-app": "v2""#);
    assert!(matches!(parse(&later), Err(AppError::Version { version, .. }) if version == "v2"));
    assert!(matches!(parse("7"), Err(AppError::Document { .. })));
}

#[test]
fn what_does_not_fit_together_is_refused() {
    let contradictions: [(&str, &str); 7] = [
        (r#""size": 456"#, r#""size": 0"#),
        (r#""mediaType": "application/octet-stream""#, r#""mediaType": "application/tar+gzip""#),
        (r#""architecture": "arm64""#, r#""architecture": "arm""#),
        (r#""architecture": "arm""#, r#""architecture": "zarm""#),
        (r#""architecture": "amd64""#, r#""architecture": "../amd64""#),
        ("sha256:4ec01a", "sha512:4ec01a"),
        ("sha256:84a2b6", "sha256:zza2b6"),
    ];
    for (from, to) in contradictions {
        let text = MANIFEST.replace(from, to);
        assert_ne!(text, MANIFEST);
        assert!(matches!(parse(&text), Err(AppError::Inconsistent { .. })), "{to}");
    }
    for (from, to) in [(r#""164""#, r#""+164""#), (r#""164""#, r#""""#), ("bundle.index.size", "bundle.index.sizes")] {
        let text = ARTIFACT.replace(from, to);
        assert!(matches!(parse(&text), Err(AppError::Inconsistent { .. })), "{to}");
    }
    let large = MANIFEST.replace(r#""size": 456"#, r#""size": 1073741825"#);
    assert!(matches!(parse(&large), Err(AppError::TooMany { .. })));
    let long = format!("{MANIFEST}{}", " ".repeat(50 << 10));
    assert!(matches!(parse(&long), Err(AppError::Document { .. })));
}

#[test]
fn an_app_is_published_only_if_every_reader_takes_it() {
    let (_, text, _) = INDEXES[0];
    let index = LayersIndex::parse(text.as_bytes(), &limits()).unwrap();
    let mut app = parse(MANIFEST).unwrap();
    let entry =
        |number: u32| LayersIndex::new(&format!("arch{number}"), index.layers().iter().cloned()).unwrap().entry();
    app.layers_indexes = (0..4).map(entry).collect();
    app.publishable(&limits()).unwrap();
    // Too long for the readers of the legacy form before there are too many architectures.
    app.layers_indexes = (0..6).map(entry).collect();
    assert!(matches!(app.publishable(&limits()), Err(AppError::TooMany { of: "bytes", limit: 2009, .. })));
    app.layers_indexes = (0..7).map(entry).collect();
    assert!(matches!(app.publishable(&limits()), Err(AppError::TooMany { of: "architectures", .. })));
    app.form = Form::Artifact;
    app.publishable(&limits()).unwrap();
    app.check(&limits()).unwrap();
}

/// What is measured on each machine that builds images, put together for an app that uses some of it.
#[test]
fn metadata_is_merged_and_restricted_to_what_an_app_uses() {
    let whole = LayersMeta::parse(META.as_bytes(), &limits()).unwrap();
    let mut merged = LayersMeta::default();
    let mut used = BTreeMap::new();
    for (architecture, meta) in &whole.architectures {
        let sizes = meta.layers.iter().map(|(digest, layer)| (*digest, layer.archive_size.unwrap()));
        used.insert(architecture.clone(), sizes.collect::<BTreeMap<_, _>>());
        // As it is measured: without the blobs' sizes, and with more layers than the app has.
        let mut measured = meta.clone();
        measured.layers.values_mut().for_each(|layer| layer.archive_size = None);
        measured.layers.insert(Digest::of(b"of another app"), LayerMeta { size: 1, usage: 2, archive_size: None });
        let read = ArchitectureMeta::parse(&measured.to_bytes(), &limits()).unwrap();
        assert_eq!(read, measured);
        merged.add(architecture, read.clone()).unwrap();
        merged.add(architecture, read).unwrap();
    }
    assert_eq!(merged.restrict(&used).unwrap(), whole);

    let mut more = used.clone();
    more.get_mut("arm").unwrap().insert(Digest::of(b"not measured"), 1);
    assert!(matches!(merged.restrict(&more), Err(AppError::Missing { missing, .. }) if missing.contains("for arm")));
    used.insert("riscv64".into(), BTreeMap::new());
    assert!(matches!(merged.restrict(&used), Err(AppError::Missing { missing, .. }) if missing == "riscv64"));
}

#[test]
fn contradicting_measurements_are_refused() {
    let whole = LayersMeta::parse(META.as_bytes(), &limits()).unwrap();
    let mut other = whole.clone();
    other.architectures.get_mut("arm").unwrap().fs_block_size = 1024;
    assert!(matches!(whole.clone().merge(other), Err(AppError::Inconsistent { .. })));
    let mut other = whole.clone();
    other.architectures.get_mut("arm").unwrap().layers.values_mut().next().unwrap().usage += 1;
    assert!(matches!(whole.clone().merge(other), Err(AppError::Inconsistent { .. })));
    whole.clone().merge(whole).unwrap();
    for (from, to) in [("4096", "4095"), ("4096", "0"), ("amd64", "AMD 64"), ("4781861", "274877906945")] {
        assert!(LayersMeta::parse(META.replace(from, to).as_bytes(), &limits()).is_err(), "{to}");
    }
}

#[test]
fn a_bundle_index_is_sorted_and_names_only_files_inside() {
    let index: BundleIndex = [("docker-compose.yml", "b"), ("conf/nginx.conf", "a"), ("docker-compose.env", "c")]
        .map(|(name, content)| (name, Digest::of(content.as_bytes())))
        .into_iter()
        .collect();
    let text = String::from_utf8(index.to_bytes()).unwrap();
    let names: Vec<_> = index.files().map(|(name, _)| name).collect();
    assert_eq!(names, ["conf/nginx.conf", "docker-compose.env", "docker-compose.yml"]);
    assert!(text.starts_with(r#"{"conf/nginx.conf":"sha256:"#) && !text.contains(' '));
    assert_eq!(BundleIndex::parse(text.as_bytes(), &limits()).unwrap(), index);
    assert_eq!(index.get("docker-compose.yml"), Some(&Digest::of(b"b")));
    for name in ["", "/etc/passwd", "../x", "a/../b", "a//b", "./a", "a/"] {
        let text = text.replace("conf/nginx.conf", name);
        assert!(matches!(BundleIndex::parse(text.as_bytes(), &limits()), Err(AppError::Inconsistent { .. })), "{name}");
    }
}

/// Every byte of the real documents changed, removed, doubled; every beginning of them: a value that is written so that it
/// reads the same, or an error.
#[test]
fn damaged_documents_are_values_or_errors() {
    type Reader = fn(&[u8]) -> bool;
    fn manifest(bytes: &[u8]) -> bool {
        let Ok(app) = AppManifest::parse(bytes, &limits()) else { return false };
        assert_eq!(AppManifest::parse(&app.to_bytes(), &limits()).unwrap(), app);
        true
    }
    fn layers_index(bytes: &[u8]) -> bool {
        let Ok(index) = LayersIndex::parse(bytes, &limits()) else { return false };
        assert_eq!(LayersIndex::parse(&index.to_bytes(), &limits()).unwrap(), index);
        true
    }
    fn meta(bytes: &[u8]) -> bool {
        let Ok(meta) = LayersMeta::parse(bytes, &limits()) else { return false };
        assert_eq!(LayersMeta::parse(&meta.to_bytes(), &limits()).unwrap(), meta);
        true
    }
    fn bundle_index(bytes: &[u8]) -> bool {
        let Ok(index) = BundleIndex::parse(bytes, &limits()) else { return false };
        assert_eq!(BundleIndex::parse(&index.to_bytes(), &limits()).unwrap(), index);
        true
    }
    let files: BundleIndex = [("a&b/c", Digest::of(b"")), ("d", Digest::of(b"e"))].into_iter().collect();
    let files = files.to_bytes();
    let cases: [(&[u8], Reader); 5] = [
        (MANIFEST.as_bytes(), manifest),
        (ARTIFACT.as_bytes(), manifest),
        (INDEXES[0].1.as_bytes(), layers_index),
        (META.as_bytes(), meta),
        (&files, bundle_index),
    ];
    for (document, read) in cases {
        assert!(read(document));
        let (mut taken, mut refused) = (0, 0);
        for at in 0..document.len() {
            let flipped = |byte: u8| [&document[..at], &[byte], &document[at + 1..]].concat();
            let variants = [
                flipped(document[at] ^ 1),
                flipped(b'"'),
                flipped(b'9'),
                flipped(0xff),
                [&document[..at], &document[at + 1..]].concat(),
                [&document[..=at], &document[at..]].concat(),
                document[..at].to_vec(),
            ];
            for variant in variants {
                if read(&variant) { taken += 1 } else { refused += 1 }
            }
        }
        assert!(taken > 0 && refused > document.len(), "{taken} {refused}");
    }
}

fn any_descriptor() -> impl Strategy<Value = Descriptor> {
    const KINDS: [&str; 3] = ["a/b", OCTET_STREAM, ""];
    (any::<[u8; 4]>(), 0u64..1 << 20, prop::sample::select(&KINDS[..]))
        .prop_map(|(content, size, kind)| Descriptor::new(kind, Digest::of(&content), size))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn written_manifests_read_the_same(
        legacy in any::<bool>(),
        bundle in any_descriptor(),
        optional in [prop::option::of(any_descriptor()), prop::option::of(any_descriptor()), prop::option::of(any_descriptor())],
        architectures in prop::collection::btree_map("[a-z][a-z0-9]{0,8}", prop::collection::vec(any_descriptor(), 0..3), 0..5),
    ) {
        let [index, meta, measures] = optional;
        let form = if legacy { Form::Legacy } else { Form::Artifact };
        let mut app = AppManifest::new(form, bundle.digest, bundle.size);
        app.bundle_index = index.map(|index| Descriptor::new(OCTET_STREAM, index.digest, index.size));
        (app.layers_meta, app.measures) = (meta, measures);
        let layers = architectures.iter().map(|(name, layers)| LayersIndex::new(name, layers.iter().cloned()));
        let layers: Vec<_> = layers.filter_map(Result::ok).collect();
        app.layers_indexes = layers.iter().map(LayersIndex::entry).collect();
        match app.check(&limits()) {
            Ok(()) => prop_assert_eq!(AppManifest::parse(&app.to_bytes(), &limits()).unwrap(), app),
            Err(_) => prop_assert!(AppManifest::parse(&app.to_bytes(), &limits()).ok() != Some(app)),
        }
        for index in layers {
            prop_assert_eq!(LayersIndex::parse(&index.to_bytes(), &limits()).unwrap(), index);
        }
    }

    #[test]
    fn written_bundle_indexes_read_the_same(files in prop::collection::btree_map("[^/.\0][^/\0]{0,5}(/[^/.\0]{1,3})?", any::<[u8; 4]>(), 0..6)) {
        let index: BundleIndex = files.iter().map(|(name, content)| (name.clone(), Digest::of(content))).collect();
        prop_assert_eq!(BundleIndex::parse(&index.to_bytes(), &limits()).unwrap(), index);
    }
}
