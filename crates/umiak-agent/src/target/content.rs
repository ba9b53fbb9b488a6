//! What an app consists of: its documents, its services and their images, read from the store or from where the app is.
//!
//! Guarantees: every document was compared with the digest that led to it, a bundle with its index; the same app gives the
//! same value with and without network, once it was read with it.

use umiak_registry::{Error, ErrorKind, Image};
use umiak_spec::app::measures::Measures;
use umiak_spec::app::{AppManifest, BundleIndex, LayersMeta};
use umiak_spec::target::{Kind, TargetApp};
use umiak_spec::{Descriptor, Digest, Document, ImageReference, Observer, Platform};
use umiak_store::{Closure, Store};

use super::bundle::Bundle;
use super::documents::Documents;
use super::error::ResolveError;
use super::state::PvrApp;
use super::{places, project};
use crate::fetch::Fetch;
use crate::sources::Sources;

/// An app as its documents have it.
pub(crate) struct Content {
    /// Which app.
    pub app: TargetApp,
    /// What it is made of.
    pub made: Made,
}

/// What an app is made of.
pub(crate) enum Made {
    /// A Compose App.
    Compose(Box<ComposeApp>),
    /// One image.
    Image(Box<ServiceImage>),
    /// A pvr state.
    Pvr(Box<PvrApp>),
}

/// A Compose App.
pub(crate) struct ComposeApp {
    /// What its manifest says.
    pub manifest: AppManifest,
    /// Its documents and its bundle, as far as they are to be had.
    pub own: Vec<Descriptor>,
    /// umiak's measures.
    pub measures: Option<Measures>,
    /// The layers metadata.
    pub layers_meta: Option<LayersMeta>,
    /// Its project.
    pub bundle: Bundle,
    /// The services, in the order of the compose file.
    pub services: Vec<ServiceImage>,
}

/// The image of a service.
#[derive(Clone)]
pub(crate) struct ServiceImage {
    /// The service.
    pub service: String,
    /// What it runs as.
    pub platform: Platform,
    /// Manifest, config and layers.
    pub image: Image,
    /// Index, manifest and config: what led to the layers.
    pub documents: Vec<Descriptor>,
    /// Where its blobs may be, best first.
    pub places: Vec<ImageReference>,
}

impl ServiceImage {
    /// Diff IDs of its layers, the lowest first.
    pub(crate) fn diff_ids(&self) -> Vec<Digest> {
        self.image.layers.iter().map(|layer| layer.diff_id.unwrap_or(layer.digest)).collect()
    }
}

impl Content {
    /// The images of its services; none of a pvr state.
    pub(crate) fn images(&self) -> &[ServiceImage] {
        match &self.made {
            Made::Compose(app) => &app.services,
            Made::Image(image) => std::slice::from_ref(image.as_ref()),
            Made::Pvr(_) => &[],
        }
    }

    /// Everything that the store has to hold.
    pub(crate) fn closure(&self) -> Closure {
        let mut closure = Closure::default();
        closure.blobs.insert(self.app.top.digest);
        match &self.made {
            Made::Compose(app) => closure.blobs.extend(app.own.iter().map(|document| document.digest)),
            Made::Image(_) => {}
            Made::Pvr(pvr) => closure.blobs.extend(pvr.blobs()),
        }
        for image in self.images() {
            closure.blobs.extend(image.documents.iter().map(|document| document.digest));
            closure.chains.insert(image.diff_ids());
        }
        closure
    }
}

/// Reads apps.
pub(crate) struct Reader<'a> {
    pub store: &'a Store,
    pub sources: &'a Sources,
    /// Whether what is not in the store may be fetched.
    pub online: bool,
    pub observer: &'a dyn Observer,
}

impl<'a> Reader<'a> {
    /// The documents that `reference` leads to.
    pub(crate) fn documents(&self, reference: ImageReference) -> Documents<'a> {
        let context = self.online.then_some(&self.sources.context);
        Documents::new(self.store, context, reference, &self.sources.limits, self.observer)
    }

    /// What an app consists of.
    pub(crate) fn read(&self, app: &TargetApp) -> Result<Content, ResolveError> {
        let made = match (app.kind, places::pinned(&app.origin, app.top.digest)) {
            (Kind::Compose, Some(reference)) => Made::Compose(Box::new(self.compose(app, reference)?)),
            (Kind::Image, Some(reference)) => {
                let documents = self.documents(reference.clone());
                let places = vec![reference];
                let image = self.image(&app.name, &documents, &app.top, &self.sources.platform, places)?;
                Made::Image(Box::new(image))
            }
            (Kind::Pvr, _) => Made::Pvr(Box::new(self.pvr(app)?)),
            (_, None) => {
                let why = "a package holds a pvr state and nothing else".to_owned();
                return Err(ResolveError::Missing { what: app.name.clone(), why });
            }
        };
        Ok(Content { app: app.clone(), made })
    }

    fn compose(&self, app: &TargetApp, reference: ImageReference) -> Result<ComposeApp, ResolveError> {
        let limits = &self.sources.limits;
        let documents = self.documents(reference);
        let refused = |source| ResolveError::App { what: app.origin.to_string(), source: Box::new(source) };
        let manifest = AppManifest::parse(&documents.get(&app.top)?, limits).map_err(refused)?;
        let (config, bytes) = manifest.form.config();
        if self.online && !self.store.has_blob(&config.digest) {
            // The same for all apps: it need not be asked for.
            self.store.put_blob(&config.digest, bytes)?;
        }
        let document = |wanted: &Option<Descriptor>| match wanted {
            Some(document) => documents.get_if_there(document),
            None => Ok(None),
        };
        let layers_meta = document(&manifest.layers_meta)?.map(|bytes| LayersMeta::parse(&bytes, limits));
        let measures = document(&manifest.measures)?.map(|bytes| Measures::parse(&bytes, limits));
        let index = document(&manifest.bundle_index)?.map(|bytes| BundleIndex::parse(&bytes, limits));
        let (layers_meta, measures) =
            (layers_meta.transpose().map_err(refused)?, measures.transpose().map_err(refused)?);
        let unusable = |error: Box<dyn std::error::Error + Send + Sync>| ResolveError::Project {
            app: app.name.clone(),
            source: error,
        };
        let fetch = Fetch::new(self.store, self.sources.fetch, self.observer);
        let blob = documents.blob(&manifest.bundle, &fetch)?;
        let bundle = Bundle::read(blob.into_file(), limits, self.observer).map_err(|error| unusable(error.into()))?;
        let differs = index.transpose().map_err(refused)?.and_then(|index| bundle.differs(&index));
        if let Some(name) = differs {
            return Err(unusable(format!("`{name}` in the bundle is not what its index says").into()));
        }
        let named = project::named(&bundle).map_err(|error| unusable(error.into()))?;
        let mut own = documents.used();
        own.push(config);
        let service = |named: &project::Named| {
            let platform = named.platform.as_ref().unwrap_or(&self.sources.platform);
            self.service(app, named, platform)
        };
        let services = named.iter().map(service).collect::<Result<_, _>>()?;
        Ok(ComposeApp { manifest, own, measures, layers_meta, bundle, services })
    }

    /// The image of a service, from the first place that has its documents.
    fn service(
        &self,
        app: &TargetApp,
        named: &project::Named,
        platform: &Platform,
    ) -> Result<ServiceImage, ResolveError> {
        let places = places(&app.origin, &named.image);
        let mut last = None;
        for place in &places {
            let documents = self.documents(place.clone());
            match self.top(&documents, place, named.image.digest) {
                Ok(top) => return self.image(&named.service, &documents, &top, platform, places.clone()),
                Err(ResolveError::Source { source, what })
                    if source.kind() == ErrorKind::NotFound || source.is_missing_file() =>
                {
                    last = Some(ResolveError::Source { source, what });
                }
                Err(error) => return Err(error),
            }
        }
        Err(last.unwrap_or_else(|| ResolveError::Missing {
            what: format!("the image of {}", named.service),
            why: "no place has it".to_owned(),
        }))
    }

    /// The outermost document of an image that is named by digest.
    fn top(
        &self,
        documents: &Documents<'_>,
        place: &ImageReference,
        digest: Option<Digest>,
    ) -> Result<Descriptor, ResolveError> {
        let limit = self.sources.limits.document;
        if let Some(digest) = digest
            && let Ok(Some(bytes)) = self.store.document(&digest, limit)
        {
            return Ok(Descriptor::new(Document::media_type_of(&bytes, ""), digest, bytes.len() as u64));
        }
        let failed = |error: Error| ResolveError::source(place.to_string())(error);
        let (top, bytes) = documents.source()?.top(self.observer).map_err(failed)?;
        if let Some(wanted) = digest.filter(|digest| *digest != top.digest) {
            return Err(ResolveError::Digest { reference: place.to_string(), wanted, found: top.digest });
        }
        self.store.put_blob(&top.digest, &bytes)?;
        Ok(top)
    }

    fn image(
        &self,
        service: &str,
        documents: &Documents<'_>,
        top: &Descriptor,
        platform: &Platform,
        places: Vec<ImageReference>,
    ) -> Result<ServiceImage, ResolveError> {
        let name = places.first().map(ImageReference::name).unwrap_or_default();
        let image = documents.image(&name, top, platform)?;
        Ok(ServiceImage {
            service: service.to_owned(),
            platform: platform.clone(),
            image,
            documents: documents.used(),
            places,
        })
    }
}
