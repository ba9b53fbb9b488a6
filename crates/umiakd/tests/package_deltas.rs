//! The delta of a package from the developer to a device, through both programs: made by `umiak pkg build --from` and signed, taken
//! by `umiakd` in each of its ways, refused by name where its base is not, where it is damaged and where the policy says so.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "a test works in a scratch directory")]

mod bench;
mod device;

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bench::{layer, umiak};
use device::{Device, Said, said};
use umiak_spec::Platform;
use umiak_testkit::random::noise;
use umiak_testkit::sample::{SampleImage, index, layout};

/// Another platform than this machine's.
const OTHER: &str = "linux/mips";

/// A project of one app beside a device that takes only what the project's key has signed.
struct Project<'d> {
    device: &'d Device,
    arch: String,
}

impl<'d> Project<'d> {
    fn new(device: &'d Device) -> Self {
        let host = Platform::host();
        let arch = if host.architecture == "arm64" { "arm64v8".to_owned() } else { host.architecture.clone() };
        let project = Self { device, arch };
        fs::create_dir(device.path("project")).unwrap();
        project.images(1);
        project.umiak("-q keys new --days 1 --kind p256");
        project.umiak("-q keys new --days 1 --kind p256 --name stranger");
        fs::write(device.path("policy.json"), project.umiak("keys export policy")).unwrap();
        project.umiak(&format!("-q pkg init -p {host},{OTHER} oci:images:master web"));
        project
    }

    fn umiak(&self, line: &str) -> String {
        umiak(self.device, "project", line)
    }

    /// An app that says which release it is, with a program that stays, for both platforms.
    fn images(&self, release: u32) {
        let busybox = fs::read("/bin/busybox").unwrap();
        let script = format!(
            "#!/bin/sh\ntrap 'exit 0' TERM\nset -- /bin/busybox\necho release {release}\nwhile :; do $1 sleep 0.1; done\n"
        );
        let base = layer(&[("bin/busybox", &busybox), ("bin/sh", &busybox), ("srv/noise", &noise(300_000, 7))]);
        let app = layer(&[("bin/app", script.as_bytes())]);
        let image = |platform: String| SampleImage { platform, layers: vec![base.clone(), app.clone()] };
        let images = self.device.path("project/images");
        let _ = fs::remove_dir_all(&images);
        layout(&images, "master", &index(&[image(Platform::host().to_string()), image(OTHER.to_owned())])).unwrap();
    }

    /// Builds a release; with deltas where `more` says from where.
    fn release(&self, release: u32, more: &str) -> String {
        self.images(release);
        self.umiak(&format!("pkg build --build-version {release} {more}"))
    }

    fn package(&self, release: u32) -> String {
        format!("project/releases/web-v0.0.1-{release}.{}.tgz", self.arch)
    }

    fn delta(&self, base: u32, target: u32) -> String {
        self.delta_of(base, target, &self.arch)
    }

    fn delta_of(&self, base: u32, target: u32, arch: &str) -> String {
        format!("project/releases/web-v0.0.1-{base}..v0.0.1-{target}.{arch}.delta")
    }

    /// The first two releases, with the delta between them and without the package of the second, which it is all about.
    fn two(&self) {
        self.release(1, "--generation 1");
        let said = self.release(2, "--generation 2 --from releases");
        assert!(said.contains(&format!("web-v0.0.1-1..v0.0.1-2.{}.delta", self.arch)), "{said}");
        let size = |name: String| fs::metadata(self.device.path(&name)).unwrap().len();
        let (delta, whole) = (size(self.delta(1, 2)), size(self.package(2)));
        assert!(delta < whole / 10, "{delta} of {whole}");
        fs::remove_file(self.device.path(&self.package(2))).unwrap();
    }
}

/// A device that asks for signatures, and keeps what it is given without running it.
fn keeps() -> Device {
    let device = Device::new();
    configure(&device, "engine = \"none\"\n");
    device
}

fn configure(device: &Device, more: &str) {
    device.configure(&format!("policy = \"{}\"\n{more}", device.path("policy.json").display()));
}

/// All files below a directory, with their contents.
fn files(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push((path.clone(), fs::read(&path).unwrap())),
        }
    }
    found.sort();
    found
}

/// Asks for a file as it is, in a document: nothing is looked at before the update.
fn ask(device: &Device, file: &str) {
    let target = format!(r#"{{"version":1,"apps":[{{"reference":"pvr:{file}"}}]}}"#);
    fs::write(device.path("target.json"), target).unwrap();
    device.done("target set target.json");
}

/// What a device does with a file that it must not take: refused when it is set, when it is added to a transaction, and when
/// an update meets it, each time with these words; nothing of what it has changes.
fn refused(device: &Device, file: &str, code: i32, words: &[&str]) {
    refused_later(device, file, (code, code), words);
}

/// The same where an update says it with another code.
fn refused_later(device: &Device, file: &str, (code, later): (i32, i32), words: &[&str]) {
    let told = |said: &Said, verb: &str| {
        let code = if verb == "update" { later } else { code };
        assert_eq!(said.code, Some(code), "{verb} {file}: {}", said.text);
        for word in words {
            assert!(said.text.contains(word), "{verb} {file}: {word}: {}", said.text);
        }
    };
    let blobs = device.path("data/store/blobs");
    let before = files(&blobs);
    let target = device.run("target show").text;
    told(&device.run(&format!("target set {file}")), "target set");
    told(&device.run(&format!("target set --replace {file}")), "target set --replace");
    assert_eq!(device.run("target show").text, target);
    device.done("tx begin");
    told(&device.run(&format!("tx add {file}")), "tx add");
    device.done("tx abort");
    ask(device, file);
    told(&device.run("update --stage-only"), "update");
    let trouble = device.status()["trouble"]["why"].as_str().unwrap_or_default().to_owned();
    assert!(words.iter().all(|word| trouble.contains(word)), "{file}: a person reads it later: {trouble}");
    let mut after = files(&blobs);
    // Documents that were read are kept, for who reads them again; objects are not made.
    after.retain(|(path, bytes)| bytes.len() > 100_000 || before.iter().any(|(other, _)| other == path));
    assert!(after == before, "{file}");
}

fn says(device: &Device, words: &str) {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        let told = device.done("logs device web");
        if told.lines().any(|line| line.contains(words)) {
            return;
        }
        assert!(Instant::now() < end, "it does not say {words}:\n{told}{}", device.done("status"));
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
#[ignore = "needs: crun, busybox-static, root"]
fn a_delta_leads_from_release_to_release() {
    let device = Device::new();
    let project = Project::new(&device);
    configure(&device, "");
    project.two();
    let (one, delta) = (project.package(1), project.delta(1, 2));
    device.done(&format!("target set {one}"));
    device.done("update");
    says(&device, "release 1");
    let shown = device.done(&format!("--dry-run target set {delta}"));
    assert!(shown.contains("merge") && shown.contains(".delta: web"), "{shown}");
    device.done(&format!("target set {delta}"));
    let planned = device.done("check");
    assert!(planned.contains("by delta") || planned.contains("delta  "), "{planned}");
    assert!(device.done("update").contains("Committed"));
    says(&device, "release 2");
    assert!(device.done("fsck").contains("Verified"));

    // Each of the two images rots, and comes again: from its package, and by the delta.
    let images = files(&device.path("data/store/blobs")).into_iter().filter(|(_, bytes)| bytes.len() > 200_000);
    let images: Vec<PathBuf> = images.map(|(path, _)| path).collect();
    assert_eq!(images.len(), 2);
    for path in images {
        let file = fs::File::options().read(true).write(true).open(&path).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, 5000).unwrap();
        file.write_all_at(&[byte[0] ^ 1], 5000).unwrap();
        assert_ne!(device.run("fsck").code, Some(0));
        device.run("fsck --repair");
        assert!(device.done("fsck").contains("Verified"), "{}", path.display());
    }

    // What was signed earlier is no way back, by whatever delta; what is kept is.
    project.release(3, "--generation 1 --from releases");
    refused(&device, &project.delta(1, 3), 4, &["is signed as generation 1", "accepted generation 2"]);
    device.done("rollback");
    says(&device, "release 1");

    // Several packages at once; the delta is one of them.
    project.release(4, "--generation 4 --from releases");
    device.done("tx begin");
    device.done(&format!("tx add {}", project.delta(3, 4)));
    device.done("tx commit");
    assert!(device.done("update").contains("Committed"));
    says(&device, "release 4");
}

#[test]
#[ignore = "needs: busybox-static"]
fn who_lacks_the_base_is_told_what_is_missing() {
    let device = keeps();
    let project = Project::new(&device);
    project.two();
    let (one, delta) = (project.package(1), project.delta(1, 2));
    let file = format!("v0.0.1-2.{}.delta", project.arch);
    let lacks =
        [file.as_str(), "is a delta from web-v0.0.1-1", "are not on this device", "hint: set the whole package"];
    let at_once = device.run(&format!("target set {delta}"));
    assert_eq!(at_once.code, Some(2), "{}", at_once.text);
    assert!(lacks.iter().all(|word| at_once.text.contains(word)), "{}", at_once.text);

    device.done(&format!("target set {one}"));
    assert!(device.done("update --stage-only").contains("Staged"));
    device.done("tx begin empty");
    device.done(&format!("tx add {delta}"));
    assert!(device.done("tx show").contains("\"web/root.squashfs\""));
    device.done("tx commit");
    let planned = device.done("check");
    assert!(planned.contains("delta"), "{planned}");
    assert!(device.done("update --stage-only").contains("Staged"));
    assert!(device.done("fsck").contains("Verified"));
}

#[test]
#[ignore = "needs: busybox-static"]
fn what_is_damaged_foreign_or_not_signed_is_refused_by_name() {
    let device = keeps();
    let project = Project::new(&device);
    project.two();
    device.done(&format!("target set {}", project.package(1)));
    device.done("update --stage-only");
    let delta = project.delta(1, 2);
    let whole = fs::read(device.path(&delta)).unwrap();
    let find = |words: &[u8]| whole.windows(words.len()).position(|bytes| bytes == words).unwrap();
    let blob = find(b"UMIAKDL");
    // Its header, one block before it, says how long it is.
    let size = std::str::from_utf8(&whole[blob - 512 + 124..blob - 512 + 135]).unwrap();
    let last = blob + usize::from_str_radix(size, 8).unwrap() - 1;
    for (name, at, later) in [
        // It is no archive at all, whoever reads it.
        ("header.delta", 3, 2),
        ("state.delta", find(b"\"web/run.json\"") + 4, 4),
        ("document.delta", find(b"\"spool\"") + 2, 4),
        ("index.delta", blob + 40, 4),
        ("blob.delta", last, 4),
        ("end.delta", whole.len() - 3, 4),
    ] {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        fs::write(device.path(name), damaged).unwrap();
        refused_later(&device, name, (4, later), &[name]);
    }
    fs::write(device.path("cut.delta"), &whole[..whole.len() - 5000]).unwrap();
    refused_later(&device, "cut.delta", (4, 2), &["cut.delta"]);
    refused(&device, &project.delta_of(1, 2, "mips"), 2, &["`web` is made for", OTHER]);

    // By nobody, and by somebody else.
    fs::rename(device.path("project/releases"), device.path("project/before")).unwrap();
    for (how, words) in [
        ("--unsigned", "is signed by 0 of the 1 that the policy asks for"),
        ("--key ../umiak/pvs/key.stranger.pem --generation 3", "was made by no key that is trusted"),
    ] {
        let _ = fs::remove_dir_all(device.path("project/releases"));
        project.release(3, &format!("{how} --from before"));
        refused(&device, &project.delta(1, 3), 4, &["v0.0.1-3", words]);
    }

    // A delta is read where it lies.
    device.done("tx begin");
    let input = fs::File::open(device.path("cut.delta")).unwrap();
    let through = said(&device.command("tx add -").stdin(input).output().unwrap());
    assert_ne!(through.code, Some(0), "{}", through.text);
    fs::write(device.path("good.delta"), &whole).unwrap();
    let input = fs::File::open(device.path("good.delta")).unwrap();
    let through = said(&device.command("tx add -").stdin(input).output().unwrap());
    assert_eq!(through.code, Some(2), "{}", through.text);
    assert!(through.text.contains("is the delta of a package, which is of use only as a file"), "{}", through.text);
    device.done("tx add good.delta");
}
