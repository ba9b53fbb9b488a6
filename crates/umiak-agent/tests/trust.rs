//! What a device's policy lets in, and what it keeps of what it let in: modes, generations, dates.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may panic and write files")]

mod device;

use std::fs;
use std::process::Command;

use device::{World, image, layer, sources, tar};
use serde_json::{Value, json};
use umiak_agent::sources::Sources;
use umiak_agent::{Class, Silently, Supply as _, SupplyError};
use umiak_sign::Policy;
use umiak_sign::base64::{encode, encode_url};
use umiak_spec::target::{Asked, AskedApp, Target};
use umiak_spec::{Digest, Limits, media_type};
use umiak_store::Store;
use umiak_testkit::cosign::Signer;

/// Two keys: one that the policies know, and one that nobody knows.
const RELEASE: u8 = 7;
const STRANGER: u8 = 8;

/// A device whose policy is `mode` for everything, and whose clock shows `date`.
fn device(mode: &str, date: Option<u64>) -> Sources {
    let policy = json!({
        "version": 1,
        "mode": mode,
        "keys": { "release": Signer::numbered(RELEASE).public() },
        "default": { "accept": "signed", "signers": ["release"] },
    });
    let trust = Policy::parse(policy.to_string().as_bytes(), &Limits::default()).unwrap();
    Sources { trust, date: Box::new(move || date), ..sources() }
}

/// A state with one container, signed by `key` with what `more` adds to the header.
fn signed(key: Option<u8>, more: &[(&str, Value)], page: &str) -> Value {
    let mut state =
        json!({ "#spec": "pantavisor-service-system@1", "maps/run.json": { "name": "maps", "page": page } });
    let Some(key) = key else { return state };
    let mut header = json!({ "alg": "EdDSA", "pvs": { "include": ["maps/**", "#spec"], "exclude": [] }, "typ": "PVS" });
    for (name, value) in more {
        header[name] = value.clone();
    }
    let protected = encode_url(header.to_string().as_bytes());
    let message = format!("{protected}.{}", encode_url(state.to_string().as_bytes()));
    let signature = encode_url(&Signer::numbered(key).bytes(message.as_bytes()));
    state["_sigs/maps.json"] = json!({ "#spec": "pvs@2", "protected": protected, "signature": signature });
    state
}

/// Packs a state, and asks for it.
fn package(world: &World, name: &str, state: &Value) -> Asked {
    fs::write(world.path().join(name), tar(&[("json", state.to_string().as_bytes())])).unwrap();
    let origin = format!("pvr:{}/{name}", world.path().display());
    let app = AskedApp::new(origin.parse().unwrap());
    Asked { generation: None, testing_seconds: None, apps: vec![app] }
}

fn resolve(sources: &Sources, store: &Store, asked: &Asked) -> Result<Target, SupplyError> {
    sources.resolve(store, asked, &Silently)
}

/// What is said of what is refused, with its causes.
fn refused(sources: &Sources, store: &Store, asked: &Asked) -> String {
    let error = resolve(sources, store, asked).unwrap_err();
    assert_eq!(error.class, Class::Corrupt, "{error}");
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

#[test]
fn each_mode_refuses_what_it_says_and_audit_tells() {
    let world = World::new();
    let store = world.store();
    let cases = [
        package(&world, "good", &signed(Some(RELEASE), &[], "good")),
        package(&world, "none", &signed(None, &[], "none")),
        package(&world, "foreign", &signed(Some(STRANGER), &[], "foreign")),
    ];
    for (mode, accepted) in [
        ("strict", [true, false, false]),
        ("lenient", [true, true, false]),
        ("audit", [true, true, true]),
        ("disabled", [true, true, true]),
    ] {
        let sources = device(mode, None);
        for (asked, accepted) in cases.iter().zip(accepted) {
            if !accepted {
                let held = store.blob_list().unwrap().len();
                refused(&sources, &store, asked);
                assert_eq!(store.blob_list().unwrap().len(), held, "{mode}: nothing of it was kept");
                continue;
            }
            let target = resolve(&sources, &store, asked).unwrap();
            let told = sources.concerns(&store, &target, &Silently);
            let unsound = mode == "audit" && !asked.apps[0].origin.to_string().ends_with("good");
            assert_eq!(!told.is_empty(), unsound, "{mode}: {told:?}");
        }
    }
    let target = resolve(&device("audit", None), &store, &cases[2]).unwrap();
    let told = device("audit", None).concerns(&store, &target, &Silently).join("\n");
    for words in
        ["/foreign is not what was signed: the signature _sigs/maps.json was made by no key", "signed by 0 of the 1"]
    {
        assert!(told.contains(words), "{told}");
    }
}

#[test]
fn a_generation_counts_from_the_commit_on() {
    let world = World::new();
    let store = world.store();
    let sources = device("strict", None);
    let of = |name: &str, generation: Option<u64>| {
        let more: Vec<_> = generation.map(|number| ("generation", json!(number))).into_iter().collect();
        package(&world, name, &signed(Some(RELEASE), &more, name))
    };
    let (six, seven, none) = (of("six", Some(6)), of("seven", Some(7)), of("none", None));
    let newer = resolve(&sources, &store, &seven).unwrap();
    let older = resolve(&sources, &store, &six).unwrap();
    sources.committed(&store, &newer).unwrap();
    for (asked, words) in [(&six, "is signed as generation 6"), (&none, "is signed without a generation")] {
        let error = refused(&sources, &store, asked);
        assert!(error.starts_with("maps of file") && error.contains(words), "{error}");
        assert!(error.ends_with("and this device has accepted generation 7 of it already"), "{error}");
    }
    let name = "generations".parse().unwrap();
    let record = || store.record(&name).unwrap().unwrap();
    assert_eq!(String::from_utf8(record()).unwrap(), r#"{"version":1,"parts":{"maps":7}}"#);
    sources.committed(&store, &older).unwrap();
    assert_eq!(String::from_utf8(record()).unwrap(), r#"{"version":1,"parts":{"maps":7}}"#, "it never goes down");
    assert!(resolve(&sources, &store, &seven).is_ok() && resolve(&sources, &store, &of("eight", Some(8))).is_ok());

    // What cannot be read opens no door; without a policy nobody asks.
    store.put_record(&name, br#"{"version":2,"parts":{}}"#).unwrap();
    let error = resolve(&sources, &store, &seven).unwrap_err();
    assert!(error.to_string().contains("the list of accepted generations"), "{error}");
    assert!(resolve(&device("disabled", None), &store, &six).is_ok());
}

#[test]
#[ignore = "needs: openssl"]
fn a_last_day_counts_where_the_clock_was_set() {
    let world = World::new();
    let store = world.store();
    let run = |line: &str| {
        let output = Command::new("openssl").args(line.split(' ')).current_dir(world.path()).output().unwrap();
        assert!(output.status.success(), "openssl {line}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    run("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem -subj /CN=vendor");
    run("req -newkey ed25519 -nodes -keyout leaf.key -out leaf.csr -subj /CN=developer");
    let settings = "[ca]\ndefault_ca=x\n[x]\ndatabase=index\nserial=serial\nnew_certs_dir=.\ncertificate=ca.pem\n\
        private_key=ca.key\ndefault_md=sha256\npolicy=p\n[p]\ncommonName=supplied\n";
    for (name, text) in
        [("ca.conf", settings), ("index", ""), ("serial", "01\n"), ("ext", "extendedKeyUsage=codeSigning\n")]
    {
        fs::write(world.path().join(name), text).unwrap();
    }
    let dates = "-startdate 20240601000000Z -enddate 20250601000000Z";
    run(&format!("ca -batch -config ca.conf -in leaf.csr -notext -extfile ext -out leaf.pem {dates}"));
    let der = run("x509 -in leaf.pem -outform DER");
    let mut state = json!({ "maps/run.json": { "name": "maps" } });
    let header = json!({ "alg": "EdDSA", "pvs": { "include": ["maps/**"] }, "typ": "PVS", "x5c": [encode(&der)] });
    let protected = encode_url(header.to_string().as_bytes());
    let message = format!("{protected}.{}", encode_url(state.to_string().as_bytes()));
    fs::write(world.path().join("message"), message).unwrap();
    let signature = encode_url(&run("pkeyutl -sign -rawin -inkey leaf.key -in message"));
    state["_sigs/maps.json"] = json!({ "#spec": "pvs@2", "protected": protected, "signature": signature });
    state["#spec"] = json!("pantavisor-service-system@1");
    let asked = package(&world, "dated", &state);
    let ca = fs::read_to_string(world.path().join("ca.pem")).unwrap();
    let device = |dates: &str, date: Option<u64>| {
        let policy = json!({
            "version": 1, "dates": dates, "authorities": { "vendor": ca },
            "default": { "accept": "signed", "signers": ["vendor"], "cover": "parts" },
        });
        let trust = Policy::parse(policy.to_string().as_bytes(), &Limits::default()).unwrap();
        Sources { trust, date: Box::new(move || date), ..sources() }
    };
    let (before, within, after) = (1_704_067_200, 1_730_000_000, 1_760_000_000);
    for date in [None, Some(before), Some(within)] {
        resolve(&device("clock", date), &store, &asked).unwrap_or_else(|error| panic!("{date:?}: {error}: {error:?}"));
    }
    resolve(&device("ignore", Some(after)), &store, &asked).unwrap();
    let error = refused(&device("clock", Some(after)), &store, &asked);
    let words = ["the signature _sigs/maps.json", "the certificate of developer expired on 2025-06-01"];
    assert!(words.iter().all(|word| error.contains(word)), "{error}");
}

/// Signs what a tag leads to, as cosign does.
fn cosign(world: &World, digest: &Digest, key: u8) {
    let [payload, manifest] = Signer::numbered(key).sign(digest, None);
    world.registry.put_blob(device::REPOSITORY, payload.bytes);
    world.registry.put(&umiak_sign::signature_tag(digest), media_type::OCI_MANIFEST, manifest.bytes);
}

#[test]
fn an_images_signatures_count_as_the_mode_says() {
    let world = World::new();
    let store = world.store();
    let mut publish = {
        let mut number = 0_u8;
        let world = &world;
        move || {
            number += 1;
            world.publish("stable", &image(vec![layer("a", &[number])]))
        }
    };
    for (key, accepted) in
        [(None, [false, true, true]), (Some(STRANGER), [false, false, true]), (Some(RELEASE), [true, true, true])]
    {
        let digest = publish();
        if let Some(key) = key {
            cosign(&world, &digest, key);
        }
        let asked = world.asked(&world.reference("stable"));
        for (mode, accepted) in ["strict", "lenient", "audit"].into_iter().zip(accepted) {
            let sources = device(mode, None);
            if !accepted {
                assert!(refused(&sources, &store, &asked).contains("is signed by 0 of the 1"), "{mode} {key:?}");
                continue;
            }
            let target = resolve(&sources, &store, &asked).unwrap();
            let told = sources.concerns(&store, &target, &Silently);
            let wanted = usize::from(mode == "audit" && key != Some(RELEASE));
            assert_eq!(told.len(), wanted, "{mode} {key:?}: {told:?}");
        }
    }
    // What cannot be looked at is told as well, and refuses nothing.
    let digest = publish();
    let asked = world.asked(&world.reference("stable"));
    let audit = device("audit", None);
    let target = resolve(&audit, &store, &asked).unwrap();
    world.registry.put(&umiak_sign::signature_tag(&digest), media_type::OCI_MANIFEST, b"nonsense".to_vec());
    let told = audit.concerns(&store, &target, &Silently);
    assert!(told.len() == 1 && told[0].contains("could not be looked at"), "{told:?}");
}
