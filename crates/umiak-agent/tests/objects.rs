//! A pvr state in a file of its own, its objects in other files: taken from whichever has them whole.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may panic and write files")]

mod device;

use std::fs;

use device::{World, bring, noise, sources, tar};
use umiak_agent::{Occasion, Silently, Supply as _};
use umiak_spec::Digest;
use umiak_spec::target::{Asked, AskedApp, Carrier};
use umiak_store::Object;

fn hex(bytes: &[u8]) -> String {
    Digest::of(bytes).hex()
}

/// A file with these objects, each under the name of what it should be.
fn carrier(world: &World, name: &str, objects: &[(&[u8], &[u8])]) -> Carrier {
    let names: Vec<String> = objects.iter().map(|(named, _)| format!("objects/{}", hex(named))).collect();
    let files: Vec<(&str, &[u8])> =
        names.iter().zip(objects).map(|(name, (_, bytes))| (name.as_str(), *bytes)).collect();
    fs::write(world.path().join(name), tar(&files)).unwrap();
    Carrier::File(world.path().join(name))
}

#[test]
fn objects_come_from_whichever_file_has_them_whole() {
    let world = World::new();
    let (sources, store) = (sources(), world.store());
    let conf = b"lxc.rootfs.path = overlayfs:/volumes/maps/root.squashfs:/volumes/maps/lxc-overlay/upper\n\
                 lxc.init.cmd = /bin/maps\n";
    let (root, page) = (noise(300_000, 5), b"page");
    let run = r##"{"#spec":"service-manifest-run@1","name":"maps","type":"lxc","config":"lxc.container.conf",
        "root-volume":"root.squashfs","volumes":[],"storage":{"lxc-overlay":{"persistence":"boot"}}}"##;
    let state = format!(
        r##"{{"#spec":"pantavisor-service-system@1","maps/root.squashfs":"{}","maps/run.json":{run},
        "maps/lxc.container.conf":"{}","maps/page":"{}"}}"##,
        hex(&root),
        hex(conf),
        hex(page),
    );
    fs::write(world.path().join("state.json"), state).unwrap();
    let damaged = carrier(&world, "damaged.tar", &[(conf, conf), (&root, &noise(300_000, 6))]);
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
    let lost = Object::Blob(Digest::of(conf));
    let error = sources.repair(&store, &lost, std::slice::from_ref(&target), &Silently).unwrap_err();
    assert!(error.to_string().contains("damaged.tar"), "{error}");
}
