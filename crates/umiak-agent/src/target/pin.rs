//! From what is asked to what is pinned: each tag is asked for once, and means what it meant then.
//!
//! Guarantees: signatures are verified before a manifest is looked into; a target of an older generation than the device
//! has accepted is refused before anything is fetched; the outermost document of every app is in the store afterwards.

use umiak_spec::app::{AppError, AppManifest};
use umiak_spec::target::{Asked, AskedApp, Kind, Origin, Target, TargetApp};
use umiak_spec::{Descriptor, Digest, Document, DocumentError, ImageReference};
use umiak_store::{Name, Store};

use super::content::Reader;
use super::error::ResolveError;
use super::vouch::Named;
use super::{foreign, places, vouch};

/// What a pvr state is called where a descriptor is asked for.
const STATE: &str = "application/vnd.pantacor.pvr.state+json";

/// The record of the highest generation that was accepted.
const GENERATION: &str = "generation";

/// The highest generation that this device has accepted; 0 where none was numbered.
///
/// # Errors
/// The store; a record that cannot be read is an error, for otherwise damage would open the door.
pub(crate) fn generation(store: &Store) -> Result<u64, ResolveError> {
    let Some(bytes) = store.record(&name())? else { return Ok(0) };
    let text = std::str::from_utf8(&bytes).ok();
    text.and_then(|text| text.trim().parse().ok()).ok_or_else(|| ResolveError::Missing {
        what: "the generation of the last target".to_owned(),
        why: "its record says something else".to_owned(),
    })
}

/// From now on targets of older generations are refused.
///
/// # Errors
/// The store.
pub fn accept(store: &Store, wanted: u64) -> Result<(), ResolveError> {
    if wanted > generation(store)? {
        store.put_record(&name(), wanted.to_string().as_bytes())?;
    }
    Ok(())
}

/// The name of its record.
pub(crate) fn name() -> Name {
    GENERATION.parse().expect("lower-case letters are a name")
}

impl Reader<'_> {
    /// Pins what is asked.
    pub(crate) fn pin(&self, asked: &Asked) -> Result<Target, ResolveError> {
        let (known, wanted) = (generation(self.store)?, asked.generation.unwrap_or(0));
        if wanted < known {
            return Err(ResolveError::Older { asked: wanted, known });
        }
        let apps = asked.apps.iter().map(|app| self.pin_app(app)).collect::<Result<_, _>>()?;
        let target = Target { generation: wanted, testing_seconds: asked.testing_seconds, apps }.checked()?;
        for app in &target.apps {
            // All that it leads to, so that from here on no network is needed to know what it is.
            self.read(app)?;
        }
        Ok(target)
    }

    fn pin_app(&self, asked: &AskedApp) -> Result<TargetApp, ResolveError> {
        let (kind, top, own_name) = match &asked.origin {
            Origin::Package(path) => self.pin_package(asked, path)?,
            Origin::Image(reference) => self.pin_image(asked, reference)?,
        };
        let name = asked.name.clone().or(own_name).unwrap_or_else(|| places::name_of(&asked.origin));
        Ok(TargetApp { name, kind, origin: asked.origin.clone(), objects: asked.objects.clone(), top })
    }

    fn pin_package(
        &self,
        asked: &AskedApp,
        path: &std::path::Path,
    ) -> Result<(Kind, Descriptor, Option<String>), ResolveError> {
        let state = crate::package::state(path, &self.sources.limits, self.observer)?;
        let bytes = state.canonical().into_bytes();
        let digest = Digest::of(&bytes);
        same(asked, digest)?;
        self.trust_asked(asked, &state)?;
        foreign::by_documents(&state, &self.sources.platform)?;
        self.store.put_blob(&digest, &bytes)?;
        Ok((Kind::Pvr, Descriptor::new(STATE, digest, bytes.len() as u64), None))
    }

    fn pin_image(
        &self,
        asked: &AskedApp,
        reference: &ImageReference,
    ) -> Result<(Kind, Descriptor, Option<String>), ResolveError> {
        let reference = match (asked.digest, reference) {
            (Some(digest), _) => places::pinned(&asked.origin, digest).unwrap_or_else(|| reference.clone()),
            (None, ImageReference::Bare(name)) => ImageReference::Registry(name.clone()),
            (None, reference) => reference.clone(),
        };
        let documents = self.documents(reference.clone());
        let source = documents.source()?;
        let failed = |error| ResolveError::source(asked.origin.to_string())(error);
        let (listed, bytes) = source.top(self.observer).map_err(failed)?;
        // Only the digest is known of it until it is accepted.
        let digest = Digest::of(&bytes);
        same(asked, digest)?;
        let named = Named { origin: &places::named(&asked.origin), reference: &reference, digest: &digest };
        vouch::vouched(self.sources, named, source, self.observer)?;
        let top = Descriptor::new(Document::media_type_of(&bytes, &listed.media_type), digest, bytes.len() as u64);
        let kind = self.kind(asked, &top, &bytes)?;
        self.store.put_blob(&digest, &bytes)?;
        Ok((kind, top, listed.annotations.app_name))
    }

    /// Whether a document is an app's manifest or an image's manifest or index.
    fn kind(&self, asked: &AskedApp, top: &Descriptor, bytes: &[u8]) -> Result<Kind, ResolveError> {
        let limits = &self.sources.limits;
        match AppManifest::parse(bytes, limits) {
            Ok(_) => Ok(Kind::Compose),
            Err(AppError::Other(_)) => {
                let read = Document::parse(bytes, &top.media_type, limits);
                let unreadable =
                    |source: DocumentError| ResolveError::Document { what: asked.origin.to_string(), source };
                read.map(|_| Kind::Image).map_err(unreadable)
            }
            Err(source) => Err(ResolveError::App { what: asked.origin.to_string(), source: Box::new(source) }),
        }
    }
}

/// Whether what was found is what the target asks for.
fn same(asked: &AskedApp, found: Digest) -> Result<(), ResolveError> {
    match asked.digest.filter(|wanted| *wanted != found) {
        Some(wanted) => Err(ResolveError::Digest { reference: asked.origin.to_string(), wanted, found }),
        None => Ok(()),
    }
}
