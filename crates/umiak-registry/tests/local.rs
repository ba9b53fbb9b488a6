//! Layouts, archives and root file systems: what is read, what is refused, and what the refusals say.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::fs;
use std::path::Path;

use common::archives::{archive_of, docker_archive};
use common::watch::Watch;
use common::{assert_layers, bytes, context, image, platform, source, tar, told};
use umiak_registry::{Error, ErrorKind};
use umiak_spec::{Digest, Silent};
use umiak_testkit::sample::{self, SampleImage};

fn write_layout(directory: &Path, images: &[SampleImage]) -> Digest {
    let blobs = if let [only] = images { sample::image(only) } else { sample::index(images) };
    sample::layout(directory, "1", &blobs).unwrap();
    blobs.last().unwrap().digest
}

#[test]
fn a_layout_gives_its_image_by_tag_by_digest_and_alone() {
    let directory = tempfile::tempdir().unwrap();
    let (layout, context) = (directory.path().join("layout"), context(directory.path()));
    let sample = image("linux/amd64", 1, 5000);
    let manifest = write_layout(&layout, std::slice::from_ref(&sample));
    for selector in ["", ":1", &format!("@{manifest}")] {
        let source = source(&format!("oci:{}{selector}", layout.display()), &context).unwrap();
        let found = source.resolve(&[platform("linux/amd64")]).unwrap();
        assert_eq!(found.reference, format!("oci:{}@{manifest}", layout.display()));
        assert!(found.config.text.contains("/bin/app"));
        assert_layers(source.as_ref(), &found, &sample);
    }
}

#[test]
fn a_platform_is_picked_from_an_index_or_refused_with_the_list() {
    let directory = tempfile::tempdir().unwrap();
    let (layout, context) = (directory.path().join("layout"), context(directory.path()));
    let samples =
        ["linux/amd64", "linux/arm/v6", "linux/arm64"].map(|platform| image(platform, platform.as_bytes()[9], 9));
    write_layout(&layout, &samples);
    let source = source(&format!("oci:{}:1", layout.display()), &context).unwrap();
    let found = source.resolve(&[platform("linux/arm/v7")]).unwrap();
    assert_eq!(found.config.platform, platform("linux/arm/v6"));
    assert_layers(source.as_ref(), &found, &samples[1]);
    let found = source.resolve(&[platform("linux/s390x"), platform("linux/aarch64")]).unwrap();
    assert_eq!(found.config.platform, platform("linux/arm64"));

    let error = source.resolve(&[platform("linux/riscv64")]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Platform);
    for platform in ["linux/riscv64", "linux/amd64", "linux/arm/v6", "linux/arm64"] {
        assert!(error.to_string().contains(platform), "{error}");
    }
}

#[test]
fn entries_for_several_platforms_are_one_image_others_have_to_be_named() {
    let directory = tempfile::tempdir().unwrap();
    let (layout, context) = (directory.path().join("layout"), context(directory.path()));
    let samples = ["linux/amd64", "linux/arm64"].map(|platform| image(platform, platform.as_bytes()[9], 9));
    let blobs = sample::index(&samples);
    sample::layout(&layout, "1", &blobs).unwrap();
    // Some tools write the image's index as the layout's.
    fs::write(layout.join("index.json"), &blobs.last().unwrap().bytes).unwrap();
    let open = || source(&format!("oci:{}", layout.display()), &context).unwrap();
    let found = open().resolve(&[platform("linux/arm64")]).unwrap();
    assert_layers(open().as_ref(), &found, &samples[1]);
    assert_eq!(open().resolve(&[platform("linux/s390x")]).unwrap_err().kind(), ErrorKind::Platform);

    let entries = ["1", "2"].map(|tag| {
        blobs.last().unwrap().descriptor(&format!(r#","annotations":{{"org.opencontainers.image.ref.name":"{tag}"}}"#))
    });
    fs::write(layout.join("index.json"), format!(r#"{{"manifests":[{}]}}"#, entries.join(","))).unwrap();
    let error = open().resolve(&[]).unwrap_err();
    assert!(matches!(&error, Error::Ambiguous { available, .. } if *available == ["1", "2"]), "{error:?}");
    fs::write(layout.join("index.json"), r#"{"manifests":[]}"#).unwrap();
    assert_eq!(open().resolve(&[]).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn a_single_image_of_another_platform_is_refused_too() {
    let directory = tempfile::tempdir().unwrap();
    let (layout, context) = (directory.path().join("layout"), context(directory.path()));
    write_layout(&layout, &[image("linux/arm64", 1, 9)]);
    let source = source(&format!("oci:{}", layout.display()), &context).unwrap();
    assert_eq!(source.resolve(&[platform("linux/amd64")]).unwrap_err().kind(), ErrorKind::Platform);
    assert!(source.resolve(&[]).is_ok(), "unasked, the only image is the one that is meant");
}

#[test]
fn a_layout_that_does_not_have_it_says_what_it_has() {
    let directory = tempfile::tempdir().unwrap();
    let (layout, context) = (directory.path().join("layout"), context(directory.path()));
    write_layout(&layout, &[image("linux/amd64", 1, 9)]);
    let missing = source(&format!("oci:{}:2", layout.display()), &context).unwrap().resolve(&[]).unwrap_err();
    assert!(matches!(&missing, Error::NotFound { available, .. } if *available == ["1"]), "{missing:?}");

    let nothing = source(&format!("oci:{}", directory.path().display()), &context).err().unwrap();
    assert_eq!(nothing.kind(), ErrorKind::NotFound);
    assert!(nothing.to_string().contains("no OCI image layout"), "{nothing}");
}

#[test]
fn damaged_blobs_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let (layout, context) = (directory.path().join("layout"), context(directory.path()));
    let blobs = sample::image(&image("linux/amd64", 1, 9));
    sample::layout(&layout, "1", &blobs).unwrap();
    let source = source(&format!("oci:{}", layout.display()), &context).unwrap();
    let found = source.resolve(&[]).unwrap();

    let [layer, .., config, manifest] = &blobs[..] else { panic!("too few blobs") };
    let place = |blob: &sample::Blob| layout.join("blobs/sha256").join(blob.digest.hex());
    for blob in [config, manifest] {
        let mut wrong = blob.bytes.clone();
        *wrong.last_mut().unwrap() = b' ';
        fs::write(place(blob), &wrong).unwrap();
        let error = source.resolve(&[]).unwrap_err();
        assert!(matches!(&error, Error::Digest { expected, .. } if *expected == blob.digest), "{error:?}");
        fs::write(place(blob), &blob.bytes).unwrap();
    }
    fs::write(place(layer), &layer.bytes[1..]).unwrap();
    let error = source.fetch(&found.layers[0], &Silent).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains(&layer.digest.to_string()), "{error}");
    fs::remove_file(place(layer)).unwrap();
    assert_eq!(source.fetch(&found.layers[0], &Silent).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn documents_beyond_the_limit_are_refused_unread() {
    let directory = tempfile::tempdir().unwrap();
    let (layout, mut context) = (directory.path().join("layout"), context(directory.path()));
    write_layout(&layout, &[image("linux/amd64", 1, 9)]);
    context.limits.document = 100;
    let error = source(&format!("oci:{}", layout.display()), &context).unwrap().resolve(&[]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(told(&error).contains("limit of 100"), "{}", told(&error));
}

#[test]
fn an_archived_layout_is_read_in_place_and_a_compressed_one_too() {
    let directory = tempfile::tempdir().unwrap();
    let (layout, context) = (directory.path().join("layout"), context(directory.path()));
    let sample = image("linux/amd64", 7, 70_000);
    let manifest = write_layout(&layout, std::slice::from_ref(&sample));
    let plain = archive_of(&layout);
    let packed = gzip_stored(&plain);
    for (name, archive) in [("plain.tar", &plain), ("packed.tar.gz", &packed)] {
        let path = directory.path().join(name);
        fs::write(&path, archive).unwrap();
        let source = source(&format!("oci-archive:{}:1", path.display()), &context).unwrap();
        let found = source.resolve(&[]).unwrap();
        assert_eq!(found.reference, format!("oci-archive:{}@{manifest}", path.display()));
        assert_layers(source.as_ref(), &found, &sample);
    }
    let cut = directory.path().join("cut.tar");
    fs::write(&cut, &plain[..plain.len() / 2]).unwrap();
    let error = source(&format!("oci-archive:{}", cut.display()), &context).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
}

#[test]
fn unpacking_and_reading_are_watched_and_can_be_stopped() {
    let directory = tempfile::tempdir().unwrap();
    let (layout, context) = (directory.path().join("layout"), context(directory.path()));
    let sample = image("linux/amd64", 7, 2_000_000);
    write_layout(&layout, std::slice::from_ref(&sample));
    let packed = gzip_stored(&archive_of(&layout));
    let path = directory.path().join("packed.tar.gz");
    fs::write(&path, &packed).unwrap();
    let root = directory.path().join("root");
    fs::create_dir(&root).unwrap();
    fs::write(root.join("file"), &packed).unwrap();

    let length = packed.len() as u64;
    // In the middle of the first pass over the archive, and of the second.
    for (reference, stop_at) in [
        (format!("oci-archive:{}", path.display()), length / 2),
        (format!("oci-archive:{}", path.display()), length / 2 * 3),
        (format!("rootfs:{}", root.display()), length / 2),
    ] {
        let reference = reference.parse().unwrap();
        let open = |watch: &Watch| {
            let source = umiak_registry::open_watched(&reference, &context, watch)?;
            source.resolve_watched(&[], watch).map(|image| (source, image))
        };
        let error = open(&Watch::until(stop_at)).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Cancelled, "{error:?}");
        let left = fs::read_dir(context.cache.join("unpacked")).map_or(0, Iterator::count);
        assert_eq!(left, 0, "nothing half-unpacked stays");
    }
    let watch = Watch::until(u64::MAX);
    let reference = format!("oci-archive:{}", path.display()).parse().unwrap();
    let source = umiak_registry::open_watched(&reference, &context, &watch).unwrap();
    assert_layers(source.as_ref(), &source.resolve(&[]).unwrap(), &sample);
    assert_eq!(watch.done.into_inner(), 2 * length);
    assert_eq!(watch.expected.into_inner(), 2 * length);
}

#[test]
fn an_old_docker_archive_gives_its_image() {
    let directory = tempfile::tempdir().unwrap();
    let context = context(directory.path());
    let sample = image("linux/amd64", 3, 3000);
    let config = sample::image(&sample)[2].digest;
    let path = directory.path().join("saved.tar");
    fs::write(&path, docker_archive(&sample, r#"["team/app:2"]"#)).unwrap();
    for name in ["", ":team/app:2", ":docker.io/team/app:2", &format!(":{config}")] {
        let source = source(&format!("docker-archive:{}{name}", path.display()), &context).unwrap();
        let found = source.resolve(&[]).unwrap();
        assert_eq!(found.reference, config.to_string());
        assert_layers(source.as_ref(), &found, &sample);
    }
    let missing = source(&format!("docker-archive:{}:other:1", path.display()), &context).unwrap();
    let error = missing.resolve(&[]).unwrap_err();
    assert!(matches!(&error, Error::NotFound { available, .. } if *available == ["team/app:2"]), "{error:?}");

    fs::write(&path, docker_archive(&sample, "null")).unwrap();
    let untagged = source(&format!("docker-archive:{}", path.display()), &context).unwrap();
    assert_eq!(untagged.resolve(&[]).unwrap().reference, config.to_string());

    fs::write(&path, tar(&[("x", b"y")])).unwrap();
    let other = source(&format!("docker-archive:{}", path.display()), &context).unwrap();
    let error = other.resolve(&[]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("docker save"), "{error}");
}

/// What `docker save` writes since Docker 25: an OCI layout with a manifest.json beside it.
#[test]
fn a_new_docker_archive_gives_its_image_both_ways() {
    let directory = tempfile::tempdir().unwrap();
    let context = context(directory.path());
    let mut sample = image("linux/arm64", 4, 9000);
    // Docker's classic store saves plain layers, containerd's store what was pulled.
    let packed = gzip_stored(&sample.layers[1].blob);
    sample.layers[1].blob = packed;
    sample.layers[1].media_type = umiak_spec::media_type::OCI_LAYER_GZIP.into();
    let blobs = sample::image(&sample);
    let [config, manifest] = &blobs[sample.layers.len()..] else { panic!("no config and manifest") };
    let place = |blob: &sample::Blob| format!("blobs/sha256/{}", blob.digest.hex());
    let names = blobs.iter().take(2).map(|blob| format!("\"{}\"", place(blob))).collect::<Vec<_>>().join(",");
    let listed = format!(r#"[{{"Config":"{}","RepoTags":["app:1"],"Layers":[{names}]}}]"#, place(config));
    let named = manifest.descriptor(r#","annotations":{"io.containerd.image.name":"docker.io/library/app:1","org.opencontainers.image.ref.name":"1"}"#);
    let index = format!(r#"{{"schemaVersion":2,"manifests":[{named}]}}"#);
    let paths: Vec<String> = blobs.iter().map(place).collect();
    let mut members: Vec<(&str, &[u8])> = vec![
        ("manifest.json", listed.as_bytes()),
        ("index.json", index.as_bytes()),
        ("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#),
    ];
    members.extend(paths.iter().map(String::as_str).zip(blobs.iter().map(|blob| blob.bytes.as_slice())));
    let path = directory.path().join("saved.tar");
    fs::write(&path, tar(&members)).unwrap();

    for (reference, pin) in [
        (format!("docker-archive:{}:app:1", path.display()), config.digest.to_string()),
        (format!("oci-archive:{}:1", path.display()), format!("oci-archive:{}@{}", path.display(), manifest.digest)),
    ] {
        let source = source(&reference, &context).unwrap();
        let found = source.resolve(&[platform("linux/arm64")]).unwrap();
        assert_eq!(found.reference, pin, "{reference}");
        assert_layers(source.as_ref(), &found, &sample);
        assert_eq!(found.layers[1].digest, blobs[1].digest, "a packed layer has the digest of what is there");
    }
    let error = source(&format!("docker-archive:{}", path.display()), &context)
        .unwrap()
        .resolve(&[platform("linux/amd64")])
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Platform);
}

#[test]
fn layers_that_are_links_to_layers_are_followed() {
    let directory = tempfile::tempdir().unwrap();
    let context = context(directory.path());
    let mut sample = image("linux/amd64", 3, 3000);
    sample.layers[1] = sample.layers[0].clone();
    let config = &sample::image(&sample)[2];
    let archive = |target: &str| {
        let mut writer = umiak_layer::LayerWriter::new(Vec::new());
        let plain = umiak_tree::Metadata::root_owned(0o644);
        let name = |name: &str| umiak_tree::TreePath::from_archive(name.as_bytes(), &umiak_spec::Limits::default());
        let link: umiak_tree::Kind<()> = umiak_tree::Kind::Symlink(target.as_bytes().into());
        // The link comes before what it points at, as in real archives.
        writer.other(&name("b/layer.tar").unwrap(), &plain, &link).unwrap();
        let manifest =
            format!(r#"[{{"Config":"{}.json","Layers":["a/layer.tar","b/layer.tar"]}}]"#, config.digest.hex());
        for (path, content) in [
            ("a/layer.tar", sample.layers[0].blob.as_slice()),
            (&format!("{}.json", config.digest.hex()), &config.bytes),
            ("manifest.json", manifest.as_bytes()),
        ] {
            let length = content.len() as u64;
            writer.file(&name(path).unwrap(), &plain, length, &mut { content }).unwrap();
        }
        writer.finish().unwrap()
    };
    let path = directory.path().join("saved.tar");
    let open = || source(&format!("docker-archive:{}", path.display()), &context).unwrap();
    fs::write(&path, archive("../a/layer.tar")).unwrap();
    let found = open().resolve(&[]).unwrap();
    assert_layers(open().as_ref(), &found, &sample);
    for nowhere in ["../../../../etc/hostname", "layer.tar", "../c/layer.tar"] {
        fs::write(&path, archive(nowhere)).unwrap();
        assert_eq!(open().resolve(&[]).unwrap_err().kind(), ErrorKind::Corrupt, "{nowhere}");
    }
}

#[test]
fn an_artifact_is_no_image() {
    let directory = tempfile::tempdir().unwrap();
    let (layout, context) = (directory.path().join("layout"), context(directory.path()));
    let open = |manifest: String, config: &[u8]| {
        let _ = fs::remove_dir_all(&layout);
        let mut blobs = sample::image(&image("linux/amd64", 1, 9));
        let top = blobs.pop().unwrap();
        blobs.truncate(1);
        let config = sample::Blob { digest: Digest::of(config), media_type: String::new(), bytes: config.to_vec() };
        let manifest = manifest
            .replace("LAYER", &blobs[0].descriptor(""))
            .replace("DIGEST", &config.digest.to_string())
            .replace("SIZE", &config.bytes.len().to_string());
        blobs.extend([config, sample::Blob { digest: Digest::of(manifest.as_bytes()), bytes: manifest.into(), ..top }]);
        sample::layout(&layout, "1", &blobs).unwrap();
        source(&format!("oci:{}:1", layout.display()), &context).unwrap().resolve(&[]).unwrap_err()
    };
    let with = |kind: &str| {
        format!(
            r#"{{"schemaVersion":2,"config":{{"mediaType":"{kind}","digest":"DIGEST","size":SIZE}},"layers":[LAYER]}}"#
        )
    };
    for config in [&b"{}"[..], b"no JSON"] {
        let error = open(with("application/vnd.example.chart.v1"), config);
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
        assert!(error.to_string().contains("vnd.example.chart"), "{error}");
        assert_eq!(open(with(umiak_spec::media_type::OCI_CONFIG), config).kind(), ErrorKind::Corrupt);
    }
}

#[test]
fn a_root_file_system_is_one_layer_and_its_bytes_do_not_depend_on_the_order_of_making() {
    let directory = tempfile::tempdir().unwrap();
    let context = context(directory.path());
    let archive = directory.path().join("root.tar");
    let content = tar(&[("etc/hostname", b"here")]);
    fs::write(&archive, &content).unwrap();
    let from_tar = source(&format!("rootfs:{}", archive.display()), &context).unwrap();
    let found = from_tar.resolve(&[]).unwrap();
    assert_eq!(bytes(&from_tar.fetch(&found.layers[0], &Silent).unwrap()), content);

    let digests: Vec<Digest> = [["a", "b", "c"], ["c", "a", "b"]]
        .iter()
        .enumerate()
        .map(|(number, names)| {
            let root = directory.path().join(format!("root{number}"));
            fs::create_dir(&root).unwrap();
            for name in names {
                fs::write(root.join(name), name).unwrap();
                let file = fs::File::options().write(true).open(root.join(name)).unwrap();
                file.set_modified(std::time::UNIX_EPOCH).unwrap();
            }
            std::os::unix::fs::symlink("a", root.join("link")).unwrap();
            fs::remove_file(root.join("link")).unwrap();
            fs::File::open(&root).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
            let source = source(&format!("rootfs:{}", root.display()), &context).unwrap();
            source.resolve(&[]).unwrap().layers[0].digest
        })
        .collect();
    assert_eq!(digests[0], digests[1]);
    let missing = source(&format!("rootfs:{}/none", directory.path().display()), &context).unwrap();
    assert_eq!(missing.resolve(&[]).unwrap_err().kind(), ErrorKind::NotFound);
}

/// A gzip stream of stored blocks: no compressor needed.
fn gzip_stored(bytes: &[u8]) -> Vec<u8> {
    let mut packed = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let mut chunks = bytes.chunks(0xffff).peekable();
    while let Some(chunk) = chunks.next() {
        let length = u16::try_from(chunk.len()).unwrap();
        packed.push(u8::from(chunks.peek().is_none()));
        packed.extend(length.to_le_bytes());
        packed.extend((!length).to_le_bytes());
        packed.extend(chunk);
    }
    let crc = !bytes.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| crc >> 1 ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 })
    });
    packed.extend(crc.to_le_bytes());
    packed.extend(u32::try_from(bytes.len()).unwrap().to_le_bytes());
    packed
}
