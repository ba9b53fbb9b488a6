//! The law of pinning on random projects, and any bytes as a project.
//!
//! The law: a pinned file, read again, has the same services with the images that were asked for and nothing else
//! changed; pinning it once more changes nothing; and whether the text was kept does not change what it means.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::collections::BTreeMap;

use common::{one, pin, read_with};
use proptest::prelude::*;

/// One service, as lines or in braces.
#[derive(Debug, Clone)]
struct Written {
    name: String,
    keys: Vec<&'static str>,
    flow: bool,
}

/// Values of keys, all on one line so that they fit between braces too. Anchors are those of `HEAD`.
const KEYS: [&str; 22] = [
    "image: x:1",
    "image: 'y:2'",
    "image: \"team/z\"",
    "image: *img",
    "image: '${I:-x:1}'",
    "<<: *app",
    "<<: [*app, *more]",
    "build: .",
    "build: {context: ., args: [A=1]}",
    "labels: {a: '1', b: $V}",
    "labels: [a=1, \"b=c d\"]",
    "labels: *pairs",
    "labels: *list",
    "labels:",
    "labels: {}",
    "command: [a, '5', 5, yes, ~, \"x: y\", '#']",
    "command: *img",
    "environment: {A: 1, B: , C: \"${V:-d}\"}",
    "environment: *pairs",
    "x-own: {image: no}",
    "extends: first",
    "tty: true",
];

const HEAD: &str = "\
x-img: &img q:3   # an image
x-pairs: &pairs {p: '1', r: two}
x-list: &list
  - s=1
x-app: &app
  image: app:1
  build: ./app   # built
  labels:
    from: app
x-more: &more {restart: always, image: other, labels: [k=v]}
services:
  first:
    image: first:1
    labels:
      # of the first
      l: m
";

fn written() -> impl Strategy<Value = Vec<Written>> {
    let keys = prop::collection::vec(prop::sample::select(&KEYS[..]), 0..6);
    let one = (keys, any::<bool>()).prop_map(|(keys, flow)| (keys, flow));
    prop::collection::vec(one, 1..5).prop_map(|services| {
        let named = services.into_iter().enumerate();
        named.map(|(at, (keys, flow))| Written { name: format!("s{at}"), keys: once(keys), flow }).collect()
    })
}

/// Each key once, and an image for sure.
fn once(keys: Vec<&'static str>) -> Vec<&'static str> {
    let mut seen = BTreeMap::new();
    for key in keys {
        seen.entry(key.split(':').next().unwrap_or("")).or_insert(key);
    }
    if !seen.contains_key("image") && !seen.contains_key("<<") && !seen.contains_key("extends") {
        seen.insert("image", "image: x:1");
    }
    seen.into_values().collect()
}

fn text(services: &[Written]) -> String {
    let mut text = HEAD.to_owned();
    for service in services {
        if service.flow {
            let keys: Vec<_> = service
                .keys
                .iter()
                .map(|key| if key.ends_with(':') { format!("{key} null") } else { (*key).to_owned() })
                .collect();
            text.push_str(&format!("  {}: {{{}}} # end\n", service.name, keys.join(", ")));
        } else {
            text.push_str(&format!("\n  {}:\n", service.name));
            service.keys.iter().for_each(|key| text.push_str(&format!("    {key}   # about\n")));
        }
    }
    text
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_pinned_project_is_the_same_project(services in written(), split in any::<bool>()) {
        let text = text(&services);
        let project = one(&text).map_err(|error| TestCaseError::fail(format!("{error}\n{text}")))?;
        let pinned = pin(&project);
        let again = one(&pinned.text).map_err(|error| TestCaseError::fail(format!("{error}\n{}", pinned.text)))?;
        for (service, before) in again.services().iter().zip(project.services()) {
            prop_assert!(service.image.digest.is_some());
            prop_assert_eq!(&service.image.repository, &before.image.repository);
            prop_assert_eq!((&service.name, &service.profiles, &service.depends_on), (&before.name, &before.profiles, &before.depends_on));
        }
        prop_assert_eq!(again.services().len(), project.services().len());
        // Pinned once more with the digests that it has, it stays as it is.
        let twice = again.pinned(|service| Ok::<_, umiak_compose::ComposeError>(service.image.digest.unwrap())).unwrap();
        prop_assert_eq!(&twice.text, &pinned.text);
        prop_assert_eq!(&twice.services, &pinned.services);
        if pinned.kept {
            // Comments are there, but for those of what was taken out.
            for comment in ["# an image", "# of the first"] {
                prop_assert!(pinned.text.contains(comment));
            }
        }
        if split {
            // As two files it is written anew, and means the same: hashes are equal.
            let files = [("a.yml", text.as_str()), ("b.yml", "services: {}\n")];
            let whole = pin(&read_with(&files, &["a.yml", "b.yml"], &[]).unwrap());
            prop_assert!(!whole.kept);
            prop_assert_eq!(&whole.services, &pinned.services, "{}\n{}", whole.text, pinned.text);
        }
    }

    #[test]
    fn any_text_is_a_project_or_an_error(text in "(services:|a|:| |\n|  |- |\\{|\\}|\\[|\\]|,|\\*a|&a|!x|'|\"|\\||>|#|\\$\\{|\\}|image|<<|\\?|---|é){0,40}") {
        if let Ok(project) = one(&text) {
            let _ = pin(&project);
        }
    }
}

/// Every byte of a real project changed, removed, doubled; every beginning of it.
#[test]
fn damaged_projects_are_values_or_errors() {
    let services = "  s:\n    <<: [*app, *more]\n    labels: *pairs\n    image: ${I:-x:1}\n    extends: {service: first}\n  t: {image: *img, build: ., labels: [a=1]}\n";
    let text = format!("{HEAD}{services}");
    let whole = text.as_bytes();
    let mut read = 0;
    for at in 0..whole.len() {
        let with = |bytes: &[u8]| [&whole[..at], bytes, &whole[at + 1..]].concat();
        let mut variants = vec![whole[..at].to_vec(), with(b""), with(&[whole[at], whole[at]])];
        variants.extend(
            [b"\0", b"\n", b":", b"*", b"&", b"'", b"{", b"-", b"$", b"\xff", b"#", b"\t"].map(|byte| with(byte)),
        );
        for bytes in variants {
            let files = BTreeMap::from([("docker-compose.yml".to_owned(), bytes)]);
            let limits = umiak_compose::ComposeLimits::default();
            if let Ok(project) = umiak_compose::Project::read(&files, &[], &BTreeMap::new(), &limits) {
                pin(&project);
                read += 1;
            }
        }
    }
    assert!(read > whole.len(), "only {read} of the damaged projects could be read");
}
