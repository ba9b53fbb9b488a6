//! What refers to a manifest: by the referrers API, by the tag that takes its place, or by looking.
//!
//! Follows the OCI distribution specification 1.1. Guarantees: only manifests of the wanted artifact type are returned,
//! whoever filtered; each once; a registry that pages for ever is stopped. What is returned is what the list says: a
//! manifest is verified when it is fetched.

use std::collections::BTreeSet;

use umiak_spec::referrers::fallback_tag;
use umiak_spec::{Descriptor, Digest, Limits, Listing, Observer, Referrer, media_type};
use ureq::ResponseExt as _;

use crate::distribution::Registry;
use crate::error::{Error, ErrorKind};
use crate::image::Documents;
use crate::layout::{INDEX, Layout};
use crate::redirect;
use crate::source::Source as _;
use crate::transport::Answer;
use crate::upload::header;

/// Pages of one list.
const MAX_PAGES: usize = 100;

/// Referrers of one manifest, or manifests of a layout that are looked through.
const MAX_REFERRERS: usize = 10_000;

/// Manifests that are fetched because a list does not say what they are.
const MAX_READ: usize = 100;

/// What registries that know nothing of referrers answer.
const NO_API: [u16; 5] = [400, 404, 405, 406, 501];

impl Registry {
    /// By the API, or by the tag where there is no API.
    pub(crate) fn all_referrers(
        &self,
        subject: &Digest,
        kind: Option<&str>,
        observer: &dyn Observer,
    ) -> Result<Vec<Referrer>, Error> {
        let found = match self.referrers_by_api(subject, kind, observer)? {
            Some(found) => found,
            None => self.referrers_by_tag(subject, observer)?,
        };
        Ok(chosen(found, kind))
    }

    /// What the API lists, perhaps more than `kind`; `None` when the registry does not have it.
    pub(crate) fn referrers_by_api(
        &self,
        subject: &Digest,
        kind: Option<&str>,
        observer: &dyn Observer,
    ) -> Result<Option<Vec<Referrer>>, Error> {
        let filter = kind.map(|kind| format!("?artifactType={}", escaped(kind))).unwrap_or_default();
        let mut next = Some(format!("{}/referrers/{subject}{filter}", self.base()));
        let mut found: Vec<Referrer> = Vec::new();
        for page in 0..MAX_PAGES {
            let Some(url) = next else { return Ok(Some(found)) };
            let (answer, bytes) = match self.whole(&url, &[("Accept", media_type::OCI_INDEX)], observer) {
                Err(Error::NotFound { .. }) if page == 0 => return Ok(None),
                Err(Error::Status { status, .. }) if page == 0 && NO_API.contains(&status) => return Ok(None),
                result => result?,
            };
            match Listing::parse(&bytes, self.limits()) {
                Ok(listing) => found.extend(listing.referrers()),
                // Some servers answer every address with a page for people.
                Err(_) if page == 0 && header(&answer, "Content-Type").is_none_or(|kind| !kind.contains("json")) => {
                    return Ok(None);
                }
                Err(source) => return Err(Error::Document { what: format!("what {url} answered"), source }),
            }
            if found.len() > MAX_REFERRERS {
                break;
            }
            next = next_page(&answer)?;
        }
        let reason = format!("{subject} has more than {MAX_REFERRERS} referrers, or on more than {MAX_PAGES} pages");
        Err(Error::Inconsistent { name: self.base().to_owned(), reason })
    }

    fn referrers_by_tag(&self, subject: &Digest, observer: &dyn Observer) -> Result<Vec<Referrer>, Error> {
        let bytes = match self.tagged(&fallback_tag(subject), observer) {
            Ok((bytes, _)) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        // What is no list of referrers is none of ours: somebody may call an image like that.
        let listed = Listing::parse(&bytes, self.limits()).map(|list| list.referrers()).unwrap_or_default();
        Ok(completed(listed, self.limits(), |entry| self.document(entry, observer).ok()))
    }
}

impl Layout {
    /// By the subjects of the manifests that index.json lists, and by the tag. What cannot be read is not found: parts of
    /// a layout may be elsewhere.
    pub(crate) fn all_referrers(
        &self,
        subject: &Digest,
        kind: Option<&str>,
        observer: &dyn Observer,
    ) -> Result<Vec<Referrer>, Error> {
        let what = || format!("{INDEX} of the layout");
        let listing = Listing::parse(&self.small(INDEX)?, self.limits())
            .map_err(|source| Error::Document { what: what(), source })?;
        if listing.len() > MAX_REFERRERS {
            let reason = format!("it lists more than {MAX_REFERRERS} manifests");
            return Err(Error::Inconsistent { name: what(), reason });
        }
        let mut found = Vec::new();
        for entry in listing.referrers() {
            observer.check()?;
            if entry.descriptor.annotations.ref_name.as_deref() == Some(&fallback_tag(subject)) {
                let list = self.read(&entry.descriptor).and_then(|bytes| Listing::parse(&bytes, self.limits()).ok());
                let listed = list.map(|list| list.referrers()).unwrap_or_default();
                found.extend(completed(listed, self.limits(), |entry| self.read(entry)));
            } else if let Some((of, referrer)) = self.referrer(&entry.descriptor) {
                found.extend((of == *subject).then_some(referrer));
            }
        }
        Ok(chosen(found, kind))
    }

    fn referrer(&self, descriptor: &Descriptor) -> Option<(Digest, Referrer)> {
        Referrer::of(&self.read(descriptor)?, &descriptor.media_type, self.limits()).ok()?
    }

    fn read(&self, descriptor: &Descriptor) -> Option<Vec<u8>> {
        is_manifest(descriptor).then(|| Documents::document(self, descriptor).ok())?
    }
}

/// The entries of a list, with what their manifests say where the list does not: programs that copy indexes and do not
/// know artifact types lose them.
fn completed(listed: Vec<Referrer>, limits: &Limits, read: impl Fn(&Descriptor) -> Option<Vec<u8>>) -> Vec<Referrer> {
    let mut reads = 0;
    let complete = |entry: Referrer| {
        let is_known = entry.descriptor.artifact_type.is_some();
        if is_known || !is_manifest(&entry.descriptor) || reads >= MAX_READ {
            return entry;
        }
        reads += 1;
        let of = |bytes: Vec<u8>| Referrer::of(&bytes, &entry.descriptor.media_type, limits).ok().flatten();
        read(&entry.descriptor).and_then(of).map_or(entry, |(_, referrer)| referrer)
    };
    listed.into_iter().map(complete).collect()
}

fn is_manifest(descriptor: &Descriptor) -> bool {
    [media_type::OCI_MANIFEST, media_type::OCI_INDEX].contains(&descriptor.media_type.as_str())
}

/// Those of the wanted artifact type, each once.
fn chosen(found: Vec<Referrer>, kind: Option<&str>) -> Vec<Referrer> {
    let mut seen = BTreeSet::new();
    let wanted = |referrer: &Referrer| kind.is_none_or(|kind| referrer.is(kind));
    found.into_iter().filter(|referrer| wanted(referrer) && seen.insert(referrer.descriptor.digest)).collect()
}

/// Where the list goes on, by the header `Link: <address>; rel="next"`.
pub(crate) fn next_page(answer: &Answer) -> Result<Option<String>, Error> {
    let Some(next) = header(answer, "Link").and_then(linked) else { return Ok(None) };
    let from = answer.get_uri().to_string();
    // Only the registry itself knows how it goes on.
    match redirect::follow(&from, next).filter(|to| redirect::same_server(&from, to)) {
        Some(to) => Ok(Some(to)),
        None => {
            let source = format!("its list goes on at {}", next.chars().take(200).collect::<String>()).into();
            Err(Error::Network { action: "follow", url: from, source })
        }
    }
}

fn linked(text: &str) -> Option<&str> {
    let (address, rest) = text.trim().strip_prefix('<')?.split_once('>')?;
    let rest: String = rest.to_ascii_lowercase().split_whitespace().collect();
    (rest.contains("rel=next") || rest.contains("rel=\"next\"")).then_some(address)
}

/// A value of a query: whatever could mean something there is escaped.
fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_says_where_it_goes_on() {
        assert_eq!(linked(r#"</v2/x/referrers/y?n=1>; rel="next""#), Some("/v2/x/referrers/y?n=1"));
        assert_eq!(linked("<y>;rel=next"), Some("y"));
        for none in [r#"<y>; rel="prev""#, "y; rel=next", "<y", ""] {
            assert_eq!(linked(none), None, "{none}");
        }
    }

    #[test]
    fn artifact_types_are_escaped() {
        assert_eq!(escaped("application/vnd.a+json;q=1&x"), "application/vnd.a%2Bjson%3Bq%3D1%26x");
    }
}
