//! What an app is called where it runs.

use crate::ImageReference;

/// The name of the app at `reference`: on devices the name of its directory and of its compose project.
///
/// In a registry it is what follows the first component of the repository's path, or the whole path if it has only one:
/// `registry.example/team/shop` and `localhost:5000/shop` are both `shop`. Of a file or directory it is the name without
/// its extension.
#[must_use]
pub fn app_name(reference: &ImageReference) -> String {
    match reference {
        ImageReference::Registry(name) | ImageReference::Daemon(name) | ImageReference::Bare(name) => {
            name.repository.split_once('/').map_or(name.repository.as_str(), |(_, rest)| rest).to_owned()
        }
        ImageReference::Layout { path, .. }
        | ImageReference::OciArchive { path, .. }
        | ImageReference::DockerArchive { path, .. }
        | ImageReference::RootFs { path } => {
            path.file_stem().map_or_else(|| "app".to_owned(), |stem| stem.to_string_lossy().into_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_what_follows_the_first_component() {
        for (reference, name) in [
            ("hub.foundries.io/msul-dev01/app-04:1", "app-04"),
            ("localhost:5000/shop:1", "shop"),
            ("registry.example/a/b/c@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "b/c"),
            ("docker://team/shop", "shop"),
            ("oci:out/shop:1", "shop"),
            ("oci-archive:out/shop.tar:1", "shop"),
            ("oci:..:1", "app"),
        ] {
            assert_eq!(app_name(&reference.parse().unwrap()), name, "{reference}");
        }
    }
}
