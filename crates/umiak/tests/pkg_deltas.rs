//! Deltas of packages through the program: made beside the packages, and read wherever a package is.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use std::fs;

use harness::project::{ready, refused, release, sizes};
use harness::{Place, assert_snapshot};

const DELTA: &str = "releases/pvwebstatus-v0.0.1-1..v0.0.1-2.mips.delta";

fn bytes(place: &Place, name: &str) -> Vec<u8> {
    fs::read(place.path().join("project").join(name)).unwrap()
}

#[test]
fn deltas_lie_beside_the_packages_and_are_read_like_them() {
    let place = ready("pkg-deltas");
    place.done_in("project", "pkg build --only amd64,mips --build-version 1 --generation 1");
    fs::rename(place.path().join("project/releases"), place.path().join("project/before")).unwrap();
    release(&place, 2);
    let mut transcript = String::new();
    let mut run = |line: &str| {
        let said = place.run_in("project", line);
        transcript.push_str(&said.told("", line));
        said
    };
    let build = "pkg build --only amd64,mips --build-version 2 --generation 2 --from";
    run(&format!("{build} nowhere"));
    run(&format!("{build} before --dry-run"));
    run(&format!("{build} before"));
    let first = bytes(&place, DELTA);
    run(&format!("{build} before"));
    run("pkg build --only riscv64 --build-version 2 --generation 2 --from before");
    run(&format!("pkg verify {DELTA}"));
    run(&format!("pkg verify --strict {DELTA}"));
    run(&format!("pkg verify --platform linux/amd64 {DELTA}"));
    run(&format!("pkg diff before/pvwebstatus-v0.0.1-1.mips.tgz {DELTA}"));
    run(&format!("pkg diff {DELTA} releases/pvwebstatus-v0.0.1-2.mips.tgz"));
    let listed = run(&format!("pkg ls {DELTA}")).out;
    assert_eq!(listed, place.done_in("project", "pkg ls releases/pvwebstatus-v0.0.1-2.mips.tgz").out);
    // It is for devices that have the release before.
    place.done_in("project", "init");
    run(&format!("import {DELTA}"));
    assert_snapshot("pkg-deltas", &sizes(&transcript));

    let whole = bytes(&place, "releases/pvwebstatus-v0.0.1-2.mips.tgz").len();
    assert!(first.len() < whole / 4, "{} of {whole}", first.len());
    fs::remove_file(place.path().join("project").join(DELTA)).unwrap();
    place.done_in("project", &format!("{build} before"));
    assert!(bytes(&place, DELTA) == first, "the same bytes");
    // Another package under the name of the one before: its delta is another one.
    release(&place, 3);
    place.done_in("project", &format!("{build} before"));
    let json = place.done_in("project", &format!("{build} before --json")).out;
    for word in ["\"outcome\": \"unchanged\"", "\"base\": \"pvwebstatus-v0.0.1-1.mips.tgz\"", "1..v0.0.1-2.mips.delta"]
    {
        assert!(json.contains(word), "{word}: {json}");
    }
    assert!(bytes(&place, DELTA) != first);
}

#[test]
fn a_damaged_delta_and_one_that_nobody_signed_are_refused() {
    let place = ready("pkg-deltas-bad");
    place.done_in("project", "pkg build --only mips --build-version 1");
    fs::rename(place.path().join("project/releases"), place.path().join("project/before")).unwrap();
    release(&place, 2);
    place.done_in("project", "pkg build --only mips --build-version 2 --from before");
    let whole = bytes(&place, DELTA);
    for at in [3, 600, whole.len() / 2, whole.len() - 2000, whole.len() - 3] {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        place.write("damaged.delta", damaged);
        for verb in ["ls", "verify --unsigned", "diff damaged.delta"] {
            refused(&place.run(&format!("pkg {verb} damaged.delta")), 4, &["damaged.delta"]);
        }
    }
    place.write("cut.delta", &whole[..whole.len() - 3000]);
    refused(&place.run("pkg verify --unsigned cut.delta"), 4, &["cut.delta is cut short"]);
    // Its name says for whom it is, as a package's does.
    place.write("web-v0.0.1-1..v0.0.1-2.amd64.delta", &whole);
    let other = place.run("pkg verify --unsigned web-v0.0.1-1..v0.0.1-2.amd64.delta");
    refused(&other, 4, &["linux/mips", "the file's name is for linux/amd64"]);

    place.done("-q keys new --days 1 --kind p256 --name foreign");
    let foreign = place.home().join(".pvr/pvs/cacerts.foreign.pem");
    let said = place.run(&format!("pkg verify --cacerts {} project/{DELTA}", foreign.display()));
    refused(&said, 4, &["_sigs/pvwebstatus.json"]);
    fs::remove_dir_all(place.path().join("project/releases")).unwrap();
    place.done_in("project", "pkg build --only mips --build-version 2 --unsigned --from before");
    refused(&place.run(&format!("pkg verify project/{DELTA}")), 4, &["is not signed"]);
    place.done(&format!("pkg verify --unsigned project/{DELTA}"));
}
