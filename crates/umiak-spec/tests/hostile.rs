//! Any text and any bytes give a value or an error, and what was read is printed so that it reads the same again.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use proptest::prelude::*;
use umiak_spec::{Document, ImageConfig, ImageReference, Limits, Platform};

/// Texts that are nearly references: pieces that mean something, in any order.
fn nearly() -> impl Strategy<Value = String> {
    const PIECES: [&str; 24] = [
        "oci:",
        "oci-archive:",
        "docker-archive:",
        "docker-daemon:",
        "docker://",
        "rootfs:",
        "dir:",
        "nginx",
        "team",
        "a",
        "registry.example",
        "localhost",
        "5000",
        ":",
        "/",
        "@",
        ".",
        "-",
        "_",
        "[::1]",
        "latest",
        "A",
        " ",
        "@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    ];
    let piece = prop_oneof![9 => prop::sample::select(&PIECES[..]).prop_map(str::to_owned), 1 => any::<char>().prop_map(String::from)];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_printed_reference_reads_the_same(text in nearly()) {
        if let Ok(reference) = text.parse::<ImageReference>() {
            let printed = reference.to_string();
            prop_assert_eq!(printed.parse::<ImageReference>(), Ok(reference.clone()), "{} from {}", printed, text);
            let again = match reference.tag_or_digest() {
                Some(digest) if digest.starts_with("sha256:") => format!("{}@{digest}", reference.name()),
                Some(tag) => format!("{}:{tag}", reference.name()),
                None => return Ok(()),
            };
            prop_assert!(again.parse::<ImageReference>().is_ok(), "{}", again);
        }
    }

    #[test]
    fn a_printed_platform_reads_the_same(text in "(linux|Linux|a\\.b)?/?(x86_64|arm|arm64|aarch64|armhf|i686|mips)?/?(v[5-9]|[5-9]|v1|hard)?") {
        if let Ok(platform) = text.parse::<Platform>() {
            prop_assert_eq!(platform.to_string().parse::<Platform>(), Ok(platform.clone()), "{}", platform);
            prop_assert_eq!(platform.rank(&platform), Some(0));
        }
    }
}

const BLOB: &str = r#"{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":32,"annotations":{"org.opencontainers.image.ref.name":"1"},"platform":{"os":"linux","architecture":"arm","variant":"v7"}}"#;

/// Every byte of real documents changed, removed, doubled; every beginning of them.
#[test]
fn damaged_documents_are_values_or_errors() {
    let documents = [
        format!(r#"{{"schemaVersion":2,"config":{BLOB},"layers":[{BLOB},{BLOB}]}}"#),
        format!(r#"{{"schemaVersion":2,"manifests":[{BLOB}]}}"#),
        r#"{"architecture":"arm","os":"linux","variant":"v7","config":{"Cmd":["x"],"Entrypoint":"y"},"rootfs":{"type":"layers","diff_ids":["sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"]}}"#.to_owned(),
    ];
    let limits = Limits::default();
    let mut read = 0;
    for document in documents.iter().map(String::as_bytes) {
        for at in 0..document.len() {
            let variants =
                [b'0', b'"', b'{', b'-', 0, 0xff].map(|byte| [&document[..at], &[byte], &document[at + 1..]].concat());
            let others = [document[..at].to_vec(), [&document[..at], &document[at + 1..]].concat()];
            for bytes in variants.iter().chain(&others) {
                read += usize::from(Document::parse(bytes, "", &limits).is_ok());
                read += usize::from(ImageConfig::parse(bytes, &limits).is_ok());
            }
        }
    }
    assert!(read > 100, "damage inside texts leaves documents readable: {read}");
}

#[test]
fn deeply_nested_documents_are_refused() {
    let deep = format!(r#"{{"schemaVersion":2,"config":{}"#, "[".repeat(1_000_000));
    assert!(Document::parse(deep.as_bytes(), "", &Limits::default()).is_err());
    assert!(ImageConfig::parse(deep.as_bytes(), &Limits::default()).is_err());
}

#[test]
fn numbers_that_no_blob_has_are_refused() {
    for size in ["-1", "1e30", "18446744073709551616", "\"1\"", "null"] {
        let blob = BLOB.replace("\"size\":32", &format!("\"size\":{size}"));
        let text = format!(r#"{{"schemaVersion":2,"config":{blob},"layers":[]}}"#);
        assert!(Document::parse(text.as_bytes(), "", &Limits::default()).is_err(), "{size}");
    }
}
