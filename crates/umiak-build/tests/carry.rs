//! An app in one file: what is written can be read by everyone it is meant for, and what is unpacked is what was meant.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may panic and write files")]

mod common;
#[path = "common/deltas.rs"]
mod shelf;

use std::fs;

use common::{archive, releases};
use shelf::{Shelf, packed};
use umiak_build::BuildError;
use umiak_build::compose::carry::{Carried, Layers, Piece, Service, Wanted, unpack, write};
use umiak_layer::LayerWriter;
use umiak_registry::BlobFile;
use umiak_spec::{Digest, ImageReference, Limits, Platform, Silent, media_type};
use umiak_testkit::sample::{SampleImage, SampleLayer, index, layout};
use umiak_tree::{Kind, Metadata, TreePath};

/// The archive of a project: docker-compose.yml and `more`, which has one name.
fn project(shelf: &Shelf, more: &str) -> BlobFile {
    let mut tar = LayerWriter::new(Vec::new());
    let path = |name: &str| TreePath::from_archive(name.as_bytes(), &Limits::default()).unwrap();
    let mut file = |name: &str, content: &str| {
        let metadata = Metadata { uid: 1000, ..Metadata::root_owned(0o755) };
        tar.file(&path(name), &metadata, content.len() as u64, &mut content.as_bytes()).unwrap();
    };
    file("docker-compose.yml", "services: {}\n");
    file(more, "more\n");
    let link: Kind<()> = Kind::Symlink(b"docker-compose.yml".to_vec().into());
    tar.other(&path("link"), &Metadata::root_owned(0o777), &link).unwrap();
    BlobFile::open(&shelf.write("project", &tar.finish().unwrap())).unwrap()
}

/// An app of the images of `services`.
fn app(shelf: &Shelf, services: &[Service], platforms: &[Platform], more: &str) -> Carried {
    let project = project(shelf, more);
    let bytes = fs::read(shelf.path("project")).unwrap();
    let images = platforms.iter().flat_map(|platform| {
        services.iter().map(move |service| shelf.work(|work| work.carry(service, platform)).unwrap())
    });
    Carried {
        name: "shop".into(),
        tag: "1.5.0".into(),
        manifest: Piece::document(media_type::OCI_MANIFEST, br#"{"schemaVersion":2}"#.to_vec()),
        blobs: vec![Piece::document("application/octet-stream", bytes)],
        project,
        images: images.collect(),
        signed: Vec::new(),
    }
}

fn service(name: &str, image: ImageReference, bases: Vec<ImageReference>) -> Service {
    Service { services: vec![name.into()], repository: format!("registry.example/team/{name}"), image, bases }
}

fn host() -> [Platform; 1] {
    [Platform::host()]
}

/// Two releases of an image as layouts `base` and `target`; their layers uncompressed.
fn two_releases(shelf: &Shelf) -> [Vec<u8>; 2] {
    let (base, target) = releases(7, 30, 4);
    let tars = [archive(&base), archive(&target)];
    shelf.image("base", &[packed(&tars[0])]);
    shelf.image("target", &[packed(&tars[1])]);
    tars
}

fn members(path: &std::path::Path) -> Vec<String> {
    let mut reader =
        umiak_layer::TarReader::new(std::io::BufReader::new(fs::File::open(path).unwrap()), Limits::default());
    let mut names = Vec::new();
    while let Some(entry) = reader.next_entry().unwrap() {
        names.push(entry.path.to_string());
    }
    names
}

#[test]
fn a_whole_app_is_a_layout_and_an_archive_of_docker_save_at_once() {
    let shelf = Shelf::new();
    let tars = two_releases(&shelf);
    let services = [service("web", shelf.at("target"), vec![]), service("db", shelf.at("base"), vec![])];
    let app = app(&shelf, &services, &host(), "settings");
    let (one, again) = (shelf.path("one.tar"), shelf.path("again.tar"));
    let written = write(&app, &one, &Limits::default(), &Silent).unwrap();
    assert_eq!(written.size, fs::metadata(&one).unwrap().len());
    assert_eq!(written.overrides, [(Platform::host(), "docker-compose.override.yml".to_owned())]);
    write(&app, &again, &Limits::default(), &Silent).unwrap();
    assert!(fs::read(&one).unwrap() == fs::read(&again).unwrap(), "the same app, the same bytes");

    let names = members(&one);
    assert_eq!(names[..3], ["/oci-layout", "/index.json", "/manifest.json"]);
    let project: Vec<_> = names.iter().filter(|name| name.starts_with("/apps/shop/")).collect();
    let wanted = ["docker-compose.yml", "settings", "link", "docker-compose.override.yml"];
    assert_eq!(project, wanted.map(|name| format!("/apps/shop/{name}")).iter().collect::<Vec<_>>());

    let reference = format!("oci-archive:{}", one.display()).parse().unwrap();
    let source = umiak_registry::open(&reference, shelf.sources()).unwrap();
    let (top, _) = source.top(&Silent).unwrap();
    assert_eq!(top.digest, app.manifest.blob.digest, "without a tag the file is its app");
    assert_eq!(top.annotations.app_name.as_deref(), Some("shop"));

    for (image, tar) in app.images.iter().zip([&tars[1], &tars[0]]) {
        let name = image.loaded_name().unwrap();
        assert!(name.starts_with("registry.example/team/"), "{name}");
        let manifest = image.manifest().unwrap().digest;
        for reference in
            [format!("oci-archive:{}@{manifest}", one.display()), format!("docker-archive:{}:{name}", one.display())]
        {
            assert_eq!(diff_ids(&shelf, &reference), [Digest::of(tar)], "{reference}");
        }
    }
    assert_eq!(shelf.litter(), Vec::<String>::new());
}

/// What the layers of an image are, uncompressed.
fn diff_ids(shelf: &Shelf, reference: &str) -> Vec<Digest> {
    let source = umiak_registry::open(&reference.parse().unwrap(), shelf.sources()).unwrap();
    let image = source.resolve(&[]).unwrap();
    let plain = |layer| {
        let mut bytes = Vec::new();
        let blob = source.fetch(layer, &Silent).unwrap();
        let mut reader = umiak_layer::decompress(blob.reader(), &Limits::default()).unwrap();
        std::io::Read::read_to_end(&mut reader, &mut bytes).unwrap();
        Digest::of(&bytes)
    };
    image.layers.iter().map(plain).collect()
}

#[test]
fn a_layer_that_is_not_what_its_digest_says_leaves_the_file_as_it_was() {
    let shelf = Shelf::new();
    two_releases(&shelf);
    let mut app = app(&shelf, &[service("web", shelf.at("target"), vec![])], &host(), "settings");
    let place = shelf.write("shop.tar", b"what was there before");
    let Layers::Full(layers) = &mut app.images[0].layers else { panic!("no base, no delta") };
    let size = usize::try_from(layers[0].blob.size).unwrap();
    for content in [vec![0; size], vec![0; size - 1]] {
        let Layers::Full(layers) = &mut app.images[0].layers else { panic!("no base, no delta") };
        layers[0].content = std::sync::Arc::new(content);
        assert!(write(&app, &place, &Limits::default(), &Silent).is_err());
        assert_eq!(fs::read(&place).unwrap(), b"what was there before");
        assert_eq!(shelf.litter(), Vec::<String>::new());
    }
}

#[test]
fn with_a_base_a_delta_travels_and_the_image_comes_out_of_it() {
    let shelf = Shelf::new();
    let tars = two_releases(&shelf);
    let services = [
        service("web", shelf.at("target"), vec![shelf.at("base")]),
        // The same in both releases.
        service("db", shelf.at("base"), vec![shelf.at("base")]),
        // New in this release.
        service("new", shelf.at("target"), vec![]),
    ];
    let app = app(&shelf, &services[..2], &host(), "settings");
    assert!(!app.is_loadable());
    let place = shelf.path("shop.tar");
    let written = write(&app, &place, &Limits::default(), &Silent).unwrap();
    let names = members(&place);
    assert!(!names.iter().any(|name| name.starts_with("/manifest.json") || name.starts_with("/apps")), "{names:?}");
    let full = self::app(&shelf, &services[2..], &host(), "settings");
    let full = write(&full, &shelf.path("full.tar"), &Limits::default(), &Silent).unwrap();
    // In images this small, what the delta says of devices weighs as much as what it saves.
    assert!(written.size < full.size + 1024, "{} < {}", written.size, full.size);

    let wanted = |bases: Vec<ImageReference>| {
        let wanted = app.images.iter().map(|image| Wanted {
            services: image.services.clone(),
            name: image.loaded_name().unwrap(),
            image: format!("oci-archive:{}@{}", place.display(), image.manifest().unwrap().digest).parse().unwrap(),
            bases: bases.clone(),
        });
        wanted.collect::<Vec<_>>()
    };
    let out = shelf.path("out");
    let go = |bases| shelf.work(|work| unpack(work, "shop", &app.project, &wanted(bases), &out));
    // Neither a wrong base nor a daemon that is not there gives anything.
    let error = go(vec![]).unwrap_err();
    assert!(matches!(&error, BuildError::NoBase { known, .. } if known.len() == 1), "{error}");
    assert!(matches!(go(vec![shelf.at("target")]), Err(BuildError::NoBase { .. })));
    assert!(!out.exists());
    assert_eq!(shelf.litter(), Vec::<String>::new());

    let unpacked = go(vec![shelf.at("base")]).unwrap();
    assert_eq!((unpacked.images, unpacked.rebuilt), (2, 2));
    for (image, tar) in app.images.iter().zip([&tars[1], &tars[0]]) {
        let reference = format!("docker-archive:{}:{}", out.join("images.tar").display(), image.loaded_name().unwrap());
        assert_eq!(diff_ids(&shelf, &reference), [Digest::of(tar)]);
    }
    let text = fs::read_to_string(out.join("shop").join(&unpacked.compose_file)).unwrap();
    assert!(app.images.iter().all(|image| text.contains(&image.loaded_name().unwrap())), "{text}");
    assert_eq!(fs::read(out.join("shop/link")).unwrap(), b"services: {}\n");
}

#[test]
fn several_platforms_have_a_compose_file_each_and_their_index_travels() {
    let shelf = Shelf::new();
    let platforms: [Platform; 2] = ["linux/amd64".parse().unwrap(), "linux/arm/v7".parse().unwrap()];
    let images = platforms.clone().map(|platform| SampleImage {
        layers: vec![SampleLayer::plain(platform.to_string().into_bytes())],
        platform: platform.to_string(),
    });
    layout(&shelf.path("both"), "v", &index(&images)).unwrap();
    let app = app(&shelf, &[service("web", shelf.at("both"), vec![])], &platforms, "compose.override.yaml");
    assert!(app.images.iter().all(|image| image.documents.len() == 2));
    let written = write(&app, &shelf.path("shop.tar"), &Limits::default(), &Silent).unwrap();
    let names: Vec<_> = written.overrides.iter().map(|(_, name)| name.as_str()).collect();
    assert_eq!(names, ["docker-compose.linux-amd64.yml", "docker-compose.linux-arm-v7.yml"]);
    let one = self::app(&shelf, &[service("web", shelf.at("both"), vec![])], &platforms[1..], "compose.override.yaml");
    let written = write(&one, &shelf.path("one.tar"), &Limits::default(), &Silent).unwrap();
    assert_eq!(written.overrides[0].1, "docker-compose.carried.yml", "the project has an override of its own");
}
