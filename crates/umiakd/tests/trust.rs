//! Signed packages on a device that asks for signatures: what it runs, what it refuses by name, what it only tells.
//!
//! Signatures are OpenSSL's: nothing of ours signs here.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "a test works in a scratch directory")]

mod bench;
mod device;
mod signing;

use std::fs;
use std::path::Path;

use bench::{Bench, STAYS};
use device::{Device, Said};
use signing::{Sign, Signing};

fn script(end: &str) -> String {
    format!("#!/bin/sh\ntrap 'exit 0' TERM\nset -- /bin/busybox\n{end}\n")
}

/// A release of `web`, on the bench in place of the one before.
fn release(bench: &Bench<'_>, verb: &str, name: &str, end: &str) {
    bench.release(name, &script(end), &[("srv/page", name.as_bytes())]);
    bench.umiak(&format!("app {verb} --from=oci:../{name}:1 web"));
}

/// All that the store has of objects and documents, by name.
fn stored(device: &Device) -> Vec<String> {
    fn walk(directory: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            if entry.path().is_dir() {
                walk(&entry.path(), found);
            } else {
                found.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
    }
    let mut found = Vec::new();
    walk(&device.path("data/store/blobs"), &mut found);
    found.sort();
    found
}

/// Asks for a package as it is, in a document: nothing is looked at before the update.
fn ask(device: &Device, file: &str) {
    let target = format!(r#"{{"version":1,"apps":[{{"reference":"pvr:{file}"}}]}}"#);
    fs::write(device.path("target.json"), target).unwrap();
    device.done("target set target.json");
}

/// Asks for a package, which is refused with these words when it is set, and when the update meets it: nothing of the device
/// changes.
fn refused(device: &Device, file: &str, words: &[&str]) -> Said {
    let at_once = device.run(&format!("target set {file}"));
    assert_eq!(at_once.code, Some(4), "{file}: {}", at_once.text);
    assert!(words.iter().all(|word| at_once.text.contains(word)), "{file}: {}", at_once.text);
    ask(device, file);
    let before = (stored(device), device.status()["revisions"].clone(), device.status()["underway"].clone());
    let refused = device.run("update");
    assert_eq!(refused.code, Some(4), "{file}: {}", refused.text);
    for word in words {
        assert!(refused.text.contains(word), "{file}: {word}: {}", refused.text);
    }
    let status = device.status();
    let after = (stored(device), status["revisions"].clone(), status["underway"].clone());
    assert_eq!(after, before, "{file}");
    let trouble = status["trouble"]["why"].as_str().unwrap_or_default().to_owned();
    assert!(words.iter().all(|word| trouble.contains(word)), "{file}: a person reads it later: {trouble}");
    refused
}

#[test]
#[ignore = "needs: crun, busybox-static, openssl, root"]
fn what_is_not_signed_as_the_policy_asks_is_refused_by_name() {
    let device = Device::new();
    let (bench, signing) = (Bench::new(&device), Signing::new(&device));
    device.configure(&signing.policy("strict", "clock"));
    let release_key = Sign { generation: Some(7), ..Sign::by("release") };

    release(&bench, "add", "six", STAYS);
    bench.config("web/etc/app.conf", "six");
    signing.pack(&bench, "six.tgz", &Sign { generation: Some(6), ..Sign::by("release") });
    signing.pack(&bench, "renamed.tgz", &Sign { name: "aaa", generation: Some(6), ..Sign::by("release") });
    signing.pack(&bench, "none.tgz", &Sign::by("release"));
    release(&bench, "update", "seven", STAYS);
    signing.pack(&bench, "seven.tgz", &release_key);
    ask(&device, "seven.tgz");
    assert!(device.done("update").contains("Committed"));

    // Older ones, whatever they call their signatures.
    let accepted = "and this device has accepted generation 7 of it already";
    let hint = refused(&device, "six.tgz", &["six.tgz is signed as generation 6", accepted]);
    assert!(hint.text.contains("umiakd rollback"), "{}", hint.text);
    refused(&device, "renamed.tgz", &["web of file", "is signed as generation 6", accepted]);
    refused(&device, "none.tgz", &["is signed without a generation", accepted]);

    // Over something else, by somebody else, by nobody.
    let made =
        "the signature _sigs/web.json was made by no key that is trusted, or something that it covers was changed";
    bench.config("web/etc/app.conf", "changed");
    bench.publish_as("changed.tgz");
    refused(&device, "changed.tgz", &["changed.tgz is not what was signed", made]);
    signing.pack(&bench, "foreign.tgz", &Sign::by("stranger"));
    refused(&device, "foreign.tgz", &[made]);
    signing.unsigned(&bench, "unsigned.tgz");
    refused(&device, "unsigned.tgz", &["unsigned.tgz is signed by 0 of the 1 that the policy asks for"]);
    bench.umiak("app add --from=oci:../seven:1 extra");
    signing.pack(&bench, "beside.tgz", &release_key);
    refused(&device, "beside.tgz", &["beside.tgz has files that nobody signed: extra/"]);
    bench.umiak("app rm extra");

    // By certificates: one whose time is over, one of another authority, one that goes on.
    for (who, words) in [
        ("expired", &["the certificate of expired expired on 2021-01-01"][..]),
        ("foreign", &["the chain of certificates, of foreign, leads to no authority that is trusted"]),
    ] {
        signing.pack(&bench, "dated.tgz", &Sign { chain: true, generation: Some(7), ..Sign::by(who) });
        refused(
            &device,
            "dated.tgz",
            &[&["the certificates of the signature _sigs/web.json are not trusted"], words].concat(),
        );
    }
    signing.pack(&bench, "valid.tgz", &Sign { chain: true, generation: Some(7), ..Sign::by("valid") });
    ask(&device, "valid.tgz");
    device.done("check");

    // What fails its test counts for nothing: what ran before may be asked for again.
    device.configure(&format!("testing.window = \"30 s\"\n{}", signing.policy("strict", "clock")));
    release(&bench, "update", "bad", "exit 3");
    signing.pack(&bench, "bad.tgz", &Sign { generation: Some(8), ..Sign::by("release") });
    ask(&device, "bad.tgz");
    let failed = device.run("update");
    assert_eq!(failed.code, Some(6), "{}", failed.text);
    device.configure(&signing.policy("strict", "clock"));
    ask(&device, "seven.tgz");
    device.done("update");

    // What passed counts; rollback goes back all the same, and what runs then may be asked for.
    release(&bench, "update", "eight", STAYS);
    signing.pack(&bench, "eight.tgz", &Sign { generation: Some(8), ..Sign::by("release") });
    ask(&device, "eight.tgz");
    assert!(device.done("update").contains("Committed"));
    refused(&device, "seven.tgz", &["is signed as generation 7", "accepted generation 8"]);
    assert!(device.done("rollback").contains("Committed"));
    assert!(device.done("update").contains("Up to date"));
    refused(&device, "six.tgz", &["is signed as generation 6", "accepted generation 8"]);

    // Beside what went back something else comes all the same, although the whole has a part that is older than the last.
    bench.umiak("app add --from=oci:../seven:1 maps");
    signing.pack(&bench, "all.tgz", &Sign { name: "maps", part: "maps", generation: Some(1), ..Sign::by("release") });
    bench.umiak("export -p maps,_sigs/maps.json ../maps.tgz");
    device.done("target set maps.tgz");
    assert!(device.done("update").contains("Committed"));
    let status = device.status();
    let services = status["apps"][0]["services"].as_array().unwrap();
    assert_eq!(services.iter().map(|one| one["name"].as_str().unwrap()).collect::<Vec<_>>(), ["maps", "web"]);
}

#[test]
#[ignore = "needs: busybox-static, openssl"]
fn a_mode_says_how_far_it_goes() {
    let device = Device::new();
    let (bench, signing) = (Bench::new(&device), Signing::new(&device));
    let configured = |mode: &str, dates: &str| {
        device.configure(&format!("engine = \"none\"\n{}", signing.policy(mode, dates)));
    };
    release(&bench, "add", "one", STAYS);
    signing.pack(&bench, "good.tgz", &Sign::by("release"));
    signing.pack(&bench, "foreign.tgz", &Sign::by("stranger"));
    signing.pack(&bench, "expired.tgz", &Sign { chain: true, ..Sign::by("expired") });
    signing.unsigned(&bench, "unsigned.tgz");
    let all = ["good.tgz", "unsigned.tgz", "foreign.tgz", "expired.tgz"];
    for (mode, accepted) in [
        ("strict", [true, false, false, false]),
        ("lenient", [true, true, false, false]),
        ("disabled", [true, true, true, true]),
    ] {
        configured(mode, "clock");
        for (file, accepted) in all.into_iter().zip(accepted) {
            ask(&device, file);
            let said = device.run("check");
            assert_eq!(said.code, Some(if accepted { 0 } else { 4 }), "{mode} {file}: {}", said.text);
            assert!(!said.text.contains("audit:"), "{}", said.text);
        }
    }
    configured("strict", "ignore");
    ask(&device, "expired.tgz");
    device.done("check");

    // Audit refuses nothing and says everything: to who asks, to who updates, to who looks later.
    configured("audit", "clock");
    for (file, words) in [
        ("unsigned.tgz", "is signed by 0 of the 1 that the policy asks for (release, vendor)"),
        ("expired.tgz", "the certificate of expired expired on 2021-01-01"),
    ] {
        ask(&device, file);
        let checked = device.done("check");
        assert!(checked.contains("audit:") && checked.contains(words), "{checked}");
        let updated = device.done("update --stage-only");
        assert!(updated.contains("Staged") && updated.contains(words), "{updated}");
        let shown = device.done("status");
        assert!(shown.contains("the policy only looks, and would refuse:") && shown.contains(words), "{shown}");
        assert!(device.status()["audit"].as_array().unwrap().iter().any(|text| text.as_str().unwrap().contains(words)));
    }
    ask(&device, "good.tgz");
    assert!(!device.done("check").contains("audit:"));
    device.done("update --stage-only");
    assert!(device.status()["audit"].is_null(), "nothing is left to tell");
}

#[test]
#[ignore = "needs: crun, busybox-static, openssl, root"]
fn signers_are_counted_for_each_file() {
    let device = Device::new();
    let (bench, signing) = (Bench::new(&device), Signing::new(&device));
    device.configure(&signing.policy_of("strict", "clock", 2));
    release(&bench, "add", "one", STAYS);
    let own = Sign::by("release");
    let vendor = Sign { chain: true, ..Sign::by("valid") };
    // Over `#spec` and nothing else: what the other signer has in every package of his.
    let spec = Sign { name: "_spec", part: "nothing", ..vendor };
    signing.pack_all(&bench, "carried.tgz", &[own, spec]);
    let words = "carried.tgz has files that are signed by 1 of the 2 that the policy asks for (release, vendor): web/";
    let said = refused(&device, "carried.tgz", &[words]);
    assert!(said.text.contains("hint: the others have to sign these files too"), "{}", said.text);
    signing.pack_all(&bench, "alone.tgz", &[own]);
    refused(&device, "alone.tgz", &["alone.tgz is signed by 1 of the 2 that the policy asks for"]);
    signing.pack_all(&bench, "both.tgz", &[own, Sign { name: "web-vendor", ..vendor }]);
    ask(&device, "both.tgz");
    assert!(device.done("update").contains("Committed"));
}
