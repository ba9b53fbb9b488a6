//! Targets: what is read, what is refused, the golden document.

use super::*;
use crate::Limits;

const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn pinned() -> Target {
    let top = Descriptor::new(crate::media_type::OCI_MANIFEST, EMPTY.parse().unwrap(), 1662);
    let app = |name: &str, kind, origin: &str| TargetApp {
        name: name.into(),
        kind,
        origin: origin.parse().unwrap(),
        objects: Vec::new(),
        top: top.clone(),
    };
    Target {
        generation: 7,
        testing_seconds: Some(60),
        apps: vec![
            app("shop", Kind::Compose, "registry.example/team/shop:stable"),
            app("maps", Kind::Pvr, "pvr:/media/usb/maps.tgz"),
            app("web", Kind::Image, "oci-archive:/media/usb/shop.tar"),
        ],
    }
    .checked()
    .unwrap()
}

#[test]
fn a_target_is_read_as_it_was_written() {
    let target = pinned();
    let names: Vec<&str> = target.apps.iter().map(|app| app.name.as_str()).collect();
    assert_eq!(names, ["maps", "shop", "web"]);
    assert_eq!(Target::parse(&target.to_bytes(), &Limits::default()).unwrap(), target);
    let asked = Asked::parse(&target.to_bytes(), &Limits::default()).unwrap();
    assert_eq!((asked.generation, asked.apps.len(), asked.apps[1].digest), (Some(7), 3, EMPTY.parse().ok()));
    assert_eq!(Asked::parse(&asked.to_bytes(), &Limits::default()).unwrap(), asked);
}

#[test]
fn the_golden_document() {
    let golden = r#"{
  "version": 1,
  "mediaType": "application/vnd.umiak.target.v1+json",
  "generation": 7,
  "apps": [
    {
      "name": "shop",
      "reference": "registry.example/team/shop:stable"
    },
    {
      "reference": "pvr:maps.tgz",
      "digest": "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    }
  ]
}
"#;
    let asked = Asked::parse(golden.as_bytes(), &Limits::default()).unwrap();
    assert_eq!(String::from_utf8(asked.to_bytes()).unwrap(), golden);
    assert_eq!(asked.apps[1].origin, Origin::Package("maps.tgz".into()));
}

#[test]
fn objects_may_be_beside_a_state() {
    let golden = r#"{
  "version": 1,
  "mediaType": "application/vnd.umiak.target.v1+json",
  "apps": [
    {
      "name": "device",
      "reference": "pvr:state.json",
      "objects": [
        "/media/usb/maps.tgz",
        "web.delta",
        "-"
      ]
    }
  ]
}
"#;
    let asked = Asked::parse(golden.as_bytes(), &Limits::default()).unwrap();
    assert_eq!(String::from_utf8(asked.to_bytes()).unwrap(), golden);
    let below = asked.apps[0].clone().below(Path::new("/d"));
    let words: Vec<String> = below.objects.iter().map(ToString::to_string).collect();
    assert_eq!(
        (words.join(" ").as_str(), below.origin.to_string().as_str()),
        ("/media/usb/maps.tgz /d/web.delta -", "pvr:/d/state.json")
    );
    let mut target = pinned();
    target.apps[0].objects = below.objects;
    assert_eq!(Target::parse(&target.to_bytes(), &Limits::default()).unwrap(), target);
    let refused = |text: &str| Asked::parse(text.as_bytes(), &Limits::default()).unwrap_err();
    let image = refused(r#"{"version":1,"apps":[{"reference":"shop:1","objects":["a.tgz"]}]}"#);
    assert!(matches!(image, TargetError::Objects(name) if name == "shop:1"));
    for objects in [r#"["a",""]"#.to_owned(), format!("[{}]", vec!["\"a\""; MAX_OBJECTS + 1].join(","))] {
        let text = format!(r#"{{"version":1,"apps":[{{"reference":"pvr:s","objects":{objects}}}]}}"#);
        assert!(matches!(refused(&text), TargetError::Carriers(_)));
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    let asked = |text: &str| Asked::parse(text.as_bytes(), &Limits::default());
    assert!(matches!(asked(r#"{"version":2,"apps":[]}"#), Err(TargetError::Version(2))));
    assert!(matches!(asked(r#"{"version":1,"apps":[],"force":true}"#), Err(TargetError::Document(_))), "by name");
    assert!(matches!(asked(r#"{"version":1,"mediaType":"x","apps":[]}"#), Err(TargetError::Document(_))));
    assert!(matches!(asked(r#"{"version":1,"apps":[{"reference":""}]}"#), Err(TargetError::Reference { .. })));
    let twice = r#"{"version":1,"apps":[{"name":"a","reference":"x"},{"name":"a","reference":"y"}]}"#;
    assert!(matches!(asked(twice), Err(TargetError::Twice(name)) if name == "a"));
    for name in ["", "..", "a/b", "A", "-a", &"a".repeat(MAX_NAME + 1)] {
        let text = format!(r#"{{"version":1,"apps":[{{"name":"{name}","reference":"x"}}]}}"#);
        assert!(matches!(asked(&text), Err(TargetError::Name(_))), "{name}");
    }
    let app = r#"{"reference":"x"}"#;
    let many = format!(r#"{{"version":1,"apps":[{}]}}"#, vec![app; MAX_APPS + 1].join(","));
    assert!(matches!(asked(&many), Err(TargetError::TooMany(_))));
    let open = Target::parse(br#"{"version":1,"apps":[{"name":"a","reference":"x"}]}"#, &Limits::default());
    assert!(matches!(open, Err(TargetError::NotPinned(_))));
}

#[test]
fn an_origin_is_pinned_where_it_is() {
    let digest = EMPTY.parse().unwrap();
    for (text, expected) in [
        ("registry.example/shop:1", format!("docker://registry.example/shop:1@{EMPTY}")),
        ("oci:dir:1", format!("oci:dir@{EMPTY}")),
        ("oci-archive:a.tar", format!("oci-archive:a.tar@{EMPTY}")),
        ("pvr:a.tgz", "pvr:a.tgz".to_owned()),
    ] {
        assert_eq!(text.parse::<Origin>().unwrap().pinned(digest).to_string(), expected);
    }
}

#[test]
fn any_bytes_are_read_or_refused() {
    let golden = pinned().to_bytes();
    for at in 0..golden.len() {
        for with in [b'"', b'0', b'}', 0xff] {
            let mut bytes = golden.clone();
            bytes[at] = with;
            if let Ok(read) = Target::parse(&bytes, &Limits::default()) {
                assert_eq!(Target::parse(&read.to_bytes(), &Limits::default()).unwrap(), read);
            }
        }
    }
}
