//! The release before: which package of a directory a delta starts from.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{IoContext as _, ReleaseError};
use crate::name::PackageName;

/// A package of an earlier release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Previous {
    pub(super) name: PackageName,
    pub(super) path: PathBuf,
}

impl Previous {
    /// The last release of the same package and architecture in `directory`, other than this one; numbers in versions and
    /// builds count as numbers. `None` without any.
    pub(super) fn of(name: &PackageName, directory: &Path) -> Result<Option<Self>, ReleaseError> {
        let mut found: Vec<Self> = Vec::new();
        for entry in fs::read_dir(directory).at("list", directory)? {
            let path = entry.at("list", directory)?.path();
            let other = path.file_name().and_then(|name| name.to_str()).and_then(PackageName::parse);
            let Some(other) = other else { continue };
            if other.name == name.name && other.arch == name.arch && other != *name {
                found.push(Self { name: other, path });
            }
        }
        Ok(found.into_iter().max_by_key(|one| natural(&one.name.release())))
    }

    /// What the delta from here to `name` is called.
    pub(super) fn delta(&self, name: &PackageName) -> String {
        format!("{}-{}..{}.{}.delta", name.name, self.name.release(), name.release(), name.arch)
    }
}

/// Words and numbers in turn, so that 10 comes behind 9.
fn natural(text: &str) -> Vec<(u64, String)> {
    let pieces = text.split_inclusive(|letter: char| !letter.is_ascii_digit());
    pieces
        .map(|piece| {
            let digits = piece.trim_end_matches(|letter: char| !letter.is_ascii_digit());
            (digits.parse().unwrap_or(0), piece[digits.len()..].to_owned())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_release_of_the_same_package_counts() {
        let scratch = tempfile::tempdir().unwrap();
        let name = PackageName::parse("web-v1.0.1-0-12-gabcdef0.mips.tgz").unwrap();
        assert_eq!(Previous::of(&name, scratch.path()).unwrap(), None);
        for file in [
            "web-v1.0.1-0-9-gabcdef1.mips.tgz",
            "web-v1.0.1-0-10-gabcdef2.mips.tgz",
            "web-v0.9.9-0-99-gabcdef3.mips.tgz",
            "web-v1.0.1-0-12-gabcdef0.mips.tgz",
            "web-v1.0.1-0-11-gabcdef4.amd64.tgz",
            "other-v1.0.1-0-11-gabcdef5.mips.tgz",
            "notes.txt",
        ] {
            fs::write(scratch.path().join(file), "").unwrap();
        }
        let found = Previous::of(&name, scratch.path()).unwrap().unwrap();
        assert_eq!(found.name.build.as_str(), "0-10-gabcdef2");
        assert_eq!(found.delta(&name), "web-v1.0.1-0-10-gabcdef2..v1.0.1-0-12-gabcdef0.mips.delta");
        assert!(Previous::of(&name, &scratch.path().join("nowhere")).is_err());
    }
}
