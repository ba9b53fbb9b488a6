//! A project: where its documents are, and what is to be made of them.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use umiak_pvr::app::{SRC_JSON, SourceDocument, check_name};
use umiak_spec::{Limits, Platform};

use crate::arch::Arch;
use crate::carried::{self, CONFIG, Carried};
use crate::error::{IoContext as _, ReleaseError};
use crate::name::PackageName;
use crate::pvpkg::{PVPKG_JSON, Pvpkg};

/// Where source documents are.
pub(crate) const PVPKG: &str = "pvpkg";
/// Where packages go.
pub(crate) const RELEASES: &str = "releases";

/// A folder from which packages are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    root: PathBuf,
}

/// What is to be made for one platform.
#[derive(Debug, Clone)]
pub struct Source {
    /// Its directory.
    pub arch: Arch,
    /// The apps by name: what they are made of. Apps that others extend come in the same package.
    pub apps: BTreeMap<String, SourceDocument>,
    /// Files of the apps that are in the package as they are.
    pub carried: Carried,
}

impl Project {
    /// The project whose root this is, there or to be made.
    #[must_use]
    pub fn at(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// The project that `start` is in.
    ///
    /// # Errors
    /// [`ReleaseError::NoProject`].
    pub fn find(start: &Path) -> Result<Self, ReleaseError> {
        let found = start.ancestors().find(|directory| directory.join(PVPKG_JSON).is_file());
        found.map(Self::at).ok_or_else(|| ReleaseError::NoProject(start.to_owned()))
    }

    /// Its root.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Name and version.
    ///
    /// # Errors
    /// [`ReleaseError::Pvpkg`], [`ReleaseError::Io`].
    pub fn pvpkg(&self) -> Result<Pvpkg, ReleaseError> {
        let path = self.root.join(PVPKG_JSON);
        Pvpkg::parse(&fs::read(&path).at("read", &path)?)
    }

    /// Where an app's source document is.
    #[must_use]
    pub fn source(&self, arch: Arch, app: &str) -> PathBuf {
        self.root.join(PVPKG).join(arch.as_str()).join(app).join(SRC_JSON)
    }

    /// Where packages go.
    #[must_use]
    pub fn releases(&self) -> PathBuf {
        self.root.join(RELEASES)
    }

    /// The device directory that a platform's package is made from.
    #[must_use]
    pub fn release(&self, arch: Arch) -> PathBuf {
        self.releases().join(arch.as_str())
    }

    /// Where a package is.
    #[must_use]
    pub fn package(&self, name: &PackageName) -> PathBuf {
        self.releases().join(name.to_string())
    }

    /// What there is to be made, for these architectures or all; sorted.
    ///
    /// # Errors
    /// [`ReleaseError::NothingToMake`], [`ReleaseError::Directory`]; documents that cannot be used.
    pub fn sources(&self, only: &[Arch]) -> Result<Vec<Source>, ReleaseError> {
        let mut sources = Vec::new();
        for name in directories(&self.root.join(PVPKG))? {
            let arch = Arch::named(&name).ok_or(ReleaseError::Directory(name))?;
            if !only.is_empty() && !only.contains(&arch) {
                continue;
            }
            let platform = self.root.join(PVPKG).join(arch.as_str());
            let (mut apps, mut carried) = (BTreeMap::new(), Carried::new());
            for app in directories(&platform)? {
                if let Some(document) = self.document(arch, &app)? {
                    carried.append(&mut carried::of(&platform, &app)?);
                    apps.insert(app, document);
                }
            }
            let configured = directories(&platform.join(CONFIG))?;
            if let Some(nobody) = configured.iter().find(|app| !apps.contains_key(*app)) {
                let reason = format!("there is no app `{nobody}` beside it");
                return Err(ReleaseError::Refused { path: platform.join(CONFIG).join(nobody), reason });
            }
            if !apps.is_empty() {
                sources.push(Source { arch, apps, carried });
            }
        }
        let lacking = only.iter().filter(|arch| !sources.iter().any(|source| source.arch == **arch));
        let lacking: Vec<String> = lacking.map(ToString::to_string).collect();
        if sources.is_empty() || !lacking.is_empty() { Err(ReleaseError::NothingToMake(lacking)) } else { Ok(sources) }
    }

    /// A source document, checked and with its platform; `None` without one.
    fn document(&self, arch: Arch, app: &str) -> Result<Option<SourceDocument>, ReleaseError> {
        let path = self.source(arch, app);
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            result => result.at("read", &path)?,
        };
        check_name(app)?;
        let parsed = SourceDocument::parse(&bytes, Limits::default().document);
        let mut document = parsed.map_err(|source| ReleaseError::Document { path: path.clone(), source })?;
        let refused = |reason: String| Err(ReleaseError::Refused { path: path.clone(), reason });
        if document.docker_name().is_none() {
            return refused("it names no container image (docker_name)".to_owned());
        }
        match document.docker_platform() {
            None => document.set_docker_platform(Some(&arch.platform().to_string())),
            Some(text) => match text.parse::<Platform>() {
                Ok(platform) if Arch::of(&platform).ok() == Some(arch) => {}
                Ok(_) => return refused(format!("it is for {text}, its directory for {}", arch.platform())),
                Err(error) => return refused(error.to_string()),
            },
        }
        Ok(Some(document))
    }
}

/// Names of the directories in `path`, sorted; none when it is not there.
fn directories(path: &Path) -> Result<Vec<String>, ReleaseError> {
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        result => result.at("list", path)?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.at("list", path)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_dir() && !name.starts_with('.') {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}
