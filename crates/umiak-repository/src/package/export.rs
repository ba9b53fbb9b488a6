//! Writing a package.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use flate2::{Compression, GzBuilder};
use umiak_pvr::Parts;
use umiak_spec::{Digest, Observer, Sha256};

use super::{PackageError, tar};
use crate::error::{Error, IoContext};
use crate::hash;
use crate::repository::Repository;
use crate::source::first_paths;

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
        match format {
            Format::Tar => Ok(self.export_tar(parts, output, observer)?.1),
            Format::Gzip => {
                let encoder = GzBuilder::new().operating_system(255).write(output, Compression::default());
                let (encoder, report) = self.export_tar(parts, encoder, observer)?;
                encoder.finish().and_then(|mut output| output.flush()).map_err(PackageError::Write)?;
                Ok(report)
            }
        }
    }

    fn export_tar<W: Write>(
        &self,
        parts: &Parts,
        mut output: W,
        observer: &dyn Observer,
    ) -> Result<(W, ExportReport), Error> {
        let _lock = self.lock_shared(observer)?;
        let state = self.pristine()?.filter(parts);
        let objects = first_paths(&state);
        let missing: Vec<_> = objects.iter().filter(|(digest, _)| !self.pool().contains(digest)).cloned().collect();
        if !missing.is_empty() {
            return Err(Error::Missing(missing));
        }
        let mut sizes = Vec::with_capacity(objects.len());
        for (digest, _) in &objects {
            let path = self.pool().path(digest);
            let size = path.metadata().at("read", &path)?.len();
            if size >= tar::SIZE_LIMIT {
                return Err(PackageError::TooLarge { digest: *digest, size }.into());
            }
            sizes.push(size);
        }
        let mut report =
            ExportReport { files: state.entries().len(), objects: objects.len(), bytes: sizes.iter().sum() };
        observer.expect("Exporting", report.bytes);
        let json = state.canonical();
        let mut write = |bytes: &[u8]| output.write_all(bytes).map_err(PackageError::Write);
        write(&tar::header("json", 0o600, json.len() as u64))?;
        write(json.as_bytes())?;
        write(tar::padding(json.len() as u64))?;
        for ((digest, _), size) in objects.iter().zip(&sizes) {
            write(&tar::header(&format!("objects/{}", digest.hex()), 0o644, *size))?;
            self.export_object(digest, *size, &mut write, observer)?;
            write(tar::padding(*size))?;
        }
        write(&[0; 1024])?;
        output.flush().map_err(PackageError::Write)?;
        report.files = state.entries().len();
        Ok((output, report))
    }

    fn export_object(
        &self,
        digest: &Digest,
        size: u64,
        write: &mut dyn FnMut(&[u8]) -> Result<(), PackageError>,
        observer: &dyn Observer,
    ) -> Result<(), Error> {
        let path = self.pool().path(digest);
        let mut file = File::open(&path).at("open", &path)?;
        let mut hash = Sha256::new();
        let mut left = size;
        hash::pump(&mut file, &path, "Exporting", observer, |bytes| {
            hash.update(bytes);
            left = left.checked_sub(bytes.len() as u64).ok_or_else(|| changed(&path))?;
            Ok(write(bytes)?)
        })?;
        let found = hash.finish();
        if found == *digest && left == 0 { Ok(()) } else { Err(Error::Damaged { path, found }) }
    }
}

fn changed(path: &Path) -> Error {
    let source = io::Error::other("the object grew while it was read");
    Error::Io { action: "export", path: path.to_owned(), source }
}
