//! Where things are: what may serve the blobs of an app and of its images, best first.
//!
//! An image of an app that came in a layout or a bundle is looked for beside the app, and then in its registry: a bundle
//! with deltas has no layers.

use std::path::Path;

use umiak_spec::target::{Carrier, Origin};
use umiak_spec::{Digest, ImageReference, RegistryName, Selector};

/// The places of an image that an app from `origin` names.
pub(crate) fn places(origin: &Origin, image: &RegistryName) -> Vec<ImageReference> {
    let selector = image.digest.map(Selector::Digest);
    let beside = match origin {
        Origin::Image(ImageReference::Layout { path, .. }) => {
            Some(ImageReference::Layout { path: path.clone(), selector })
        }
        Origin::Image(ImageReference::OciArchive { path, .. }) => {
            Some(ImageReference::OciArchive { path: path.clone(), selector })
        }
        _ => None,
    };
    beside.into_iter().chain([ImageReference::Registry(image.clone())]).collect()
}

/// The same place with a digest as its selector.
pub(crate) fn at(reference: &ImageReference, digest: Digest) -> Option<ImageReference> {
    pinned(&Origin::Image(reference.clone()), digest)
}

/// The reference of an origin that is pinned to `digest`; none for a package.
pub(crate) fn pinned(origin: &Origin, digest: Digest) -> Option<ImageReference> {
    match origin.pinned(digest) {
        Origin::Image(reference) => Some(reference),
        Origin::Package(_) => None,
    }
}

/// What rules of a policy are compared with: a repository with its registry, or `file` and an absolute path.
pub(crate) fn named(origin: &Origin) -> String {
    match origin {
        Origin::Image(ImageReference::Registry(name) | ImageReference::Bare(name) | ImageReference::Daemon(name)) => {
            format!("{}/{}", name.host, name.repository)
        }
        other => match other.path() {
            Some(path) => file(path),
            None => other.to_string(),
        },
    }
}

/// A file as rules name it: where it really is, whatever links and `..` lead there. Of one that is not there the text.
fn file(path: &Path) -> String {
    let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    format!("file/{}", real.to_string_lossy().trim_start_matches('/'))
}

/// The same of a place of objects: what came through standard input is `file/-`.
pub(crate) fn carrier(carrier: &Carrier) -> String {
    match carrier {
        Carrier::File(path) => file(path),
        Carrier::Stored => format!("file/{carrier}"),
    }
}

/// What the app is called that a package is, where nobody calls it otherwise. Not by the file: its name has the release in
/// it, and what the app keeps is found by the app's name.
const DEVICE: &str = "device";

/// A name for an app of which no document says one.
pub(crate) fn name_of(origin: &Origin) -> String {
    let text = match origin {
        Origin::Image(reference) => umiak_spec::app::app_name(reference),
        Origin::Package(_) => return DEVICE.to_owned(),
    };
    let plain = |letter: char| match letter.to_ascii_lowercase() {
        letter @ ('a'..='z' | '0'..='9' | '.' | '_' | '-') => letter,
        _ => '-',
    };
    let name: String = text.chars().map(plain).take(umiak_spec::target::MAX_NAME).collect();
    let name = name.trim_start_matches(['.', '_', '-']);
    if name.is_empty() { "app".to_owned() } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_directories() {
        for (origin, name) in [
            ("registry.example/team/shop:1", "shop"),
            ("registry.example/a/b/c", "b-c"),
            ("pvr:/media/maps-1.4-2.arm64.tgz", "device"),
            ("oci-archive:/media/shop.tar", "shop"),
            ("oci:/..", "app"),
        ] {
            let found = name_of(&origin.parse().unwrap());
            assert_eq!(found, name, "{origin}");
            assert!(umiak_spec::target::check_name(&found).is_ok(), "{origin}");
        }
    }

    #[test]
    fn rules_see_repositories_and_paths() {
        for (origin, name) in [
            ("nginx", "docker.io/library/nginx"),
            ("docker://registry.example:5000/team/shop:1", "registry.example:5000/team/shop"),
            ("pvr:/media/maps.tgz", "file/media/maps.tgz"),
            ("oci-archive:/media/shop.tar:1", "file/media/shop.tar"),
        ] {
            assert_eq!(named(&origin.parse().unwrap()), name);
        }
    }
}
