//! A project's documents written for the first time, or for further platforms: container-ci's `pvpkg_install`.
//!
//! Guarantees: what is there and says the same stays untouched; what says something else is replaced only when asked;
//! nothing is written before all of it was looked at.

use std::fs;
use std::path::PathBuf;

use umiak_pvr::app::{SourceDocument, check_name};
use umiak_spec::{ImageReference, Platform};

use crate::arch::Arch;
use crate::durable;
use crate::error::ReleaseError;
use crate::project::Project;
use crate::pvpkg::{FIRST_VERSION, PVPKG_JSON, Pvpkg};

/// What stands for an architecture's directory in a reference, for images that have a tag or a repository a platform.
const ARCH: &str = "{arch}";

/// What a project is to make.
#[derive(Debug)]
pub struct Draft<'a> {
    /// The app, and the packages.
    pub app: &'a str,
    /// The image, perhaps with `{arch}` in it.
    pub image: &'a str,
    /// What src.json holds besides image and platform.
    pub document: &'a SourceDocument,
    /// For these, as they are to be written.
    pub platforms: &'a [Platform],
    /// Replace what says something else.
    pub force: bool,
    /// Only look.
    pub dry_run: bool,
}

/// What `init` did, or would do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct InitReport {
    /// Written, or replaced, in the order of the platforms.
    pub written: Vec<PathBuf>,
    /// Those that said the same already.
    pub kept: Vec<PathBuf>,
}

/// Writes the documents.
///
/// # Errors
/// [`ReleaseError::Exists`] and others, before anything is written.
pub fn init(project: &Project, draft: &Draft<'_>) -> Result<InitReport, ReleaseError> {
    check_name(draft.app)?;
    if draft.platforms.is_empty() {
        return Err(ReleaseError::NoPlatforms);
    }
    let mut files = Vec::new();
    let mut archs = Vec::new();
    for platform in draft.platforms {
        let arch = Arch::of(platform)?;
        if !archs.contains(&arch) {
            archs.push(arch);
            files.push((project.source(arch, draft.app), text(draft, arch, platform)?));
        }
    }
    let path = project.root().join(PVPKG_JSON);
    // Another app of a project goes into the same packages: the first one named them.
    if path.exists() {
        project.pvpkg()?;
    } else {
        let pvpkg = Pvpkg { name: draft.app.to_owned(), version: FIRST_VERSION.to_owned() };
        files.push((path, pvpkg.to_text()));
    }
    let (kept, written): (Vec<_>, Vec<_>) =
        files.into_iter().partition(|(path, text)| fs::read(path).is_ok_and(|found| found == text.as_bytes()));
    let in_the_way: Vec<PathBuf> = written.iter().map(|(path, _)| path.clone()).filter(|path| path.exists()).collect();
    if !draft.force && !in_the_way.is_empty() {
        return Err(ReleaseError::Exists(in_the_way));
    }
    if !draft.dry_run {
        written.iter().try_for_each(|(path, text)| durable::put(path, text.as_bytes()))?;
    }
    let paths = |files: Vec<(PathBuf, String)>| files.into_iter().map(|(path, _)| path).collect();
    Ok(InitReport { written: paths(written), kept: paths(kept) })
}

/// The source document of one platform, in the form in which container-ci has it.
fn text(draft: &Draft<'_>, arch: Arch, platform: &Platform) -> Result<String, ReleaseError> {
    let reference: ImageReference =
        draft.image.replace(ARCH, arch.as_str()).parse().map_err(ReleaseError::Reference)?;
    let mut document = draft.document.clone();
    document.set_docker_name(Some(&reference.name()));
    document.set_docker_tag(reference.tag_or_digest().as_deref());
    document.set_docker_platform(Some(&platform.to_string()));
    Ok(document.to_plain_text() + "\n")
}
