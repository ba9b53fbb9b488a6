//! OCI image layouts that are written to: a directory that is made, or one that gets more.
//!
//! Follows the OCI image layout specification 1.0. Guarantees: a blob was compared with its digest before it gets its
//! name; index.json is exchanged whole, and by one of us at a time; what others listed in it stays. A manifest with a
//! subject is listed there with its artifact type, which is where [`crate::Source::referrers`] finds it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use umiak_spec::{Descriptor, Digest, Limits, Listing, Observer, ReadAt, RegistryName, Sha256, Silent};

use crate::body::{PHASE, Stretch};
use crate::durable;
use crate::error::{Error, IoContext as _};
use crate::layout::INDEX;
use crate::registry_sink::{check_length, referrer};
use crate::sink::{Sink, Stored};

/// The file that makes a directory a layout.
const MARK: &str = "oci-layout";

/// How often somebody else's lock is looked at.
const SHORT: Duration = Duration::from_millis(20);

/// One layout directory.
pub(crate) struct LayoutSink {
    path: PathBuf,
    tag: Option<String>,
    limits: Limits,
}

impl LayoutSink {
    /// Opens a layout, or makes one: in an empty directory, or where there is none.
    pub(crate) fn open(path: &Path, tag: Option<String>, limits: Limits) -> Result<Self, Error> {
        let sink = Self { path: path.to_owned(), tag, limits };
        durable::create_directories(path)?;
        // Others may be making the same one.
        let _alone = sink.lock(&Silent)?;
        durable::sweep(path);
        if !path.join(MARK).exists() {
            sink.check_empty()?;
        }
        durable::create_directories(&sink.blobs())?;
        if !path.join(INDEX).exists() {
            sink.write(&path.join(INDEX), &Listing::default().to_bytes())?;
        }
        // Last: with it, the layout is one.
        if !path.join(MARK).exists() {
            sink.write(&path.join(MARK), br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        }
        Ok(sink)
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Where its blobs are.
    pub(crate) fn blobs(&self) -> PathBuf {
        self.path.join("blobs/sha256")
    }

    /// Fails for a directory that others use for something else: only what we may have begun is overlooked.
    fn check_empty(&self) -> Result<(), Error> {
        for entry in std::fs::read_dir(&self.path).at("read", &self.path)? {
            let name = entry.at("read", &self.path)?.file_name();
            let name = name.to_string_lossy();
            if name != "blobs" && name != INDEX && !name.starts_with(durable::PREFIX) {
                let place = self.path.display();
                let text = format!("{place} is no OCI image layout, and not empty: nothing is written there");
                return Err(Error::Unsupported(text));
            }
        }
        Ok(())
    }

    fn lock(&self, observer: &dyn Observer) -> Result<File, Error> {
        durable::lock(&self.path, || {
            observer.check()?;
            std::thread::sleep(SHORT);
            Ok(())
        })
    }

    fn write(&self, place: &Path, bytes: &[u8]) -> Result<(), Error> {
        durable::write(&self.path, place, |out, path| out.write_all(bytes).at("write", path))
    }

    /// Whoever wrote it there compared it with its digest; what was cut short is written again.
    fn is_there(&self, blob: &Descriptor) -> bool {
        let place = self.blobs().join(blob.digest.hex());
        std::fs::metadata(place).is_ok_and(|found| found.len() == blob.size)
    }

    /// Stores what has not its name yet.
    fn store(&self, blob: &Descriptor, content: &dyn ReadAt, observer: &dyn Observer) -> Result<Stored, Error> {
        check_length(blob, content)?;
        if self.is_there(blob) {
            return Ok(Stored::There);
        }
        let place = self.blobs().join(blob.digest.hex());
        observer.expect(PHASE, blob.size);
        durable::write(&self.path, &place, |out, path| {
            let stretch = Stretch::of(content, 0, blob.size, observer);
            let (mut reader, mut hash) = (stretch.reader(), Sha256::new());
            let mut buffer = vec![0; 256 << 10];
            loop {
                let count = match std::io::Read::read(&mut reader, &mut buffer) {
                    Ok(0) => break,
                    Ok(count) => count,
                    Err(error) => return Err(crate::transport::unreadable(stretch.failure().unwrap_or(error))),
                };
                hash.update(&buffer[..count]);
                out.write_all(&buffer[..count]).at("write", path)?;
            }
            let found = hash.finish();
            let what = || format!("blob {}", blob.digest);
            (found == blob.digest).then_some(()).ok_or_else(|| Error::Digest {
                what: what(),
                expected: blob.digest,
                found,
            })
        })?;
        Ok(Stored::New)
    }

    /// Changes index.json, if the change is one.
    pub(crate) fn change_index(&self, observer: &dyn Observer, change: impl FnOnce(&mut Listing)) -> Result<(), Error> {
        let _alone = self.lock(observer)?;
        let place = self.path.join(INDEX);
        let bytes = std::fs::read(&place).at("read", &place)?;
        let mut listing = Listing::parse(&bytes, &self.limits)
            .map_err(|source| Error::Document { what: place.display().to_string(), source })?;
        let before = listing.clone();
        change(&mut listing);
        if listing == before { Ok(()) } else { self.write(&place, &listing.to_bytes()) }
    }
}

impl Sink for LayoutSink {
    fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    fn has_blob(&self, blob: &Descriptor, _: &dyn Observer) -> Result<bool, Error> {
        Ok(self.is_there(blob))
    }

    fn send_blob(
        &self,
        blob: &Descriptor,
        content: &dyn ReadAt,
        _: Option<&RegistryName>,
        observer: &dyn Observer,
    ) -> Result<Stored, Error> {
        self.store(blob, content, observer)
    }

    fn put_part(&self, bytes: &[u8], media_type: &str, observer: &dyn Observer) -> Result<Descriptor, Error> {
        let manifest = Descriptor::new(media_type, Digest::of(bytes), bytes.len() as u64);
        self.store(&manifest, &bytes, observer)?;
        Ok(manifest)
    }

    fn put_manifest(
        &self,
        bytes: &[u8],
        media_type: &str,
        tag: Option<&str>,
        observer: &dyn Observer,
    ) -> Result<Descriptor, Error> {
        let referrer = referrer(bytes, media_type, &self.limits)?.map(|(_, referrer)| referrer);
        let manifest = self.put_part(bytes, media_type, observer)?;
        self.change_index(observer, |listing| match (tag, &referrer) {
            (Some(tag), referrer) => listing.set_tag(tag, &manifest, referrer.as_ref()),
            (None, Some(referrer)) => drop(listing.add(referrer)),
            (None, None) => listing.add_plain(&manifest),
        })?;
        Ok(manifest)
    }
}
