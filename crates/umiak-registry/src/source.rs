//! The one trait behind all places that images come from, and how a reference finds its place.

use std::path::PathBuf;
use std::sync::OnceLock;

use umiak_spec::{
    Descriptor, Digest, ImageReference, Limits, Observer, Platform, ReadAt, Referrer, RegistryName, Silent,
};

use crate::archive::{DockerArchive, Members};
use crate::blob::BlobFile;
use crate::cache::Cache;
use crate::daemon::Daemon;
use crate::distribution::{Registry, RegistrySettings};
use crate::error::{Error, ErrorKind};
use crate::image::{Image, Layer};
use crate::landing::Landing;
use crate::layout::Layout;
use crate::login::PULL;
use crate::rootfs::RootFs;

/// A place that has one image, for one or several platforms.
pub trait Source: Sync {
    /// Pins the image: its manifest and configuration, verified, for the first of `platforms` that it is made for
    /// (empty: this machine's). `observer` sees what takes long (the Docker daemon's images are copied here) and may
    /// end it.
    ///
    /// # Errors
    /// [`Error`]; of kind `Platform` it lists what there is.
    fn resolve_watched(&self, platforms: &[Platform], observer: &dyn Observer) -> Result<Image, Error>;

    /// The same with nobody watching.
    ///
    /// # Errors
    /// As [`Source::resolve_watched`].
    fn resolve(&self, platforms: &[Platform]) -> Result<Image, Error> {
        self.resolve_watched(platforms, &Silent)
    }

    /// Bytes that [`Source::fetch`] would have to bring over a network, as far as can be told at once.
    fn missing(&self, _: &Layer) -> u64 {
        0
    }

    /// The blob of one layer of the resolved image, in a local file. What came over a network is verified; what lies
    /// here already has the right length, and whoever reads it compares its digest.
    ///
    /// # Errors
    /// [`Error`].
    fn fetch(&self, layer: &Layer, observer: &dyn Observer) -> Result<BlobFile, Error>;

    /// The document that the reference names, as it is: a manifest, of an image or an artifact, or an index.
    ///
    /// # Errors
    /// [`Error`]; `Unsupported` where images have no manifests.
    fn top(&self, _: &dyn Observer) -> Result<(Descriptor, Vec<u8>), Error> {
        Err(no_manifests())
    }

    /// A manifest, config or other small document by digest, verified. What the descriptor's media type calls a
    /// manifest is asked for as one.
    ///
    /// # Errors
    /// [`Error`]; `Unsupported` where images have no manifests.
    fn document(&self, _: &Descriptor, _: &dyn Observer) -> Result<Vec<u8>, Error> {
        Err(no_manifests())
    }

    /// A blob by digest, whichever manifest names it: verified, resumed where an earlier fetch was interrupted.
    ///
    /// # Errors
    /// [`Error`]; of kind `Corrupt` when it is not what the descriptor says.
    fn blob(&self, blob: &Descriptor, observer: &dyn Observer) -> Result<BlobFile, Error> {
        self.fetch(&Layer::from(blob), observer)
    }

    /// The same blob as bytes that are read once, from the start to the end: what comes over a network comes while it is
    /// read, and is not kept here. The last bytes are given out only when all together are the blob's; of a local file,
    /// whoever reads it compares the digest.
    ///
    /// # Errors
    /// [`Error`]; reading may fail with one, too, inside of the `io::Error`.
    fn stream<'a>(&'a self, blob: &Descriptor, observer: &'a dyn Observer) -> Result<Box<dyn ReadAt + 'a>, Error> {
        Ok(Box::new(self.fetch(&Layer::from(blob), observer)?))
    }

    /// Brings a blob to `landing`, from where that is on; after an interruption it goes on, as often as something comes.
    /// What has come is the landing's to verify. Nothing is kept here.
    ///
    /// # Errors
    /// [`Error`]; what has come stays.
    fn deliver(
        &self,
        blob: &Descriptor,
        landing: &mut dyn Landing,
        observer: &dyn Observer,
    ) -> Result<Delivered, Error> {
        let file = self.fetch(&Layer::from(blob), observer)?;
        deliver_file(&file, landing, observer)
    }

    /// The tags of the repository or layout that the reference is in.
    ///
    /// # Errors
    /// [`Error`]; `Unsupported` where images have no manifests.
    fn tags(&self, _: &dyn Observer) -> Result<Vec<String>, Error> {
        Err(no_manifests())
    }

    /// The manifests whose subject is `subject`, of one artifact type or of all. None is no error.
    ///
    /// # Errors
    /// [`Error`]; `Unsupported` where images have no manifests.
    fn referrers(&self, _: &Digest, _: Option<&str>, _: &dyn Observer) -> Result<Vec<Referrer>, Error> {
        Err(no_manifests())
    }
}

/// How a blob came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivered {
    /// In one answer, from its first byte to its last.
    Whole,
    /// In pieces, of which some may have been here before: one of them may be of something else.
    Pieces,
}

/// Brings what is in a local file.
fn deliver_file(file: &BlobFile, landing: &mut dyn Landing, observer: &dyn Observer) -> Result<Delivered, Error> {
    let delivered = if landing.offset() == 0 { Delivered::Whole } else { Delivered::Pieces };
    let mut buffer = vec![0; DELIVERY];
    while landing.offset() < file.len() {
        observer.check()?;
        let at = landing.offset();
        let count = usize::try_from(file.len() - at).unwrap_or(DELIVERY).min(DELIVERY);
        let unreadable = |source| Error::Unreadable { source };
        ReadAt::read_exact_at(file, &mut buffer[..count], at).map_err(unreadable)?;
        landing.write(&buffer[..count]).map_err(|source| Error::Unkept { source })?;
    }
    Ok(delivered)
}

/// Bytes that are brought at a time.
const DELIVERY: usize = 128 << 10;

fn no_manifests() -> Error {
    Error::Unsupported(
        "images of archives of `docker save`, of daemons and of root file systems have no manifests".into(),
    )
}

/// Where a bare reference may be looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The registry that the name says.
    Remote,
    /// The Docker daemon.
    Local,
}

impl Place {
    /// Reads a list such as `remote,local`.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for other words and an empty list.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, Error> {
        let place = |word: &str| match word.trim() {
            "remote" => Ok(Self::Remote),
            "local" => Ok(Self::Local),
            other => Err(Error::Unsupported(format!("`{other}` is no source of images: say remote, local or both"))),
        };
        text.split(',').map(place).collect()
    }
}

/// How sources are reached.
#[derive(Debug, Clone)]
pub struct Context {
    /// Where blobs and unpacked archives are kept; an empty path: nowhere.
    pub cache: PathBuf,
    /// Where bare references are looked for, in this order.
    pub order: Vec<Place>,
    /// Socket of the Docker daemon.
    pub docker_socket: PathBuf,
    /// How registries are talked to.
    pub registry: RegistrySettings,
    /// Bounds on input.
    pub limits: Limits,
}

/// The source that `reference` names. A compressed archive is unpacked once, into the cache: `observer` sees that and
/// may end it.
///
/// # Errors
/// Files and archives that cannot be opened; registries and daemons are not asked yet.
pub fn open_watched(
    reference: &ImageReference,
    context: &Context,
    observer: &dyn Observer,
) -> Result<Box<dyn Source>, Error> {
    let (cache, limits) = (Cache::new(&context.cache), context.limits);
    Ok(match reference {
        ImageReference::Layout { path, selector } => Box::new(Layout::directory(path, selector.clone(), limits)?),
        ImageReference::OciArchive { path, selector } => {
            let members = Members::open(path, &cache, &limits, observer)?;
            Box::new(Layout::archive(path, members, selector.clone(), limits)?)
        }
        ImageReference::DockerArchive { path, name } => {
            let members = Members::open(path, &cache, &limits, observer)?;
            Box::new(DockerArchive::new(members, reference.name(), name.clone(), limits))
        }
        ImageReference::RootFs { path } => Box::new(RootFs::new(path, cache, limits)),
        ImageReference::Registry(name) => Box::new(Registry::new(name, reference.name(), context, PULL)),
        ImageReference::Daemon(name) => Box::new(Daemon::new(name, reference.name(), context)),
        ImageReference::Bare(name) => Box::new(Somewhere {
            name: name.clone(),
            context: context.clone(),
            found: OnceLock::new(),
            remote: OnceLock::new(),
        }),
    })
}

/// The same with nobody watching.
///
/// # Errors
/// As [`open_watched`].
pub fn open(reference: &ImageReference, context: &Context) -> Result<Box<dyn Source>, Error> {
    open_watched(reference, context, &Silent)
}

/// A bare reference: the first place that has the image.
struct Somewhere {
    name: RegistryName,
    context: Context,
    found: OnceLock<Box<dyn Source + Send>>,
    /// The registry, when it is asked before anything was found.
    remote: OnceLock<Registry>,
}

impl Somewhere {
    fn place(&self, place: Place) -> Box<dyn Source + Send> {
        let written = self.name.written().to_owned();
        match place {
            Place::Remote => Box::new(Registry::new(&self.name, written, &self.context, PULL)),
            Place::Local => Box::new(Daemon::new(&self.name, written, &self.context)),
        }
    }

    /// Where the image was found; before that, the registry, if it may be asked: the daemon has no manifests.
    fn with_manifests(&self) -> Result<&dyn Source, Error> {
        if let Some(found) = self.found() {
            return Ok(found);
        }
        if !self.context.order.contains(&Place::Remote) {
            return Err(no_manifests());
        }
        let remote = || Registry::new(&self.name, self.name.written().to_owned(), &self.context, PULL);
        Ok(self.remote.get_or_init(remote))
    }

    fn found(&self) -> Option<&dyn Source> {
        self.found.get().map(|found| found.as_ref() as &dyn Source)
    }
}

impl Source for Somewhere {
    fn resolve_watched(&self, platforms: &[Platform], observer: &dyn Observer) -> Result<Image, Error> {
        if let Some(found) = self.found() {
            return found.resolve_watched(platforms, observer);
        }
        let mut tried = Vec::new();
        for place in &self.context.order {
            let source = self.place(*place);
            match source.resolve_watched(platforms, observer) {
                Ok(image) => {
                    // Whoever else looked at the same time found the same.
                    let _ = self.found.set(source);
                    return Ok(image);
                }
                // The image is there and is not what was asked for: another place would only hide that.
                Err(error) if error.kind() == ErrorKind::Platform || error.kind() == ErrorKind::Cancelled => {
                    return Err(error);
                }
                Err(error) => {
                    let name = match place {
                        Place::Remote => self.name.host.clone(),
                        Place::Local => "the Docker daemon".to_owned(),
                    };
                    tried.push((name, error));
                }
            }
        }
        Err(Error::Nowhere { name: ImageReference::Bare(self.name.clone()).to_string(), tried })
    }

    fn missing(&self, layer: &Layer) -> u64 {
        self.found().map_or(0, |source| source.missing(layer))
    }

    fn fetch(&self, layer: &Layer, observer: &dyn Observer) -> Result<BlobFile, Error> {
        self.with_manifests()?.fetch(layer, observer)
    }

    fn top(&self, observer: &dyn Observer) -> Result<(Descriptor, Vec<u8>), Error> {
        self.with_manifests()?.top(observer)
    }

    fn document(&self, descriptor: &Descriptor, observer: &dyn Observer) -> Result<Vec<u8>, Error> {
        self.with_manifests()?.document(descriptor, observer)
    }

    fn blob(&self, blob: &Descriptor, observer: &dyn Observer) -> Result<BlobFile, Error> {
        self.with_manifests()?.blob(blob, observer)
    }

    fn stream<'a>(&'a self, blob: &Descriptor, observer: &'a dyn Observer) -> Result<Box<dyn ReadAt + 'a>, Error> {
        self.with_manifests()?.stream(blob, observer)
    }

    fn deliver(
        &self,
        blob: &Descriptor,
        landing: &mut dyn Landing,
        observer: &dyn Observer,
    ) -> Result<Delivered, Error> {
        self.with_manifests()?.deliver(blob, landing, observer)
    }

    fn tags(&self, observer: &dyn Observer) -> Result<Vec<String>, Error> {
        self.with_manifests()?.tags(observer)
    }

    fn referrers(&self, subject: &Digest, kind: Option<&str>, observer: &dyn Observer) -> Result<Vec<Referrer>, Error> {
        self.with_manifests()?.referrers(subject, kind, observer)
    }
}
