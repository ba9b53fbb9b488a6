//! balena's delta images: their labels, their layers, and a whole one from base to target.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::io::Read;

use serde_json::json;
use umiak_delta::foreign::balena::{self, BalenaError, layer, recognise};
use umiak_delta::foreign::{Basis, Bounds, rdiff};
use umiak_spec::{Digest, Limits, ReadAt, Silent};

fn config(labels: serde_json::Value, layers: usize) -> Vec<u8> {
    let ids = vec![Digest::of(b"layer").to_string(); layers];
    json!({"created": "2026-01-01T00:00:00Z", "config": {"Labels": labels}, "rootfs": {"type": "layers", "diff_ids": ids}})
        .to_string()
        .into_bytes()
}

fn read(config: &[u8]) -> Result<Option<balena::DeltaImage>, BalenaError> {
    recognise(config, &Limits::default())
}

#[test]
fn labels_make_a_delta_image() {
    let target = config(json!({"io.balena.features": "1"}), 2);
    let text = String::from_utf8(target.clone()).unwrap();
    let base = Digest::of(b"base").to_string();
    let labels = json!({balena::BASE_LABEL: base, balena::CONFIG_LABEL: text});
    let image = read(&config(labels.clone(), 2)).unwrap().unwrap();
    assert_eq!((image.base, image.layers, image.target_id()), (Digest::of(b"base"), 2, Digest::of(&target)));
    assert_eq!(image.target.diff_ids, [Digest::of(b"layer"); 2]);
    assert!(matches!(read(&config(labels, 1)), Err(BalenaError::Layers { layers: 1, target: 2 })));
}

#[test]
fn other_images_are_none_and_halves_are_errors() {
    for plain in [config(json!(null), 1), config(json!({"a": null}), 1), b"{}".to_vec(), br#"{"config":null}"#.to_vec()]
    {
        assert_eq!(read(&plain).unwrap(), None);
    }
    let base = Digest::of(b"base").to_string();
    let one = config(json!({balena::BASE_LABEL: base}), 1);
    assert!(matches!(read(&one), Err(BalenaError::Label { missing: balena::CONFIG_LABEL, .. })));
    let other = config(json!({balena::CONFIG_LABEL: "{}"}), 1);
    assert!(matches!(read(&other), Err(BalenaError::Label { missing: balena::BASE_LABEL, .. })));
    let labels = |base: &str, target: &str| json!({balena::BASE_LABEL: base, balena::CONFIG_LABEL: target});
    assert!(matches!(read(&config(labels("resin/x:1", "{}"), 0)), Err(BalenaError::Base { .. })));
    assert!(matches!(read(&config(labels(&base, "["), 0)), Err(BalenaError::Target(_))));
    assert!(matches!(read(b"["), Err(BalenaError::Config(_))));
    assert!(matches!(read(br#"{"config":{"Labels":3}}"#), Err(BalenaError::Config(_))));
    let small = Limits { document: 10, ..Limits::default() };
    assert!(matches!(recognise(&config(json!({}), 0), &small), Err(BalenaError::Config(_))));
}

/// A tar of one file as Go's archive/tar writes it.
fn tar(name: &str, kind: u8, bytes: &[u8]) -> Vec<u8> {
    let mut header = [0; 512];
    header[..name.len()].copy_from_slice(name.as_bytes());
    header[100..108].copy_from_slice(b"0000600\0");
    header[124..136].copy_from_slice(format!("{:011o}\0", bytes.len()).as_bytes());
    header[136..148].copy_from_slice(b"00000000000\0");
    header[156] = kind;
    header[257..265].copy_from_slice(b"ustar\x0000");
    seal(&mut header);
    [&header[..], bytes, &vec![0; bytes.len().wrapping_neg() % 512], &[0; 1024]].concat()
}

fn seal(header: &mut [u8]) {
    header[148..156].fill(b' ');
    let sum: u32 = header[..512].iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

fn content(tar: &[u8]) -> Result<Option<Vec<u8>>, String> {
    let Some(mut entry) = layer(tar).map_err(|error| error.to_string())? else { return Ok(None) };
    let mut bytes = Vec::new();
    entry.read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    Ok(Some(bytes))
}

#[test]
fn a_layer_holds_one_file() {
    let bytes = vec![5; 700];
    let whole = tar("delta", b'0', &bytes);
    assert_eq!(content(&whole).unwrap(), Some(bytes.clone()));
    assert_eq!(layer(&whole[..]).unwrap().unwrap().left(), 700);
    assert_eq!(content(&[&whole[..], &[0; 8192]].concat()).unwrap(), Some(bytes.clone()));
    assert_eq!(content(&tar("delta", 0, b"")).unwrap(), Some(vec![]));
    // Docker's empty layer.
    assert_eq!(content(&[0; 1024]).unwrap(), None);
    // A size past 8 GiB is binary.
    let mut large = whole.clone();
    large[124..136].copy_from_slice(&[0x80, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0]);
    seal(&mut large[..512]);
    assert_eq!(layer(&large[..]).unwrap().unwrap().left(), 3 << 32);

    for bad in [tar("delta2", b'0', b""), tar("delta", b'5', b""), [&whole[..], &whole].concat(), vec![0; 512]] {
        assert!(content(&bad).is_err());
    }
    for length in 0..whole.len() {
        assert!(content(&whole[..length]).is_err(), "{length}");
    }
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 0x10;
        // The checksum may begin with a space as well as with a zero, and end with anything behind its NUL.
        let same = content(&changed).is_ok_and(|found| found.as_deref() == Some(&bytes));
        assert_eq!(same, [148, 155].contains(&at), "{at}");
    }
}

#[test]
fn layers_from_base_to_target() {
    let base_tars: [&[u8]; 2] = [b"first base layer", b"second base layer"];
    let basis = Basis::new(base_tars.iter().map(|part| part as &dyn ReadAt)).unwrap();
    // `layer` of both base layers: the second range begins in the first tar and ends in the second.
    let delta = [0x72, 0x73, 2, 0x36, 0x45, 6, 16, 1, b'!', 0];
    let apply = |layer_tar: &[u8], out: &mut Vec<u8>| {
        let mut entry = layer(layer_tar).unwrap().unwrap();
        rdiff(&basis, &mut entry, out, &Bounds::default(), &Silent)
    };
    let whole = tar("delta", b'0', &delta);
    let mut out = Vec::new();
    apply(&whole, &mut out).unwrap();
    assert_eq!(out, b"base layersecond!");

    // What follows the file in the layer is seen, too.
    let mut more = whole.clone();
    *more.last_mut().unwrap() = 1;
    assert!(apply(&more, &mut out).is_err());
    assert!(apply(&whole[..whole.len() - 600], &mut out).is_err());
}
