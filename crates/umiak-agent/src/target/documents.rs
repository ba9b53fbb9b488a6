//! Documents: from the store where they are there, else from where the app is, and then into the store.
//!
//! Guarantees: what is handed out has the digest and the length that lead to it; what is on the device is not asked for
//! again; a document that is damaged in the store is replaced. The network is not touched before something is missing.

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeSet;

use umiak_registry::{Context, Error, Image, Source};
use umiak_spec::{Descriptor, Digest, ImageReference, Limits, Observer, Platform};
use umiak_store::{Store, StoreError};

use super::error::ResolveError;
use crate::fetch::{Fetch, Wanted};

/// The documents of one repository, layout or archive.
pub(crate) struct Documents<'a> {
    store: &'a Store,
    context: Option<&'a Context>,
    reference: ImageReference,
    limits: &'a Limits,
    observer: &'a dyn Observer,
    source: OnceCell<Box<dyn Source>>,
    /// What was handed out, in its order.
    used: RefCell<Vec<Descriptor>>,
}

impl<'a> Documents<'a> {
    /// Those that `reference` leads to. Without a context only the store is asked.
    pub(crate) fn new(
        store: &'a Store,
        context: Option<&'a Context>,
        reference: ImageReference,
        limits: &'a Limits,
        observer: &'a dyn Observer,
    ) -> Self {
        let (source, used) = (OnceCell::new(), RefCell::default());
        Self { store, context, reference, limits, observer, source, used }
    }

    /// Where they are.
    pub(crate) fn source(&self) -> Result<&dyn Source, ResolveError> {
        if self.source.get().is_none() {
            let what = self.reference.to_string();
            let Some(context) = self.context else {
                let why = "nothing is fetched for this question".into();
                return Err(ResolveError::Missing { what, why });
            };
            let opened = umiak_registry::open_watched(&self.reference, context, self.observer)
                .map_err(ResolveError::source(what))?;
            let _ = self.source.set(opened);
        }
        Ok(self.source.get().expect("it was set above").as_ref())
    }

    /// A manifest, index, config or other small document.
    pub(crate) fn get(&self, document: &Descriptor) -> Result<Vec<u8>, ResolveError> {
        self.observer.check()?;
        let bytes = match self.stored(&document.digest)? {
            Some(bytes) => bytes,
            None => {
                let what = || format!("{} of {}", document.digest, self.reference);
                let bytes = self
                    .source()?
                    .document(document, self.observer)
                    .map_err(|error| ResolveError::source(what())(error))?;
                match self.store.put_blob(&document.digest, &bytes) {
                    // Somebody only asks: it is fetched again when it matters.
                    Err(StoreError::OpenedForReading) => {}
                    kept => kept?,
                }
                bytes
            }
        };
        if bytes.len() as u64 != document.size {
            let source = Error::Size {
                what: format!("document {}", document.digest),
                expected: document.size,
                found: bytes.len() as u64,
            };
            return Err(ResolveError::source(self.reference.to_string())(source));
        }
        self.used.borrow_mut().push(document.clone());
        Ok(bytes)
    }

    /// The same, where it may be gone.
    pub(crate) fn get_if_there(&self, document: &Descriptor) -> Result<Option<Vec<u8>>, ResolveError> {
        use umiak_registry::ErrorKind::NotFound;
        match self.get(document) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(ResolveError::Source { source, .. }) if source.kind() == NotFound => Ok(None),
            // It was gone when the app was resolved, too.
            Err(ResolveError::Missing { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A blob that is too large for memory, brought into the store.
    pub(crate) fn blob(&self, blob: &Descriptor, fetch: &Fetch<'_>) -> Result<umiak_store::Blob, ResolveError> {
        if !self.store.has_blob(&blob.digest) {
            fetch.one(&Wanted::new(blob.clone()), self.source()?)?;
        }
        self.used.borrow_mut().push(blob.clone());
        let missing = || ResolveError::Missing { what: blob.digest.to_string(), why: "it went away again".into() };
        self.store.blob(&blob.digest)?.ok_or_else(missing)
    }

    /// Documents and blobs that were handed out.
    pub(crate) fn used(&self) -> Vec<Descriptor> {
        let mut seen = BTreeSet::new();
        self.used.borrow().iter().filter(|document| seen.insert(document.digest)).cloned().collect()
    }

    /// The image for a platform that `top` leads to.
    pub(crate) fn image(&self, name: &str, top: &Descriptor, platform: &Platform) -> Result<Image, ResolveError> {
        let bytes = self.get(top)?;
        let failed: RefCell<Option<ResolveError>> = RefCell::default();
        let get = |document: &Descriptor| {
            self.get(document).map_err(|error| {
                *failed.borrow_mut() = Some(error);
                Error::Unsupported("a document is not to be had".into())
            })
        };
        let platforms = std::slice::from_ref(platform);
        let resolved = umiak_registry::resolve_documents(name, top, bytes, platforms, self.limits, &get);
        resolved.map_err(|error| failed.take().unwrap_or_else(|| ResolveError::source(name)(error)))
    }

    /// A document of the store; none where it is not there or damaged.
    fn stored(&self, digest: &Digest) -> Result<Option<Vec<u8>>, ResolveError> {
        match self.store.document(digest, self.limits.document) {
            Err(StoreError::WrongDigest { .. } | StoreError::TooLarge { .. }) => Ok(None),
            other => Ok(other?),
        }
    }
}
