//! OCI image layouts in a tar archive: one that is written anew.
//!
//! Guarantees: the same manifests in the same order give the same bytes, whatever the order of the blobs; it is not compressed,
//! so that its blobs can be read where they lie; it is there whole or not at all, and what was there before stays until
//! then. Blobs are kept in a directory beside until the work is finished, which is removed however that ends.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use umiak_layer::LayerWriter;
use umiak_spec::{Descriptor, Limits, Observer, ReadAt, RegistryName};
use umiak_tree::{Metadata, TreePath};

use crate::blob::BlobFile;
use crate::durable::{self, Scratch};
use crate::error::{Error, IoContext as _};
use crate::layout_sink::LayoutSink;
use crate::sink::{Sink, Stored};

/// An archive that is going to be written.
pub(crate) struct ArchiveSink {
    place: PathBuf,
    layout: LayoutSink,
    _scratch: Scratch,
    limits: Limits,
}

impl ArchiveSink {
    pub(crate) fn open(place: &Path, tag: Option<String>, limits: Limits) -> Result<Self, Error> {
        durable::sweep(durable::parent(place));
        let scratch = Scratch::directory(durable::parent(place))?;
        let layout = LayoutSink::open(scratch.path(), tag, limits)?;
        Ok(Self { place: place.to_owned(), layout, _scratch: scratch, limits })
    }

    /// Names of the files, in the order in which they are written: what a reader wants first comes first.
    fn names(&self) -> Result<Vec<String>, Error> {
        let blobs = self.layout.blobs();
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&blobs).at("read", &blobs)? {
            names.push(format!("blobs/sha256/{}", entry.at("read", &blobs)?.file_name().to_string_lossy()));
        }
        names.sort();
        names.splice(0..0, ["oci-layout", "index.json"].map(str::to_owned));
        Ok(names)
    }
}

impl Sink for ArchiveSink {
    fn tag(&self) -> Option<&str> {
        self.layout.tag()
    }

    fn has_blob(&self, blob: &Descriptor, observer: &dyn Observer) -> Result<bool, Error> {
        self.layout.has_blob(blob, observer)
    }

    fn send_blob(
        &self,
        blob: &Descriptor,
        content: &dyn ReadAt,
        from: Option<&RegistryName>,
        observer: &dyn Observer,
    ) -> Result<Stored, Error> {
        self.layout.send_blob(blob, content, from, observer)
    }

    fn put_part(&self, bytes: &[u8], media_type: &str, observer: &dyn Observer) -> Result<Descriptor, Error> {
        self.layout.put_part(bytes, media_type, observer)
    }

    fn put_manifest(
        &self,
        bytes: &[u8],
        media_type: &str,
        tag: Option<&str>,
        observer: &dyn Observer,
    ) -> Result<Descriptor, Error> {
        self.layout.put_manifest(bytes, media_type, tag, observer)
    }

    fn finish(self: Box<Self>, observer: &dyn Observer) -> Result<(), Error> {
        let names = self.names()?;
        durable::write(durable::parent(&self.place), &self.place, |out, path| {
            let failed = |error: umiak_layer::WriteError| Error::Io {
                action: "write",
                path: path.to_owned(),
                source: std::io::Error::other(error),
            };
            let mut writer = LayerWriter::new(out);
            for name in &names {
                observer.check()?;
                let file = BlobFile::open(&self.layout.path().join(name))?;
                let member = TreePath::from_archive(name.as_bytes(), &self.limits).map_err(|error| Error::Io {
                    action: "write",
                    path: path.to_owned(),
                    source: std::io::Error::other(error),
                })?;
                let mut content = file.reader().take(file.len());
                writer.file(&member, &Metadata::root_owned(0o644), file.len(), &mut content).map_err(failed)?;
            }
            writer.finish().map_err(failed).map(drop)
        })
    }
}
