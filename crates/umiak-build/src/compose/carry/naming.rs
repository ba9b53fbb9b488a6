//! What carried images are called on a device, and the compose file that says so.
//!
//! A stock Docker daemon gives what it loads no digest: it finds `shop/web@sha256:…` only where it once pulled that, and
//! else asks the registry. So images are loaded under a tag made of twelve digits of their manifest's digest, and a
//! compose file beside the project's own, which stays as it was published, names these tags.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use umiak_spec::{Digest, Platform};

use super::Carried;

/// The file that `docker compose` reads of itself after docker-compose.yml.
pub const OVERRIDE: &str = "docker-compose.override.yml";

/// What our file is called where the project has an override of its own: it must be named with `-f`, last.
pub const RESERVE: &str = "docker-compose.carried.yml";

/// Files that `docker compose` reads of itself; where one of them is, ours needs another name.
const OVERRIDES: [&str; 4] =
    [OVERRIDE, "docker-compose.override.yaml", "compose.override.yml", "compose.override.yaml"];

/// Digits of the digest in a tag.
const DIGITS: usize = 12;

/// The name that `docker load` gives to the image whose manifest has this digest.
#[must_use]
pub fn loaded_name(repository: &str, manifest: &Digest) -> String {
    format!("{repository}:{}", &manifest.hex()[..DIGITS])
}

/// A compose file that gives services their images. JSON strings are YAML strings.
#[must_use]
pub fn override_text<'a>(images: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let mut text = "# Names the images as `docker load` does, so that they are found here and no registry is asked.\n\
                    services:\n"
        .to_owned();
    for (service, image) in images {
        text.push_str(&format!("  {}:\n    image: {}\n", json!(service), json!(image)));
    }
    text
}

/// A compose file of ours beside the project's.
pub(super) struct Override {
    /// The platform whose images it names.
    pub(super) platform: Platform,
    pub(super) name: String,
    pub(super) text: String,
}

/// The files that name the images of `carried`, one for each platform; `project` has the names on its top.
pub(super) fn overrides(carried: &Carried, project: &BTreeSet<Vec<u8>>) -> Vec<Override> {
    let platforms = carried.platforms();
    let several = platforms.len() > 1;
    let file = |platform: Platform| {
        let images = carried.images.iter().filter(|image| image.platform == platform);
        let services = images.flat_map(|image| {
            let name = image.loaded_name();
            image.services.iter().filter_map(move |service| Some((service.as_str(), name.clone()?)))
        });
        let services: BTreeMap<&str, String> = services.collect();
        let name = override_name(project, several.then_some(&platform));
        Override { name, text: override_text(services), platform }
    };
    platforms.into_iter().map(file).collect()
}

/// What the compose file for `platform` is called: where there are several platforms, none is taken by itself.
pub(super) fn override_name(project: &BTreeSet<Vec<u8>>, platform: Option<&Platform>) -> String {
    match platform {
        Some(platform) => format!("docker-compose.{}.yml", platform.to_string().replace('/', "-")),
        None if OVERRIDES.iter().any(|name| project.contains(name.as_bytes())) => RESERVE.to_owned(),
        None => OVERRIDE.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_get_their_images_whatever_they_are_called() {
        let manifest = Digest::of(b"manifest");
        let name = loaded_name("127.0.0.1:5000/team/web", &manifest);
        assert_eq!(name, format!("127.0.0.1:5000/team/web:{}", manifest.short().trim_start_matches("sha256:")));
        let text = override_text([("web", name.clone()), ("no", "b:1".to_owned())]);
        assert!(
            text.ends_with(&format!("services:\n  \"web\":\n    image: \"{name}\"\n  \"no\":\n    image: \"b:1\"\n"))
        );
    }

    #[test]
    fn a_project_s_own_override_is_not_touched() {
        let none = BTreeSet::new();
        assert_eq!(override_name(&none, None), "docker-compose.override.yml");
        let own = BTreeSet::from([b"compose.override.yaml".to_vec()]);
        assert_eq!(override_name(&own, None), "docker-compose.carried.yml");
        let platform: Platform = "linux/arm/v7".parse().unwrap();
        assert_eq!(override_name(&own, Some(&platform)), "docker-compose.linux-arm-v7.yml");
    }
}
