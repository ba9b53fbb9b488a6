//! Targets of every kind, resolved, planned, fetched and read again without network.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may panic and write files")]

mod device;

use std::fs;

use device::{World, bring, image, layer, noise, sources, tar};
use umiak_agent::target::{accept, asked};
use umiak_agent::{Class, How, Occasion, Root, Silently, Supply as _};
use umiak_sign::Policy;
use umiak_spec::delta::{Content, LAYER_DELTA, Part};
use umiak_spec::target::{Kind, Target};
use umiak_spec::{DeltaManifest, Descriptor, Digest, Limits, media_type};
use umiak_store::{Closure, Object, Store};
use umiak_testkit::cosign::Signer;
use umiak_testkit::sample;

/// All that a target needs.
fn closure(sources: &umiak_agent::sources::Sources, store: &Store, target: &Target) -> Closure {
    let mut closure = Closure::default();
    for app in &target.apps {
        closure.extend(&sources.closure(store, app).unwrap());
    }
    closure
}

/// What an update is planned beside while `current` runs.
fn beside(current: &Target) -> Occasion {
    Occasion { current: Some(current.clone()), ..Occasion::default() }
}

#[test]
fn a_tag_is_asked_for_once_and_what_it_meant_then_is_what_comes() {
    let world = World::new();
    let (sources, store) = (sources(), world.store());
    let first = world.publish("stable", &image(vec![layer("a", b"first")]));
    let target = sources.resolve(&store, &world.asked(&world.reference("stable")), &Silently).unwrap();
    assert_eq!((target.apps[0].kind, target.apps[0].top.digest), (Kind::Image, first));
    // The tag moves in the middle of the update.
    let second = world.publish("stable", &image(vec![layer("a", b"second")]));
    assert_ne!(first, second);
    let planned = bring(&sources, &store, &target, None);
    assert_eq!((planned.refusal.as_deref(), planned.changes[0].how), (None, How::Full));
    let closure = closure(&sources, &store, &target);
    assert!(store.missing(&closure).is_empty(), "{:?}", store.missing(&closure));
    assert!(closure.blobs.contains(&first) && !closure.blobs.contains(&second));
    assert_eq!(world.server.count(&format!("/v2/{}/manifests/stable", device::REPOSITORY)), 1);
    // The blob of the layer is gone: the layer is what is kept.
    let blobs = store.blob_list().unwrap();
    assert_eq!(blobs.len(), 2, "manifest and config: {blobs:?}");
    let again = sources.plan(&store, &target, &beside(&target), &Silently).unwrap();
    assert_eq!((again.download, again.changes[0].how), (0, How::Unchanged));
}

#[test]
fn an_app_is_read_without_network_once_it_was_resolved() {
    let world = World::new();
    let (sources, store) = (sources(), world.store());
    let images = [("linux/amd64", b"one"), ("linux/arm64", b"two")].map(|(platform, text)| sample::SampleImage {
        platform: platform.into(),
        layers: vec![layer("bin/app", text), layer("etc/conf", &noise(200_000, 7))],
    });
    let index = world.publish("web", &sample::index(&images));
    let app = world.publish_app("stable", &index);
    let target = sources.resolve(&store, &world.asked(&world.reference("stable")), &Silently).unwrap();
    assert_eq!((target.apps[0].kind, target.apps[0].top.digest), (Kind::Compose, app));
    bring(&sources, &store, &target, None);
    let asked_before = world.server.requests().len();

    let described = sources.describe(&store, &target.apps[0]).unwrap();
    let part = &described.parts[0];
    assert_eq!(
        (part.service.name.as_str(), part.service.process.args.as_slice()),
        ("web", &["/bin/app".to_owned()][..])
    );
    let Root::Layers(layers) = &part.root else { panic!("a root of layers") };
    assert_eq!(layers[..], images[0].layers.iter().map(|layer| layer.diff_id).collect::<Vec<_>>());
    assert_eq!(sources.lowers(&store, &part.root).unwrap().len(), 2);
    let closure = closure(&sources, &store, &target);
    assert!(store.missing(&closure).is_empty());
    assert!(closure.blobs.contains(&index) && closure.blobs.contains(&app));
    let project = world.path().join("project");
    fs::create_dir(&project).unwrap();
    sources.unpack(&store, &described.project.unwrap(), &project).unwrap();
    assert_eq!(fs::read(project.join("site/index.html")).unwrap(), b"<h1>hello</h1>");
    assert_eq!(world.server.requests().len(), asked_before, "nobody was asked");
}

#[test]
fn older_generations_are_refused_before_anything_is_fetched() {
    let world = World::new();
    let (sources, store) = (sources(), world.store());
    world.publish("stable", &image(vec![layer("a", b"first")]));
    let mut asked = world.asked(&world.reference("stable"));
    asked.generation = Some(7);
    assert_eq!(sources.resolve(&store, &asked, &Silently).unwrap().generation, 7);
    asked.generation = Some(1);
    assert!(sources.resolve(&store, &asked, &Silently).is_ok(), "looking accepts nothing");
    asked.generation = Some(7);
    accept(&store, 7).unwrap();
    assert!(sources.resolve(&store, &asked, &Silently).is_ok(), "the same again");
    let before = world.server.requests().len();
    for older in [Some(6), None] {
        asked.generation = older;
        let error = sources.resolve(&store, &asked, &Silently).unwrap_err();
        assert_eq!(error.class, Class::Corrupt, "{error}");
    }
    assert_eq!(world.server.requests().len(), before);
    drop(store);
    let store = world.store();
    assert!(sources.resolve(&store, &asked, &Silently).is_err(), "also after a restart");
}

#[test]
fn a_digest_that_the_tag_does_not_lead_to_is_refused() {
    let world = World::new();
    let (sources, store) = (sources(), world.store());
    let first = world.publish("stable", &image(vec![layer("a", b"first")]));
    world.publish("stable", &image(vec![layer("a", b"second")]));
    let mut asked = world.asked(&world.reference("stable"));
    asked.apps[0].digest = Some(first);
    let target = sources.resolve(&store, &asked, &Silently).unwrap();
    assert_eq!(target.apps[0].top.digest, first, "the digest decides");
    asked.apps[0].digest = Some(Digest::of(b"never published"));
    assert_eq!(sources.resolve(&store, &asked, &Silently).unwrap_err().class, Class::Usage);
}

#[test]
fn a_bundle_needs_no_network() {
    let world = World::new();
    let (sources, store) = (sources(), world.store());
    let blobs = image(vec![layer("a", &noise(50_000, 3)), layer("b", b"two")]);
    let layout = world.path().join("layout");
    sample::layout(&layout, "1.0", &blobs).unwrap();
    let mut files = vec![
        ("oci-layout".to_owned(), fs::read(layout.join("oci-layout")).unwrap()),
        ("index.json".to_owned(), fs::read(layout.join("index.json")).unwrap()),
    ];
    files.extend(blobs.iter().map(|blob| (format!("blobs/sha256/{}", blob.digest.hex()), blob.bytes.clone())));
    let members: Vec<(&str, &[u8])> = files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    fs::write(world.path().join("shop.bin"), tar(&members)).unwrap();

    // A file is known by what is in it.
    let asked = asked(&["shop.bin".into()], world.path(), &Limits::default()).unwrap();
    let target = sources.resolve(&store, &asked, &Silently).unwrap();
    assert_eq!((target.apps[0].name.as_str(), target.apps[0].kind), ("shop", Kind::Image));
    bring(&sources, &store, &target, None);
    assert!(store.missing(&closure(&sources, &store, &target)).is_empty());
    assert!(world.server.requests().is_empty());
}

/// A package of one container with a file above its root, beside which lies what is none of its objects.
fn package(world: &World, object: &[u8], above: &str) {
    let conf = "lxc.rootfs.path = overlayfs:/volumes/maps/root.squashfs:/volumes/maps/lxc-overlay/upper\n\
                lxc.init.cmd = /bin/maps \"-v\"\n";
    let digest = |bytes: &[u8]| Digest::of(bytes).hex();
    let run = r##"{"#spec":"service-manifest-run@1","name":"maps","type":"lxc","config":"lxc.container.conf",
        "root-volume":"root.squashfs","volumes":[],"storage":{"lxc-overlay":{"persistence":"boot"}}}"##;
    let state = format!(
        r##"{{"#spec":"pantavisor-service-system@1","maps/root.squashfs":"{}","maps/run.json":{run},
        "maps/lxc.container.conf":"{}","_config/maps/etc/maps.conf":"{}","_config/maps/etc/b.json":{{"b": 1}}}}"##,
        digest(object),
        digest(conf.as_bytes()),
        digest(above.as_bytes()),
    );
    let name = |bytes: &[u8]| format!("objects/{}", digest(bytes));
    let (root, conf_name, file) = (name(object), name(conf.as_bytes()), name(above.as_bytes()));
    let files: [(&str, &[u8]); 5] = [
        ("json", state.as_bytes()),
        (&root, object),
        (&conf_name, conf.as_bytes()),
        (&file, above.as_bytes()),
        ("objects/README", b"none"),
    ];
    fs::write(world.path().join("maps-1.4.pvrexport.tar"), tar(&files)).unwrap();
}

#[test]
fn a_package_brings_state_objects_and_what_lies_above_roots() {
    let world = World::new();
    let (sources, store) = (sources(), world.store());
    let object = noise(300_000, 5);
    package(&world, &object, "colour = 1\n");
    let asked = asked(&["maps-1.4.pvrexport.tar".into()], world.path(), &Limits::default()).unwrap();
    let target = sources.resolve(&store, &asked, &Silently).unwrap();
    assert_eq!((target.apps[0].name.as_str(), target.apps[0].kind), ("device", Kind::Pvr));
    assert!(!store.has_blob(&Digest::of(&object)), "only documents come before there is a plan");
    let described = sources.describe(&store, &target.apps[0]).unwrap();
    let [part] = described.parts.as_slice() else { panic!("{described:?}") };
    assert_eq!(part.service.process.args, ["/bin/maps", "-v"]);
    let Root::Blobs(images) = &part.root else { panic!("{:?}", part.root) };
    assert_eq!((images.len(), images[1]), (2, Digest::of(&object)), "what is above comes first");
    let planned = bring(&sources, &store, &target, None);
    assert!(planned.download >= 300_000 && planned.download < 305_000, "{}", planned.download);
    let closure = closure(&sources, &store, &target);
    assert!(images.iter().all(|image| closure.blobs.contains(image)) && store.missing(&closure).is_empty());
    assert_eq!(sources.lowers(&store, &part.root).unwrap().len(), 2);
    // Another file above it: another image, and nothing else is fetched.
    package(&world, &object, "colour = 2\n");
    let next = sources.resolve(&store, &asked, &Silently).unwrap();
    let planned = sources.plan(&store, &next, &beside(&target), &Silently).unwrap();
    assert!(planned.refusal.is_none() && planned.download < 10_000, "{}", planned.download);
    let Root::Blobs(changed) = &sources.describe(&store, &next.apps[0]).unwrap().parts[0].root else { panic!() };
    assert!(changed[0] != images[0] && changed[1] == images[1]);
    // A damaged image of ours is made again.
    fs::write(store.blob(&images[0]).unwrap().unwrap().path(), b"damaged").unwrap();
    let targets = std::slice::from_ref(&target);
    sources.repair(&store, &Object::Blob(images[0]), targets, &Silently).unwrap();
    assert!(store.document(&images[0], 1 << 20).unwrap().is_some());
    // The medium is gone: what is here is read all the same, and what is not says where it should be.
    fs::remove_file(world.path().join("maps-1.4.pvrexport.tar")).unwrap();
    assert!(sources.plan(&store, &target, &Occasion::default(), &Silently).is_ok());
    assert_eq!(sources.describe(&store, &target.apps[0]).unwrap(), described);
    let other = World::new();
    assert!(sources.plan(&other.store(), &target, &Occasion::default(), &Silently).is_err());
}

#[test]
fn a_pvr_state_needs_an_engine_that_mounts() {
    let world = World::new();
    let (mut sources, store) = (sources(), world.store());
    package(&world, &noise(3000, 5), "");
    let asked = asked(&["maps-1.4.pvrexport.tar".into()], world.path(), &Limits::default()).unwrap();
    let target = sources.resolve(&store, &asked, &Silently).unwrap();
    sources.runs_compose = true;
    let error = sources.describe(&store, &target.apps[0]).unwrap_err();
    assert!(error.to_string().contains("not with Docker"), "{error}");
}

/// Publishes an artifact that says it is a delta from one layer to another, and is none.
fn publish_delta(
    world: &World,
    base: &sample::SampleLayer,
    target: &[sample::Blob],
    makes: &sample::SampleLayer,
) -> Digest {
    let part = noise(500, 77);
    let top = target.last().unwrap();
    let delta = DeltaManifest {
        subject: Descriptor::new(media_type::OCI_MANIFEST, top.digest, top.bytes.len() as u64),
        base: None,
        base_config: None,
        base_diff_ids: vec![base.diff_id],
        reused: Vec::new(),
        parts: vec![Part {
            content: Content::Layer,
            to: makes.diff_id,
            blob: Descriptor::new(LAYER_DELTA, Digest::of(&part), part.len() as u64),
        }],
        full_size: makes.blob.len() as u64,
        expanded_size: makes.blob.len() as u64,
        device: Vec::new(),
    };
    let bytes = delta.to_bytes();
    world.registry.put_blob(device::REPOSITORY, part.clone());
    world.registry.put(&Digest::of(&bytes).to_string(), media_type::OCI_MANIFEST, bytes);
    Digest::of(&part)
}

#[test]
fn a_layer_comes_whole_where_its_delta_is_lost_or_damaged() {
    for lost in [false, true] {
        let world = World::new();
        let (sources, store) = (sources(), world.store());
        let (base, next) = (layer("a", &noise(200_000, 3)), layer("a", &noise(200_000, 5)));
        world.publish("1", &image(vec![base.clone()]));
        let first = sources.resolve(&store, &world.asked(&world.reference("1")), &Silently).unwrap();
        bring(&sources, &store, &first, None);

        let blobs = image(vec![next.clone()]);
        world.publish("2", &blobs);
        let part = publish_delta(&world, &base, &blobs, &next);
        let second = sources.resolve(&store, &world.asked(&world.reference("2")), &Silently).unwrap();
        let planned = sources.plan(&store, &second, &beside(&first), &Silently).unwrap();
        assert_eq!(planned.changes[0].how, How::Delta, "{:?}", planned.answer.choices);
        assert!(planned.download < 5000 && planned.uses.contains(&base.diff_id));
        if lost {
            world.registry.lose(&part);
        }
        bring(&sources, &store, &second, Some(&first));
        assert!(store.missing(&closure(&sources, &store, &second)).is_empty());
        assert!(!store.has_blob(&part));
    }
}

#[test]
fn a_layer_of_which_all_came_before_a_kill_is_verified_and_taken() {
    let world = World::new();
    let (sources, store) = (sources(), world.store());
    let only = layer("a", &noise(200_000, 3));
    world.publish("1", &image(vec![only.clone()]));
    let target = sources.resolve(&store, &world.asked(&world.reference("1")), &Silently).unwrap();
    let blob = Digest::of(&only.blob);
    let mut ingest = store.ingest(&blob, only.blob.len() as u64).unwrap();
    ingest.write(&only.blob).unwrap();
    ingest.checkpoint().unwrap();
    drop(ingest);
    assert!(!store.has_blob(&blob), "its last byte is here, its name is not");
    bring(&sources, &store, &target, None);
    assert!(store.missing(&closure(&sources, &store, &target)).is_empty());
    assert_eq!(world.server.count(&world.blob_path(&blob)), 0, "nothing of it is fetched twice");
}

#[test]
fn unsigned_apps_are_refused_before_they_are_looked_into() {
    let world = World::new();
    let store = world.store();
    let signer = Signer::default();
    let policy = signer.policy(&format!("{}/**", world.server.address()));
    let sources = umiak_agent::sources::Sources {
        trust: Policy::parse(policy.as_bytes(), &Limits::default()).unwrap(),
        ..sources()
    };
    // It is no manifest at all: whoever looks into it stumbles.
    let nonsense = b"{\"schemaVersion\":2,";
    world.registry.put("stable", media_type::OCI_MANIFEST, nonsense.to_vec());
    let asked = world.asked(&world.reference("stable"));
    let error = sources.resolve(&store, &asked, &Silently).unwrap_err();
    assert!(error.class == Class::Corrupt && error.to_string().contains("is signed by 0 of the 1"), "{error}");

    let digest = world.publish("stable", &image(vec![layer("a", b"one")]));
    assert!(sources.resolve(&store, &asked, &Silently).is_err(), "not signed yet");
    let [payload, manifest] = signer.sign(&digest, None);
    world.registry.put_blob(device::REPOSITORY, payload.bytes);
    world.registry.put(&umiak_sign::signature_tag(&digest), media_type::OCI_MANIFEST, manifest.bytes);
    assert_eq!(sources.resolve(&store, &asked, &Silently).unwrap().apps[0].top.digest, digest);
    world.publish("stable", &image(vec![layer("a", b"two")]));
    assert!(sources.resolve(&store, &asked, &Silently).is_err(), "another image under the tag");
}

#[test]
fn words_are_references_and_files() {
    let world = World::new();
    let path = world.path();
    let limits = Limits::default();
    let words = |words: &[&str]| asked(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>(), path, &limits);
    let several = words(&["registry.example/team/shop:stable", "nginx"]).unwrap();
    assert_eq!(several.apps[1].origin.to_string(), "nginx");
    fs::create_dir(path.join("sub")).unwrap();
    fs::write(path.join("sub/t"), r#"{"version":1,"generation":3,"apps":[{"reference":"pvr:maps.tgz"}]}"#).unwrap();
    let target = words(&["sub/t"]).unwrap();
    assert_eq!(target.generation, Some(3));
    assert_eq!(target.apps[0].origin.path().unwrap(), path.join("sub/maps.tgz"), "as seen from the target");
    assert!(words(&["sub/t", "nginx"]).is_err(), "it says all that is to run");
    fs::write(path.join("text"), "hello").unwrap();
    fs::write(path.join("other.tar"), tar(&[("README", b"hi")])).unwrap();
    for wrong in ["text", "other.tar", "Not A Name"] {
        assert!(words(&[wrong]).is_err(), "{wrong}");
    }
}
