//! Whole targets from registries: Debian's, which is real, and one that lies about documents.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may panic and write files")]

mod device;

use std::sync::atomic::{AtomicU64, Ordering};

use device::{World, bring, image, layer, noise, sources};
use umiak_agent::fetch::{Fetch, FetchOptions, Wanted};
use umiak_agent::sources::Sources;
use umiak_agent::{Class, Fetched, Occasion, Silently, Supply as _, SupplyError};
use umiak_registry::{Context, Source, open_sink};
use umiak_spec::target::Target;
use umiak_spec::{Cancelled, Descriptor, Digest, Observer, Silent, media_type};
use umiak_store::Store;
use umiak_testkit::http::{Fault, Files, Response, Server};
use umiak_testkit::registry::Registry;
use umiak_testkit::sample::Blob;

/// A place in a registry for an image.
fn push(context: &Context, reference: &str, blobs: &[Blob]) -> Digest {
    let sink = open_sink(&format!("docker://{reference}").parse().unwrap(), context).unwrap();
    let tag = reference.rsplit_once(':').unwrap().1;
    for blob in blobs {
        if media_type::MANIFESTS.contains(&blob.media_type.as_str()) {
            sink.put_manifest(&blob.bytes, &blob.media_type, Some(tag), &Silent).unwrap();
        } else {
            let descriptor = Descriptor::new(&*blob.media_type, blob.digest, blob.bytes.len() as u64);
            sink.put_blob(&descriptor, &blob.bytes, &Silent).unwrap();
        }
    }
    sink.finish(&Silent).unwrap();
    blobs.last().unwrap().digest
}

/// Stops after so many bytes.
struct Stopping(AtomicU64);

impl Observer for Stopping {
    fn expect(&self, _: &'static str, _: u64) {}
    fn advance(&self, _: &'static str, bytes: u64) {
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| Some(left.saturating_sub(bytes)));
    }
    fn note(&self, _: &str) {}
    fn check(&self) -> Result<(), Cancelled> {
        if self.0.load(Ordering::Relaxed) == 0 { Err(Cancelled) } else { Ok(()) }
    }
}

#[test]
#[ignore = "needs: docker-registry"]
fn a_download_from_debians_registry_goes_on_in_another_process() {
    let world = World::new();
    let registry = Registry::start(world.path()).unwrap();
    let sources = sources();
    let place = format!("{}/team/app:1", registry.address());
    let large = layer("large", &noise(6 << 20, 5));
    push(&sources.context, &place, &image(vec![large.clone()]));
    let size = large.blob.len() as u64;
    let blob = Descriptor::new(large.media_type.clone(), Digest::of(&large.blob), size);
    let source = || -> Box<dyn Source> {
        umiak_registry::open(&format!("docker://{place}").parse().unwrap(), &sources.context).unwrap()
    };
    let (mut came, mut here, mut rounds) = (0, 0, 0);
    loop {
        // Each round is a process of its own: what it has in memory is gone.
        let store = world.store();
        let stopping = Stopping(AtomicU64::new(2 << 20));
        let fetch = Fetch::new(&store, FetchOptions::default(), &stopping);
        let result = fetch.one(&Wanted::new(blob.clone()), source().as_ref());
        came += fetch.came();
        rounds += 1;
        match result {
            Ok(()) => break,
            Err(error) => assert!(error.is_cancelled() && error.kept > here, "{error}: {:?}", error.cause),
        }
        here = store.partials().unwrap()[0].here;
        assert!(rounds < 20);
    }
    assert!(rounds > 2, "{rounds}");
    assert!(came - size <= 1 << 20, "{} bytes came twice in {rounds} rounds", came - size);
    assert!(world.store().has_blob(&blob.digest));
}

#[test]
#[ignore = "needs: docker-registry"]
fn a_tag_of_debians_registry_that_moves_changes_nothing() {
    let world = World::new();
    let registry = Registry::start(world.path()).unwrap();
    let (sources, store) = (sources(), world.store());
    let place = format!("{}/team/app:stable", registry.address());
    let [first, second] = [3, 5].map(|seed| image(vec![layer("a", &noise(300_000, seed))]));
    let digest = push(&sources.context, &place, &first);
    let target = sources.resolve(&store, &world.asked(&place), &Silently).unwrap();
    assert_ne!(push(&sources.context, &place, &second), digest);
    comes(&sources, &store, &target);
    assert_eq!(target.apps[0].top.digest, digest);
    let moved = sources.resolve(&store, &world.asked(&place), &Silently).unwrap();
    assert_ne!(moved.apps[0].top.digest, digest, "asked again, it is another");
    comes(&sources, &store, &moved);
}

/// Plans and fetches: all of it is there then.
fn comes(sources: &Sources, store: &Store, target: &Target) {
    bring(sources, store, target, None);
    let closure = sources.closure(store, &target.apps[0]).unwrap();
    assert!(store.missing(&closure).is_empty());
    assert!(store.partials().unwrap().is_empty());
}

/// Plans and fetches once.
fn tried(sources: &Sources, store: &Store, target: &Target) -> Result<Fetched, SupplyError> {
    let planned = sources.plan(store, target, &Occasion::default(), &Silently).unwrap();
    let space = store.reserve(planned.reserve).unwrap();
    sources.fetch(store, target, &planned, &space, &Silently)
}

#[test]
fn documents_that_lie_are_refused_and_nothing_of_them_stays() {
    let blobs = image(vec![layer("a", b"one")]);
    let [_, config, manifest] = &blobs[..] else { panic!("a layer, a config, a manifest") };
    let large = vec![b' '; 9 << 20];
    let other = image(vec![layer("a", b"two")]).pop().unwrap().bytes;
    let by_digest = |blob: &Blob| format!("/v2/{}/manifests/{}", device::REPOSITORY, blob.digest);
    let by_tag = format!("/v2/{}/manifests/stable", device::REPOSITORY);
    let config_at = format!("/v2/{}/blobs/{}", device::REPOSITORY, config.digest);
    for (at, faults, class) in [
        // What is under the tag is no manifest, is too long, ends too early.
        (&by_tag, vec![Fault::Instead(b"<html>log in</html>".to_vec()); 9], Class::Corrupt),
        (&by_tag, vec![Fault::Instead(large.clone()); 9], Class::Corrupt),
        (&by_tag, vec![Fault::Cut(20); 30], Class::Network),
        (&by_tag, vec![Fault::status(404); 9], Class::Usage),
        (&by_tag, vec![Fault::status(500); 30], Class::Network),
        (&by_tag, vec![Fault::status(403); 9], Class::Network),
        (&by_tag, vec![Fault::Redirect(by_tag.clone()); 40], Class::Network),
        // What is under a digest is another.
        (&by_digest(manifest), vec![Fault::WrongBytes; 9], Class::Corrupt),
        (&by_digest(manifest), vec![Fault::Instead(other); 9], Class::Corrupt),
        (&config_at, vec![Fault::WrongBytes; 9], Class::Corrupt),
        (&config_at, vec![Fault::Instead(large); 9], Class::Corrupt),
        (&config_at, vec![Fault::Cut(10); 30], Class::Network),
        (&config_at, vec![Fault::status(404); 9], Class::Usage),
    ] {
        let world = World::new();
        let (sources, store) = (sources(), world.store());
        world.publish("stable", &blobs);
        let mut asked = world.asked(&world.reference("stable"));
        if *at == by_digest(manifest) {
            asked.apps[0].digest = Some(manifest.digest);
        }
        world.registry.fail_reading(at, faults.clone());
        let shown: Vec<String> =
            faults.iter().take(1).map(|fault| format!("{fault:?}").chars().take(60).collect()).collect();
        let error = sources.resolve(&store, &asked, &Silently).expect_err(&format!("{at} {shown:?}"));
        assert_eq!(error.class, class, "{at} {shown:?}: {error}: {:?}", error.source);
        for digest in store.blob_list().unwrap() {
            let bytes = std::fs::read(store.blob(&digest).unwrap().unwrap().path()).unwrap();
            assert_eq!(Digest::of(&bytes), digest, "what is kept is what its name says");
        }
        // Once the server has come to its senses all is well.
        let again = (0..60).find_map(|_| sources.resolve(&store, &asked, &Silently).ok());
        comes(&sources, &store, &again.expect("the faults are used up"));
    }
}

#[test]
fn a_server_that_asks_for_patience_gets_it() {
    let world = World::new();
    let (sources, store) = (sources(), world.store());
    let blobs = image(vec![layer("a", &noise(100_000, 3))]);
    world.publish("stable", &blobs);
    let by_tag = format!("/v2/{}/manifests/stable", device::REPOSITORY);
    let busy = || Fault::Status(503, vec![("Retry-After".into(), "1".into())]);
    world.registry.fail_reading(&by_tag, [Fault::slow_down(1), busy(), Fault::slow_down_until(2)]);
    world.registry.fail_reading(&world.blob_path(&blobs[0].digest), [busy(), Fault::slow_down(1)]);
    let target = sources.resolve(&store, &world.asked(&world.reference("stable")), &Silently).unwrap();
    comes(&sources, &store, &target);
}

#[test]
fn a_blob_host_is_followed_and_believed_no_more_than_the_registry() {
    let blobs = image(vec![layer("a", &noise(200_000, 7))]);
    for (body, comes_in) in [(blobs[0].bytes.clone(), true), (noise(blobs[0].bytes.len(), 9), false)] {
        let world = World::new();
        let (sources, store) = (sources(), world.store());
        world.publish("stable", &blobs);
        let files = Files::new();
        files.put("/bucket/blob", "text/html", body);
        let host = Server::start(move |request| files.answer(request)).unwrap();
        let to = format!("http://{}/bucket/blob", host.address());
        world.registry.fail_reading(&world.blob_path(&blobs[0].digest), vec![Fault::Redirect(to); 20]);
        let target = sources.resolve(&store, &world.asked(&world.reference("stable")), &Silently).unwrap();
        if comes_in {
            comes(&sources, &store, &target);
            assert!(host.requests().iter().all(|request| request.header("authorization").is_none()));
            continue;
        }
        let error = tried(&sources, &store, &target).unwrap_err();
        assert_eq!(error.class, Class::Corrupt, "{error}");
        assert!(!store.has_blob(&blobs[0].digest) && store.layer_list().unwrap().is_empty());
    }
}

#[test]
fn a_body_without_end_is_not_read_to_its_end() {
    // More than the descriptor says: the rest is not waited for, and nothing of it is kept.
    let bytes = noise(300_000, 3);
    let blob = Descriptor::new("application/octet-stream", Digest::of(&bytes), bytes.len() as u64);
    let server = Server::start(|_| Response::new(200, vec![7; 64 << 20])).unwrap();
    let world = World::new();
    let store = world.store();
    let reference = format!("docker://{}/team/app:x", server.address());
    let source = umiak_registry::open(&reference.parse().unwrap(), &sources().context).unwrap();
    let fetch = Fetch::new(&store, FetchOptions::default(), &Silently);
    let error = fetch.one(&Wanted::new(blob.clone()), source.as_ref()).unwrap_err();
    assert!(matches!(error.class(), Class::Corrupt | Class::Network), "{:?}", error.cause);
    assert!(fetch.came() <= 2 * blob.size, "{} bytes came", fetch.came());
    assert!(!store.has_blob(&blob.digest));
}

#[test]
fn a_budget_ends_an_update_and_the_next_goes_on() {
    let world = World::new();
    let store = world.store();
    let blobs = image(vec![layer("a", &noise(3 << 20, 3))]);
    world.publish("stable", &blobs);
    let all = sources();
    let target = all.resolve(&store, &world.asked(&world.reference("stable")), &Silently).unwrap();
    let poor = Sources { fetch: FetchOptions { most: Some(1 << 20), ..FetchOptions::default() }, ..sources() };
    let before = world.server.sent();
    let mut rounds = 0;
    loop {
        match tried(&poor, &store, &target) {
            Ok(_) => break,
            Err(error) => {
                assert_eq!(error.class, Class::Network, "{error}");
                assert!(error.hint.as_deref().unwrap_or_default().contains("kept"), "{:?}", error.hint);
            }
        }
        rounds += 1;
        assert!(rounds < 10);
    }
    assert!((2..=4).contains(&rounds), "{rounds}");
    let twice = (world.server.sent() - before).saturating_sub(blobs[0].bytes.len() as u64);
    assert!(twice < 1 << 20, "{twice} bytes came twice");
}
