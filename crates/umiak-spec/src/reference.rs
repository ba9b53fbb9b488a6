//! Image references as people write them.
//!
//! ```text
//! oci:DIR[:TAG|@DIGEST]          an OCI image layout                    docker://NAME[:TAG][@DIGEST]   a registry
//! oci-archive:FILE[:TAG]         the same in a tar archive              docker-daemon:NAME             Docker's store
//! docker-archive:FILE[:NAME]     what `docker save` writes              NAME[:TAG][@DIGEST]            either, in an
//! rootfs:PATH                    a directory or tar archive                                            order to be named
//! ```
//!
//! Names of registries follow Docker: `nginx` is `docker.io/library/nginx`; the first component is a host if it has a
//! dot or a colon or is `localhost`; the tag is `latest` when neither tag nor digest is given. Guarantee:
//! `parse(x.to_string()) == x`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::{Digest, DigestError};

/// Where an image is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ImageReference {
    /// An OCI image layout directory; without a selector the only image in it.
    Layout {
        /// The directory.
        path: PathBuf,
        /// Tag or digest.
        selector: Option<Selector>,
    },
    /// An OCI image layout in a tar archive.
    OciArchive {
        /// The file.
        path: PathBuf,
        /// Tag or digest.
        selector: Option<Selector>,
    },
    /// An archive that `docker save` wrote.
    DockerArchive {
        /// The file.
        path: PathBuf,
        /// The image's name in it.
        name: Option<String>,
    },
    /// A root file system: a directory or a tar archive.
    RootFs {
        /// Where it is.
        path: PathBuf,
    },
    /// A registry.
    Registry(RegistryName),
    /// The Docker daemon's store.
    Daemon(RegistryName),
    /// A bare name: looked for in registries and daemon in the order that the caller names.
    Bare(RegistryName),
}

/// Which image of several.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Selector {
    /// By its tag.
    Tag(String),
    /// By its manifest's digest.
    Digest(Digest),
}

/// A repository in a registry, and which image of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RegistryName {
    /// `docker.io`, `localhost:5000`
    pub host: String,
    /// `library/nginx`
    pub repository: String,
    /// The tag, if written.
    pub tag: Option<String>,
    /// The digest, if written: it decides, whatever the tag.
    pub digest: Option<Digest>,
    /// Repository and host as they were written: what src.json and messages call it.
    written: String,
}

/// Why a text is no reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// Nothing there.
    #[error("the image reference is empty")]
    Empty,
    /// No path behind the colon.
    #[error("`{0}` names no file or directory")]
    NoPath(String),
    /// A component that is not allowed in a repository's name.
    #[error(
        "`{0}` is not the name of an image: repository names are lower-case letters, digits, `.`, `_`, `-` and `/`"
    )]
    Name(String),
    /// A tag that is none.
    #[error("`{0}` is not a tag: letters, digits, `.`, `_`, `-`, at most 128 of them")]
    Tag(String),
    /// A digest that is none.
    #[error("the digest in `{reference}` is wrong")]
    Digest {
        /// The whole reference.
        reference: String,
        /// What is wrong with it.
        source: DigestError,
    },
}

const DOCKER_HUB: &str = "docker.io";

impl ImageReference {
    /// The same reference seen from a directory above: a relative path gets `directory` in front.
    #[must_use]
    pub fn below(mut self, directory: &Path) -> Self {
        if let Self::Layout { path, .. }
        | Self::OciArchive { path, .. }
        | Self::DockerArchive { path, .. }
        | Self::RootFs { path } = &mut self
        {
            *path = directory.join(&*path);
        }
        self
    }

    /// The reference without tag and digest, as src.json keeps it in `docker_name`.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Layout { path, .. } => format!("oci:{}", path.display()),
            Self::OciArchive { path, .. } => format!("oci-archive:{}", path.display()),
            Self::DockerArchive { path, .. } => format!("docker-archive:{}", path.display()),
            Self::RootFs { path } => format!("rootfs:{}", path.display()),
            Self::Registry(name) => format!("docker://{}", name.written),
            Self::Daemon(name) => format!("docker-daemon:{}", name.written),
            Self::Bare(name) => name.written.clone(),
        }
    }

    /// The reference that src.json's `docker_name` and `docker_digest` mean together: the same place, pinned. `pinned` is
    /// `<name>@sha256:…`, or `sha256:…` (an image's ID) where there is no manifest: in archives of `docker save` and in
    /// the Docker daemon.
    ///
    /// # Errors
    /// [`ReferenceError`] of either text.
    pub fn pinned(name: &str, pinned: &str) -> Result<Self, ReferenceError> {
        let Ok(id) = pinned.parse::<Digest>() else {
            // The daemon calls its images `repository@digest`, as a registry does: what to ask is in the name.
            return Ok(match (name.parse(), pinned.parse()?) {
                (Ok(Self::Daemon(_)), Self::Bare(pinned)) => Self::Daemon(pinned),
                (_, pinned) => pinned,
            });
        };
        match name.parse()? {
            Self::DockerArchive { path, .. } => Ok(Self::DockerArchive { path, name: Some(pinned.to_owned()) }),
            Self::Registry(_) | Self::Daemon(_) | Self::Bare(_) => RegistryName::parse(pinned).map(Self::Daemon),
            Self::Layout { path, .. } => Ok(Self::Layout { path, selector: Some(Selector::Digest(id)) }),
            Self::OciArchive { path, .. } => Ok(Self::OciArchive { path, selector: Some(Selector::Digest(id)) }),
            Self::RootFs { path } => Ok(Self::RootFs { path }),
        }
    }

    /// The same place with this tag, and no digest; none where there are no tags.
    #[must_use]
    pub fn tagged(&self, tag: &str) -> Option<Self> {
        let selector = Some(Selector::Tag(tag.to_owned()));
        Some(match self {
            Self::Layout { path, .. } => Self::Layout { path: path.clone(), selector },
            Self::OciArchive { path, .. } => Self::OciArchive { path: path.clone(), selector },
            Self::Registry(name) | Self::Bare(name) => {
                Self::Registry(RegistryName { tag: Some(tag.to_owned()), digest: None, ..name.clone() })
            }
            Self::Daemon(_) | Self::DockerArchive { .. } | Self::RootFs { .. } => return None,
        })
    }

    /// Tag or digest as src.json keeps it in `docker_tag`; a registry's image without either has the tag `latest`.
    #[must_use]
    pub fn tag_or_digest(&self) -> Option<String> {
        match self {
            Self::Layout { selector, .. } | Self::OciArchive { selector, .. } => {
                selector.as_ref().map(|selector| match selector {
                    Selector::Tag(tag) => tag.clone(),
                    Selector::Digest(digest) => digest.to_string(),
                })
            }
            Self::DockerArchive { name, .. } => name.clone(),
            Self::RootFs { .. } => None,
            Self::Registry(name) | Self::Daemon(name) | Self::Bare(name) => {
                Some(name.digest.map_or_else(|| name.tag_or_latest().to_owned(), |digest| digest.to_string()))
            }
        }
    }
}

impl RegistryName {
    /// The tag to ask for when there is no digest.
    #[must_use]
    pub fn tag_or_latest(&self) -> &str {
        self.tag.as_deref().unwrap_or("latest")
    }

    /// What a registry is asked for: the digest if there is one, else the tag.
    #[must_use]
    pub fn target(&self) -> String {
        self.digest.map_or_else(|| self.tag_or_latest().to_owned(), |digest| digest.to_string())
    }

    /// Host and repository as they were written.
    #[must_use]
    pub fn written(&self) -> &str {
        &self.written
    }

    fn parse(text: &str) -> Result<Self, ReferenceError> {
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(parse_digest(text, digest)?)),
            None => (text, None),
        };
        let last = name.rfind('/').map_or(0, |slash| slash + 1);
        let (written, tag) = match name[last..].split_once(':') {
            // `host:5000/x` has its colon before the last slash; `host:5000` alone reads as a tag, as in Docker.
            Some((_, tag)) => (&name[..name.len() - tag.len() - 1], Some(check_tag(tag)?)),
            None => (name, None),
        };
        let is_host = |first: &str| first.contains(['.', ':']) || first == "localhost";
        let (host, repository) = match written.split_once('/') {
            Some((first, rest)) if is_host(first) => (first, rest.to_owned()),
            Some(_) => (DOCKER_HUB, written.to_owned()),
            None => (DOCKER_HUB, format!("library/{written}")),
        };
        let host = if host == "index.docker.io" { DOCKER_HUB } else { host };
        let repository = match repository.split_once('/') {
            None if host == DOCKER_HUB => format!("library/{repository}"),
            _ => repository,
        };
        if !is_repository(&repository) || !is_host_name(host) {
            return Err(ReferenceError::Name(shown(text)));
        }
        Ok(Self { host: host.to_owned(), repository, tag, digest, written: written.to_owned() })
    }
}

fn shown(text: &str) -> String {
    text.chars().take(200).collect()
}

fn parse_digest(reference: &str, digest: &str) -> Result<Digest, ReferenceError> {
    digest.parse().map_err(|source| ReferenceError::Digest { reference: shown(reference), source })
}

fn check_tag(tag: &str) -> Result<String, ReferenceError> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let good = tag.len() <= 128 && tag.starts_with(word) && tag.chars().all(|c| word(c) || c == '.' || c == '-');
    if good { Ok(tag.to_owned()) } else { Err(ReferenceError::Tag(shown(tag))) }
}

fn is_repository(name: &str) -> bool {
    let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let inner = |c: char| edge(c) || "._-".contains(c);
    let component = |part: &str| part.starts_with(edge) && part.ends_with(edge) && part.chars().all(inner);
    name.len() <= 255 && name.split('/').all(component)
}

fn is_host_name(host: &str) -> bool {
    let (name, port) = host.rsplit_once(':').map_or((host, None), |(name, port)| (name, Some(port)));
    let letters = |c: char| c.is_ascii_alphanumeric() || "-.".contains(c);
    let bracketed = name.starts_with('[') && name.ends_with(']');
    (bracketed || (!name.is_empty() && name.chars().all(letters)))
        && port.is_none_or(|port| port.parse::<u16>().is_ok())
}

/// `PATH[:TAG|@DIGEST]`. The tag is behind the last colon that no slash follows.
fn path_and_selector(whole: &str, text: &str) -> Result<(PathBuf, Option<Selector>), ReferenceError> {
    let no_path = || ReferenceError::NoPath(shown(whole));
    let (path, selector) = match text.rsplit_once('@') {
        Some((path, digest)) if digest.starts_with("sha256:") => {
            (path, Some(Selector::Digest(parse_digest(whole, digest)?)))
        }
        _ => match text.rsplit_once(':') {
            Some((path, tag)) if !tag.contains('/') && !tag.is_empty() => (path, Some(Selector::Tag(tag.to_owned()))),
            Some((path, "")) => (path, None),
            _ => (text, None),
        },
    };
    if path.is_empty() { Err(no_path()) } else { Ok((path.into(), selector)) }
}

fn ends_like_a_tag(path: &Path) -> bool {
    let text = path.to_string_lossy();
    text.rsplit('/').next().is_some_and(|last| last.contains(':'))
}

impl FromStr for ImageReference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        if text.is_empty() {
            return Err(ReferenceError::Empty);
        }
        let Some((transport, rest)) = text.split_once(':') else {
            return RegistryName::parse(text).map(Self::Bare);
        };
        match transport {
            "oci" => path_and_selector(text, rest).map(|(path, selector)| Self::Layout { path, selector }),
            "oci-archive" => path_and_selector(text, rest).map(|(path, selector)| Self::OciArchive { path, selector }),
            "docker-archive" => {
                // Names in such archives have colons of their own: the path ends at the first.
                let (path, name) = rest.split_once(':').map_or((rest, None), |(path, name)| (path, Some(name)));
                if path.is_empty() {
                    return Err(ReferenceError::NoPath(shown(text)));
                }
                let name = name.filter(|name| !name.is_empty()).map(str::to_owned);
                Ok(Self::DockerArchive { path: path.into(), name })
            }
            "rootfs" | "dir" if !rest.is_empty() => Ok(Self::RootFs { path: rest.into() }),
            "docker" if rest.starts_with("//") => RegistryName::parse(&rest[2..]).map(Self::Registry),
            "docker-daemon" => RegistryName::parse(rest).map(Self::Daemon),
            _ => RegistryName::parse(text).map(Self::Bare),
        }
    }
}

impl fmt::Display for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())?;
        match self {
            Self::Layout { path, selector } | Self::OciArchive { path, selector } => match selector {
                Some(Selector::Tag(tag)) => write!(f, ":{tag}"),
                Some(Selector::Digest(digest)) => write!(f, "@{digest}"),
                // A colon in the last component would be read as the beginning of a tag.
                None if ends_like_a_tag(path) => f.write_str(":"),
                None => Ok(()),
            },
            Self::DockerArchive { name, .. } => name.as_ref().map_or(Ok(()), |name| write!(f, ":{name}")),
            Self::RootFs { .. } => Ok(()),
            Self::Registry(name) | Self::Daemon(name) | Self::Bare(name) => {
                name.tag.as_ref().map_or(Ok(()), |tag| write!(f, ":{tag}"))?;
                name.digest.map_or(Ok(()), |digest| write!(f, "@{digest}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn bare(text: &str) -> RegistryName {
        match text.parse() {
            Ok(ImageReference::Bare(name)) => name,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn names_are_docker_s() {
        for (text, host, repository, tag) in [
            ("nginx", "docker.io", "library/nginx", None),
            ("nginx:1", "docker.io", "library/nginx", Some("1")),
            ("team/app", "docker.io", "team/app", None),
            ("docker.io/nginx", "docker.io", "library/nginx", None),
            ("localhost/app", "localhost", "app", None),
            ("host:5000/app", "host:5000", "app", None),
            ("registry.example:5000/team/app:2", "registry.example:5000", "team/app", Some("2")),
        ] {
            let name = bare(text);
            assert_eq!(
                (name.host.as_str(), name.repository.as_str(), name.tag.as_deref()),
                (host, repository, tag),
                "{text}"
            );
        }
        let pinned = bare(&format!("registry.example/app:2@{DIGEST}"));
        assert_eq!(pinned.target(), DIGEST);
        assert_eq!(pinned.written(), "registry.example/app");
    }

    #[test]
    fn transports_and_their_selectors() {
        let parse = |text: &str| text.parse::<ImageReference>().unwrap();
        assert_eq!(
            parse("oci:./dir.d/layout:1.2"),
            ImageReference::Layout { path: "./dir.d/layout".into(), selector: Some(Selector::Tag("1.2".into())) }
        );
        assert_eq!(parse("oci:/a/b"), ImageReference::Layout { path: "/a/b".into(), selector: None });
        assert_eq!(parse(&format!("oci:x@{DIGEST}")).tag_or_digest().as_deref(), Some(DIGEST));
        assert_eq!(
            parse("docker-archive:a.tar:host:5000/x:1"),
            ImageReference::DockerArchive { path: "a.tar".into(), name: Some("host:5000/x:1".into()) }
        );
        assert_eq!(parse("docker://nginx").name(), "docker://nginx");
        assert_eq!(parse("docker://nginx").tag_or_digest().as_deref(), Some("latest"));
        assert_eq!(parse("rootfs:/srv/root"), ImageReference::RootFs { path: "/srv/root".into() });
    }

    #[test]
    fn what_is_printed_is_read_again() {
        for text in [
            "nginx",
            "nginx:1",
            "host:5000/a/b:x",
            "docker://x.y/z",
            "docker-daemon:a:b",
            "oci:d",
            "oci:d:t",
            "oci:a:b:",
            "oci:a:b/c",
            "oci:a::",
            "oci-archive:f.tar:t",
            "docker-archive:f:n:1",
            "rootfs:p",
            &format!("a/b@{DIGEST}"),
            &format!("oci:d@{DIGEST}"),
        ] {
            let reference: ImageReference = text.parse().unwrap();
            assert_eq!(reference.to_string(), text);
            assert_eq!(reference.to_string().parse::<ImageReference>().unwrap(), reference);
        }
    }

    #[test]
    fn a_name_and_a_pin_are_one_reference() {
        let pinned = |name: &str, pin: &str| ImageReference::pinned(name, pin).unwrap().to_string();
        let full = format!("docker://host/app@{DIGEST}");
        assert_eq!(pinned("docker://host/app", &full), full);
        assert_eq!(pinned("oci:dir", &format!("oci:dir@{DIGEST}")), format!("oci:dir@{DIGEST}"));
        assert_eq!(pinned("docker-archive:f.tar", DIGEST), format!("docker-archive:f.tar:{DIGEST}"));
        assert_eq!(pinned("app", DIGEST), format!("docker-daemon:{DIGEST}"));
        let of_daemon = format!("app@{DIGEST}");
        assert_eq!(pinned("docker-daemon:app", &of_daemon), format!("docker-daemon:app@{DIGEST}"));
        assert_eq!(pinned("app", &of_daemon), of_daemon);
        assert!(ImageReference::pinned("", DIGEST).is_err());
    }

    #[test]
    fn relative_paths_move_with_the_directory() {
        let below = |text: &str| text.parse::<ImageReference>().unwrap().below("sub".as_ref()).to_string();
        assert_eq!(below("oci:x:1"), "oci:sub/x:1");
        assert_eq!(below("oci:/x:1"), "oci:/x:1");
        assert_eq!(below("nginx:1"), "nginx:1");
    }

    #[test]
    fn refuses_what_is_none() {
        let error = |text: &str| text.parse::<ImageReference>().unwrap_err();
        assert_eq!(error(""), ReferenceError::Empty);
        for text in ["oci:", "oci::tag", "oci-archive:", "docker-archive:"] {
            assert!(matches!(error(text), ReferenceError::NoPath(_)), "{text}");
        }
        for text in ["Nginx", "a//b", "-x", "host:port/x", "docker://", "a b"] {
            assert!(matches!(error(text), ReferenceError::Name(_)), "{text}");
        }
        assert!(matches!(error("nginx:a b"), ReferenceError::Tag(_)));
        assert!(matches!(error("nginx@sha256:00"), ReferenceError::Digest { .. }));
    }
}
