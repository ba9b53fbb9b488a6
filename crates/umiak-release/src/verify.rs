//! A package judged: every check that a device makes before it installs one, made where the package is made.
//!
//! Guarantees: the archive was read to its end, each object hashed; signatures were verified before anything that they
//! cover was used; what the file's name says of the platform is what its apps say.

use std::path::Path;

use umiak_pvr::app::{SRC_JSON, SourceDocument};
use umiak_pvr::{Entry, Value};
use umiak_repository::package::{self, Contents};
use umiak_sign::{SignedState, Signers};
use umiak_spec::{Limits, Observer, Platform};

use crate::arch::Arch;
use crate::error::ReleaseError;
use crate::name::PackageName;

/// What was found good.
#[derive(Debug)]
pub struct Verified {
    /// What the package holds.
    pub contents: Contents,
    /// What its signatures say; `None` when nobody was named whom to believe.
    pub signed: Option<SignedState>,
    /// The apps, with the platform that each says it is made for.
    pub apps: Vec<(String, Option<Platform>)>,
    /// What the file is called, if it is called like a package.
    pub name: Option<PackageName>,
}

/// What is asked of packages.
pub struct Judge<'a> {
    /// Whose signatures count: there must be some, and all of them must hold. `None`: signatures are left alone.
    pub signers: Option<&'a Signers<'a>>,
    /// The moment, in seconds since 1970: certificates whose last day is over are refused. `None`: last days do not count.
    pub now: Option<u64>,
    /// Whether nothing may be left uncovered by signatures.
    pub strict: bool,
    /// What the apps must be for, besides the architecture in the file's name.
    pub platform: Option<&'a Platform>,
    /// Bounds on input.
    pub limits: Limits,
    /// Is told what happens, and may cancel.
    pub observer: &'a dyn Observer,
}

impl Judge<'_> {
    /// Verifies the package in a file.
    ///
    /// # Errors
    /// [`ReleaseError`], by the name of what is wrong.
    pub fn verify(&self, path: &Path) -> Result<Verified, ReleaseError> {
        let contents = package::verify(path, &self.limits, self.observer)?;
        let signed = self.signers.map(|signers| self.trusted(path, &contents, signers)).transpose()?;
        let apps = apps(&contents);
        let name = path.file_name().and_then(|name| name.to_str()).and_then(PackageName::parse);
        let named = arch(path).and_then(Arch::named).map(Arch::platform);
        let wanted = [("the file's name", named.as_ref()), ("what was asked for", self.platform)];
        for (app, found) in &apps {
            for (by, wanted) in wanted.iter().filter_map(|(by, wanted)| Some((*by, (*wanted)?))) {
                if let Some(found) = found.as_ref().filter(|found| wanted.rank(found).is_none()) {
                    let (path, app) = (path.to_owned(), app.clone());
                    let (found, wanted) = (found.to_string(), wanted.to_string());
                    return Err(ReleaseError::OtherPlatform { path, app, found, by, wanted });
                }
            }
        }
        Ok(Verified { contents, signed, apps, name })
    }

    fn trusted(&self, path: &Path, contents: &Contents, signers: &Signers<'_>) -> Result<SignedState, ReleaseError> {
        let Value::Object(members) = contents.state.to_value() else {
            return Err(ReleaseError::Unsigned(path.to_owned()));
        };
        let signed = SignedState::verify_at(&members, signers, self.now)
            .map_err(|source| ReleaseError::Signature { path: path.to_owned(), source })?;
        if signed.signatures.is_empty() {
            return Err(ReleaseError::Unsigned(path.to_owned()));
        }
        if self.strict && !signed.uncovered.is_empty() {
            return Err(ReleaseError::Uncovered { path: path.to_owned(), files: signed.uncovered });
        }
        Ok(signed)
    }
}

/// The architecture that the name of a package, or of a package's delta, ends with.
fn arch(path: &Path) -> Option<&str> {
    let file = path.file_name()?.to_str()?;
    let stem = [".tgz", ".tar.gz", ".delta"].iter().find_map(|end| file.strip_suffix(end))?;
    stem.rsplit_once('.').map(|(_, arch)| arch)
}

/// The apps of a package and what they are made for.
fn apps(contents: &Contents) -> Vec<(String, Option<Platform>)> {
    let platform = |app: &str| {
        let Some(Entry::Inline(document)) = contents.state.get(&format!("{app}/{SRC_JSON}")) else { return None };
        SourceDocument::from_value(document.clone()).ok()?.docker_platform()?.parse().ok()
    };
    contents.state.apps().into_iter().map(|app| (app.clone(), platform(&app))).collect()
}
