//! Writing a package.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use umiak_pvr::{Parts, State};
use umiak_spec::{Digest, Observer, Sha256};

use super::gzip::{Gzip, Output, Plain};
use super::{PackageError, tar};
use crate::error::{Error, IoContext};
use crate::hash;
use crate::repository::Repository;
use crate::source::first_paths;

/// How a squashfs image begins: its blocks are compressed already.
const SQUASHFS: &[u8] = b"hsqs";

/// How a package is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// Not at all.
    #[default]
    Tar,
    /// gzip, with a header that says neither time nor name.
    Gzip,
}

impl Format {
    /// What a file name asks for: gzip for `.gz` and `.tgz`.
    #[must_use]
    pub fn of(name: &Path) -> Self {
        let extension = name.extension().map(|extension| extension.to_string_lossy().to_lowercase());
        if matches!(extension.as_deref(), Some("gz" | "tgz")) { Self::Gzip } else { Self::Tar }
    }
}

/// What a package holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ExportReport {
    /// Files of the state, documents included.
    pub files: usize,
    /// Objects in the package.
    pub objects: usize,
    /// Their bytes, uncompressed.
    pub bytes: u64,
}

impl Repository {
    /// Writes the `parts` of the committed state, with `#spec`, and their objects. Every object is verified while it is
    /// written: after an error `output` is not a package and must be thrown away.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Damaged`], [`Error::Package`], [`Error::Cancelled`].
    pub fn export(
        &self,
        parts: &Parts,
        output: impl Write,
        format: Format,
        observer: &dyn Observer,
    ) -> Result<ExportReport, Error> {
        let _lock = self.lock_shared(observer)?;
        let state = self.pristine()?.filter(parts);
        let path = |digest: &Digest| Some(self.pool().path(digest)).filter(|_| self.pool().contains(digest));
        write(&state, &path, output, format, observer)
    }
}

/// Writes a package of all of `state`; `path` tells where an object is, if it is anywhere. Every object is verified while it
/// is written: after an error `output` is not a package and must be thrown away.
///
/// # Errors
/// As for [`Repository::export`].
pub fn write(
    state: &State,
    path: &dyn Fn(&Digest) -> Option<PathBuf>,
    output: impl Write,
    format: Format,
    observer: &dyn Observer,
) -> Result<ExportReport, Error> {
    match format {
        Format::Tar => archive(state, path, &mut Plain(output), observer),
        Format::Gzip => {
            let mut gzip = Gzip::new(output).map_err(PackageError::Write)?;
            let report = archive(state, path, &mut gzip, observer)?;
            gzip.finish().and_then(|mut output| output.flush()).map_err(PackageError::Write)?;
            Ok(report)
        }
    }
}

fn archive(
    state: &State,
    path: &dyn Fn(&Digest) -> Option<PathBuf>,
    output: &mut dyn Output,
    observer: &dyn Observer,
) -> Result<ExportReport, Error> {
    let mut objects = vec![];
    let mut missing = vec![];
    for (digest, name) in first_paths(state) {
        let Some(path) = path(&digest) else {
            missing.push((digest, name));
            continue;
        };
        let size = path.metadata().at("read", &path)?.len();
        if size >= tar::SIZE_LIMIT {
            return Err(PackageError::TooLarge { digest, size }.into());
        }
        objects.push((digest, path, size));
    }
    if !missing.is_empty() {
        return Err(Error::Missing(missing));
    }
    let bytes = objects.iter().map(|(_, _, size)| size).sum();
    let report = ExportReport { files: state.entries().len(), objects: objects.len(), bytes };
    observer.expect("Exporting", report.bytes);
    let json = state.canonical();
    let json = [&tar::header("json", 0o600, json.len() as u64), json.as_bytes(), tar::padding(json.len() as u64)];
    output.write_all(&json.concat()).map_err(PackageError::Write)?;
    for (digest, path, size) in &objects {
        let header = tar::header(&format!("objects/{}", digest.hex()), 0o644, *size);
        output.write_all(&header).map_err(PackageError::Write)?;
        object(digest, path, *size, output, observer)?;
        output.write_all(tar::padding(*size)).map_err(PackageError::Write)?;
    }
    output.write_all(&[0; 1024]).and_then(|()| output.flush()).map_err(PackageError::Write)?;
    Ok(report)
}

fn object(
    digest: &Digest,
    path: &Path,
    size: u64,
    output: &mut dyn Output,
    observer: &dyn Observer,
) -> Result<(), Error> {
    let mut file = File::open(path).at("open", path)?;
    let mut hash = Sha256::new();
    let mut left = size;
    hash::pump(&mut file, path, "Exporting", observer, |bytes| {
        if left == size {
            output.compressed_already(bytes.starts_with(SQUASHFS)).map_err(PackageError::Write)?;
        }
        hash.update(bytes);
        left = left.checked_sub(bytes.len() as u64).ok_or_else(|| changed(path))?;
        Ok(output.write_all(bytes).map_err(PackageError::Write)?)
    })?;
    output.compressed_already(false).map_err(PackageError::Write)?;
    let found = hash.finish();
    if found == *digest && left == 0 { Ok(()) } else { Err(Error::Damaged { path: path.to_owned(), found }) }
}

fn changed(path: &Path) -> Error {
    let source = io::Error::other("the object grew while it was read");
    Error::Io { action: "export", path: path.to_owned(), source }
}
