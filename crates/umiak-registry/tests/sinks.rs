//! Layouts and archives that are written to: what is there afterwards, and what stays.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::fs;
use std::path::Path;

use common::deltas::{assert_same, found, sample, subject};
use common::watch::Watch;
use common::{assert_layers, context, image, run, source};
use umiak_registry::{Context, ErrorKind, Sink, Stored, open_sink};
use umiak_spec::{Descriptor, Digest, Limits, Listing, Silent, media_type};
use umiak_testkit::sample::{self as samples, Blob, SampleImage};

fn sink(reference: &str, context: &Context) -> Box<dyn Sink> {
    open_sink(&reference.parse().unwrap(), context).unwrap()
}

/// Stores an image, blob by blob.
fn put_image(sink: &dyn Sink, image: &SampleImage, tag: Option<&str>) -> Descriptor {
    let blobs = samples::image(image);
    let (manifest, others) = blobs.split_last().unwrap();
    for blob in others {
        let Blob { media_type, digest, bytes } = blob;
        sink.put_blob(&Descriptor::new(media_type, *digest, bytes.len() as u64), bytes, &Silent).unwrap();
    }
    sink.put_manifest(&manifest.bytes, &manifest.media_type, tag, &Silent).unwrap()
}

fn listing(layout: &Path) -> Listing {
    Listing::parse(&fs::read(layout.join("index.json")).unwrap(), &Limits::default()).unwrap()
}

/// No file but those of a layout.
fn assert_tidy(layout: &Path) {
    let mut names: Vec<String> =
        fs::read_dir(layout).unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    assert_eq!(names, ["blobs", "index.json", "oci-layout"]);
}

#[test]
fn an_image_and_its_deltas_lie_in_one_layout() {
    let directory = tempfile::tempdir().unwrap();
    let context = context(directory.path());
    let layout = directory.path().join("new/layout");
    let reference = format!("oci:{}", layout.display());
    let sample_image = image("linux/amd64", 5, 100_000);
    let target = put_image(sink(&reference, &context).as_ref(), &sample_image, Some("1"));
    let (one, other) = (sample(&target, "one", 40_000), sample(&target, "other", 30_000));
    let put_one = one.put_to(&reference, &context).unwrap();
    let put_other = other.put_to(&format!("{reference}:delta"), &context).unwrap();
    one.put_to(&reference, &context).unwrap();

    assert_eq!(listing(&layout).len(), 3);
    assert_tidy(&layout);
    let expected = [(&put_one, &one), (&put_other, &other)];
    assert_same(&found(&format!("{reference}:1"), &target.digest, &context), &expected);
    for image in [format!("{reference}:1"), reference.clone()] {
        let source = source(&image, &context).unwrap();
        let found = source.resolve(&[]).unwrap();
        assert_layers(source.as_ref(), &found, &sample_image);
        assert_eq!(source.top(&Silent).unwrap().0.digest, target.digest, "deltas are not in the way");
    }
    let delta = source(&format!("{reference}:delta"), &context).unwrap();
    assert_eq!(delta.top(&Silent).unwrap().1, other.delta.to_bytes());
    let pinned = source(&format!("{reference}@{}", put_one.digest), &context).unwrap();
    assert_eq!(pinned.top(&Silent).unwrap().1, one.delta.to_bytes());
}

#[test]
fn what_others_listed_stays_and_a_tag_moves() {
    let directory = tempfile::tempdir().unwrap();
    let context = context(directory.path());
    let layout = directory.path().join("layout");
    let reference = format!("oci:{}", layout.display());
    let (first, second) = (image("linux/amd64", 1, 1000), image("linux/amd64", 2, 1000));
    samples::layout(&layout, "1", &samples::image(&first)).unwrap();
    put_image(sink(&reference, &context).as_ref(), &second, Some("2"));
    for (tag, expected) in [("1", &first), ("2", &second)] {
        let source = source(&format!("{reference}:{tag}"), &context).unwrap();
        assert_layers(source.as_ref(), &source.resolve(&[]).unwrap(), expected);
    }
    put_image(sink(&reference, &context).as_ref(), &second, Some("1"));
    let source = source(&format!("{reference}:1"), &context).unwrap();
    assert_layers(source.as_ref(), &source.resolve(&[]).unwrap(), &second);
    assert_tidy(&layout);
}

#[test]
fn a_list_under_the_fallback_tag_is_looked_into() {
    let directory = tempfile::tempdir().unwrap();
    let context = context(directory.path());
    let layout = directory.path().join("layout");
    let reference = format!("oci:{}", layout.display());
    let delta = sample(&subject(), "one", 1000);
    let put = delta.put_to(&reference, &context).unwrap();
    let list = fs::read(layout.join("index.json")).unwrap();
    // As a copy from a registry without the API has it: the delta itself is listed nowhere else.
    fs::write(layout.join("index.json"), Listing::default().to_bytes()).unwrap();
    let tag = umiak_spec::referrers::fallback_tag(&subject().digest);
    sink(&reference, &context).put_manifest(&list, media_type::OCI_INDEX, Some(&tag), &Silent).unwrap();
    assert_same(&found(&reference, &subject().digest, &context), &[(&put, &delta)]);
}

#[test]
fn several_write_to_one_layout_at_the_same_time() {
    let directory = tempfile::tempdir().unwrap();
    let context = context(directory.path());
    let layout = directory.path().join("layout");
    let reference = format!("oci:{}", layout.display());
    let names: Vec<String> = (0..8).map(|number| format!("base {number}")).collect();
    std::thread::scope(|scope| {
        for name in &names {
            scope.spawn(|| sample(&subject(), name, 5000).put_to(&reference, &context).unwrap());
        }
    });
    assert_eq!(found(&reference, &subject().digest, &context).len(), 8);
    assert_tidy(&layout);
}

#[test]
fn damage_is_not_stored_and_not_handed_out() {
    let directory = tempfile::tempdir().unwrap();
    let context = context(directory.path());
    let layout = directory.path().join("layout");
    let reference = format!("oci:{}", layout.display());
    let sink = sink(&reference, &context);
    let blob = Descriptor::new("a/b", Digest::of(b"hello"), 5);
    let place = layout.join("blobs/sha256").join(blob.digest.hex());
    let error = sink.put_blob(&blob, &b"hallo".to_vec(), &Silent).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
    assert!(!place.exists());
    assert_tidy(&layout);
    assert_eq!(sink.put_blob(&blob, &b"hello".to_vec(), &Silent).unwrap(), Stored::New);
    assert_eq!(sink.put_blob(&blob, &b"hello".to_vec(), &Silent).unwrap(), Stored::There);
    let source = source(&reference, &context).unwrap();
    assert_eq!(common::bytes(&source.blob(&blob, &Silent).unwrap()), b"hello");
    fs::write(&place, "hallo").unwrap();
    assert_eq!(source.blob(&blob, &Silent).unwrap_err().kind(), ErrorKind::Corrupt);
    fs::write(&place, "hell").unwrap();
    assert_eq!(source.blob(&blob, &Silent).unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(
        sink.put_blob(&blob, &b"hello".to_vec(), &Silent).unwrap(),
        Stored::New,
        "what was cut is written again"
    );
}

#[test]
fn writing_can_be_stopped_and_is_counted() {
    let directory = tempfile::tempdir().unwrap();
    let context = context(directory.path());
    let layout = directory.path().join("layout");
    let sink = sink(&format!("oci:{}", layout.display()), &context);
    let content = vec![1; 1_000_000];
    let blob = Descriptor::new("a/b", Digest::of(&content), content.len() as u64);
    let error = sink.put_blob(&blob, &content, &Watch::until(1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled, "{error:?}");
    assert_tidy(&layout);
    let watch = Watch::until(u64::MAX);
    sink.put_blob(&blob, &content, &watch).unwrap();
    assert_eq!((watch.expected.into_inner(), watch.done.into_inner()), (1_000_000, 1_000_000));
}

#[test]
fn what_is_no_layout_is_not_written_to() {
    let directory = tempfile::tempdir().unwrap();
    let context = context(directory.path());
    fs::write(directory.path().join("letter"), "dear").unwrap();
    let error = open_sink(&format!("oci:{}", directory.path().display()).parse().unwrap(), &context).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    for reference in ["docker-archive:x.tar", "docker-daemon:x", "rootfs:x"] {
        let error = open_sink(&reference.parse().unwrap(), &context).err().unwrap();
        assert!(error.to_string().contains(reference), "{error}");
    }
}

#[test]
fn an_archive_has_the_same_bytes_whatever_the_order() {
    let directory = tempfile::tempdir().unwrap();
    let context = context(directory.path());
    let delta = sample(&subject(), "one", 10_000);
    let mut archives = Vec::new();
    for (name, backwards) in [("a.tar", false), ("b.tar", true)] {
        let place = directory.path().join(name);
        fs::write(&place, "what was there before").unwrap();
        let sink = sink(&format!("oci-archive:{}:1", place.display()), &context);
        let mut parts: Vec<_> = delta.delta.parts.iter().zip(&delta.contents).collect();
        if backwards {
            parts.reverse();
        }
        for (part, content) in parts {
            sink.put_blob(&part.blob, content, &Silent).unwrap();
        }
        delta.put(sink.as_ref(), sink.tag(), &Silent).unwrap();
        assert_eq!(fs::read(&place).unwrap(), b"what was there before", "not before it is finished");
        sink.finish(&Silent).unwrap();
        archives.push(fs::read(&place).unwrap());
    }
    assert_eq!(archives[0], archives[1]);
    let left: Vec<_> = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "{left:?}");
    let reference = format!("oci-archive:{}", directory.path().join("a.tar").display());
    let stored = Descriptor::new(media_type::OCI_MANIFEST, Digest::of(&delta.delta.to_bytes()), 0);
    assert_same(&found(&reference, &subject().digest, &context), &[(&stored, &delta)]);
    assert_eq!(source(&reference, &context).unwrap().top(&Silent).unwrap().1, delta.delta.to_bytes());
}

#[test]
fn an_archive_that_is_given_up_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let context = context(directory.path());
    let sink = sink(&format!("oci-archive:{}", directory.path().join("x.tar").display()), &context);
    sample(&subject(), "one", 10).put(sink.as_ref(), None, &Silent).unwrap();
    assert!(sink.finish(&Watch::until(0)).is_err());
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
#[ignore = "needs: skopeo, umoci"]
fn skopeo_and_umoci_read_what_was_written() {
    let directory = tempfile::tempdir().unwrap();
    let context = context(directory.path());
    let place = |name: &str| directory.path().join(name).display().to_string();
    let sample_image = image("linux/amd64", 5, 100_000);
    for reference in [format!("oci:{}", place("layout")), format!("oci-archive:{}", place("archive.tar"))] {
        let sink = sink(&reference, &context);
        let target = put_image(sink.as_ref(), &sample_image, Some("1"));
        sample(&target, "one", 1000).put(sink.as_ref(), None, &Silent).unwrap();
        sample(&target, "other", 1000).put(sink.as_ref(), Some("delta"), &Silent).unwrap();
        sink.finish(&Silent).unwrap();
        for tag in ["1", "delta"] {
            run("skopeo", &["inspect", "--raw", &format!("{reference}:{tag}")]);
            let (from, to) = (format!("{reference}:{tag}"), format!("oci:{}:{tag}", place("copies")));
            run("skopeo", &["copy", "-q", "--preserve-digests", &from, &to]);
        }
    }
    let copied = source(&format!("oci:{}:1", place("copies")), &context).unwrap();
    assert_layers(copied.as_ref(), &copied.resolve(&[]).unwrap(), &sample_image);
    run("umoci", &["ls", "--layout", &place("layout")]);
    run("umoci", &["unpack", "--rootless", "--image", &format!("{}:1", place("layout")), &place("bundle")]);
    assert_eq!(fs::read(directory.path().join("bundle/rootfs/etc/seed")).unwrap(), [5]);
}
