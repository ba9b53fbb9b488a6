//! What is ours in the engine: labels and names.
//!
//! Images are called `umiak.local/image:<hexadecimal digits of the configuration's digest>`: the name says what is in it, no registry is
//! asked for it, and it is nobody else's. Containers, networks and volumes have the labels.

use std::collections::BTreeMap;

use umiak_spec::Digest;
use umiak_spec::service::{Persistence, Restart, Service, Volume};

/// The app. What has it is ours.
pub(super) const APP: &str = "dev.umiak.app";
/// The revision.
pub(super) const REVISION: &str = "dev.umiak.revision";
/// The service.
pub(super) const SERVICE: &str = "dev.umiak.service";
/// The digest of the image's configuration.
pub(super) const IMAGE: &str = "dev.umiak.image";
/// When it is to be started again, once it was started.
pub(super) const RESTART: &str = "dev.umiak.restart";
/// Seconds that it may take to stop.
pub(super) const GRACE: &str = "dev.umiak.grace";
/// What of the deployment the container was made from; another digest: it is made anew.
pub(super) const MADE_FROM: &str = "dev.umiak.made-from";

/// The repository of our images.
pub(super) const REPOSITORY: &str = "umiak.local/image";

/// What an image is called.
pub(super) fn image(config: &Digest) -> String {
    format!("{REPOSITORY}:{}", config.hex())
}

/// The name that Compose gives to what it makes for a revision of an app: lower case, digits, `-` and `_`.
pub(super) fn project(app: &str, revision: &str) -> String {
    format!("umiak-{}-{}", plain(app), short(revision))
}

/// A volume's name: that of a revision is told by its digits.
pub(super) fn volume(app: &str, revision: &str, volume: &Volume) -> String {
    match volume.persistence {
        Persistence::Persistent => format!("umiak-{}_{}", plain(app), volume.name),
        Persistence::Revision | Persistence::Boot => format!("{}_{}", project(app, revision), volume.name),
    }
}

/// Two apps whose names differ only in what is not plain get different ones.
fn plain(app: &str) -> String {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if app.chars().all(fits) {
        return app.to_owned();
    }
    let plain: String = app.to_ascii_lowercase().chars().map(|c| if fits(c) { c } else { '-' }).collect();
    format!("{plain}-{}", &Digest::of(app.as_bytes()).hex()[..8])
}

/// Twelve digits that stand for a revision.
pub(super) fn short(revision: &str) -> String {
    let digits = revision.rsplit(':').next().unwrap_or(revision);
    let fits = digits.len() >= 12 && digits.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    if fits { digits[..12].to_owned() } else { Digest::of(revision.as_bytes()).hex()[..12].to_owned() }
}

/// The labels of a network, or of a volume that is the revision's.
pub(super) fn of_revision(app: &str, revision: &str) -> BTreeMap<String, String> {
    [(APP, app), (REVISION, revision)].map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}

/// The labels of a volume.
pub(super) fn of_volume(app: &str, revision: &str, volume: &Volume) -> BTreeMap<String, String> {
    let mut labels = of_revision(app, revision);
    if volume.persistence == Persistence::Persistent {
        labels.remove(REVISION);
    }
    labels
}

/// The labels of a container.
pub(super) fn of_service(app: &str, revision: &str, service: &Service, image: &Digest) -> BTreeMap<String, String> {
    let mut labels = of_revision(app, revision);
    let more = [
        (SERVICE, service.name.clone()),
        (IMAGE, image.to_string()),
        (RESTART, restart_text(service.restart)),
        (GRACE, service.stop_grace.as_secs().to_string()),
    ];
    labels.extend(more.map(|(key, value)| (key.to_owned(), value)));
    labels
}

/// A restart policy as Compose writes it.
pub(super) fn restart_text(restart: Restart) -> String {
    match restart {
        Restart::No => "no".to_owned(),
        Restart::Always => "always".to_owned(),
        Restart::UnlessStopped => "unless-stopped".to_owned(),
        Restart::OnFailure { most: None } => "on-failure".to_owned(),
        Restart::OnFailure { most: Some(most) } => format!("on-failure:{most}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_engines_take_and_different() {
        let revision = format!("sha256:{}", "ab".repeat(32));
        assert_eq!(project("shop", &revision), "umiak-shop-abababababab");
        assert_ne!(project("Shop", &revision), project("shop", &revision));
        assert_ne!(project("a.b", &revision), project("a_b", &revision));
        assert_ne!(project("shop", "r1"), project("shop", "r2"));
        let mut kept =
            Volume { name: "v".into(), persistence: Persistence::Persistent, copy: true, subpath: None, above: false };
        assert_eq!(volume("shop", "r1", &kept), volume("shop", "r2", &kept));
        assert!(!of_volume("shop", "r1", &kept).contains_key(REVISION));
        kept.persistence = Persistence::Revision;
        assert_ne!(volume("shop", "r1", &kept), volume("shop", "r2", &kept));
    }
}
