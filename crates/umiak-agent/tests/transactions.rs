//! Packages merged into what runs: what stays, what goes, what is refused, what a cut leaves.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may panic and write files")]

mod common;
mod device;
mod packages;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use common::Notes;
use device::sources;
use packages::{Device, Package, archive};
use umiak_agent::{AgentError, Base, Class, Onto, Silently, What};
use umiak_spec::Digest;
use umiak_store::RealDisk;
use umiak_testkit::crash::{CrashDisk, Loss};

#[test]
fn a_package_is_merged_into_what_runs_and_replaces_its_containers_whole() {
    let device = Device::new();
    let first = Package::of("web", "web 1").and("os", "os 1").file("web/old", b"old").file("_config/web/etc/a", b"a");
    device.install(&[&device.file("first.tar", &first)]);
    assert_eq!(device.update(), "device/os=os 1, device/web=web 1");

    device.install(&[&device.file("maps.tar", &Package::of("maps", "maps 1"))]);
    assert_eq!(device.update(), "device/maps=maps 1, device/os=os 1, device/web=web 1");

    let next = Package::of("web", "web 2").file("web/new", b"new");
    let other = Package::of("lib", "lib 1");
    device.install(&[&device.file("next.tar", &next), &device.file("lib.tar", &other)]);
    let runs = "device/lib=lib 1, device/maps=maps 1, device/os=os 1, device/web=web 2";
    assert_eq!(device.update(), runs);
    let keys = device.keys();
    assert!(keys.contains("web/new") && !keys.contains("web/old") && keys.contains("_config/web/etc/a"), "{keys}");

    // The packages are gone: what was merged is in the store, and is a base all the same.
    for name in ["first.tar", "maps.tar", "next.tar", "lib.tar"] {
        fs::remove_file(device.directory.path().join(name)).unwrap();
    }
    assert_eq!(device.update(), runs, "up to date");
    device.install(&[&device.file("os.tar", &Package::of("os", "os 2"))]);
    assert_eq!(device.update(), "device/lib=lib 1, device/maps=maps 1, device/os=os 2, device/web=web 2");

    // Two targets before an update: the second is merged into what runs, and says what it gives up.
    device.install(&[&device.file("os.tar", &Package::of("os", "os 3"))]);
    let notes = Notes::default();
    device.agent().install(&[device.file("web.tar", &Package::of("web", "web 3"))], &notes).unwrap();
    assert!(notes.text().contains("given up"), "{}", notes.text());
    assert_eq!(device.update(), "device/lib=lib 1, device/maps=maps 1, device/os=os 2, device/web=web 3");
}

#[test]
fn other_apps_of_the_target_stay() {
    let device = Device::new();
    let world = device::World::new();
    world.publish("stable", &device::image(vec![device::layer("a", b"shop 1")]));
    device.agent().set_target(&world.asked(&world.reference("stable"))).unwrap();
    assert!(device.update().starts_with("shop/shop="), "{}", device.running());
    device.install(&[&device.file("maps.tar", &Package::of("maps", "maps 1"))]);
    let runs = device.update();
    assert!(runs.starts_with("device/maps=maps 1, shop/shop="), "{runs}");
    // And the other way: the last container goes, and with it the app.
    let agent = device.agent();
    agent.begin(&Base::Current).unwrap();
    agent.take_out("maps").unwrap();
    agent.commit(&Silently).unwrap();
    let runs = device.update();
    assert!(runs.starts_with("shop/shop=") && !runs.contains("maps"), "{runs}");
}

#[test]
fn a_transaction_is_one_revision_and_outlives_whoever_began_it() {
    let device = Device::new();
    device.install(&[&device.file("first.tar", &Package::of("web", "web 1").and("os", "os 1"))]);
    device.update();
    let before = device.agent().target().unwrap();
    device.agent().begin(&Base::Current).unwrap();
    assert!(matches!(device.agent().begin(&Base::Empty), Err(AgentError::InTransaction)));
    let maps = device.file("maps.tar", &Package::of("maps", "maps 1"));
    let added = device.agent().add(&maps, &Silently).unwrap();
    assert_eq!((added.parts.as_slice(), added.files, added.removed), (&["maps".to_owned()][..], 3, 0));
    assert_eq!(device.agent().take_out("os").unwrap(), 3);
    let error = device.agent().take_out("os").unwrap_err();
    assert_eq!(error.to_string(), "there is no part `os`: there are maps, web");
    let open = device.agent().transaction().unwrap().unwrap();
    assert_eq!(open.state.parts(), ["maps", "web"]);
    assert_eq!(
        (device.running(), device.agent().target().unwrap()),
        ("device/os=os 1, device/web=web 1".into(), before)
    );

    let committed = |device: &Device| {
        let history = device.agent().history().unwrap();
        history.iter().filter(|entry| matches!(entry.what, What::Committed)).count()
    };
    let count = committed(&device);
    device.agent().commit(&Silently).unwrap();
    assert_eq!(device.agent().transaction().unwrap(), None);
    assert_eq!(device.update(), "device/maps=maps 1, device/web=web 1");
    assert_eq!(committed(&device), count + 1);

    // From the revision before, and from nothing.
    let previous = device.agent().way_back(None).unwrap();
    let begun = device.agent().begin(&Base::Revision(previous.hex()[..8].to_owned())).unwrap();
    assert_eq!((begun.state.parts(), begun.base), (vec!["os".to_owned(), "web".to_owned()], Some(previous)));
    device.agent().abort().unwrap();
    device.agent().begin(&Base::Empty).unwrap();
    device.agent().add(&maps, &Silently).unwrap();
    device.agent().commit(&Silently).unwrap();
    assert_eq!(device.update(), "device/maps=maps 1");
    for error in [
        device.agent().commit(&Silently).map(drop).unwrap_err(),
        device.agent().abort().unwrap_err(),
        device.agent().add(&maps, &Silently).map(drop).unwrap_err(),
    ] {
        assert!(matches!(error, AgentError::NoTransaction) && error.class() == Class::Usage);
    }
    assert_eq!(device.agent().status().unwrap().trouble, None, "what is said to a person is no trouble of the device");
}

#[test]
fn what_comes_through_a_stream_is_kept_until_it_runs() {
    let device = Device::new();
    let package = Package::of("web", "web 1");
    let root = Digest::of(b"web 1\n");
    let agent = device.agent();
    agent.begin(&Base::Current).unwrap();
    agent.add_stream(&mut package.bytes().as_slice(), &Silently).unwrap();
    agent.prune().unwrap();
    assert!(device.store().has_blob(&root), "held by the transaction");
    agent.commit(&Silently).unwrap();
    agent.prune().unwrap();
    assert!(device.store().has_blob(&root), "held by the target");
    assert_eq!(device.update(), "device/web=web 1");
    agent.prune().unwrap();
    assert!(device.store().refs().unwrap().iter().all(|name| name.as_str() != "transaction"), "by the revision");

    // Forgotten: it goes.
    agent.begin(&Base::Current).unwrap();
    agent.add_stream(&mut Package::of("os", "os 1").bytes().as_slice(), &Silently).unwrap();
    agent.abort().unwrap();
    agent.prune().unwrap();
    assert!(!device.store().has_blob(&Digest::of(b"os 1\n")) && device.store().has_blob(&root));
    assert_eq!(device.update(), "device/web=web 1");
}

#[test]
fn a_stream_that_does_not_fit_leaves_nothing() {
    let device = Device::new();
    let tight = || umiak_agent::sources::Sources { survey: Box::new(|_| Ok(device::with_room(100_000))), ..sources() };
    let agent = device.agent_at(device.root(), Arc::new(RealDisk), tight());
    agent.begin(&Base::Empty).unwrap();
    let package = Package::of("web", "web 1").file("web/large", &device::noise(300_000, 3));
    let error = agent.add_stream(&mut package.bytes().as_slice(), &Silently).unwrap_err();
    assert_eq!(error.class(), Class::DoesNotFit, "{error:?}");
    assert_eq!(device.store().blob_list().unwrap(), []);
    assert_eq!(agent.transaction().unwrap().unwrap().state.parts(), [""; 0]);
}

/// Names and contents in an archive.
type Entries = Vec<(String, Vec<u8>)>;

/// What is wrong with a package, and a word of what is said about it.
fn bad() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let good = Package::of("web", "web 2");
    let entries = good.entries();
    let with = |change: &dyn Fn(&mut Entries)| {
        let mut entries = entries.clone();
        change(&mut entries);
        archive(&entries)
    };
    let root = format!("objects/{}", Digest::of(b"web 2\n").hex());
    let at = entries.iter().position(|(name, _)| *name == root).unwrap();
    let twice = good.state().replacen("{", "{\"web/run.json\":{},", 1);
    let outside = good.state().replacen("{", "{\"../etc/passwd\":{},", 1);
    let platform = r#"{"docker_platform":"linux/arm64"}"#;
    let mut link = archive(&entries);
    link[156] = b'2';
    link[148..156].copy_from_slice(b"        ");
    let sum: u32 = link[..512].iter().map(|byte| u32::from(*byte)).sum();
    link[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    vec![
        ("an object is missing", with(&|entries| drop(entries.remove(at))), "web/root.squashfs"),
        (
            "an object is extra",
            with(&|entries| entries.push((format!("objects/{}", Digest::of(b"x").hex()), b"x".to_vec()))),
            "does not name",
        ),
        ("a hash is wrong", with(&|entries| entries[at].1[0] ^= 1), "is damaged"),
        ("a name leads outside", with(&|entries| entries.push(("../x".into(), vec![]))), "`..`"),
        ("a name is absolute", with(&|entries| entries.push(("/etc/x".into(), vec![]))), "absolute"),
        ("a key leads outside", with(&|entries| entries[0].1 = outside.clone().into_bytes()), "../etc/passwd"),
        ("two apps have one name", with(&|entries| entries[0].1 = twice.clone().into_bytes()), "web/run.json"),
        ("there is a link", link, "neither a file nor a directory"),
        ("there is no state", with(&|entries| drop(entries.remove(0))), "no state"),
        ("it is cut short", archive(&entries)[..1500].to_vec(), "cut short"),
        ("it is no tar", b"hello, world".repeat(100), "no tar header"),
        ("it is nothing", Vec::new(), "no state"),
        (
            "it is for others",
            good.clone().document("web/src.json", platform).bytes(),
            "`web` is made for linux/arm64 (web/src.json), and this device is linux/amd64",
        ),
    ]
}

#[test]
fn bad_packages_are_refused_by_name_before_anything_changes() {
    let device = Device::new();
    device.install(&[&device.file("first.tar", &Package::of("web", "web 1"))]);
    device.update();
    let before = (device.agent().target().unwrap(), device.store().blob_list().unwrap());
    device.agent().begin(&Base::Current).unwrap();
    let open = device.agent().transaction().unwrap();
    for (what, bytes, told) in bad() {
        let path = device.raw("bad.tar", &bytes);
        let agent = device.agent();
        let errors = [
            ("install", agent.install(std::slice::from_ref(&path), &Silently).map(drop).unwrap_err()),
            ("judge", agent.judge(std::slice::from_ref(&path), Onto::Nothing, &Silently).map(drop).unwrap_err()),
            ("add", agent.add(&path, &Silently).map(drop).unwrap_err()),
            ("stream", agent.add_stream(&mut bytes.as_slice(), &Silently).map(drop).unwrap_err()),
        ];
        for (way, error) in errors {
            let line = error.line();
            let named = way == "stream" || what == "it is for others" || line.contains("bad.tar");
            // Through a stream the store compares first, and the state has to come first.
            let digest =
                what == "a hash is wrong" && way == "stream" && line.contains(&Digest::of(b"web 2\n").hex()[..12]);
            let late = what == "there is no state" && way == "stream" && line.contains("does not come before");
            assert!(named && (line.contains(told) || digest || late), "{what}, {way}: {line}");
            assert!(matches!(error.class(), Class::Corrupt | Class::Usage), "{what}, {way}");
        }
        let after = (device.agent().target().unwrap(), device.store().blob_list().unwrap());
        assert_eq!(after, before, "{what}");
        assert_eq!(device.agent().transaction().unwrap(), open, "{what}");
    }
    let gone = device.agent().install(&[Path::new("/nowhere/x.tgz").to_path_buf()], &Silently).unwrap_err();
    assert!(gone.line().contains("/nowhere/x.tgz"), "{}", gone.line());
    // Objects before the state: in a file they can wait for it, in a stream nobody knows whose they are.
    let good = Package::of("web", "web 2");
    let mut late = good.entries();
    late.rotate_left(1);
    let late = archive(&late);
    let error = device.agent().add_stream(&mut late.as_slice(), &Silently).unwrap_err();
    assert!(error.line().contains("does not come before its objects"), "{}", error.line());
    assert!(device.agent().judge(&[device.raw("late.tar", &late)], Onto::Transaction, &Silently).is_ok());
    device.agent().abort().unwrap();
    assert_eq!(device.update(), "device/web=web 1");
}

#[test]
fn a_program_for_another_processor_is_refused_before_it_runs() {
    let device = Device::new();
    device.install(&[&device.file("first.tar", &Package::of("web", "web 1"))]);
    device.update();
    for (machine, runs) in [(183_u16, false), (62, true)] {
        let mut elf = vec![0x7f, b'E', b'L', b'F', 2, 1, 1];
        elf.resize(18, 0);
        elf.extend(machine.to_le_bytes());
        elf.resize(64, 0);
        let image = squashfs(&[("usr/lib/real", &elf), ("etc/script", b"#!/bin/sh\nexec\n")]);
        let package = Package::of("maps", "").file("maps/root.squashfs", &image);
        device.install(&[&device.file("maps.tar", &package)]);
        let done = device.agent().update(&umiak_agent::UpdateOptions::default(), &Silently);
        if runs {
            done.unwrap();
            assert!(device.running().contains("device/maps="), "{}", device.running());
        } else {
            let error = done.unwrap_err();
            let told = "`maps` is made for linux/arm64 (its program /usr/lib/real), and this device is linux/amd64";
            assert_eq!(error.to_string(), told);
            assert_eq!(device.running(), "device/web=web 1");
        }
    }
}

/// An image in which `/bin/run` is a link to a link to `usr/lib/real`.
fn squashfs(files: &[(&str, &[u8])]) -> Vec<u8> {
    use std::io::Cursor;
    use umiak_spec::Silent;
    use umiak_squashfs::{ImageOptions, ImageWriter, NewContent};
    use umiak_tree::{Builder, Directory, Inode, InodeId, Kind, Metadata};
    let mut writer = ImageWriter::new(Cursor::new(Vec::new()), &ImageOptions::default()).unwrap();
    let mut tree = Builder::new(Metadata::root_owned(0o755));
    let place = |tree: &mut Builder<_>, path: &str, kind: Kind<_>| {
        let (above, name) = path.rsplit_once('/').unwrap();
        let mut at = InodeId::ROOT;
        for part in above.split('/') {
            at = match tree.child(at, part.as_bytes()) {
                Some(found) => found,
                None => {
                    let kind = Kind::Directory(Directory::default());
                    let made = tree.add(Inode { metadata: Metadata::root_owned(0o755), kind }).unwrap();
                    tree.directory(at).unwrap().insert(part.as_bytes().into(), made);
                    made
                }
            };
        }
        let made = tree.add(Inode { metadata: Metadata::root_owned(0o755), kind }).unwrap();
        tree.directory(at).unwrap().insert(name.as_bytes().into(), made);
    };
    for (path, bytes) in files {
        let name = path.rsplit('/').next().unwrap().as_bytes();
        let content = NewContent { size: bytes.len() as u64, digest: Digest::of(bytes), name };
        let file = writer.add(&content, &mut &bytes[..]).unwrap();
        place(&mut tree, path, Kind::File(file));
    }
    place(&mut tree, "bin/run", Kind::Symlink((*b"../sbin/init").into()));
    place(&mut tree, "sbin/init", Kind::Symlink((*b"/usr/./lib/real").into()));
    writer.finish(&tree.finish().unwrap(), &Silent).unwrap().0.into_inner()
}

type Verb = fn(&umiak_agent::Agent, &Package) -> Result<(), AgentError>;

/// What was asked of the device, and what is open.
fn told(device: &Device, root: &Path) -> (usize, Option<Vec<String>>) {
    let agent = device.agent_at(root.to_owned(), Arc::new(RealDisk), sources());
    let asked = agent.target().unwrap().map_or(0, |asking| asking.asked.apps.len());
    (asked, agent.transaction().unwrap().map(|open| open.state.parts()))
}

#[test]
fn a_cut_anywhere_leaves_the_transaction_before_a_verb_or_after_it() {
    let package = Package::of("web", "web 1").file("web/large", &device::noise(200_000, 3));
    let verbs: [Verb; 3] = [
        |agent, _| agent.begin(&Base::Current).map(drop),
        |agent, package| agent.add_stream(&mut package.bytes().as_slice(), &Silently).map(drop),
        |agent, _| agent.commit(&Silently).map(drop),
    ];
    let states = [(0, None), (0, Some(vec![])), (0, Some(vec!["web".to_owned()])), (1, None)];
    let mut cuts = 0;
    for (at, verb) in verbs.iter().enumerate() {
        for number in 1.. {
            let device = Device::new();
            let agent = device.agent();
            drop(umiak_store::Store::open(&device.root(), Arc::new(RealDisk), &umiak_store::StoreOptions::UPDATE));
            for before in &verbs[..at] {
                before(&agent, &package).unwrap();
            }
            let disk = CrashDisk::new(&device.directory.path().join("disk")).unwrap().cut_at(number);
            let done = verb(&device.agent_at(device.root(), Arc::new(disk.clone()), sources()), &package);
            if !disk.was_cut() {
                done.unwrap();
                break;
            }
            let losses = [
                (Loss::Nothing, "nothing"),
                (Loss::Everything, "all"),
                (Loss::Some(number), "some"),
                (Loss::Contents, "contents"),
            ];
            for (loss, name) in losses {
                cuts += 1;
                let found = device.directory.path().join(name);
                disk.find(loss, &found).unwrap();
                let root = found.join("store");
                let after = told(&device, &root);
                // Between the target and the end of the transaction both are there: committing again is no harm.
                let between = (1, Some(vec!["web".to_owned()]));
                if after.0 == 1 {
                    let states: Vec<_> = fs::read_dir(root.join("inbox/states")).unwrap().flatten().collect();
                    let whole = |entry: &fs::DirEntry| {
                        let name = format!("{}.json", Digest::of(&fs::read(entry.path()).unwrap()).hex());
                        entry.file_name().to_str() == Some(name.as_str())
                    };
                    assert!(states.iter().any(whole), "operation {number}, {name}");
                }
                let good = after == states[at] || after == states[at + 1] || (at == 2 && after == between);
                assert!(good, "verb {at}, operation {number}, {name}: {after:?}\n{}", disk.log().join("\n"));
                let agent = device.agent_at(root.clone(), Arc::new(RealDisk), sources());
                if after == states[at] || after == between {
                    verb(&agent, &package).unwrap();
                }
                assert_eq!(told(&device, &root), states[at + 1]);
                if at == 2 {
                    let outcome = agent.update(&umiak_agent::UpdateOptions::default(), &Silently).unwrap();
                    assert!(common::committed(&outcome), "{outcome:?}");
                    device.engine.reboot();
                }
            }
        }
    }
    println!("begin, add and commit of a transaction: {cuts} cuts");
    assert!(cuts > 100, "{cuts}");
}
