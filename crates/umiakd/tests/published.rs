//! What was published and what a device makes of it: sizes that were told, deltas that are found, bundles without network.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may panic and write files")]

mod maker;

use std::fs;
use std::path::Path;

use maker::{Maker, arrive, open, sources, taken, tar};
use umiak_agent::sources::Sources;
use umiak_agent::target::asked;
use umiak_agent::{Class, How, Occasion, Silently, Supply as _};
use umiak_sign::Policy;
use umiak_spec::target::{Asked, Target};
use umiak_spec::{Digest, Limits};
use umiak_store::Store;
use umiak_testkit::cosign::Signer;
use umiak_testkit::ferro::Ferro;
use umiak_testkit::http::{Manner, Server, Store as Played};
use umiak_testkit::registry::Registry;

/// With a registry that is played.
fn played() -> (Maker, Server, Played) {
    let (server, registry) = Played::start(Manner::default()).unwrap();
    let maker = Maker::new(tempfile::tempdir().unwrap(), server.address());
    (maker, server, registry)
}

fn words(maker: &Maker, word: &str) -> Asked {
    asked(&[word.to_owned()], maker.scratch.path(), &Limits::default()).unwrap()
}

fn app(maker: &Maker, tag: &str) -> Asked {
    words(maker, &maker.reference("shop", tag).to_string())
}

/// Two releases of an app of two services: one layer in common, one of its own each.
fn releases(maker: &Maker) {
    let common = tar(&[("bin/sh", 400_000, 0), ("etc/os-release", 30, 0)]);
    for (tag, seed) in [("1", 1), ("2", 2)] {
        maker.image("web", tag, &[common.clone(), tar(&[("srv/web", 900_000, seed), ("srv/small", 700, seed)])]);
        maker.image("api", tag, &[common.clone(), tar(&[("srv/api", 300_000, seed + 10)])]);
    }
    let services = |tag| [("web", "web", tag), ("api", "api", tag)];
    maker.publish("1", &services("1"), &[]);
    maker.publish("2", &services("2"), &["1"]);
}

/// What the plan said, against what lies on the disk afterwards: never under, at most 64 KiB or 1 % over.
fn assert_exact(planned: &umiak_agent::Planned, before: u64, after: u64) {
    let found = &planned.answer.uses[0];
    assert!(!found.bound, "{:#?}", planned.answer.steps);
    let (said, really) = (found.last, i128::from(after) - i128::from(before));
    let over = said - really;
    assert!(over >= 0 && over <= (really / 100).max(64 << 10), "said {said}, took {really}");
    assert!(i128::from(found.peak) >= really);
}

#[test]
fn what_an_app_takes_is_known_before_anything_of_it_is_fetched() {
    let (maker, _server, _registry) = played();
    releases(&maker);
    let (sources, store) = (sources(Policy::default()), maker.store());
    let mut current: Option<Target> = None;
    for (tag, how) in [("1", How::Full), ("2", How::Delta)] {
        let target = sources.resolve(&store, &app(&maker, tag), &Silently).unwrap();
        let before = taken(&maker.path("store"));
        let planned = arrive(&sources, &store, &target, current.as_ref());
        assert_eq!(planned.changes[0].how, how);
        assert_exact(&planned, before, taken(&maker.path("store")));
        current = Some(target);
    }
    // A device that has nothing has no use for deltas, and knows as exactly what the layers take.
    let fresh = open(&maker.path("fresh"));
    let target = sources.resolve(&fresh, &app(&maker, "2"), &Silently).unwrap();
    let before = taken(&maker.path("fresh"));
    let planned = arrive(&sources, &fresh, &target, None);
    assert_eq!(planned.changes[0].how, How::Full);
    assert_exact(&planned, before, taken(&maker.path("fresh")));
}

#[test]
fn an_image_without_an_app_is_as_exact_when_its_measures_are_beside_it() {
    for attached in [false, true] {
        let (maker, _server, _registry) = played();
        maker.image("web", "1", &[tar(&[("bin/sh", 400_000, 0)]), tar(&[("srv/web", 900_000, 1), ("srv/x", 70, 1)])]);
        if attached {
            maker.attach("web", "1");
        }
        let (sources, store) = (sources(Policy::default()), maker.store());
        let asked = words(&maker, &maker.reference("web", "1").to_string());
        let target = sources.resolve(&store, &asked, &Silently).unwrap();
        let before = taken(&maker.path("store"));
        let planned = arrive(&sources, &store, &target, None);
        let after = taken(&maker.path("store"));
        if attached {
            assert_exact(&planned, before, after);
        } else {
            assert!(planned.answer.uses[0].bound && planned.answer.uses[0].last >= i128::from(after - before));
        }
    }
}

/// The policy that asks for a signature by cosign's key of this test on everything.
fn signed_only() -> Policy {
    Policy::parse(Signer::default().policy("file/**").as_bytes(), &Limits::default()).unwrap()
}

/// Signs an app as `cosign sign --key` does: under its tag, or as a referrer.
fn sign(maker: &Maker, app: &Digest, by_tag: bool) {
    let blobs = Signer::default().sign(app, (!by_tag).then(|| maker.app_bytes("1").len()));
    let tag = umiak_sign::signature_tag(app);
    maker.push("shop", by_tag.then_some(tag.as_str()), &blobs);
}

#[test]
fn a_bundle_carries_its_signatures_to_where_there_is_no_network() {
    for by_tag in [true, false] {
        let (maker, server, _registry) = played();
        maker.image("web", "1", &[tar(&[("srv/web", 50_000, 1)])]);
        let app = maker.publish("1", &[("web", "web", "1")], &[]);
        let unsigned = maker.bundle("1", &[]);
        fs::rename(&unsigned, maker.path("unsigned.tar")).unwrap();
        sign(&maker, &app, by_tag);
        let signed = maker.bundle("1", &[]);
        assert_eq!(fs::read(maker.bundle("1", &[])).unwrap(), fs::read(&signed).unwrap(), "the same bytes again");
        drop(server);
        let (sources, store) = (sources(signed_only()), maker.store());
        let error = sources.resolve(&store, &words(&maker, "unsigned.tar"), &Silently).unwrap_err();
        assert!(error.class == Class::Corrupt && error.to_string().contains("is signed by 0 of the 1"), "{error}");
        let target = sources.resolve(&store, &words(&maker, "shop-1.tar"), &Silently);
        let target = target.unwrap_or_else(|error| panic!("by tag: {by_tag}: {error}: {error:?}"));
        assert_eq!((target.apps[0].top.digest, target.apps[0].name.as_str()), (app, "shop"));
        arrive(&sources, &store, &target, None);
    }
}

#[test]
fn a_bundle_of_deltas_is_enough_for_who_has_its_base() {
    let (maker, server, _registry) = played();
    releases(&maker);
    maker.bundle("1", &[]);
    let (whole, delta) = (maker.bundle("2", &[]), maker.bundle("2", &["1"]));
    let size = |path: &Path| fs::metadata(path).unwrap().len();
    assert!(size(&delta) < size(&whole) * 7 / 10, "{} of {}", size(&delta), size(&whole));
    // Nothing is asked of a registry, and nothing could be.
    drop(server);
    let (sources, store) = (sources(Policy::default()), maker.store());
    let first = sources.resolve(&store, &words(&maker, "shop-1.tar"), &Silently).unwrap();
    let planned = arrive(&sources, &store, &first, None);
    assert_eq!(planned.changes[0].how, How::Full);
    let second = sources.resolve(&store, &words(&maker, "shop-2-delta.tar"), &Silently).unwrap();
    let before = taken(&maker.path("store"));
    let planned = arrive(&sources, &store, &second, Some(&first));
    assert_eq!(planned.changes[0].how, How::Delta);
    assert_exact(&planned, before, taken(&maker.path("store")));

    // Another device has not the base, and is told so; a bundle of all layers helps it.
    let other = open(&maker.path("other"));
    let target = sources.resolve(&other, &words(&maker, "shop-2-delta.tar"), &Silently).unwrap();
    let planned = sources.plan(&other, &target, &Occasion::default(), &Silently).unwrap();
    let space = other.reserve(planned.reserve).unwrap();
    let error = sources.fetch(&other, &target, &planned, &space, &Silently).unwrap_err();
    drop(space);
    let words_of = format!("{error} {:?}", error.hint);
    assert!(error.class == Class::Network && words_of.contains("does not carry"), "{words_of}");
    assert!(words_of.contains("shop-2-delta.tar") && words_of.contains("no --from"), "{words_of}");
    let target = sources.resolve(&other, &words(&maker, "shop-2.tar"), &Silently).unwrap();
    arrive(&sources, &other, &target, None);
}

/// Three releases of an image, published by themselves, and one that has the files of the second in other layers; deltas to the third from both others. Whatever registry it is, the
/// device finds them by asking who refers to the image, and takes the one that is fetched least.
fn deltas_are_found(maker: &Maker) {
    let common = tar(&[("bin/sh", 300_000, 0)]);
    let release = |seed| vec![common.clone(), tar(&[("srv/web", 600_000, seed), ("srv/more", 200_000, seed / 2)])];
    for (tag, seed) in [("1", 2), ("2", 4), ("3", 5)] {
        maker.image("web", tag, &release(seed));
    }
    let other = tar(&[("other/web", 600_000, 4), ("etc/new", 100, 1), ("other/more", 200_000, 2)]);
    maker.image("web", "like", &[common.clone(), other]);
    let at = |tag| maker.reference("web", tag);
    for base in ["1", "2"] {
        maker.deltas(|work| work.publish_images(&[at(base)], &at("3"), None)).unwrap();
    }
    let target = |sources: &Sources, store: &Store, tag| {
        sources.resolve(store, &words(maker, &at(tag).to_string()), &Silently).unwrap()
    };
    let (sources, mut fetched) = (sources(Policy::default()), Vec::new());
    for (device, has) in
        [("none", &[] as &[&str]), ("first", &["1"]), ("second", &["2"]), ("both", &["1", "2"]), ("like", &["like"])]
    {
        let store = open(&maker.path(device));
        let mut current = None;
        for tag in has {
            let target = target(&sources, &store, tag);
            arrive(&sources, &store, &target, current.as_ref());
            current = Some(target);
        }
        let third = target(&sources, &store, "3");
        let before = taken(&maker.path(device));
        let planned = arrive(&sources, &store, &third, current.as_ref());
        assert_eq!(planned.changes[0].how, if has.is_empty() { How::Full } else { How::Delta }, "{device}");
        if !has.is_empty() {
            let said = i128::from(taken(&maker.path(device))) - i128::from(before);
            assert!(planned.answer.uses[0].last >= said, "{device}");
        }
        fetched.push(planned.download);
    }
    let [full, first, second, both, like] = fetched[..] else { panic!("{fetched:?}") };
    assert!(first < full && second < first && both == second && like == second, "{fetched:?}");
}

#[test]
fn deltas_are_found_where_there_are_referrers_and_where_there_are_none() {
    for referrers in [true, false] {
        let manner = Manner { referrers, says_subject: referrers, ..Manner::default() };
        let (server, _registry) = Played::start(manner).unwrap();
        deltas_are_found(&Maker::new(tempfile::tempdir().unwrap(), server.address()));
    }
}

#[test]
#[ignore = "needs: docker-registry"]
fn deltas_are_found_in_debians_registry() {
    let scratch = tempfile::tempdir().unwrap();
    let registry = Registry::start(scratch.path()).unwrap();
    deltas_are_found(&Maker::new(scratch, registry.address()));
}

#[test]
#[ignore = "needs: cargo:ferro-oci-server"]
fn deltas_are_found_in_a_registry_with_referrers() {
    let scratch = tempfile::tempdir().unwrap();
    let registry = Ferro::start(scratch.path()).unwrap();
    deltas_are_found(&Maker::new(scratch, registry.address()));
}
