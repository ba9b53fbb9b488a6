//! A Pantavisor device through the program: cloned from, given revisions, refused.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use harness::{Place, assert_snapshot};
use umiak_spec::Digest;
use umiak_testkit::pantavisor::{Device, Outcome, World};

const ROOT: &[u8] = b"the root file system of the factory";

fn device() -> Device {
    let root = Digest::of(ROOT).hex();
    let state = format!(
        r##"{{"#spec":"pantavisor-service-system@1","web/root.squashfs":"{root}","web/run.json":{{"name":"web"}}}}"##
    );
    Device::start(&state, &[ROOT]).unwrap()
}

/// What changes from run to run gets names.
fn named(text: &str, device: &Device) -> String {
    let text = text.replace(&device.server(), "[SERVER]").replace(device.socket().to_str().unwrap(), "[SOCKET]");
    let mut pieces = text.split("locals/umiak-");
    let first = pieces.next().unwrap_or_default().to_owned();
    pieces
        .fold(first, |text, piece| text + "locals/umiak-[NOW]" + piece.trim_start_matches(|c: char| c.is_ascii_digit()))
}

/// A clone of the device with another root file system, committed.
fn changed(name: &str, device: &Device, new: &[u8]) -> Place {
    let place = Place::new(name);
    place.done(&format!("clone {} kiosk", device.socket().display()));
    place.write("kiosk/web/root.squashfs", new);
    place.done_in("kiosk", "commit -m better");
    place
}

fn post(place: &Place, line: &str) -> harness::Said {
    place.run_in("kiosk", &format!("post {line}"))
}

#[test]
fn a_day_with_a_pantavisor_device() {
    let device = device();
    let mut transcript = String::new();
    let place = Place::new("pantavisor");
    let mut told = |line: &str, said: &harness::Said| {
        let text = format!("$ umiak {line}\n{}{}exit {}\n\n", said.err, said.out, said.code);
        transcript.push_str(&named(&text, &device));
    };
    let clone = format!("clone {} kiosk", device.url());
    told(&clone, &place.run(&format!("{clone} --dry-run")));
    told(&clone, &place.run(&clone));
    assert_eq!(fs::read(place.path().join("kiosk/web/root.squashfs")).unwrap(), ROOT);
    place.write("kiosk/web/root.squashfs", "a better one");
    place.done_in("kiosk", "commit -m better");
    let socket = device.socket().display().to_string();
    for line in [format!("{socket} --dry-run"), socket.clone(), socket.clone(), String::new(), "--json --force".into()]
    {
        told(&format!("post {line}"), &post(&place, &line));
    }
    device.with(|world| world.outcome = Outcome::Error);
    place.write("kiosk/web/root.squashfs", "a worse one");
    place.done_in("kiosk", "commit -m worse");
    told("post", &post(&place, ""));
    told("post (web)", &post(&place, &device.url()));
    assert_snapshot("pantavisor", &transcript);
    let current = device.with(|world| world.current.clone());
    assert!(current.starts_with("locals/umiak-"), "{current}");
}

#[test]
fn what_comes_over_the_wire_damaged_is_refused_and_nothing_is_left() {
    let device = device();
    device.with(|world| world.files.values_mut().for_each(|bytes| bytes[0] ^= 1));
    let place = Place::new("pantavisor-damaged");
    let said = place.run(&format!("clone {} kiosk", device.url()));
    assert_eq!(said.code, 4, "{}", said.err);
    assert!(said.err.contains("`web/root.squashfs` is damaged on http://"), "{}", said.err);
    assert!(!place.path().join("kiosk").exists());
    let pool = fs::read_dir(place.home().join(".pvr/objects")).unwrap();
    assert_eq!(pool.filter(|entry| entry.as_ref().unwrap().path().is_file()).count(), 0);
}

#[test]
fn a_clone_that_broke_off_goes_on_with_what_came() {
    let device = device();
    let other = vec![7; 50_000];
    let name = Digest::of(&other).hex();
    device.with(|world| {
        let step = world.steps.get_mut("0").unwrap();
        let text =
            step.state.canonical().replacen("\"web/run.json\"", &format!("\"web/x\":\"{name}\",\"web/run.json\""), 1);
        step.state = umiak_pvr::Value::parse(text.as_bytes(), 10_000).unwrap();
    });
    let place = Place::new("pantavisor-resumed");
    let said = place.run(&format!("clone {} kiosk", device.url()));
    assert_eq!(said.code, 4, "an object is not there at all: {}", said.err);
    device.with(|world| drop(world.files.insert(name.clone(), other)));
    place.done(&format!("clone {} kiosk", device.url()));
    let root = Digest::of(ROOT).hex();
    assert_eq!(device.count(&format!("GET /local-s3/{root}")), 1, "it came the first time");
    assert_eq!(device.count(&format!("GET /local-s3/{name}")), 1);
}

/// Runs a line until the device is asked for the second object, and kills it there.
fn killed_in_the_middle(place: &Place, device: &Device, line: &str) {
    device.with(|world| world.stalls = vec![usize::MAX, 20]);
    let before = device.count("GET /objects/");
    let at = if line.contains("get") { place.path().join("kiosk") } else { place.path() };
    let mut child = place.command(&at).args(line.split(' ')).stderr(Stdio::null()).spawn().unwrap();
    while device.count("GET /objects/") < before + 2 {
        assert!(child.try_wait().unwrap().is_none(), "umiak {line} came to an end");
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    device.with(|world| world.stalls.clear());
}

/// Each file of the pool by its name; all of them are what they are called.
fn pool(place: &Place) -> Vec<String> {
    let files = fs::read_dir(place.home().join(".pvr/objects")).unwrap().map(Result::unwrap);
    let files = files.filter(|entry| entry.path().is_file());
    let names = files.map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()));
    names.inspect(|(name, bytes)| assert_eq!(*name, Digest::of(bytes).hex())).map(|(name, _)| name).collect()
}

#[test]
fn what_is_killed_while_it_takes_leaves_nothing_half_and_is_gone_on_with() {
    let device = device();
    let names: Vec<String> = [3, 7]
        .map(|byte| vec![byte; 50_000])
        .iter()
        .map(|bytes| {
            device.with(|world| drop(world.files.insert(Digest::of(bytes).hex(), bytes.clone())));
            Digest::of(bytes).hex()
        })
        .collect();
    let socket = device.socket().display().to_string();
    let place = Place::new("pantavisor-killed");
    place.done(&format!("clone {socket} kiosk"));
    let more = format!("\"web/x\":\"{}\",\"web/y\":\"{}\",\"web/run.json\"", names[0], names[1]);
    device.with(|world| {
        let step = world.steps.get_mut("0").unwrap();
        let text = step.state.canonical().replacen("\"web/run.json\"", &more, 1);
        step.state = umiak_pvr::Value::parse(text.as_bytes(), 10_000).unwrap();
    });
    let committed = place.read("kiosk/.pvr/json");

    killed_in_the_middle(&place, &device, &format!("-q get {socket}"));
    let asked = |name: &String| device.count(&format!("GET /objects/{name}"));
    assert_eq!((place.read("kiosk/.pvr/json"), pool(&place).len()), (committed, 2), "the first of two is here");
    place.done_in("kiosk", "get");
    let mut counts: Vec<usize> = names.iter().map(asked).collect();
    counts.sort_unstable();
    assert_eq!((counts, pool(&place).len()), (vec![1, 2], 3));
    let left = fs::read_dir(place.home().join(".pvr/objects/.umiak-tmp")).unwrap().count();
    assert_eq!(left, 0, "what the killed one had is swept away");

    let other = Place::new("pantavisor-killed-clone");
    killed_in_the_middle(&other, &device, &format!("clone {socket} kiosk"));
    assert!(!other.path().join("kiosk").exists() && pool(&other).len() < 3);
    other.done(&format!("clone {socket} kiosk"));
    assert_eq!(fs::read(other.path().join("kiosk/web/y")).unwrap().len(), 50_000);
    let entries = fs::read_dir(other.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();
    assert_eq!(entries, ["kiosk"]);
}

#[test]
fn get_and_merge_take_from_a_device_and_remember_it() {
    let device = device();
    let place = changed("pantavisor-get", &device, b"mine");
    assert!(place.read("kiosk/.pvr/config").contains("unix:"));
    let said = place.done_in("kiosk", "get");
    assert!(said.err.contains("1 changed"), "{}", said.err);
    place.done_in("kiosk", "checkout");
    assert_eq!(fs::read(place.path().join("kiosk/web/root.squashfs")).unwrap(), ROOT);
    let said = place.done_in("kiosk", &format!("merge {}#-web", device.url()));
    assert!(said.err.contains("Nothing new"), "{}", said.err);
}

/// Makes something go wrong on a device.
type Wrong = fn(&mut World);

#[test]
fn each_failure_has_its_exit_code_and_the_device_runs_what_it_ran() {
    let cases: [(i32, &str, Wrong); 6] = [
        (3, "it does not fit", |world| world.capacity = 100),
        (4, "State signature is missing", |world| world.distrust = Some("State signature is missing")),
        (5, "does not allow it", |world| world.managed = false),
        (5, "is busy", |world| world.busy = 9),
        (6, "Status goal not reached", |world| world.outcome = Outcome::Error),
        (5, "has not come to an end", |world| world.outcome = Outcome::Hangs),
    ];
    for (code, text, wrong) in cases {
        let device = device();
        let place = changed(&format!("pantavisor-code-{}", text.replace(' ', "-")), &device, &[3; 200]);
        device.with(wrong);
        let said = post(&place, &format!("{} --wait 1 --busy 1", device.socket().display()));
        assert_eq!(said.code, code, "{}", said.err);
        assert!(said.err.contains(text), "{}", said.err);
        assert_eq!(device.with(|world| world.current.clone()), "0");
    }
}

#[test]
fn lines_that_make_no_sense_are_refused_before_anything_is_asked() {
    let device = device();
    let place = changed("pantavisor-usage", &device, b"mine");
    let before = device.asked().len();
    let (socket, url) = (device.socket().display().to_string(), device.url());
    let long = "x".repeat(300);
    for line in [
        "somewhere".to_owned(),
        "ftp://somewhere".to_owned(),
        format!("{url}#web"),
        format!("{url} --no-run"),
        format!("{url} --gc"),
        format!("{socket} -e {{}}x"),
        format!("{socket} -e {{\"meta\":1}}"),
        format!("{socket} --rev locals/a/b"),
        format!("{socket} -m {long}"),
    ] {
        let said = post(&place, &line);
        assert_eq!(said.code, 2, "{line}: {}", said.err);
        assert!(said.err.contains("nothing was changed"), "{line}: {}", said.err);
    }
    assert_eq!(device.asked().len(), before);
    let none = place.run("post");
    assert_eq!(none.code, 2, "there is no device directory here: {}", none.err);
}
