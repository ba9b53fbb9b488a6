//! Registries: the OCI distribution specification 1.1, the writing half.
//!
//! Guarantees: a blob that the registry has is not sent; a manifest is stored under its digest first and gets its tag
//! last, so that a tag never names what is not whole; a registry that does not list referrers gets the list kept under
//! the fallback tag.

use umiak_spec::referrers::fallback_tag;
use umiak_spec::{Descriptor, Digest, Limits, Listing, Observer, ReadAt, Referrer, RegistryName, Verified, media_type};
use ureq::http::Method;

use crate::body::Stretch;
use crate::distribution::Registry;
use crate::error::{Error, ErrorKind};
use crate::sink::{Sink, Stored};
use crate::transport::{ATTEMPTS, Answer, Ask};
use crate::upload::{Upload, header};

/// One repository that is written to.
pub(crate) struct RegistrySink {
    registry: Registry,
}

impl RegistrySink {
    pub(crate) fn new(registry: Registry) -> Self {
        Self { registry }
    }

    fn is_there(&self, blob: &Descriptor, observer: &dyn Observer) -> Result<bool, Error> {
        let url = format!("{}/blobs/{}", self.registry.base(), blob.digest);
        let ask = Ask { method: &Method::HEAD, url: &url, headers: &[], body: None };
        match self.registry.transport()?.ask(ask, observer) {
            Ok(_) => Ok(true),
            Err(Error::Status { status: 404 | 405, .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Stores a document under a tag or its digest.
    fn put(
        &self,
        bytes: &[u8],
        media_type: &str,
        target: &str,
        condition: Option<(&str, &str)>,
        observer: &dyn Observer,
    ) -> Result<Answer, Error> {
        let url = format!("{}/manifests/{target}", self.registry.base());
        let headers: Vec<(&str, &str)> = [("Content-Type", media_type)].into_iter().chain(condition).collect();
        let body = Stretch::document(&bytes);
        let ask = Ask { method: &Method::PUT, url: &url, headers: &headers, body: Some(&body) };
        let answer = self.registry.transport()?.ask(ask, observer)?;
        let expected = Digest::of(bytes);
        match header(&answer, "Docker-Content-Digest").and_then(|text| text.parse().ok()) {
            Some(found) if found != expected => {
                Err(Error::Digest { what: format!("what {url} stored"), expected, found })
            }
            _ => Ok(answer),
        }
    }

    /// Sees to it that the referrer is listed.
    fn list(&self, subject: &Digest, referrer: &Referrer, observer: &dyn Observer) -> Result<(), Error> {
        let digest = referrer.descriptor.digest;
        // Registries that had the API before the header: if this one lists it, that is enough.
        let by_api = self.registry.referrers_by_api(subject, None, observer)?;
        if by_api.iter().flatten().any(|found| found.descriptor.digest == digest) {
            return Ok(());
        }
        let tag = fallback_tag(subject);
        let (mut failures, mut swept) = (0, false);
        loop {
            let (mut listing, version) = self.listing(&tag, observer)?;
            if !listing.add(referrer) {
                return Ok(());
            }
            if swept {
                self.sweep(&mut listing, observer)?;
            }
            // For registries that know conditions. For the others the list is read again, until it has the entry.
            let condition = version.as_deref().map_or(("If-None-Match", "*"), |version| ("If-Match", version));
            match self.put(&listing.to_bytes(), media_type::OCI_INDEX, &tag, Some(condition), observer) {
                Ok(_) => {}
                Err(Error::Status { status: 409 | 412, .. }) => {}
                // Many registries take no list with an entry that has been deleted.
                Err(Error::Status { status: 400 | 404, .. }) if !swept => {
                    swept = true;
                    continue;
                }
                Err(error) => return Err(error),
            }
            if self.listing(&tag, observer)?.0.has(&digest) {
                return Ok(());
            }
            failures += 1;
            if failures >= ATTEMPTS {
                let source = format!("others change it all the time: {digest} is not in it").into();
                return Err(Error::Network {
                    action: "change",
                    url: format!("{}:{tag}", self.registry.base()),
                    source,
                });
            }
            self.registry.transport()?.pause(failures, None, observer)?;
        }
    }

    /// Removes the entries whose manifests are gone.
    fn sweep(&self, listing: &mut Listing, observer: &dyn Observer) -> Result<(), Error> {
        for entry in listing.referrers() {
            let digest = entry.descriptor.digest;
            let url = format!("{}/manifests/{digest}", self.registry.base());
            let accept = media_type::MANIFESTS.join(", ");
            let ask = Ask { method: &Method::HEAD, url: &url, headers: &[("Accept", &accept)], body: None };
            match self.registry.transport()?.ask(ask, observer) {
                Err(Error::Status { status: 404, .. }) => listing.remove(&digest),
                result => drop(result?),
            }
        }
        Ok(())
    }

    /// The list under the fallback tag, and what the registry calls its present version.
    fn listing(&self, tag: &str, observer: &dyn Observer) -> Result<(Listing, Option<String>), Error> {
        match self.registry.tagged(tag, observer) {
            Ok((bytes, version)) => {
                let listing = Listing::parse(&bytes, self.registry.limits());
                let what = || format!("the list of referrers {}:{tag}", self.registry.base());
                Ok((listing.map_err(|source| Error::Document { what: what(), source })?, version))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok((Listing::default(), None)),
            Err(error) => Err(error),
        }
    }
}

impl Sink for RegistrySink {
    fn tag(&self) -> Option<&str> {
        self.registry.tag()
    }

    fn takes_streams(&self) -> bool {
        true
    }

    fn has_blob(&self, blob: &Descriptor, observer: &dyn Observer) -> Result<bool, Error> {
        self.is_there(blob, observer)
    }

    fn send_blob(
        &self,
        blob: &Descriptor,
        content: &dyn ReadAt,
        from: Option<&RegistryName>,
        observer: &dyn Observer,
    ) -> Result<Stored, Error> {
        check_length(blob, content)?;
        let base = self.registry.base();
        let _share = self.registry.flow().share(observer)?;
        let mount = from.filter(|from| self.registry.is_beside(from)).map(|from| from.repository.as_str());
        let upload = Upload { transport: self.registry.transport()?, base, blob, content, mount, observer };
        match upload.complete() {
            Ok(stored) => Ok(stored),
            // The registry has compared the digest: if it is not pleased, that may be why.
            Err(error @ Error::Status { status: 400..=499, .. }) => Err(damage(blob, content).unwrap_or(error)),
            Err(error) => Err(error),
        }
    }

    fn put_part(&self, bytes: &[u8], media_type: &str, observer: &dyn Observer) -> Result<Descriptor, Error> {
        let manifest = Descriptor::new(media_type, Digest::of(bytes), bytes.len() as u64);
        self.put(bytes, media_type, &manifest.digest.to_string(), None, observer)?;
        Ok(manifest)
    }

    fn put_manifest(
        &self,
        bytes: &[u8],
        media_type: &str,
        tag: Option<&str>,
        observer: &dyn Observer,
    ) -> Result<Descriptor, Error> {
        let manifest = Descriptor::new(media_type, Digest::of(bytes), bytes.len() as u64);
        let referrer = referrer(bytes, media_type, self.registry.limits())?;
        let answer = self.put(bytes, media_type, &manifest.digest.to_string(), None, observer)?;
        if let Some((subject, referrer)) = referrer {
            let listed = header(&answer, "OCI-Subject").and_then(|text| text.parse().ok()) == Some(subject);
            if !listed {
                self.list(&subject, &referrer, observer)?;
            }
        }
        if let Some(tag) = tag {
            self.put(bytes, media_type, tag, None, observer)?;
        }
        Ok(manifest)
    }
}

/// What a document that is about to be stored refers to.
pub(crate) fn referrer(bytes: &[u8], media_type: &str, limits: &Limits) -> Result<Option<(Digest, Referrer)>, Error> {
    let what = || "the manifest that was to be stored".to_owned();
    Referrer::of(bytes, media_type, limits).map_err(|source| Error::Document { what: what(), source })
}

/// Whether the content is as long as the blob.
pub(crate) fn check_length(blob: &Descriptor, content: &dyn ReadAt) -> Result<(), Error> {
    let found = content.len().map_err(|source| Error::Unreadable { source })?;
    if found == blob.size {
        return Ok(());
    }
    Err(Error::Size { what: format!("blob {}", blob.digest), expected: blob.size, found })
}

/// The error of content that is not what the blob says, if it is that.
fn damage(blob: &Descriptor, content: &dyn ReadAt) -> Option<Error> {
    let whole = Stretch::of(content, 0, blob.size, &umiak_spec::Silent);
    let (found, _) = Verified::new(std::io::Read::take(whole.reader(), blob.size)).finish().ok()?;
    let what = format!("blob {}", blob.digest);
    (found != blob.digest).then_some(Error::Digest { what, expected: blob.digest, found })
}
