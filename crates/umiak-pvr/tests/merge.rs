//! Packages in and parts out: the cases that pvtx knows, and the laws on random states.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeSet;

use proptest::prelude::*;
use umiak_pvr::merge::{Changed, Rule, Said};
use umiak_pvr::{State, StatePath, Value};

const HASH: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Signatures of these tests say what they mean in plain prefixes.
fn rules(_: &str, value: &Value) -> Option<Rule> {
    let list = |name: &str| -> Option<Vec<String>> {
        value.get(name)?.as_array()?.iter().map(|text| text.as_str().map(str::to_owned)).collect()
    };
    let (include, exclude) = (list("include")?, list("exclude")?);
    let any = |list: &[String], key: &str| list.iter().any(|prefix| key.starts_with(prefix.as_str()));
    Some(Box::new(move |key| match (any(&include, key), any(&exclude, key)) {
        (true, false) => Said::Signed,
        (true, true) => Said::Left,
        (false, _) => Said::Nothing,
    }))
}

/// `a b=text _sigs/x.json:include-exclude`: keys with objects, with texts, and signatures.
fn state(text: &str) -> State {
    let entries = text.split_whitespace().map(|word| {
        if let Some((key, lists)) = word.split_once(':') {
            let (include, exclude) = lists.split_once('-').unwrap_or((lists, ""));
            let list = |text: &str| {
                let items: Vec<String> =
                    text.split(',').filter(|item| !item.is_empty()).map(|item| format!("\"{item}\"")).collect();
                items.join(",")
            };
            return format!(r#""{key}":{{"include":[{}],"exclude":[{}]}}"#, list(include), list(exclude));
        }
        match word.split_once('=') {
            Some((key, text)) => format!(r#""{key}":"{text}""#),
            None => format!(r#""{word}":"{HASH}""#),
        }
    });
    let entries: Vec<String> = entries.collect();
    State::parse(format!(r##"{{"#spec":"s",{}}}"##, entries.join(",")).trim_end_matches(",}").as_bytes(), 1 << 20)
        .unwrap_or_else(|_| State::parse(format!("{{{}}}", entries.join(",")).as_bytes(), 1 << 20).unwrap())
}

fn keys(state: &State) -> Vec<&str> {
    state.entries().keys().map(StatePath::as_str).collect()
}

fn installed(base: &str, package: &str) -> String {
    keys(&state(base).install(&state(package), &rules).unwrap().state).join(" ")
}

#[test]
fn what_a_package_brings_of_a_container_replaces_it_whole() {
    let base = "web/run.json=1 web/old os/run.json=1 _config/web/etc/a device.json=1 _sigs/web.json:web/";
    assert_eq!(
        installed(base, "web/run.json=2 web/new _sigs/web.json:web/"),
        "_config/web/etc/a _sigs/web.json device.json os/run.json web/new web/run.json",
        "its configuration is the device's"
    );
    assert_eq!(
        installed(base, "web/run.json=2 _sigs/web.json:web/,_config/web/"),
        "_sigs/web.json device.json os/run.json web/run.json",
        "a signature over the configuration says that there is none"
    );
    assert_eq!(
        installed(base, "web/run.json=2 _config/web/etc/b"),
        "_config/web/etc/b device.json os/run.json web/run.json",
        "the signature of the one before goes with it"
    );
    assert_eq!(installed(base, "device.json=2"), keys(&state(base)).join(" "));
    assert_eq!(installed(base, "_config/os/x"), format!("_config/os/x {}", keys(&state(base)).join(" ")));
    let named = "web/a os/a _sigs/release-7.json:web/ _sigs/all.json:web/,os/";
    assert_eq!(
        installed(named, "web/b"),
        "_sigs/all.json os/a web/b",
        "a signature that spoke for nothing else goes; one that is broken stays to be seen"
    );
    assert!(state("web").install(&state("web/a"), &rules).is_err());
}

#[test]
fn a_package_reaches_into_no_other_part() {
    // Its signature speaks for everything: of others nothing goes.
    let all = installed("os/a os/src.json=1 _config/os/x", "web/a _sigs/web.json:web/,os/,_config/");
    assert_eq!(all, "_config/os/x _sigs/web.json os/a os/src.json web/a");
}

#[test]
fn a_part_goes_with_what_its_signature_spoke_for_and_nobody_else_does() {
    let base = "web/a web/src.json=1 _config/web/x lib/a lib/b os/a _sigs/web.json:web/,_config/web/,lib/-web/src.json \
                _sigs/os.json:os/,lib/b";
    let without = |part: &str| state(base).without(part, &rules).map(|changed| keys(&changed.state).join(" "));
    assert_eq!(without("web").unwrap(), "_sigs/os.json lib/b os/a");
    assert_eq!(without("web/").unwrap(), without("web").unwrap());
    assert_eq!(without("_sigs/web.json").unwrap(), "_sigs/os.json lib/b os/a", "also what it left out");
    assert_eq!(without("_sigs/os.json").unwrap(), "_config/web/x _sigs/web.json lib/a lib/b web/a web/src.json");
    assert_eq!(without("_config/web").unwrap(), "_sigs/os.json _sigs/web.json lib/a lib/b os/a web/a web/src.json");
    assert_eq!(without("lib").unwrap(), "_config/web/x _sigs/os.json _sigs/web.json os/a web/a web/src.json");
    assert_eq!(keys(&state("web/a _config/web/x").without("web", &rules).unwrap().state), [""; 0], "unsigned");
    for none in ["we", "nothing", "_sigs/nothing.json", "_config/os", "", "_sigs", "_config", "web/a", "_config/web/x"]
    {
        let error = without(none).unwrap_err();
        assert_eq!(error.parts, ["lib", "os", "web"], "{none}");
    }
    let told = without("nothing").unwrap_err().to_string();
    assert_eq!(told, "there is no part `nothing`: there are lib, os, web");
    let lone = state("_sigs/raw.json:x _config/gone/a x").without("y", &rules).unwrap_err();
    assert_eq!(lone.parts, ["_config/gone", "_sigs/raw.json"]);
}

const NAMES: [&str; 3] = ["web", "os", "lib"];

/// Any state of three containers, their configurations and signatures; some signatures reach further.
fn any_state() -> impl Strategy<Value = State> {
    let file = (0..NAMES.len(), 0..4_usize, any::<bool>(), 0..3_u8);
    let signature = (0..NAMES.len(), prop::collection::btree_set(0..NAMES.len(), 0..3), any::<bool>());
    (prop::collection::vec(file, 0..12), prop::collection::vec(signature, 0..3), any::<bool>()).prop_map(
        |(files, signatures, top)| {
            let mut words: BTreeSet<String> = BTreeSet::new();
            let mut seen = BTreeSet::new();
            for (name, file, config, text) in files {
                let prefix = if config { "_config/" } else { "" };
                let key = format!("{prefix}{}/{}.json", NAMES[name], ["a", "b", "src", "d/e"][file]);
                if seen.insert(key.clone()) {
                    words.insert(format!("{key}={text}"));
                }
            }
            for (name, more, config) in signatures {
                let name = NAMES[name];
                if !seen.insert(name.to_owned()) {
                    continue;
                }
                let mut include: BTreeSet<String> = more.into_iter().map(|at| format!("{}/", NAMES[at])).collect();
                include.insert(format!("{name}/"));
                if config {
                    include.insert(format!("_config/{name}/"));
                }
                let include: Vec<String> = include.into_iter().collect();
                words.insert(format!("_sigs/{name}.json:{}-{name}/src.json", include.join(",")));
            }
            if top {
                words.insert("device.json=1".into());
            }
            state(&words.into_iter().collect::<Vec<_>>().join(" "))
        },
    )
}

/// What a signature of `of` says is signed in `state`, with the values.
fn signed(of: &State, name: &str, state: &State) -> Vec<(String, String)> {
    let Some(umiak_pvr::Entry::Inline(value)) = of.get(name) else { return vec![] };
    let rule = rules(name, value).unwrap();
    let entries = state.entries().iter().filter(|(key, _)| rule(key.as_str()) == Said::Signed);
    entries.map(|(key, entry)| (key.to_string(), entry.to_value().canonical())).collect()
}

fn container(key: &str) -> &str {
    let key = key.strip_prefix("_config/").or(key.strip_prefix("_sigs/")).unwrap_or(key);
    key.split('/').next().unwrap().trim_end_matches(".json")
}

proptest! {
    #[test]
    fn all_of_the_package_is_there_and_of_others_nothing_goes(base in any_state(), package in any_state()) {
        let Changed { state: after, removed } = base.install(&package, &rules).unwrap();
        for (key, entry) in package.entries() {
            prop_assert_eq!(after.get(key.as_str()), Some(entry));
        }
        let brought: BTreeSet<&str> = keys(&package).into_iter().map(container).collect();
        for (key, entry) in base.entries().iter().filter(|(key, _)| !brought.contains(container(key.as_str()))) {
            let kept = after.get(key.as_str()) == Some(entry);
            prop_assert!(kept || key.as_str().starts_with("_sigs/"), "{}", key);
        }
        let counted = base.entries().keys().filter(|key| after.get(key.as_str()).is_none());
        prop_assert_eq!(counted.cloned().collect::<Vec<_>>(), removed);
        prop_assert_eq!(&after.install(&package, &rules).unwrap().state, &after, "twice is once");
        prop_assert_eq!(State::with_spec(None).install(&package, &rules).unwrap().state, package);
    }

    #[test]
    fn a_signature_holds_after_the_merge_that_speaks_for_its_own_part(base in any_state(), package in any_state()) {
        let after = base.install(&package, &rules).unwrap().state;
        for name in NAMES {
            let key = format!("_sigs/{name}.json");
            let before = signed(&package, &key, &package);
            let has = keys(&package).iter().any(|key| key.starts_with(&format!("{name}/")));
            if has && before.iter().all(|(key, _)| container(key) == name) {
                let now: Vec<_> =
                    signed(&package, &key, &after).into_iter().filter(|(key, _)| container(key) == name).collect();
                prop_assert_eq!(now, before, "{}", key);
            }
        }
    }

    #[test]
    fn what_was_installed_goes_again_without_a_trace(base in any_state(), package in any_state()) {
        // Only `web`, and a signature that speaks for nothing else.
        let only = |state: &State, web: bool| {
            let mut only = State::with_spec(state.spec());
            let mine = |key: &str| (container(key) == "web") == web && (web || !key.starts_with("_sigs/"));
            for (key, entry) in state.entries().iter().filter(|(key, _)| mine(key.as_str())) {
                only.insert(key.clone(), entry.clone());
            }
            only
        };
        let (base, mut package) = (only(&base, false), only(&package, true));
        package.remove("_sigs/web.json");
        prop_assume!(!package.entries().is_empty());
        let signature = state("_sigs/web.json:web/,_config/web/-web/src.json");
        let package = package.overlay(&signature).unwrap();
        let after = base.install(&package, &rules).unwrap().state;
        let again = after.without("web", &rules).unwrap().state;
        prop_assert_eq!(again.entries(), base.entries());
    }

    #[test]
    fn what_others_have_signed_stays(base in any_state(), at in 0..NAMES.len()) {
        let part = NAMES[at];
        let Ok(Changed { state: after, .. }) = base.without(part, &rules) else {
            prop_assert!(keys(&base).iter().all(|key| container(key) != part));
            return Ok(());
        };
        let prefix = format!("{part}/");
        prop_assert!(keys(&after).iter().all(|key| !key.starts_with(&prefix)));
        for other in NAMES.iter().filter(|other| **other != part) {
            let key = format!("_sigs/{other}.json");
            prop_assert_eq!(after.get(&key), base.get(&key));
            let kept: Vec<_> =
                signed(&base, &key, &base).into_iter().filter(|(key, _)| !key.starts_with(&prefix)).collect();
            prop_assert_eq!(signed(&after, &key, &after), kept);
        }
    }
}
