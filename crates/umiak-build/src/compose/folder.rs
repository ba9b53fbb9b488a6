//! A compose project in a directory.
//!
//! What is read is what Compose reads; what is packed is what lies in the directory, with the pinned compose file in the
//! place of those that were read.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufWriter, Read as _, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use umiak_compose::{ComposeLimits, Files};
use umiak_spec::app::{BundleIndex, OCTET_STREAM};
use umiak_spec::{Descriptor, Observer, ReadAt, Sha256};

use super::pack::pack;
use super::project::{Packed, PackedService, Pin, Project};
use crate::delta::place::Nameless;
use crate::error::{BuildError, IoContext as _};

/// A compose project in a directory.
pub struct Folder<'a> {
    /// Where it is: the directory of its first compose file.
    pub directory: PathBuf,
    /// Its compose files, relative to `directory` or absolute; none: those that Compose looks for.
    pub names: Vec<String>,
    /// Variables that win over the project's `.env`.
    pub environment: BTreeMap<String, String>,
    /// Where the bundle is put together; nothing stays there.
    pub scratch: &'a Path,
    /// Is told what happens, and may cancel.
    pub observer: &'a dyn Observer,
}

/// The files of a directory.
struct Disk<'a>(&'a Path);

impl Files for Disk<'_> {
    fn read(&self, path: &str, limit: u64) -> io::Result<Option<Vec<u8>>> {
        let file = match File::open(self.0.join(path)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Ok(None),
            file => file?,
        };
        // A pipe or a device would never end.
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("it is no file"));
        }
        let mut bytes = Vec::new();
        file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }
}

impl Project for Folder<'_> {
    fn pack(&self, pin: &mut Pin<'_>) -> Result<Packed, BuildError> {
        let files = Disk(&self.directory);
        let project = umiak_compose::Project::read(&files, &self.names, &self.environment, &ComposeLimits::default())?;
        let pinned = project.pinned::<BuildError>(|service| Ok(pin(&service.name, &service.image)?))?;
        let read = project.compose_files().map(str::to_owned).collect();
        let (archive, blob, index) = self.archive(&pinned.text, &read)?;
        let services = project.services().iter().zip(&pinned.services).map(|(service, pinned)| PackedService {
            name: service.name.clone(),
            image: pinned.image.clone(),
            platform: service.platform.clone(),
        });
        let services = services.collect();
        let unset = project.variables().iter().filter(|(_, variable)| variable.required && !variable.in_env);
        let notes = unset.map(|(name, _)| {
            format!("`{name}` has no default and is not in .env: each device must set it in its environment")
        });
        let notes = notes.collect();
        Ok(Packed { archive, blob, index, compose: pinned.text, services, notes })
    }
}

impl Folder<'_> {
    /// The bundle, in a file without a name.
    fn archive(
        &self,
        compose: &str,
        read: &BTreeSet<String>,
    ) -> Result<(Arc<dyn ReadAt>, Descriptor, BundleIndex), BuildError> {
        let file = Nameless::new(self.scratch).file().at("create a scratch file in", self.scratch)?;
        let (blob, index) = self.write(&file, compose, read)?;
        Ok((Arc::new(file), blob, index))
    }

    fn write(
        &self,
        file: &File,
        compose: &str,
        read: &BTreeSet<String>,
    ) -> Result<(Descriptor, BundleIndex), BuildError> {
        let mut output = Hashed { file: BufWriter::new(file), hash: Sha256::new(), size: 0 };
        let packed = pack(&self.directory, compose, read, &mut output, self.observer)?;
        output.flush().at("write in", self.scratch)?;
        let Hashed { hash, size, .. } = output;
        Ok((Descriptor::new(OCTET_STREAM, hash.finish(), size), packed.index))
    }
}

/// A file that is hashed while it is written.
struct Hashed<'f> {
    file: BufWriter<&'f File>,
    hash: Sha256,
    size: u64,
}

impl Write for Hashed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.hash.update(&bytes[..count]);
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
