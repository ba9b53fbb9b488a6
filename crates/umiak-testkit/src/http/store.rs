//! A registry that can be pushed to, played as well as it must be: uploads, manifests, referrers, and what goes wrong.
//!
//! Follows the OCI distribution specification 1.1 as far as [`Manner`] says. It keeps everything in memory, asks for no
//! credentials, and checks what real ones check: digests of blobs, ranges of chunks, that an index names what is there.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex};

use umiak_spec::{Digest, Document, Limits, Listing, Referrer};

use super::{Request, Response, Server, locked};

/// What kind of registry it is.
#[derive(Debug, Clone, Copy)]
pub struct Manner {
    /// Whether it has the referrers API.
    pub referrers: bool,
    /// Whether it says on storing a manifest that it has understood its subject.
    pub says_subject: bool,
    /// Whether it filters referrers by artifact type.
    pub filters: bool,
    /// Referrers on one page.
    pub page: usize,
    /// Whether an upload that broke off is known afterwards.
    pub remembers: bool,
    /// The largest body it takes.
    pub largest_body: usize,
    /// Whether it heeds `If-Match` and `If-None-Match`.
    pub heeds_conditions: bool,
}

impl Default for Manner {
    /// As the specification wants it.
    fn default() -> Self {
        Self {
            referrers: true,
            says_subject: true,
            filters: true,
            page: 100,
            remembers: true,
            largest_body: usize::MAX,
            heeds_conditions: true,
        }
    }
}

/// What goes wrong with one request that sends bytes of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PushFault {
    /// The connection breaks after so many bytes.
    Cut(usize),
    /// This status, and nothing is stored.
    Status(u16),
}

#[derive(Default)]
struct State {
    blobs: BTreeMap<Digest, Vec<u8>>,
    manifests: BTreeMap<String, (String, Vec<u8>)>,
    uploads: BTreeMap<String, Vec<u8>>,
    begun: usize,
    faults: VecDeque<PushFault>,
    /// Indexes that others put in the moment after the next ones were put.
    overwritten: VecDeque<Vec<u8>>,
}

/// What it holds; clones share it.
#[derive(Clone, Default)]
pub struct Store(Arc<Mutex<State>>);

impl Store {
    /// Starts one whose only repository is `team/app`.
    ///
    /// # Errors
    /// The system has no port.
    pub fn start(manner: Manner) -> io::Result<(Server, Self)> {
        let store = Self::default();
        let (answering, limiting) = (store.clone(), store.clone());
        let server = Server::start_cutting(
            move |request| answering.answer(request, manner),
            move |request| limiting.cut(request),
        )?;
        Ok((server, store))
    }

    /// The next requests that send bytes of a blob fail, one fault each.
    pub fn fail(&self, faults: impl IntoIterator<Item = PushFault>) {
        locked(&self.0).faults.extend(faults);
    }

    /// After the next manifest is stored under a tag, somebody else stores this index there.
    pub fn overwrite(&self, index: impl Into<Vec<u8>>) {
        locked(&self.0).overwritten.push_back(index.into());
    }

    /// Stores a manifest under a tag or digest.
    pub fn put(&self, target: &str, media_type: &str, bytes: impl Into<Vec<u8>>) {
        locked(&self.0).manifests.insert(target.into(), (media_type.into(), bytes.into()));
    }

    /// A stored blob.
    #[must_use]
    pub fn blob(&self, digest: &Digest) -> Option<Vec<u8>> {
        locked(&self.0).blobs.get(digest).cloned()
    }

    /// A stored manifest.
    #[must_use]
    pub fn manifest(&self, target: &str) -> Option<Vec<u8>> {
        locked(&self.0).manifests.get(target).map(|(_, bytes)| bytes.clone())
    }

    fn cut(&self, request: &Request) -> Option<usize> {
        let sends = ["PUT", "PATCH"].contains(&request.method.as_str()) && request.target.contains("/blobs/uploads/");
        let empty = request.header("content-length") == Some("0");
        let mut state = locked(&self.0);
        match state.faults.front() {
            Some(PushFault::Cut(at)) if sends && !empty => {
                let at = *at;
                state.faults.pop_front();
                Some(at)
            }
            _ => None,
        }
    }

    /// Answers one request: the handler of a [`Server`].
    #[must_use]
    pub fn answer(&self, request: &Request, manner: Manner) -> Response {
        let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
        let Some(rest) = path.strip_prefix("/v2/team/app/") else { return Response::new(404, "no such repository") };
        let mut state = locked(&self.0);
        match (request.method.as_str(), rest.split_once('/')) {
            ("POST", _) if rest == "blobs/uploads/" => state.begin(),
            (_, Some(("blobs", rest))) => match rest.strip_prefix("uploads/") {
                Some(id) => state.upload(id, query, request, manner),
                None => state.stored(rest, request),
            },
            ("PUT", Some(("manifests", target))) => state.put(target, request, manner),
            (_, Some(("manifests", target))) => state.get(target, request),
            ("GET", Some(("referrers", subject))) if manner.referrers => state.referrers(subject, query, manner),
            _ => Response::new(404, "page not found"),
        }
    }
}

fn value<'q>(query: &'q str, name: &str) -> Option<&'q str> {
    query.split('&').find_map(|part| part.strip_prefix(name)?.strip_prefix('='))
}

impl State {
    fn begin(&mut self) -> Response {
        self.begun += 1;
        let id = format!("number-{}", self.begun);
        let location = format!("/v2/team/app/blobs/uploads/{id}?state=0");
        self.uploads.insert(id, Vec::new());
        Response::new(202, "").with("Location", location).with("Range", "0-0")
    }

    fn upload(&mut self, id: &str, query: &str, request: &Request, manner: Manner) -> Response {
        let arrived = self.uploads.get(id).map(Vec::len);
        let Some(arrived) = arrived else { return Response::new(404, "no such upload") };
        let location = |length: usize| format!("/v2/team/app/blobs/uploads/{id}?state={length}");
        let progress = |status: u16, length: usize| {
            let range = format!("0-{}", length.saturating_sub(1));
            Response::new(status, "").with("Location", location(length)).with("Range", range)
        };
        if request.method == "GET" {
            return progress(204, arrived);
        }
        if !request.body.is_empty() && matches!(self.faults.front(), Some(PushFault::Status(_))) {
            let Some(PushFault::Status(status)) = self.faults.pop_front() else { return Response::default() };
            return Response::new(status, "a planned fault");
        }
        if request.body.len() > manner.largest_body {
            return Response::new(413, "too much at once");
        }
        let start = request.header("content-range").map(|range| range.split('-').next().unwrap_or("").parse::<usize>());
        if start.is_some_and(|start| start != Ok(arrived)) || value(query, "state") != Some(&arrived.to_string()) {
            return progress(416, arrived);
        }
        if !request.whole && !manner.remembers {
            self.uploads.remove(id);
            return Response::default();
        }
        let upload = self.uploads.entry(id.to_owned()).or_default();
        upload.extend(&request.body);
        match request.method.as_str() {
            "PATCH" => progress(202, upload.len()),
            "PUT" if request.whole => self.end(id, query),
            _ => Response::default(),
        }
    }

    fn end(&mut self, id: &str, query: &str) -> Response {
        let bytes = self.uploads.remove(id).unwrap_or_default();
        let digest = Digest::of(&bytes);
        if value(query, "digest") != Some(&digest.to_string()) {
            return Response::new(400, r#"{"errors":[{"code":"DIGEST_INVALID","message":"wrong digest"}]}"#);
        }
        self.blobs.insert(digest, bytes);
        Response::new(201, "").with("Docker-Content-Digest", digest.to_string())
    }

    fn stored(&self, digest: &str, request: &Request) -> Response {
        let bytes = digest.parse().ok().and_then(|digest| self.blobs.get(&digest));
        let Some(bytes) = bytes else { return Response::new(404, "no such blob") };
        let start =
            request.header("range").and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
        match start {
            Some(start) if start < bytes.len() => {
                let range = format!("bytes {start}-{}/{}", bytes.len() - 1, bytes.len());
                Response::new(206, &bytes[start..]).with("Content-Range", range)
            }
            _ => Response::new(200, bytes.clone()),
        }
    }

    fn get(&self, target: &str, _: &Request) -> Response {
        let Some((kind, bytes)) = self.manifests.get(target) else { return Response::new(404, "no such manifest") };
        let digest = Digest::of(bytes).to_string();
        let response =
            Response::new(200, bytes.clone()).with("Content-Type", kind).with("ETag", format!("\"{digest}\""));
        response.with("Docker-Content-Digest", digest)
    }

    fn put(&mut self, target: &str, request: &Request, manner: Manner) -> Response {
        let kind = request.header("content-type").unwrap_or_default().to_owned();
        let digest = Digest::of(&request.body).to_string();
        if target.starts_with("sha256:") && target != digest {
            return Response::new(400, "wrong digest");
        }
        let present = self.manifests.get(target).map(|(_, bytes)| format!("\"{}\"", Digest::of(bytes)));
        let unlike = request.header("if-match").is_some_and(|wanted| Some(wanted) != present.as_deref());
        if manner.heeds_conditions && (unlike || request.header("if-none-match") == Some("*") && present.is_some()) {
            return Response::new(412, "it has changed");
        }
        let limits = Limits::default();
        match Document::parse(&request.body, &kind, &limits) {
            Err(error) => return Response::new(400, error.to_string()),
            Ok(Document::Index(index)) => {
                let there = |digest: &Digest| self.manifests.contains_key(&digest.to_string());
                if let Some(absent) = index.manifests.iter().find(|entry| !there(&entry.digest)) {
                    return Response::new(404, format!("manifest {} unknown", absent.digest));
                }
            }
            Ok(Document::Manifest(manifest)) => {
                let named = manifest.layers.iter().chain([&manifest.config]);
                if let Some(absent) = named.map(|blob| blob.digest).find(|digest| !self.blobs.contains_key(digest)) {
                    return Response::new(404, format!("blob {absent} unknown"));
                }
            }
        }
        let subject = Referrer::of(&request.body, &kind, &limits).ok().flatten().map(|(subject, _)| subject);
        self.manifests.insert(digest.clone(), (kind.clone(), request.body.clone()));
        let tagged = (!target.starts_with("sha256:")).then(|| self.overwritten.pop_front()).flatten();
        self.manifests.insert(target.to_owned(), (kind, tagged.unwrap_or_else(|| request.body.clone())));
        let response = Response::new(201, "").with("Docker-Content-Digest", digest);
        match subject.filter(|_| manner.referrers && manner.says_subject) {
            Some(subject) => response.with("OCI-Subject", subject.to_string()),
            None => response,
        }
    }

    fn referrers(&self, subject: &str, query: &str, manner: Manner) -> Response {
        let limits = Limits::default();
        let mut found: BTreeMap<Digest, Referrer> = BTreeMap::new();
        for (kind, bytes) in self.manifests.values() {
            match Referrer::of(bytes, kind, &limits) {
                Ok(Some((of, referrer))) if of.to_string() == subject => {
                    found.insert(referrer.descriptor.digest, referrer);
                }
                _ => {}
            }
        }
        let wanted = value(query, "artifactType").filter(|_| manner.filters);
        found.retain(|_, referrer| wanted.is_none_or(|wanted| referrer.is(wanted)));
        let start: usize = value(query, "from").and_then(|from| from.parse().ok()).unwrap_or(0);
        let mut listing = Listing::default();
        for referrer in found.values().skip(start).take(manner.page) {
            listing.add(referrer);
        }
        let mut response = Response::new(200, listing.to_bytes());
        response = response.with("Content-Type", umiak_spec::media_type::OCI_INDEX);
        if wanted.is_some() {
            response = response.with("OCI-Filters-Applied", "artifactType");
        }
        if start + manner.page < found.len() {
            let kind = value(query, "artifactType").map(|kind| format!("&artifactType={kind}")).unwrap_or_default();
            let next = format!("</v2/team/app/referrers/{subject}?from={}{kind}>; rel=\"next\"", start + manner.page);
            response = response.with("Link", next);
        }
        response
    }
}
