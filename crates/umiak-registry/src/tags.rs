//! The tags of a repository or layout, and what removes manifests and tags.
//!
//! Follows the OCI distribution specification 1.1. Guarantees: a registry that pages for ever is stopped; deleting a tag
//! never deletes a manifest that other tags name: a registry that cannot delete a tag alone is not asked for anything else.

use serde::Deserialize;
use umiak_spec::{DocumentError, ImageReference, Listing, Observer, Selector};
use ureq::http::Method;

use crate::distribution::Registry;
use crate::error::{Error, ErrorKind};
use crate::layout::{INDEX, Layout};
use crate::layout_sink::LayoutSink;
use crate::login::DELETE;
use crate::referrers::next_page;
use crate::sink::registry_name;
use crate::source::Context;
use crate::transport::Ask;

/// Pages of one list.
const MAX_PAGES: usize = 1000;

/// Tags of one repository.
const MAX_TAGS: usize = 100_000;

#[derive(Deserialize)]
struct List {
    #[serde(default)]
    tags: Option<Vec<String>>,
}

impl Registry {
    /// All tags, in the registry's order.
    pub(crate) fn all_tags(&self, observer: &dyn Observer) -> Result<Vec<String>, Error> {
        let mut next = Some(format!("{}/tags/list", self.base()));
        let mut tags: Vec<String> = Vec::new();
        for _ in 0..MAX_PAGES {
            let Some(url) = next else { return Ok(tags) };
            let (answer, bytes) = self.whole(&url, &[], observer)?;
            let list: List = serde_json::from_slice(&bytes).map_err(|error| Error::Document {
                what: format!("what {url} answered"),
                source: DocumentError::Json(error),
            })?;
            tags.extend(list.tags.unwrap_or_default());
            if tags.len() > MAX_TAGS {
                break;
            }
            next = next_page(&answer)?;
        }
        let reason = format!("it has more than {MAX_TAGS} tags, or lists them on more than {MAX_PAGES} pages");
        Err(Error::Inconsistent { name: self.base().to_owned(), reason })
    }

    /// Deletes what the reference's tag or digest names.
    fn delete(&self, observer: &dyn Observer) -> Result<(), Error> {
        let target = self.target();
        let url = format!("{}/manifests/{target}", self.base());
        let ask = Ask { method: &Method::DELETE, url: &url, headers: &[], body: None };
        match self.transport()?.ask(ask, observer) {
            Ok(_) => Ok(()),
            // What registries say that do not delete tags, or nothing at all.
            Err(Error::Status { status: 400 | 405 | 501, detail, .. }) => {
                let detail = detail.map(|text| format!(" ({text})")).unwrap_or_default();
                let what = if target.starts_with("sha256:") { "manifests" } else { "single tags" };
                Err(Error::Unsupported(format!("the registry does not delete {what}{detail}")))
            }
            Err(error) => Err(self.absent(error)),
        }
    }
}

impl Layout {
    /// The names in index.json, each once.
    pub(crate) fn all_tags(&self) -> Result<Vec<String>, Error> {
        let listing = Listing::parse(&self.small(INDEX)?, self.limits())
            .map_err(|source| Error::Document { what: format!("{INDEX} of the layout"), source })?;
        let mut tags = Vec::new();
        for name in listing.referrers().into_iter().filter_map(|entry| entry.descriptor.annotations.ref_name) {
            if !tags.contains(&name) {
                tags.push(name);
            }
        }
        Ok(tags)
    }
}

/// Deletes the manifest that a digest names, with all its tags, or only the tag that is named. Blobs are left to the
/// place's own housekeeping. That it is gone already is no error.
///
/// # Errors
/// [`Error`]; `Unsupported` for places and registries that delete nothing, or no tag alone, and for a reference without either.
pub fn delete(reference: &ImageReference, context: &Context, observer: &dyn Observer) -> Result<(), Error> {
    let unsaid = || Error::Unsupported(format!("{reference} says neither tag nor digest: nothing is deleted"));
    let result = match reference {
        ImageReference::Layout { path, selector } => {
            let selector = selector.as_ref().ok_or_else(unsaid)?;
            if !path.join(INDEX).exists() {
                return Ok(());
            }
            let layout = LayoutSink::open(path, None, context.limits)?;
            layout.change_index(observer, |listing| match selector {
                Selector::Tag(tag) => listing.remove_tag(tag),
                Selector::Digest(digest) => listing.remove(digest),
            })
        }
        _ => match registry_name(reference) {
            Some(name) if name.tag.is_none() && name.digest.is_none() => return Err(unsaid()),
            Some(name) => Registry::new(name, reference.name(), context, DELETE).delete(observer),
            None => return Err(Error::Unsupported(format!("nothing is deleted in {reference}"))),
        },
    };
    match result {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        result => result,
    }
}
