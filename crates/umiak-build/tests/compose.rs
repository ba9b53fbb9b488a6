//! Compose Apps published to a registry that is played, and read back: what is stored, in which order, and what goes wrong.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::{Arc, Mutex};

use umiak_build::BuildError;
use umiak_build::compose::{
    App, Bundle, ComposeError, Format, Packed, PackedService, Pin, PinnedImages, Project, Published, Request, Wanted,
    Work,
};
use umiak_layer::LayerWriter;
use umiak_registry::{Context, Place, RegistrySettings, open_sink};
use umiak_spec::app::{AppError, BundleIndex, Form};
use umiak_spec::media_type::{OCI_INDEX, OCI_MANIFEST};
use umiak_spec::{Descriptor, Digest, ImageReference, Limits, Silent};
use umiak_testkit::http::{Manner, Server, Store};
use umiak_testkit::sample::{self, Blob, SampleImage, SampleLayer};
use umiak_tree::{Metadata, TreePath};

fn tar(files: &[(&str, &str)]) -> Vec<u8> {
    let mut archive = LayerWriter::new(Vec::new());
    for (path, content) in files {
        let path = TreePath::from_archive(path.as_bytes(), &Limits::default()).unwrap();
        let size = content.len() as u64;
        archive.file(&path, &Metadata::root_owned(0o644), size, &mut content.as_bytes()).unwrap();
    }
    archive.finish().unwrap()
}

/// A project whose compose file is as simple as can be.
struct Simple(Vec<(&'static str, String)>, &'static str);

impl Project for Simple {
    fn pack(&self, pin: &mut Pin<'_>) -> Result<Packed, BuildError> {
        let (mut compose, mut services) = ("services:\n".to_owned(), Vec::new());
        for (name, image) in &self.0 {
            let ImageReference::Bare(image) = image.parse().unwrap() else { panic!("{image}") };
            let pinned = format!("{}/{}@{}", image.host, image.repository, pin(name, &image)?);
            compose.push_str(&format!("  {name}:\n    image: {pinned}\n{}", self.1));
            services.push(PackedService { name: name.to_string(), image: pinned, platform: None });
        }
        let archive = tar(&[("conf/a&b.conf", "x"), ("docker-compose.yml", &compose)]);
        let index: BundleIndex =
            [("conf/a&b.conf", Digest::of(b"x")), ("docker-compose.yml", Digest::of(compose.as_bytes()))]
                .into_iter()
                .collect();
        let blob = Descriptor::new("application/octet-stream", Digest::of(&archive), archive.len() as u64);
        Ok(Packed { archive: Arc::new(archive), blob, index, compose, services, notes: Vec::new() })
    }
}

struct Shop {
    scratch: tempfile::TempDir,
    server: Server,
    store: Store,
}

impl Shop {
    fn new() -> Self {
        let (server, store) = Store::start(Manner::default()).unwrap();
        Self { scratch: tempfile::tempdir().unwrap(), server, store }
    }

    fn context(&self, cache: &str) -> Context {
        context(&self.scratch.path().join(cache))
    }

    fn name(&self) -> String {
        format!("{}/team/app", self.server.address())
    }

    /// Stores an image of several platforms; each has a layer of its own above a common one.
    fn image(&self, tag: &str, platforms: &[&str]) -> Vec<Blob> {
        let samples = platforms.iter().map(|platform| {
            let own = tar(&[("bin/app", &format!("{tag} for {platform}"))]);
            let layers = vec![SampleLayer::plain(tar(&[("etc/os-release", "ID=test\n")])), SampleLayer::plain(own)];
            SampleImage { platform: platform.to_string(), layers }
        });
        let blobs = sample::index(&samples.collect::<Vec<_>>());
        self.put(tag, &blobs);
        blobs
    }

    fn put(&self, tag: &str, blobs: &[Blob]) {
        let context = self.context("sender");
        let sink = open_sink(&format!("docker://{}:{tag}", self.name()).parse().unwrap(), &context).unwrap();
        let last = blobs.last().unwrap().digest;
        for blob in blobs {
            if [OCI_MANIFEST, OCI_INDEX].contains(&blob.media_type.as_str()) {
                let tag = (blob.digest == last).then_some(tag);
                sink.put_manifest(&blob.bytes, &blob.media_type, tag, &Silent).unwrap();
            } else {
                let descriptor = Descriptor::new(&*blob.media_type, blob.digest, blob.bytes.len() as u64);
                sink.put_blob(&descriptor, &blob.bytes, &Silent).unwrap();
            }
        }
    }

    fn project(&self, services: &[(&'static str, &str)]) -> Simple {
        Simple(services.iter().map(|(name, tag)| (*name, format!("{}:{tag}", self.name()))).collect(), "")
    }

    fn publish(&self, project: &Simple, format: Format, wanted: &[&str]) -> Result<Published, BuildError> {
        let app = format!("docker://{}:1.0", self.name()).parse().unwrap();
        publish(&self.context("publisher"), &app, project, format, wanted)
    }

    fn read(&self, target: &str) -> Result<App, BuildError> {
        let context = self.context("reader");
        work(&context).read(&format!("docker://{}{target}", self.name()).parse().unwrap(), &[])
    }
}

fn context(cache: &Path) -> Context {
    Context {
        cache: cache.to_owned(),
        order: vec![Place::Remote],
        docker_socket: "/nonexistent".into(),
        registry: RegistrySettings::default(),
        limits: Limits::default(),
    }
}

fn work(context: &Context) -> Work<'_> {
    Work { sources: context, limits: Limits::default(), threads: NonZeroUsize::MIN, device: false, observer: &Silent }
}

fn publish(
    context: &Context,
    app: &ImageReference,
    project: &Simple,
    format: Format,
    wanted: &[&str],
) -> Result<Published, BuildError> {
    let wanted: Vec<Wanted> = wanted.iter().map(|text| text.parse().unwrap()).collect();
    let pinned = PinnedImages::default();
    let request = Request { app, project, format, wanted: &wanted, pinned, layers_meta: None };
    let work = work(context);
    work.publish(&work.draft(request)?)
}

fn compose_error(error: BuildError) -> ComposeError {
    match error {
        BuildError::Compose(error) => *error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_app_of_others_is_read_for_its_images() {
    let shop = Shop::new();
    let web = shop.image("web", &["linux/amd64"]);
    let mut project = shop.project(&[("web", "web")]);
    // A key that this umiak does not know.
    project.1 = "    hologram: bright\n";
    shop.publish(&project, Format::Foundries, &[]).unwrap();
    let app = shop.read(":1.0").unwrap();
    assert_eq!(app.services.len(), 1);
    assert!(app.services[0].reference.ends_with(&format!("@{}", web.last().unwrap().digest)));
}

#[test]
fn an_app_is_read_as_it_was_published() {
    let shop = Shop::new();
    let web = shop.image("web", &["linux/amd64", "linux/arm/v6", "linux/arm/v7"]);
    shop.image("db", &["linux/arm/v7", "linux/amd64", "linux/arm64"]);
    let project = shop.project(&[("web", "web"), ("db", "db"), ("cron", "web")]);
    let published = shop.publish(&project, Format::Umiak, &[]).unwrap();
    let app = shop.read(":1.0").unwrap();
    assert_eq!((app.descriptor.digest, &app.manifest), (published.descriptor.digest, &published.manifest));
    assert_eq!(app.name, "app");
    assert_eq!(app.layers_meta.as_ref(), Some(&published.layers_meta));
    assert_eq!(app.measures, published.measures);
    let names: Vec<_> = app.services.iter().map(|service| service.name.as_str()).collect();
    assert_eq!(names, ["web", "db", "cron"]);
    assert_eq!(app.images.len(), 2);
    assert!(app.services[0].reference.ends_with(&format!("@{}", web.last().unwrap().digest)));
    assert_eq!(app.image(&app.services[2]), app.image(&app.services[0]));
    let platforms: Vec<_> = app.platforms(&[]).unwrap().iter().map(|on| on.platform.to_string()).collect();
    assert_eq!(platforms, ["linux/amd64", "linux/arm/v7"]);
    // The indexes of the existing readers know no variants.
    let architectures: Vec<_> = published.layers_meta.architectures.keys().collect();
    assert_eq!(architectures, ["amd64", "arm"]);
    let measures = published.measures.unwrap();
    let platforms: Vec<_> = measures.platforms.keys().map(ToString::to_string).collect();
    assert_eq!(platforms, ["linux/amd64", "linux/arm/v7"]);
    let files: Vec<_> = app.bundle.files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(files, ["conf/a&b.conf", "docker-compose.yml"]);
    assert_eq!(app.manifest.form, Form::Artifact);
    assert!(app.manifest.layers_indexes.is_empty());
    // By digest, with nothing at hand, it is the same.
    let again = shop.read(&format!("@{}", published.descriptor.digest)).unwrap();
    assert_eq!((again.bytes, again.services), (app.bytes, app.services));
}

#[test]
fn the_same_project_gives_the_same_app() {
    let shop = Shop::new();
    shop.image("web", &["linux/amd64", "linux/arm64"]);
    let project = shop.project(&[("web", "web")]);
    let once = shop.publish(&project, Format::Umiak, &[]).unwrap();
    let twice = shop.publish(&project, Format::Umiak, &[]).unwrap();
    assert_eq!(once.descriptor, twice.descriptor);
    let less = shop.publish(&project, Format::Umiak, &["arm64"]).unwrap();
    assert_ne!(once.descriptor, less.descriptor);
    let plain = shop.publish(&project, Format::Foundries, &[]).unwrap();
    assert!(plain.manifest.measures.is_none() && plain.manifest.layers_meta == once.manifest.layers_meta);
}

/// The tag is asked for once; what it becomes meanwhile does not matter.
#[test]
fn a_tag_that_changes_between_requests_changes_nothing() {
    let shop = Shop::new();
    let other = shop.image("other", &["linux/amd64"]);
    let first = shop.image("web", &["linux/amd64"]);
    let (store, changed) = (shop.store.clone(), Arc::new(Mutex::new(0)));
    let counted = Arc::clone(&changed);
    let server = Server::start(move |request| {
        let answer = store.answer(request, Manner::default());
        if request.method == "GET" && request.target.ends_with("/manifests/web") {
            *counted.lock().unwrap() += 1;
            store.put("web", OCI_INDEX, other.last().unwrap().bytes.clone());
        }
        answer
    })
    .unwrap();
    let name = format!("{}/team/app", server.address());
    let project = Simple(vec![("one", format!("{name}:web")), ("two", format!("{name}:web"))], "");
    let app = format!("docker://{name}:1.0").parse().unwrap();
    let context = shop.context("publisher");
    publish(&context, &app, &project, Format::Umiak, &[]).unwrap();
    let app = work(&context).read(&app, &[]).unwrap();
    assert_eq!(*changed.lock().unwrap(), 1);
    for service in &app.services {
        assert!(service.reference.ends_with(&first.last().unwrap().digest.to_string()));
    }
}

/// Nothing names the app before all of it is there, and its tag is the last thing that is written.
#[test]
fn the_tag_is_written_last() {
    let shop = Shop::new();
    shop.image("web", &["linux/amd64"]);
    let before = shop.server.requests().len();
    let published = shop.publish(&shop.project(&[("web", "web")]), Format::Umiak, &[]).unwrap();
    let written: Vec<String> = shop.server.requests()[before..]
        .iter()
        .filter(|request| request.method == "PUT")
        .map(|request| request.target.split('?').next().unwrap().to_owned())
        .collect();
    let manifests = written.iter().filter(|target| target.contains("/manifests/")).cloned().collect::<Vec<_>>();
    let digest = published.descriptor.digest;
    assert_eq!(manifests, [format!("/v2/team/app/manifests/{digest}"), "/v2/team/app/manifests/1.0".into()]);
    assert!(written.ends_with(&manifests));
    for blob in published.manifest.blobs() {
        assert_eq!(shop.store.blob(&blob.digest).map(|bytes| bytes.len() as u64), Some(blob.size));
    }
}

#[test]
fn the_legacy_form_is_refused_by_registries_that_know_the_specification() {
    let shop = Shop::new();
    shop.image("web", &["linux/amd64"]);
    let error = shop.publish(&shop.project(&[("web", "web")]), Format::FoundriesLegacy, &[]).unwrap_err();
    assert!(matches!(compose_error(error), ComposeError::Refused { .. }));
    assert!(shop.store.manifest("1.0").is_none());
    // A layout takes it.
    let (layout, context) = (shop.scratch.path().join("shop"), shop.context("publisher"));
    let app: ImageReference = format!("oci:{}:1.0", layout.display()).parse().unwrap();
    let published = publish(&context, &app, &shop.project(&[("web", "web")]), Format::FoundriesLegacy, &[]).unwrap();
    let read = work(&context).read(&app, &[]).unwrap();
    assert_eq!((read.manifest.form, read.name.as_str()), (Form::Legacy, "shop"));
    assert_eq!(read.manifest, published.manifest);
    let entry = &read.manifest.layers_indexes[0];
    let index = std::fs::read(layout.join("blobs/sha256").join(entry.digest.hex())).unwrap();
    let index = umiak_spec::app::LayersIndex::parse(&index, &Limits::default()).unwrap();
    assert_eq!((index.architecture(), index.layers().len()), ("amd64", 2));
}

#[test]
fn a_platform_that_a_service_lacks_is_named() {
    let shop = Shop::new();
    shop.image("web", &["linux/amd64", "linux/arm64"]);
    shop.image("db", &["linux/amd64"]);
    let project = shop.project(&[("web", "web"), ("db", "db")]);
    let error = compose_error(shop.publish(&project, Format::Umiak, &["arm64"]).unwrap_err());
    let ComposeError::NotMadeFor { service, wanted, offered, .. } = error else { panic!("{error:?}") };
    assert_eq!((service.as_str(), wanted.as_str()), ("db", "arm64"));
    assert_eq!(offered, ["linux/amd64"]);
    shop.image("other", &["linux/arm64"]);
    let apart = shop.project(&[("db", "db"), ("other", "other")]);
    let error = compose_error(shop.publish(&apart, Format::Umiak, &[]).unwrap_err());
    assert!(matches!(error, ComposeError::NothingInCommon { services } if services.len() == 2));
    assert!(shop.store.manifest("1.0").is_none());
}

#[test]
fn a_single_manifest_is_an_image_of_one_platform() {
    let shop = Shop::new();
    let layers = vec![SampleLayer::plain(tar(&[("bin/app", "one")]))];
    shop.put("web", &sample::image(&SampleImage { platform: "linux/arm/v6".into(), layers }));
    let published = shop.publish(&shop.project(&[("web", "web")]), Format::Umiak, &[]).unwrap();
    let platforms: Vec<_> = published.measures.unwrap().platforms.into_keys().map(|on| on.to_string()).collect();
    assert_eq!(platforms, ["linux/arm/v6"]);
    let missing = shop.publish(&shop.project(&[("web", "web")]), Format::Umiak, &["amd64"]).unwrap_err();
    assert!(matches!(compose_error(missing), ComposeError::NotMadeFor { .. }));
}

#[test]
fn an_image_that_is_not_there_names_its_service() {
    let shop = Shop::new();
    let error = compose_error(shop.publish(&shop.project(&[("web", "gone")]), Format::Umiak, &[]).unwrap_err());
    let ComposeError::Image { services, source, .. } = error else { panic!("{error:?}") };
    assert_eq!((services, source.kind()), (vec!["web".to_owned()], umiak_registry::ErrorKind::NotFound));
}

/// A manifest that says that a layer, a config or the app's metadata is longer or shorter than it is.
#[test]
fn sizes_that_are_lies_are_found() {
    let shop = Shop::new();
    let image = |tag: &str, change: &dyn Fn(String) -> String| {
        let layers = vec![SampleLayer::plain(tar(&[("bin/app", tag)]))];
        let mut blobs = sample::image(&SampleImage { platform: "linux/amd64".into(), layers });
        let manifest = blobs.last_mut().unwrap();
        let changed = change(String::from_utf8(manifest.bytes.clone()).unwrap());
        assert_ne!(changed.as_bytes(), manifest.bytes);
        (manifest.digest, manifest.bytes) = (Digest::of(changed.as_bytes()), changed.into_bytes());
        shop.put(tag, &blobs);
        blobs
    };
    let lie = |text: String, from: usize| {
        let at = text[from..].find("\"size\":").unwrap() + from + 7;
        format!("{}1{}", &text[..at], &text[at..])
    };
    image("config", &|text| lie(text, 0));
    image("layer", &|text| {
        let from = text.find("\"layers\"").unwrap();
        lie(text, from)
    });
    for tag in ["config", "layer"] {
        let error = shop.publish(&shop.project(&[("web", tag)]), Format::Umiak, &[]).unwrap_err();
        match compose_error(error) {
            ComposeError::Image { source, .. } => assert_eq!(source.kind(), umiak_registry::ErrorKind::Corrupt),
            other => panic!("{other:?}"),
        }
    }
    assert!(shop.store.manifest("1.0").is_none());

    // An app whose metadata tells another size than the images' manifests.
    shop.image("web", &["linux/amd64"]);
    let published = shop.publish(&shop.project(&[("web", "web")]), Format::Foundries, &[]).unwrap();
    let mut meta = published.layers_meta.clone();
    let layer = meta.architectures.values_mut().flat_map(|meta| meta.layers.values_mut()).next().unwrap();
    layer.archive_size = layer.archive_size.map(|size| size + 1);
    let bytes = meta.to_bytes();
    let mut manifest = published.manifest.clone();
    manifest.layers_meta = Some(Descriptor::new("application/octet-stream", Digest::of(&bytes), bytes.len() as u64));
    let sink = open_sink(&format!("docker://{}:lies", shop.name()).parse().unwrap(), &shop.context("sender")).unwrap();
    sink.put_blob(manifest.layers_meta.as_ref().unwrap(), &bytes, &Silent).unwrap();
    sink.put_manifest(&manifest.to_bytes(), OCI_MANIFEST, Some("lies"), &Silent).unwrap();
    assert!(matches!(compose_error(shop.read(":lies").unwrap_err()), ComposeError::Sizes { .. }));
}

#[test]
fn a_bundle_that_is_not_what_its_index_says_is_refused() {
    let shop = Shop::new();
    shop.image("web", &["linux/amd64"]);
    let published = shop.publish(&shop.project(&[("web", "web")]), Format::Umiak, &[]).unwrap();
    let bytes = BundleIndex::from_iter([("docker-compose.yml", Digest::of(b"other"))]).to_bytes();
    let mut manifest = published.manifest;
    let index = Descriptor::new("application/octet-stream", Digest::of(&bytes), bytes.len() as u64);
    let sink = open_sink(&format!("docker://{}:x", shop.name()).parse().unwrap(), &shop.context("sender")).unwrap();
    // Named, and never there: nothing keeps it in a registry.
    manifest.bundle_index = Some(index.clone());
    sink.put_manifest(&manifest.to_bytes(), OCI_MANIFEST, Some("gone"), &Silent).unwrap();
    assert_eq!(shop.read(":gone").unwrap().manifest, manifest);
    sink.put_blob(&index, &bytes, &Silent).unwrap();
    let error = compose_error(shop.read(":gone").unwrap_err());
    let ComposeError::App { source, .. } = error else { panic!("{error:?}") };
    assert!(matches!(*source, AppError::Inconsistent { .. }), "{source:?}");
}

#[test]
fn an_image_is_no_app() {
    let shop = Shop::new();
    shop.image("web", &["linux/amd64"]);
    let error = compose_error(shop.read(":web").unwrap_err());
    assert!(matches!(error, ComposeError::App { source, .. } if matches!(*source, AppError::Other(_))));
}

#[test]
fn names_that_no_app_can_have_are_refused_before_anything_is_asked() {
    let shop = Shop::new();
    let digest = Digest::of(b"");
    for app in ["docker://127.0.0.1:1/team/app", &format!("docker://127.0.0.1:1/team/app:1@{digest}"), "rootfs:/tmp"] {
        let result =
            publish(&shop.context("x"), &app.parse().unwrap(), &shop.project(&[("web", "web")]), Format::Umiak, &[]);
        assert!(matches!(compose_error(result.unwrap_err()), ComposeError::Name { .. }), "{app}");
    }
    assert!(shop.server.requests().is_empty());
}

#[test]
fn images_that_are_known_need_not_be_asked_for() {
    let shop = Shop::new();
    let web = shop.image("web", &["linux/amd64"]);
    let digest = web.last().unwrap().digest;
    let list = format!("# built just now\n\n{}:fresh@{digest}\n{}@{digest}\n", shop.name(), shop.name());
    let project = Simple(vec![("a", format!("{}:fresh", shop.name())), ("b", shop.name())], "");
    let app = format!("docker://{}:1.0", shop.name()).parse().unwrap();
    let context = shop.context("publisher");
    let pinned = PinnedImages::parse(&list).unwrap();
    let work = work(&context);
    let draft = work
        .draft(Request { app: &app, project: &project, format: Format::Umiak, wanted: &[], pinned, layers_meta: None })
        .unwrap();
    assert_eq!(draft.images.len(), 1);
    assert!(draft.services.iter().all(|service| service.reference == format!("{}@{digest}", shop.name())));
    assert!(shop.server.requests().iter().all(|request| !request.target.ends_with("/fresh")));
    let wrong = PinnedImages::parse("a:1\n");
    assert!(matches!(wrong, Err(ComposeError::PinnedLine { line: 1, .. })));
}

/// Metadata that was measured in another place: no layer is fetched.
#[test]
fn metadata_that_was_measured_before_is_used() {
    let shop = Shop::new();
    shop.image("web", &["linux/amd64", "linux/arm64"]);
    let project = shop.project(&[("web", "web")]);
    let measured = shop.publish(&project, Format::Foundries, &[]).unwrap();
    let app = format!("docker://{}:2.0", shop.name()).parse().unwrap();
    let context = shop.context("elsewhere");
    let work = work(&context);
    let request = |layers_meta| {
        let pinned = PinnedImages::default();
        Request { app: &app, project: &project, format: Format::Umiak, wanted: &[], pinned, layers_meta }
    };
    let before = shop.server.requests().len();
    let draft = work.draft(request(Some(measured.layers_meta.clone()))).unwrap();
    let published = work.publish(&draft).unwrap();
    assert_eq!(published.layers_meta, measured.layers_meta);
    assert!(published.measures.is_none());
    let layers: Vec<Digest> =
        measured.layers_meta.architectures.values().flat_map(|meta| meta.layers.keys().copied()).collect();
    let fetched = |digest: &Digest| {
        let target = format!("/v2/team/app/blobs/{digest}");
        shop.server.requests()[before..].iter().any(|request| request.target == target)
    };
    assert!(!layers.iter().any(fetched));
    // What it does not know is said before anything is stored.
    let mut less = measured.layers_meta;
    less.architectures.remove("arm64");
    let error = compose_error(work.draft(request(Some(less))).err().unwrap());
    assert!(matches!(error, ComposeError::App { source, .. } if matches!(*source, AppError::Missing { .. })));
}

/// An app in a layout with its images beside it needs no registry.
#[test]
fn images_beside_an_app_are_found_there() {
    let shop = Shop::new();
    let web = shop.image("web", &["linux/amd64"]);
    let context = shop.context("publisher");
    let layout = shop.scratch.path().join("shop");
    let app: ImageReference = format!("oci:{}:1.0", layout.display()).parse().unwrap();
    publish(&context, &app, &shop.project(&[("web", "web")]), Format::Umiak, &[]).unwrap();
    for blob in &web {
        std::fs::write(layout.join("blobs/sha256").join(blob.digest.hex()), &blob.bytes).unwrap();
    }
    let before = shop.server.requests().len();
    let empty = shop.context("empty");
    let read = work(&empty).read(&app, &[]).unwrap();
    assert_eq!(read.images[0].descriptor.digest, web.last().unwrap().digest);
    assert_eq!(shop.server.requests().len(), before);
}

/// Files of a bundle that nobody should follow, and what is no archive at all.
#[test]
fn hostile_bundles_are_errors() {
    let read = |bytes: &[u8]| Bundle::read(bytes, &Limits::default(), &Silent);
    assert!(read(b"").is_ok_and(|bundle| bundle.files.is_empty()));
    assert!(read(&[7; 2000]).is_err());
    let good = tar(&[("a", "x"), ("b/c", "yy")]);
    let bundle = read(&good).unwrap();
    let names: BTreeMap<_, _> = bundle.files.iter().map(|file| (file.name.as_str(), file.size)).collect();
    assert_eq!(names, [("a", 1), ("b/c", 2)].into());
    assert_eq!(bundle.size(), 3);
    for at in 0..good.len() {
        let mut damaged = good.clone();
        damaged[at] ^= 0x41;
        let _ = read(&damaged);
        let _ = read(&good[..at]);
    }
}
