//! pvr packages on a device: made by `umiak`, run by `umiakd` with a real runtime; patched, extended, configured, merged, bad,
//! damaged.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "a test works in a scratch directory")]

mod bench;
mod device;

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bench::{Bench, PACKAGE, STAYS};
use device::Device;

/// Says what it finds, keeps a line of each start in three volumes, and runs until it is told to end.
fn script(release: &str, end: &str) -> String {
    format!(
        "#!/bin/sh\ntrap 'exit 0' TERM\nset -- /bin/busybox\n\
         for kept in data once lost srv; do echo start >> /$kept/log; done\n\
         echo \"{release}: page $($1 cat /srv/page), old $($1 ls /srv | $1 tr '\\n' ' '), \
         config $($1 cat /etc/app.conf)$($1 cat /etc/more.json), data $($1 wc -l < /data/log), srv $($1 wc -l < /srv/log), once $($1 wc -l < /once/log)\"\n\
         echo written > /root-is-written || exit 9\n{end}\n"
    )
}

/// A release that says so.
fn release(bench: &Bench<'_>, name: &str, end: &str, pages: &[(&str, &[u8])]) {
    bench.release(name, &script(name, end), pages);
}

/// Waits until the last line that a container printed has all of these words.
fn says(device: &Device, container: &str, words: &[&str]) {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        let told = device.done(&format!("logs device {container}"));
        let last = told.lines().rfind(|line| !line.contains("  * ") && !line.is_empty()).unwrap_or_default();
        if words.iter().all(|word| last.contains(word)) {
            return;
        }
        assert!(Instant::now() < end, "{container} does not say {words:?}:\n{told}{}", device.done("status"));
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A package of three: a base that is only mounted, an extension of it, and `web`.
fn first(bench: &Bench<'_>) {
    release(bench, "one", STAYS, &[("srv/page", b"1"), ("srv/gone", b""), ("etc/app.conf", b"image")]);
    let base: &[(&str, &[u8])] = &[("srv/below", b"base"), ("srv/shared", b"base")];
    let more = "#!/bin/sh\ntrap 'exit 0' TERM\nset -- /bin/busybox\n\
                echo \"extended: $($1 cat /srv/below /srv/shared)\"\nwhile :; do $1 sleep 0.1; done\n";
    bench.image("below", &[base]);
    bench.image("above", &[base, &[("bin/app", more.as_bytes()), ("srv/shared", b"above")]]);
    bench.umiak("app add --from=oci:../one:1 --volume /data:permanent --volume /once:revision --volume /lost:boot --volume ovl:/srv:permanent web");
    bench.umiak("app add --group data --status-goal MOUNTED --from=oci:../below:1 below");
    bench.umiak("app add --base below --from=oci:../above:1 ext");
    bench.config("web/etc/app.conf", "device");
    bench.config("web/etc/more.json", "{ \"a\": 1 }");
    bench.publish();
}

#[test]
#[ignore = "needs: crun, busybox-static, root"]
fn a_package_is_run_patched_taken_back_and_configured() {
    let device = Device::new();
    let bench = Bench::new(&device);
    first(&bench);
    device.done(&format!("target set --replace {PACKAGE}"));
    device.done("check --explain");
    let told = device.done("update");
    assert!(told.contains("Committed"), "{told}");
    says(&device, "ext", &["extended: baseabove"]);
    let config = "config device{\"a\":1},";
    says(&device, "web", &["one: page 1, old gone log page ,", config, "data 1, srv 1, once 1"]);

    // A patch: one page changed, one gone. What did not change goes on; what the app keeps is there, and what was of the
    // revision is not.
    release(&bench, "two", STAYS, &[("srv/page", b"2"), ("etc/app.conf", b"image")]);
    bench.umiak("app update --patch --from=oci:../two:1 web");
    bench.publish();
    let planned = device.done("check");
    assert!(planned.contains("device"), "{planned}");
    device.done("update");
    says(&device, "web", &["two: page 2, old log page ,", config, "data 2, srv 2, once 1"]);
    let starts = device.done("logs device ext").matches("extended").count();
    assert_eq!(starts, 1, "the extension did not notice");

    // A bad one. Containers are started again, so that it takes a look or two to see it.
    device.configure("testing.window = \"30 s\"");
    release(&bench, "bad", "exit 3", &[("srv/page", b"3"), ("etc/app.conf", b"image")]);
    bench.umiak("app update --patch --from=oci:../bad:1 web");
    bench.publish();
    let failed = device.run("update");
    assert_eq!(failed.code, Some(6), "{}", failed.text);
    says(&device, "web", &["two: page 2", "once 2"]);

    device.configure("");
    // By hand back to the first, and on with another configuration only.
    device.done("rollback");
    says(&device, "web", &["one: page 1", "once 2"]);
    bench.umiak("app update --patch --from=oci:../two:1 web");
    bench.config("web/etc/app.conf", "changed");
    bench.publish();
    device.done("update");
    says(&device, "web", &["two: page 2", "config changed{"]);
    assert_eq!(device.done("logs device ext").matches("extended").count(), 1, "the extension did not notice");

    device.done("prune");
    assert!(device.done("fsck").contains("Verified"));
    // Out again as it came in, bit for bit, and of no use as an image.
    device.done("export device pvr:out.tgz");
    assert_eq!(fs::read(device.path("out.tgz")).unwrap(), fs::read(device.path(PACKAGE)).unwrap());
    assert!(device.run("export device out").text.contains("pvr:FILE"));
    let status = device.status();
    let services: Vec<&str> =
        status["apps"][0]["services"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(services, ["ext", "web"], "the base is mounted, not started");
}

/// A script that says who it is, and when it started.
fn plain(name: &str) -> String {
    format!("#!/bin/sh\ntrap 'exit 0' TERM\nset -- /bin/busybox\necho \"{name} started\"\n{STAYS}\n")
}

/// A package of one container alone.
fn alone(bench: &Bench<'_>, container: &str, release: &str, add: &str) {
    let script = plain(release);
    bench.image(release, &[&[("bin/app", script.as_bytes())]]);
    bench.umiak(&format!("app {add} --from=oci:../{release}:1 {container}"));
    bench.umiak("-q add .");
    bench.umiak("-q commit");
    bench.umiak(&format!("export -p {container} ../{release}.tgz"));
}

#[test]
#[ignore = "needs: crun, busybox-static, root"]
fn packages_are_merged_and_parts_taken_out() {
    let device = Device::new();
    let bench = Bench::new(&device);
    alone(&bench, "web", "web-1", "add");
    alone(&bench, "maps", "maps-1", "add");
    alone(&bench, "web", "web-2", "update --newbase");
    alone(&bench, "os", "os-1", "add");
    device.done("target set web-1.tgz");
    assert!(device.done("update").contains("Committed"));
    says(&device, "web", &["web-1 started"]);
    let told = device.done("target set ./maps-1.tgz");
    assert!(told.contains("Merged") && told.contains("maps (5 files"), "{told}");
    device.done("update");
    says(&device, "maps", &["maps-1 started"]);
    assert_eq!(device.done("logs device web").matches("web-1 started").count(), 1, "web did not notice");

    let shown = device.done("--dry-run target set os-1.tgz");
    assert!(shown.contains("merge os-1.tgz: os"), "{shown}");
    device.done("tx begin");
    device.done("tx remove maps");
    let package = fs::File::open(device.path("web-2.tgz")).unwrap();
    let output = device.command("tx add -").stdin(package).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    device.done("tx add os-1.tgz");
    let state = device.done("tx show");
    assert!(state.contains("\"os/run.json\"") && !state.contains("maps"), "{state}");
    says(&device, "maps", &["maps-1 started"]);
    device.done("prune");
    device.done("tx commit");
    let planned = device.done("update");
    assert!(planned.contains("Committed"), "{planned}");
    says(&device, "web", &["web-2 started"]);
    says(&device, "os", &["os-1 started"]);
    let status = device.status();
    let names = |status: &serde_json::Value| -> Vec<String> {
        let services = status["apps"][0]["services"].as_array().unwrap();
        services.iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&status), ["os", "web"]);

    // The whole of it back, and what is set is taken back where it is not well.
    device.done("rollback");
    says(&device, "maps", &["maps-1 started"]);
    assert_eq!(names(&device.status()), ["maps", "web"]);
    device.done("target set os-1.tgz");
    device.done("update");
    assert_eq!(names(&device.status()), ["maps", "os", "web"]);
    device.done("target set --replace maps-1.tgz");
    device.done("update");
    assert_eq!(names(&device.status()), ["maps"]);
    device.done("prune");
    assert!(device.done("fsck").contains("Verified"));
}

#[test]
#[ignore = "needs: crun, busybox-static, root"]
fn damaged_objects_come_again_from_the_package() {
    let device = Device::new();
    let bench = Bench::new(&device);
    first(&bench);
    device.done(&format!("target set --replace {PACKAGE}"));
    device.done("update");
    let blobs = device.path("data/store/blobs/sha256");
    let mut damaged = 0;
    for entry in walk(&blobs) {
        // In place: images are mounted.
        let bytes = fs::read(&entry).unwrap();
        let at = bytes.len() / 2;
        let file = fs::File::options().write(true).open(&entry).unwrap();
        file.write_all_at(&[bytes[at] ^ 1], at as u64).unwrap();
        damaged += 1;
        let found = device.run("fsck");
        assert_ne!(found.code, Some(0), "{}: {}", entry.display(), found.text);
        device.run("fsck --repair");
        assert!(device.done("fsck").contains("Verified"), "{}", entry.display());
    }
    // Three images and a cover, two configurations, two files, the state, the revision.
    assert!(damaged >= 9, "{damaged}");
}

fn walk(directory: &Path) -> Vec<PathBuf> {
    let mut found = vec![];
    for entry in fs::read_dir(directory).unwrap().flatten() {
        if entry.path().is_dir() {
            found.extend(walk(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found.sort();
    found
}

#[test]
#[ignore = "needs: crun, busybox-static, root"]
fn what_is_not_done_is_refused_before_anything_is_fetched() {
    let device = Device::new();
    let bench = Bench::new(&device);
    first(&bench);
    bench.umiak("app rm ext");
    bench.umiak("app add --from=oci:../one:1 --arg PV_DRIVERS_REQUIRED=wifi --arg PV_LXC_NETWORK_TYPE=phys ext");
    bench.publish();
    device.done(&format!("target set --replace {PACKAGE}"));
    let refused = device.run("update");
    assert_eq!(refused.code, Some(2), "{}", refused.text);
    for words in ["ext/run.json: drivers.required", "ext/lxc.container.conf:", "type `phys`"] {
        assert!(refused.text.contains(words), "{words}: {}", refused.text);
    }
    let fetched: u64 =
        walk(&device.path("data/store/blobs/sha256")).iter().map(|path| fs::metadata(path).unwrap().len()).sum();
    assert!(fetched < 100_000, "{fetched} bytes");
}
