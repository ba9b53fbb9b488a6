//! Deltas of other programs: applied, and refused where the result is not what it should be.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may panic and write files")]
#![allow(clippy::cast_possible_truncation, reason = "test sizes are small")]

#[path = "common/deltas.rs"]
mod shelf;

use std::fs;
use std::io::Write as _;

use serde_json::{Value, json};
use shelf::{Shelf, packed};
use umiak_build::BuildError;
use umiak_build::delta::{DeltaFile, apply_foreign_file};
use umiak_delta::foreign::Format;
use umiak_layer::LayerWriter;
use umiak_spec::{Digest, Limits, Platform, Silent, media_type};
use umiak_testkit::sample::{Blob, SampleLayer, layout};
use umiak_tree::{Metadata, TreePath};

/// A tar of these files; a name that another has before it is a hard link to that.
fn tar(files: &[(&str, &[u8])], links: &[(&str, &str)]) -> Vec<u8> {
    let mut archive = LayerWriter::new(Vec::new());
    let path = |name: &str| TreePath::from_archive(name.as_bytes(), &Limits::default()).unwrap();
    for (name, content) in files {
        archive.file(&path(name), &Metadata::root_owned(0o644), content.len() as u64, &mut &content[..]).unwrap();
    }
    for (name, target) in links {
        archive.hard_link(&path(name), &Metadata::root_owned(0o644), &path(target)).unwrap();
    }
    archive.finish().unwrap()
}

/// librsync's operations: literals and copies of at most 64 KiB.
fn rdiff(operations: &[Result<(u32, u16), &[u8]>]) -> Vec<u8> {
    let mut delta = 0x7273_0236_u32.to_be_bytes().to_vec();
    for operation in operations {
        match operation {
            Ok((position, length)) => {
                delta.push(0x45 + 4 * 2 + 1);
                delta.extend(position.to_be_bytes());
                delta.extend(length.to_be_bytes());
            }
            Err(literal) => {
                delta.push(0x42);
                delta.extend((literal.len() as u16).to_be_bytes());
                delta.extend(*literal);
            }
        }
    }
    delta.push(0);
    delta
}

/// A tar-diff blob of operations: a byte, a size, bytes.
fn tar_diff(operations: &[(u8, usize, &[u8])]) -> Vec<u8> {
    let mut plain = Vec::new();
    for (code, size, bytes) in operations {
        plain.push(*code);
        let mut size = *size;
        while size > 0x7F {
            plain.push((size % 128) as u8 | 0x80);
            size /= 128;
        }
        plain.push(size as u8);
        plain.extend(*bytes);
    }
    let mut encoder = zstd::stream::write::Encoder::new(b"tardf1\n\0".to_vec(), 3).unwrap();
    encoder.write_all(&plain).unwrap();
    encoder.finish().unwrap()
}

fn data(bytes: &[u8]) -> (u8, usize, &[u8]) {
    (0, bytes.len(), bytes)
}

fn open(path: &str) -> (u8, usize, &[u8]) {
    (1, path.len(), path.as_bytes())
}

fn apply(shelf: &Shelf, base: &str, delta: &str) -> Result<(u64, Digest), BuildError> {
    let delta = shelf.path(delta);
    let DeltaFile::Foreign(format) = DeltaFile::of(&delta).unwrap() else { panic!("not known") };
    apply_foreign_file(&shelf.path(base), (&delta, format), &shelf.path("out"), &Limits::default(), &Silent)
}

#[test]
fn files_are_told_by_their_first_bytes() {
    let shelf = Shelf::new();
    let archive = tar(&[("a", b"b")], &[]);
    for (bytes, kind) in [
        (b"UMIAKDL\x01".to_vec(), DeltaFile::Ours),
        (b"UMIAKDL\x7F".to_vec(), DeltaFile::Ours),
        (rdiff(&[]), DeltaFile::Foreign(Format::Librsync)),
        (tar_diff(&[]), DeltaFile::Foreign(Format::TarDiff)),
        (zstd::encode_all(&archive[..], 1).unwrap(), DeltaFile::Archive),
        (archive, DeltaFile::Archive),
        (b"UMIAKD".to_vec(), DeltaFile::Unknown),
        (Vec::new(), DeltaFile::Unknown),
    ] {
        assert_eq!(DeltaFile::of(&shelf.write("x", &bytes)).unwrap(), kind, "{bytes:?}");
    }
}

#[test]
fn librsync_deltas_are_applied_to_files() {
    let shelf = Shelf::new();
    shelf.write("base", b"one two three");
    shelf.write("delta", &rdiff(&[Ok((4, 3)), Err(b" and "), Ok((0, 3))]));
    let (size, digest) = apply(&shelf, "base", "delta").unwrap();
    assert_eq!((size, digest), (11, Digest::of(b"two and one")));
    assert_eq!(shelf.read("out"), b"two and one");
    // Another base, and a delta that breaks off: what was there stays.
    shelf.write("short", b"one");
    assert!(matches!(apply(&shelf, "short", "delta"), Err(BuildError::Foreign(_))));
    let delta = shelf.read("delta");
    shelf.write("delta", &delta[..delta.len() - 1]);
    assert!(matches!(apply(&shelf, "base", "delta"), Err(BuildError::Foreign(_))));
    assert_eq!(shelf.read("out"), b"two and one");
    assert_eq!(shelf.litter(), Vec::<String>::new());
}

#[test]
fn tar_diff_blobs_are_applied_to_directories_and_tars() {
    let shelf = Shelf::new();
    fs::create_dir_all(shelf.path("tree/usr/bin")).unwrap();
    shelf.write("tree/usr/bin/tool", b"0123456789");
    shelf.write("tree/empty", b"");
    fs::hard_link(shelf.path("tree/usr/bin/tool"), shelf.path("tree/twin")).unwrap();
    let archive = tar(&[("usr/bin/tool", b"0123456789"), ("empty", b"")], &[("twin", "usr/bin/tool")]);
    shelf.write("tree.tar", &archive);
    shelf.write(
        "delta",
        &tar_diff(&[
            data(b"x"),
            open("usr/bin/tool"),
            (2, 4, b""),
            (3, 2, b"\x01\x02"),
            open("twin"),
            (4, 9, b""),
            (2, 1, b""),
        ]),
    );
    for base in ["tree", "tree.tar"] {
        apply(&shelf, base, "delta").unwrap();
        assert_eq!(shelf.read("out"), b"x0123579", "{base}");
    }
    std::os::unix::fs::symlink("usr", shelf.path("tree/link")).unwrap();
    std::os::unix::fs::symlink("/etc/hostname", shelf.path("tree/host")).unwrap();
    for path in ["link/bin/tool", "host", "usr/bin", "nothing", "usr/bin/tool/x"] {
        shelf.write("delta", &tar_diff(&[open(path)]));
        let error = apply(&shelf, "tree", "delta").unwrap_err();
        assert!(error.to_string().contains(path), "{error}");
    }
}

/// A config with these layers, and a label.
fn config(layers: &[Vec<u8>], labels: &Value) -> Vec<u8> {
    let platform = Platform::host();
    let diff_ids: Vec<String> = layers.iter().map(|layer| Digest::of(layer).to_string()).collect();
    let value = json!({
        "architecture": platform.architecture, "os": platform.os, "variant": platform.variant,
        "config": { "Labels": labels }, "rootfs": { "type": "layers", "diff_ids": diff_ids },
    });
    value.to_string().into_bytes()
}

fn blob(media_type: &str, bytes: Vec<u8>) -> Blob {
    Blob { digest: Digest::of(&bytes), media_type: media_type.into(), bytes }
}

fn described(blob: &Blob) -> Value {
    json!({ "mediaType": blob.media_type, "digest": blob.digest.to_string(), "size": blob.bytes.len() })
}

/// An image of these compressed layers and this config; the manifest is last.
fn image(config: Vec<u8>, layers: &[SampleLayer]) -> Vec<Blob> {
    let mut blobs: Vec<Blob> = layers.iter().map(|layer| blob(&layer.media_type, layer.blob.clone())).collect();
    let config = blob(media_type::OCI_CONFIG, config);
    let manifest = json!({
        "schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST, "config": described(&config),
        "layers": blobs.iter().map(described).collect::<Vec<_>>(),
    });
    blobs.extend([config, blob(media_type::OCI_MANIFEST, manifest.to_string().into_bytes())]);
    blobs
}

/// Base and target: the bottom layer is common, the top one differs.
fn stacks() -> [Vec<Vec<u8>>; 2] {
    let bottom = tar(&[("etc/os-release", b"ID=test\n")], &[]);
    let tops = [&b"the first release"[..], b"the second release"].map(|text| tar(&[("srv/text", text)], &[]));
    tops.map(|top| vec![bottom.clone(), top])
}

fn written(shelf: &Shelf, name: &str, blobs: &[Blob]) {
    layout(&shelf.path(name), "v", blobs).unwrap();
}

fn pack(tars: &[Vec<u8>]) -> Vec<SampleLayer> {
    tars.iter().map(|tar| packed(tar)).collect()
}

/// What a balena engine would make of two images. A layer's operations are told by its number.
fn balena(shelf: &Shelf, operations: &[Result<(u32, u16), &[u8]>]) -> [Vec<Vec<u8>>; 2] {
    let [base, target] = stacks();
    let base_config = config(&base, &Value::Null);
    written(shelf, "base", &image(base_config.clone(), &pack(&base)));
    let target_config = String::from_utf8(config(&target, &json!({ "release": "2" }))).unwrap();
    let labels = json!({
        "io.resin.delta.base": Digest::of(&base_config).to_string(), "io.resin.delta.config": target_config,
    });
    let layers = vec![vec![0; 1024], tar(&[("delta", &rdiff(operations))], &[])];
    written(shelf, "delta", &image(config(&layers, &labels), &pack(&layers)));
    [base, target]
}

#[test]
fn balenas_delta_images_are_applied() {
    let shelf = Shelf::new();
    let [base, target] = stacks();
    let whole = target[1].clone();
    // The bottom's end, then the top with another word in it.
    let at = base[0].len() as u32;
    let same = base[1].iter().zip(&whole).position(|(a, b)| a != b).unwrap();
    let operations = [Ok((at, same as u16)), Err(&whole[same..])];
    balena(&shelf, &operations);
    let made =
        shelf.work(|work| work.apply_images(&shelf.at("base"), &shelf.at("delta"), &shelf.at("out"), &[])).unwrap();
    assert_eq!((made.layers, made.expanded), (2, target.iter().map(|layer| layer.len() as u64).sum()));
    assert_eq!(shelf.layers("out").1, target);
    let text = config(&target, &json!({ "release": "2" }));
    assert_eq!(made.config, Digest::of(&text));

    // One byte of the target is another.
    let mut wrong = whole[same..].to_vec();
    wrong[0] ^= 1;
    balena(&shelf, &[Ok((at, same as u16)), Err(&wrong)]);
    let apply =
        |base: &str| shelf.work(|work| work.apply_images(&shelf.at(base), &shelf.at("delta"), &shelf.at("new"), &[]));
    assert!(matches!(apply("base"), Err(BuildError::Delta(_))));
    // Another base.
    written(&shelf, "other", &image(config(&target, &Value::Null), &pack(&target)));
    let error = apply("other").unwrap_err();
    assert!(error.to_string().contains("not the base"), "{error}");
    assert!(!shelf.path("new").exists());
}

/// What oci-delta would make of two images, with these operations for the top layer.
fn oci_delta(shelf: &Shelf, operations: &[(u8, usize, &[u8])], source_config: Option<Digest>) -> Vec<Vec<u8>> {
    let [base, target] = stacks();
    let base_config = config(&base, &Value::Null);
    written(shelf, "base", &image(base_config.clone(), &pack(&base)));
    let blobs = image(config(&target, &Value::Null), &pack(&target));
    let [bottom, top, target_config, manifest] = &blobs[..] else { panic!() };
    let name = |word: &str| format!("io.github.containers.delta.{word}");
    let part = |blob: &Blob, content: &str, to: &Digest| {
        let mut value = described(blob);
        value["annotations"] = json!({ name("content"): content, name("to"): to.to_string() });
        value
    };
    let empty = blob("application/vnd.oci.empty.v1+json", b"{}".to_vec());
    let diff = blob("application/vnd.tar-diff", tar_diff(operations));
    let strange = blob("text/plain", b"a signature".to_vec());
    let artifact = json!({
        "schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST,
        "artifactType": "application/vnd.io.github.containers.oci-delta.v1",
        "config": described(&empty), "subject": described(manifest),
        "layers": [
            part(manifest, "image-manifest", &manifest.digest), part(target_config, "image-config", &target_config.digest),
            part(&strange, "cosign-signature", &strange.digest), part(&diff, "image-layer", &top.digest),
        ],
        "annotations": {
            name("target"): manifest.digest.to_string(),
            name("source-config"): source_config.unwrap_or(Digest::of(&base_config)).to_string(),
            name("reused"): json!([bottom.digest.to_string()]).to_string(),
        },
    });
    let artifact = blob(media_type::OCI_MANIFEST, artifact.to_string().into_bytes());
    written(shelf, "delta", &[manifest.clone(), target_config.clone(), strange, diff, empty, artifact]);
    target
}

#[test]
fn artifacts_of_oci_delta_are_applied() {
    let shelf = Shelf::new();
    let [_, target] = stacks();
    let top = &target[1];
    let text = b"the second release";
    let at = top.windows(text.len()).position(|part| part == text).unwrap();
    let operations = [
        data(&top[..at]),
        open("srv/text"),
        (2, 4, b""),
        data(b"second"),
        (4, 9, b""),
        (2, 8, b""),
        data(&top[at + 18..]),
    ];
    let target = oci_delta(&shelf, &operations, None);
    let apply = || shelf.work(|work| work.apply_images(&shelf.at("base"), &shelf.at("delta"), &shelf.at("out"), &[]));
    let made = apply().unwrap();
    assert_eq!((made.layers, made.rebuilt), (2, 1));
    assert_eq!(shelf.layers("out").1, target);
    fs::remove_dir_all(shelf.path("out")).unwrap();

    oci_delta(&shelf, &operations[..6], None);
    assert!(matches!(apply(), Err(BuildError::Delta(_))), "the end is missing");
    oci_delta(&shelf, &[open("srv/nothing")], None);
    assert!(matches!(apply(), Err(BuildError::Foreign(_))));
    oci_delta(&shelf, &operations, Some(Digest::of(b"another")));
    let error = apply().unwrap_err();
    assert!(error.to_string().contains("not the base"), "{error}");
    assert!(!shelf.path("out").exists());
}

#[test]
#[ignore = "needs: rdiff"]
fn deltas_of_rdiff_are_applied() {
    let shelf = Shelf::new();
    let mut chance = umiak_testkit::random::Chance::new(5);
    let base = chance.bytes(300_000);
    let target = [&base[100_000..], &chance.bytes(5000), &base[..120_000]].concat();
    let (base, target) = (shelf.write("base", &base), shelf.write("target", &target));
    let run = |arguments: &[&std::path::Path]| {
        assert!(std::process::Command::new("rdiff").args(arguments).status().unwrap().success());
    };
    let (signature, delta) = (shelf.path("signature"), shelf.path("delta"));
    run(&["signature".as_ref(), &base, &signature]);
    run(&["delta".as_ref(), &signature, &target, &delta]);
    apply(&shelf, "base", "delta").unwrap();
    assert_eq!(shelf.read("out"), shelf.read("target"));
}
