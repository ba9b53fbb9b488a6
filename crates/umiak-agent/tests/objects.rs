//! A pvr state in a file of its own, its objects in other files: taken from whichever has them whole.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may panic and write files")]

mod device;
#[path = "device/maps.rs"]
mod maps;

use std::fs;

use device::{World, bring, noise, sources, tar};
use maps::CONF;
use umiak_agent::{Occasion, Silently, Supply as _};
use umiak_spec::Digest;
use umiak_spec::target::{Asked, AskedApp, Carrier};
use umiak_store::Object;

/// A file with these objects, each under the name of what it should be.
fn carrier(world: &World, name: &str, objects: &[(&[u8], &[u8])]) -> Carrier {
    let names: Vec<String> = objects.iter().map(|(named, _)| format!("objects/{}", Digest::of(named).hex())).collect();
    let files: Vec<(&str, &[u8])> =
        names.iter().zip(objects).map(|(name, (_, bytes))| (name.as_str(), *bytes)).collect();
    fs::write(world.path().join(name), tar(&files)).unwrap();
    Carrier::File(world.path().join(name))
}

#[test]
fn objects_come_from_whichever_file_has_them_whole() {
    let world = World::new();
    let (sources, store) = (sources(), world.store());
    let (root, page) = (noise(300_000, 5), b"page");
    let state = maps::state(&[("maps/root.squashfs", &root), ("maps/page", page)]);
    fs::write(world.path().join("state.json"), state).unwrap();
    let damaged = carrier(&world, "damaged.tar", &[(CONF, CONF), (&root, &noise(300_000, 6))]);
    let whole = carrier(&world, "whole.tar", &[(page, page), (&root, &root)]);
    let origin = format!("pvr:{}", world.path().join("state.json").display()).parse().unwrap();
    let mut asked = Asked { apps: vec![AskedApp::new(origin)], ..Asked::default() };
    let error = sources.resolve(&store, &asked, &Silently).unwrap_err();
    assert!(error.to_string().contains("is not on this device"), "{error}");

    asked.apps[0].objects = vec![Carrier::Stored, damaged.clone()];
    let target = sources.resolve(&store, &asked, &Silently).unwrap();
    let error = sources.plan(&store, &target, &Occasion::default(), &Silently).unwrap_err();
    assert!(error.to_string().contains(&Digest::of(page).short()), "no file has it: {error}");

    asked.apps[0].objects.push(whole.clone());
    let target = sources.resolve(&store, &asked, &Silently).unwrap();
    bring(&sources, &store, &target, None);
    let closure = sources.closure(&store, &target.apps[0]).unwrap();
    assert!(store.missing(&closure).is_empty(), "{:?}", store.missing(&closure));

    // One file is gone: what it had is here, and what the other one has can be had again.
    fs::remove_file(damaged.path().unwrap()).unwrap();
    fs::write(store.blob(&Digest::of(&root)).unwrap().unwrap().path(), b"damaged").unwrap();
    sources.repair(&store, &Object::Blob(Digest::of(&root)), std::slice::from_ref(&target), &Silently).unwrap();
    assert_eq!(store.document(&Digest::of(&root), 1 << 20).unwrap().as_deref(), Some(&root[..]));
    let lost = Object::Blob(Digest::of(CONF));
    let error = sources.repair(&store, &lost, std::slice::from_ref(&target), &Silently).unwrap_err();
    assert!(error.to_string().contains("damaged.tar"), "{error}");
}

#[test]
fn a_length_is_blamed_only_where_no_file_had_it_right() {
    let world = World::new();
    let (sources, store) = (sources(), world.store());
    let (root, page) = (noise(300_000, 5), b"page");
    let state = maps::state(&[("maps/root.squashfs", &root), ("_config/maps/page", page)]);
    fs::write(world.path().join("state.json"), state).unwrap();
    // What a container says has a limit that the others have not: the first file has it far too long.
    let long = carrier(&world, "long.tar", &[(CONF, &vec![b' '; 17 << 20])]);
    let right = carrier(&world, "right.tar", &[(CONF, CONF)]);
    let origin = format!("pvr:{}", world.path().join("state.json").display()).parse().unwrap();
    let mut asked = Asked { apps: vec![AskedApp::new(origin)], ..Asked::default() };
    let told = |asked: &Asked| {
        let target = sources.resolve(&store, asked, &Silently);
        let planned = target.and_then(|target| sources.plan(&store, &target, &Occasion::default(), &Silently));
        planned.unwrap_err().to_string()
    };
    asked.apps[0].objects = vec![long.clone()];
    let error = told(&asked);
    assert!(error.contains("more than the") && error.contains(&Digest::of(CONF).short()), "{error}");
    asked.apps[0].objects = vec![long, right];
    let error = told(&asked);
    assert!(!error.contains("more than the") && error.contains(&Digest::of(page).short()), "{error}");
}
