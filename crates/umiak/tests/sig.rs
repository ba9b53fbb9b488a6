//! Signatures through the program: keys are made, a device's parts are signed, and what was changed is found.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use harness::{Place, assert_snapshot};
use umiak_pvr::json::{Object, Value};
use umiak_sign::{Known, Policy, PublicKey, PvsHeader, SignedState, Signers};
use umiak_spec::Limits;

/// A device with an app and its configuration, committed.
fn device(name: &str) -> Place {
    let place = Place::new(name);
    place.write("device/web/run.json", r#"{"name":"web"}"#);
    place.write("device/web/src.json", r#"{"docker_name":"nginx"}"#);
    place.write("device/web/root.squashfs", "not really");
    place.write("device/_config/web/etc/nginx.conf", "listen 80");
    place.write("device/device.json", "{}");
    place.done_in("device", "init");
    commit(&place);
    place
}

fn commit(place: &Place) {
    place.done_in("device", "add");
    place.done_in("device", "commit");
}

/// The committed state.
fn state(place: &Place) -> Object {
    match Value::parse(place.read("device/.pvr/json").as_bytes(), 1 << 20).unwrap() {
        Value::Object(state) => state,
        _ => panic!("no state"),
    }
}

#[test]
fn a_state_is_signed_verified_changed_and_signed_again() {
    let place = device("signing");
    let mut transcript = String::new();
    let mut run = |directory: &str, line: &str| {
        let said = place.run_in(directory, line);
        transcript.push_str(&said.told(directory, line));
        said
    };
    run("device", "sig add --part web");
    run("device", "sig verify");
    run("", "keys new --dry-run");
    run("", "keys new");
    run("", "keys new");
    run("device", "sig verify");
    run("device", "sig add --part web --dry-run");
    run("device", "sig add --part web --generation 7");
    run("device", "status");
    run("device", "commit");
    run("device", "sig verify");
    run("device", "sig ls");
    run("device", "sig verify --strict");
    run("device", "sig add --raw rest");
    run("device", "sig add --raw rest --include #spec,device.json");
    run("device", "sig add --raw rest --include rest");
    run("device", "commit");
    run("device", "sig verify --strict");
    place.write("device/web/root.squashfs", "another");
    place.write("device/web/src.json", r#"{"docker_name":"other"}"#);
    run("device", "sig add --part web --generation 6");
    run("device", "sig add --part web");
    run("device", "commit");
    run("device", "sig verify");
    run("device", "sig update nothing");
    run("device", "sig update web --generation 8");
    run("device", "commit");
    run("device", "sig verify --json --strict");
    run("device", "sig add --part shop");
    run("device", "sig --certs-url https://gitlab.example/keys.tgz add --part web");
    run("", "sig verify device#web");
    assert_snapshot("sig", &transcript);
}

#[test]
fn signatures_are_pvr_s_and_the_same_each_time() {
    let place = device("same");
    for kind in ["rsa2048", "p256", "p384"] {
        place.done(&format!("keys new --name {kind} --kind {kind} --subject Team"));
        let key = place.home().join(format!(".pvr/pvs/key.{kind}.pem"));
        let pvs = place.home().join(".pvr/pvs");
        for (name, private) in [("key", true), ("pubkey", false), ("x5c", false), ("cacerts", false)] {
            let mode = fs::metadata(pvs.join(format!("{name}.{kind}.pem"))).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode == 0o600, private, "{name}: {mode:o}");
        }
        let mode = fs::metadata(pvs.join(format!("authority.{kind}.key.pem"))).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let line = |more: &str| format!("sig -k {} add --part web {more}", key.display());
        let first = place.done_in("device", &line("--output -")).out;
        assert_eq!(place.done_in("device", &line("--output -")).out, first, "{kind}");
        let document = Value::parse(first.as_bytes(), 1 << 20).unwrap();
        assert_eq!(first.trim_end(), document.canonical());
        let header = PvsHeader::of("web", &document).unwrap();
        assert!(header.chain.is_empty(), "the default's certificates are not there");
        let x5c = pvs.join(format!("x5c.{kind}.pem"));
        let with = place.done_in("device", &line(&format!("--x5c {} --output -", x5c.display()))).out;
        assert_eq!(PvsHeader::of("web", &Value::parse(with.as_bytes(), 1 << 20).unwrap()).unwrap().chain.len(), 1);
        let mut members = state(&place);
        members.insert("_sigs/web.json".into(), document);
        let public = PublicKey::from_pem(&place.done(&format!("keys export --name {kind}")).out).unwrap();
        let signers = Signers { keys: vec![("k", &public)], authorities: vec![] };
        let signed = SignedState::verify(&members, &signers).unwrap();
        assert_eq!(signed.protected, ["_config/web/etc/nginx.conf", "web/root.squashfs", "web/run.json"]);
        assert_eq!(signed.excluded, ["_sigs/web.json", "web/src.json"]);
        let payload = place.done_in("device", &format!("{} --with-payload", line("--output -"))).out;
        assert!(payload.contains(r#""payload":""#) && !first.contains("payload"));
    }
    let wrong = place.home().join(".pvr/pvs/x5c.p256.pem");
    let key = place.home().join(".pvr/pvs/key.p384.pem");
    let said = place.run_in("device", &format!("sig -k {} -x {} add -p web", key.display(), wrong.display()));
    assert_eq!(said.code, 2);
    assert!(said.err.contains("the first certificate is not for this key"), "{}", said.err);
}

#[test]
fn devices_get_what_they_need_of_a_key() {
    let place = device("export");
    place.done("keys new --name release --kind p256");
    place.done("keys new --name build7 --kind rsa2048 --authority release");
    place.done("keys new --name alone --bare");
    for (name, signer) in [("release", "release"), ("build7", "release"), ("alone", "alone")] {
        let key = place.home().join(format!(".pvr/pvs/key.{name}.pem"));
        let x5c = place.home().join(format!(".pvr/pvs/x5c.{name}.pem"));
        let x5c = if x5c.exists() { format!("-x {}", x5c.display()) } else { String::new() };
        let include = "#spec,device.json,web/**,_config/**";
        let sign = format!("sig -k {} {x5c} add --raw all --include {include} --output -", key.display());
        let document = place.done_in("device", &sign).out;
        let mut members = state(&place);
        members.insert("_sigs/all.json".into(), Value::parse(document.as_bytes(), 1 << 20).unwrap());
        // Whoever trusts the authority trusts what it issued.
        let policy = place.done(&format!("keys export policy --name {signer}")).out;
        let policy = Policy::parse(policy.as_bytes(), &Limits::default()).unwrap();
        assert_eq!(policy.check_state("file/x.tgz", &members, &Known::default()).unwrap().signers, [signer], "{name}");
        members.insert("web/run.json".into(), Value::Null);
        assert!(policy.check_state("file/x.tgz", &members, &Known::default()).is_err(), "{name}");
    }
    let store = place.done("keys export trust-store --name release");
    assert!(store.err.contains("ca-certificates.crt") && store.err.contains("use RSA"), "{}", store.err);
    assert_eq!(store.out, place.done("keys export authority --name release").out);
    let store = place.done("keys export trust-store --name alone");
    assert!(store.err.contains("trust/pub.pem") && !store.err.contains("warning"), "{}", store.err);
    assert_eq!(place.run("keys export authority --name alone").code, 2);
    assert_eq!(place.run("keys export --name nobody").code, 2);
}

#[test]
fn a_certificate_whose_last_day_is_over_is_told() {
    let place = device("expired");
    let mut command = place.command(&place.path());
    command.env("SOURCE_DATE_EPOCH", "1700000000").args(["keys", "new", "--kind", "p256", "--days", "30"]);
    assert_eq!(place.finish(&mut command).code, 0);
    place.done_in("device", "sig add --part web");
    place.done_in("device", "commit");
    let ca = place.home().join(".pvr/pvs/cacerts.default.pem");
    let said = place.run_in("device", &format!("sig -c {} verify", ca.display()));
    assert_eq!(said.code, 4);
    assert!(said.err.contains("expired on 2023-12-14"), "{}", said.err);
    let public = place.home().join(".pvr/pvs/pubkey.default.pem");
    place.done_in("device", &format!("sig -p {} verify", public.display()));
    // What is listed is shown on every day, with the same words as a warning.
    let listed = place.done_in("device", &format!("sig -c {} ls", ca.display()));
    assert!(
        listed.err.contains("warning: _sigs/web.json: ") && listed.err.contains("expired on 2023-12-14"),
        "{}",
        listed.err
    );
    assert!(listed.out.contains("web/run.json"), "{}", listed.out);
    assert!(!place.done_in("device", &format!("sig -p {} ls", public.display())).err.contains("expired"));
}

#[test]
fn private_keys_are_kept_apart() {
    let place = device("apart");
    let refused = |directory: &str, line: &str, why: &str| {
        let said = place.run_in(directory, line);
        assert_eq!(said.code, 2, "{line}: {}", said.err);
        assert!(said.err.contains(why), "{line}: {}", said.err);
    };
    refused("device", "keys new --dir keys", "in the device directory");
    refused("device", "keys new --dir web/keys/deep", "in the device directory");
    fs::create_dir(place.path().join(".git")).unwrap();
    refused("", "keys new --dir keys", "in the git repository");
    refused("device", "keys new --name ../x", "is no name for a key");
    place.write("secret", "a long password\nand more\n");
    place.done("keys new --name locked --kind p256 --password-file secret");
    let locked = place.home().join(".pvr/pvs/key.locked.pem");
    assert!(fs::read_to_string(&locked).unwrap().starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"));
    let sign = format!("sig -k {} add --part web", locked.display());
    refused("device", &sign, "protected by a password");
    refused("device", &format!("{sign} --password-file ../device/device.json"), "does not open the key");
    place.done_in("device", &format!("{sign} --password-file ../secret"));
    fs::copy(&locked, place.path().join("device/web/key.pem")).unwrap();
    refused("device", "sig -k web/key.pem add --part web", "in the device directory");
    fs::copy(&locked, place.path().join("open.pem")).unwrap();
    fs::set_permissions(place.path().join("open.pem"), fs::Permissions::from_mode(0o644)).unwrap();
    let said = place.done_in("device", "sig -k ../open.pem --password-file ../secret add --part web");
    assert!(said.err.contains("chmod 600"), "{}", said.err);
    // Nor is one that lies there taken in, with what lies beside it or by name.
    place.write("device/web/more.conf", "x");
    for line in ["add", "add web", "add web/key.pem", "add --dry-run", "add --raw web/*.pem"] {
        refused("device", line, "the private key web/key.pem is in the device directory");
        assert!(place.done_in("device", "status").out.contains("? web/more.conf"), "{line}: nothing is tracked");
    }
    fs::copy(place.home().join(".pvr/pvs/pubkey.locked.pem"), place.path().join("device/web/pub.pem")).unwrap();
    place.done_in("device", "add web/more.conf web/pub.pem");
    place.done_in("device", "add --private-keys web");
    assert!(place.done_in("device", "status").out.contains("A web/key.pem"));
}
