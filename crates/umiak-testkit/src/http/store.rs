//! A registry that can be pushed to and pulled from, played as well as it must be, and what goes wrong.
//!
//! Follows the OCI distribution specification 1.1 as far as [`Manner`] says: uploads, mounts, manifests, tags, referrers,
//! deletion, in any number of repositories. It keeps everything in memory, asks for no credentials, and checks what real
//! ones check: digests of blobs, ranges of chunks, that an index names what is there.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::sync::{Arc, Mutex};

use umiak_spec::{Digest, Document, Limits, Listing, Referrer};

use super::files::{Fault, File, early};
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
    /// Referrers or tags on one page.
    pub page: usize,
    /// Whether an upload that broke off is known afterwards.
    pub remembers: bool,
    /// The largest body it takes.
    pub largest_body: usize,
    /// Whether it heeds `If-Match` and `If-None-Match`.
    pub heeds_conditions: bool,
    /// Whether it takes blobs from its other repositories.
    pub mounts: bool,
    /// Whether a tag can be deleted by itself.
    pub deletes_tags: bool,
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
            mounts: true,
            deletes_tags: true,
        }
    }
}

/// What goes wrong with one request that sends bytes of a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PushFault {
    /// The connection breaks after so many bytes.
    Cut(usize),
    /// This status, and nothing is stored.
    Status(u16),
    /// This status with these headers, and nothing is stored.
    Refused(u16, Vec<(String, String)>),
    /// All of it is taken, and nothing is ever answered.
    Silence,
    /// All of it is taken, and the answer names another digest.
    OtherDigest,
    /// The upload goes on at this address from now on: with 307.
    Redirect(String),
}

/// The blobs and manifests of one repository.
#[derive(Default)]
struct Repository {
    blobs: BTreeSet<Digest>,
    manifests: BTreeMap<String, (String, Vec<u8>)>,
}

#[derive(Default)]
struct State {
    blobs: BTreeMap<Digest, Vec<u8>>,
    repositories: BTreeMap<String, Repository>,
    uploads: BTreeMap<String, Vec<u8>>,
    begun: usize,
    faults: VecDeque<PushFault>,
    /// What goes wrong with requests for a path.
    reading: BTreeMap<String, VecDeque<Fault>>,
    /// Indexes that others put in the moment after the next ones were put.
    overwritten: VecDeque<Vec<u8>>,
}

/// What it holds; clones share it.
#[derive(Clone, Default)]
pub struct Store(Arc<Mutex<State>>);

/// The repository of those who name none.
pub const REPOSITORY: &str = "team/app";

impl Store {
    /// Starts one; any repository is there once something is put into it.
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

    /// The next requests that read `path` (`/v2/team/app/blobs/…`) fail, one fault each.
    pub fn fail_reading(&self, path: &str, faults: impl IntoIterator<Item = Fault>) {
        locked(&self.0).reading.entry(path.into()).or_default().extend(faults);
    }

    /// After the next manifest is stored under a tag, somebody else stores this index there.
    pub fn overwrite(&self, index: impl Into<Vec<u8>>) {
        locked(&self.0).overwritten.push_back(index.into());
    }

    /// Stores a manifest under a tag or digest.
    pub fn put(&self, target: &str, media_type: &str, bytes: impl Into<Vec<u8>>) {
        let mut state = locked(&self.0);
        state.repository(REPOSITORY).manifests.insert(target.into(), (media_type.into(), bytes.into()));
    }

    /// Stores a blob in a repository.
    pub fn put_blob(&self, repository: &str, bytes: impl Into<Vec<u8>>) {
        let bytes = bytes.into();
        let mut state = locked(&self.0);
        state.repository(repository).blobs.insert(Digest::of(&bytes));
        state.blobs.insert(Digest::of(&bytes), bytes);
    }

    /// Forgets a blob.
    pub fn lose(&self, digest: &Digest) {
        locked(&self.0).repositories.values_mut().for_each(|repository| {
            repository.blobs.remove(digest);
        });
    }

    /// A stored blob, whichever repository has it.
    #[must_use]
    pub fn blob(&self, digest: &Digest) -> Option<Vec<u8>> {
        locked(&self.0).blobs.get(digest).cloned()
    }

    /// A stored manifest.
    #[must_use]
    pub fn manifest(&self, target: &str) -> Option<Vec<u8>> {
        self.manifest_in(REPOSITORY, target)
    }

    /// A stored manifest of a repository.
    #[must_use]
    pub fn manifest_in(&self, repository: &str, target: &str) -> Option<Vec<u8>> {
        let state = locked(&self.0);
        let (_, bytes) = state.repositories.get(repository)?.manifests.get(target)?;
        Some(bytes.clone())
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
        let unknown = || Response::new(404, "no such repository");
        let Some(rest) = path.strip_prefix("/v2/") else { return unknown() };
        let Some((name, kind, rest)) = parts(rest) else { return unknown() };
        let mut state = locked(&self.0);
        let fault = match request.method.as_str() {
            "GET" => state.reading.get_mut(path).and_then(VecDeque::pop_front),
            _ => None,
        };
        if let Some(response) = early(fault.as_ref()) {
            return response;
        }
        match (request.method.as_str(), kind) {
            ("POST", "blobs") if rest == "uploads/" => state.begin(name, query, manner),
            (_, "blobs") => match rest.strip_prefix("uploads/") {
                Some(id) => state.upload(name, id, query, request, manner),
                None => state.stored(name, rest, request, fault.as_ref()),
            },
            ("PUT", "manifests") => state.put(name, rest, request, manner),
            ("DELETE", "manifests") => state.delete(name, rest, manner),
            (_, "manifests") => state.get(name, rest, request, fault.as_ref()),
            ("GET", "tags") => state.tags(name, query, manner),
            ("GET", "referrers") if manner.referrers => state.referrers(name, rest, query, manner),
            _ => Response::new(404, "page not found"),
        }
    }
}

/// Repository, kind and the rest of an address.
fn parts(path: &str) -> Option<(&str, &str, &str)> {
    let found = ["blobs", "manifests", "tags", "referrers"].into_iter().find_map(|kind| {
        let (name, rest) = path.split_once(&format!("/{kind}/"))?;
        Some((name, kind, rest))
    });
    found.filter(|(name, _, _)| !name.is_empty())
}

fn value<'q>(query: &'q str, name: &str) -> Option<&'q str> {
    query.split('&').find_map(|part| part.strip_prefix(name)?.strip_prefix('='))
}

impl State {
    fn repository(&mut self, name: &str) -> &mut Repository {
        self.repositories.entry(name.to_owned()).or_default()
    }

    fn begin(&mut self, name: &str, query: &str, manner: Manner) -> Response {
        let mounted = value(query, "mount").and_then(|digest| digest.parse::<Digest>().ok());
        let from = value(query, "from").and_then(|from| self.repositories.get(from));
        if let (Some(digest), Some(from), true) = (mounted, from, manner.mounts)
            && from.blobs.contains(&digest)
        {
            self.repository(name).blobs.insert(digest);
            return Response::new(201, "").with("Docker-Content-Digest", digest.to_string());
        }
        self.begun += 1;
        let id = format!("number-{}", self.begun);
        let location = format!("/v2/{name}/blobs/uploads/{id}?state=0");
        self.uploads.insert(id, Vec::new());
        Response::new(202, "").with("Location", location).with("Range", "0-0")
    }

    fn upload(&mut self, name: &str, id: &str, query: &str, request: &Request, manner: Manner) -> Response {
        let arrived = self.uploads.get(id).map(Vec::len);
        let Some(arrived) = arrived else { return Response::new(404, "no such upload") };
        let location = |length: usize| format!("/v2/{name}/blobs/uploads/{id}?state={length}");
        let progress = |status: u16, length: usize| {
            let range = format!("0-{}", length.saturating_sub(1));
            Response::new(status, "").with("Location", location(length)).with("Range", range)
        };
        if request.method == "GET" {
            return progress(204, arrived);
        }
        let fault = match self.faults.front() {
            Some(fault) if !request.body.is_empty() && !matches!(fault, PushFault::Cut(_)) => self.faults.pop_front(),
            _ => None,
        };
        match &fault {
            Some(PushFault::Status(status)) => return Response::new(*status, "a planned fault"),
            Some(PushFault::Refused(status, headers)) => {
                return Response { headers: headers.clone(), ..Response::new(*status, "a planned fault") };
            }
            Some(PushFault::Redirect(to)) => {
                let joint = if to.contains('?') { '&' } else { '?' };
                return Response::new(307, "").with("Location", format!("{to}{joint}{query}"));
            }
            _ => {}
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
        let answer = match request.method.as_str() {
            "PATCH" => progress(202, upload.len()),
            "PUT" if request.whole => self.end(name, id, query),
            _ => Response::default(),
        };
        match fault {
            Some(PushFault::Silence) => Response { end: super::End::Silence, ..answer },
            Some(PushFault::OtherDigest) => {
                Response::new(201, "").with("Docker-Content-Digest", Digest::of(b"something else").to_string())
            }
            _ => answer,
        }
    }

    fn end(&mut self, name: &str, id: &str, query: &str) -> Response {
        let bytes = self.uploads.remove(id).unwrap_or_default();
        let digest = Digest::of(&bytes);
        if value(query, "digest") != Some(&digest.to_string()) {
            return Response::new(400, r#"{"errors":[{"code":"DIGEST_INVALID","message":"wrong digest"}]}"#);
        }
        self.blobs.insert(digest, bytes);
        self.repository(name).blobs.insert(digest);
        Response::new(201, "").with("Docker-Content-Digest", digest.to_string())
    }

    fn stored(&self, name: &str, digest: &str, request: &Request, fault: Option<&Fault>) -> Response {
        let repository = self.repositories.get(name);
        let there = |digest: &Digest| repository.is_some_and(|repository| repository.blobs.contains(digest));
        let bytes = digest.parse().ok().filter(there).and_then(|digest| self.blobs.get(&digest));
        let Some(bytes) = bytes else { return Response::new(404, "no such blob") };
        File::new("application/octet-stream", bytes.clone()).answer(request, fault)
    }

    fn get(&self, name: &str, target: &str, request: &Request, fault: Option<&Fault>) -> Response {
        let found = self.repositories.get(name).and_then(|repository| repository.manifests.get(target));
        let Some((kind, bytes)) = found else { return Response::new(404, "no such manifest") };
        let mut response = File::new(kind, bytes.clone()).answer(request, fault);
        let said = if let Some(Fault::Instead(other)) = fault { other } else { bytes };
        let digest = Digest::of(said).to_string();
        response.headers.retain(|(name, _)| name != "ETag");
        response.with("ETag", format!("\"{digest}\"")).with("Docker-Content-Digest", digest)
    }

    fn delete(&mut self, name: &str, target: &str, manner: Manner) -> Response {
        let is_digest = target.starts_with("sha256:");
        if !is_digest && !manner.deletes_tags {
            return Response::new(405, r#"{"errors":[{"code":"UNSUPPORTED","message":"by digest only"}]}"#);
        }
        let manifests = &mut self.repository(name).manifests;
        if !manifests.contains_key(target) {
            return Response::new(404, "no such manifest");
        }
        let same = |bytes: &[u8]| is_digest && Digest::of(bytes).to_string() == target;
        manifests.retain(|known, (_, bytes)| known != target && !same(bytes));
        Response::new(202, "")
    }

    fn tags(&self, name: &str, query: &str, manner: Manner) -> Response {
        let Some(repository) = self.repositories.get(name) else { return Response::new(404, "no such repository") };
        let last = value(query, "last").unwrap_or("");
        let tags: Vec<&str> = repository.manifests.keys().map(String::as_str).collect();
        let mut left = tags.into_iter().filter(|tag| !tag.starts_with("sha256:") && *tag > last);
        let page: Vec<&str> = left.by_ref().take(manner.page).collect();
        let list = page.iter().map(|tag| format!("\"{tag}\"")).collect::<Vec<_>>().join(",");
        let response = Response::new(200, format!(r#"{{"name":"{name}","tags":[{list}]}}"#));
        match page.last().filter(|_| left.next().is_some()) {
            Some(last) => response.with("Link", format!("</v2/{name}/tags/list?last={last}>; rel=\"next\"")),
            None => response,
        }
        .with("Content-Type", "application/json")
    }

    fn put(&mut self, name: &str, target: &str, request: &Request, manner: Manner) -> Response {
        let kind = request.header("content-type").unwrap_or_default().to_owned();
        let digest = Digest::of(&request.body).to_string();
        if target.starts_with("sha256:") && target != digest {
            return Response::new(400, "wrong digest");
        }
        let tagged = (!target.starts_with("sha256:")).then(|| self.overwritten.pop_front()).flatten();
        let Repository { blobs, manifests } = self.repositories.entry(name.to_owned()).or_default();
        let present = manifests.get(target).map(|(_, bytes)| format!("\"{}\"", Digest::of(bytes)));
        let unlike = request.header("if-match").is_some_and(|wanted| Some(wanted) != present.as_deref());
        if manner.heeds_conditions && (unlike || request.header("if-none-match") == Some("*") && present.is_some()) {
            return Response::new(412, "it has changed");
        }
        let limits = Limits::default();
        match Document::parse(&request.body, &kind, &limits) {
            Err(error) => return Response::new(400, error.to_string()),
            Ok(Document::Index(index)) => {
                let there = |digest: &Digest| manifests.contains_key(&digest.to_string());
                if let Some(absent) = index.manifests.iter().find(|entry| !there(&entry.digest)) {
                    return Response::new(404, format!("manifest {} unknown", absent.digest));
                }
            }
            Ok(Document::Manifest(manifest)) => {
                let named = manifest.layers.iter().chain([&manifest.config]);
                if let Some(absent) = named.map(|blob| blob.digest).find(|digest| !blobs.contains(digest)) {
                    return Response::new(404, format!("blob {absent} unknown"));
                }
            }
        }
        let subject = Referrer::of(&request.body, &kind, &limits).ok().flatten().map(|(subject, _)| subject);
        manifests.insert(digest.clone(), (kind.clone(), request.body.clone()));
        manifests.insert(target.to_owned(), (kind, tagged.unwrap_or_else(|| request.body.clone())));
        let response = Response::new(201, "").with("Docker-Content-Digest", digest);
        match subject.filter(|_| manner.referrers && manner.says_subject) {
            Some(subject) => response.with("OCI-Subject", subject.to_string()),
            None => response,
        }
    }

    fn referrers(&self, name: &str, subject: &str, query: &str, manner: Manner) -> Response {
        let limits = Limits::default();
        let mut found: BTreeMap<Digest, Referrer> = BTreeMap::new();
        for (kind, bytes) in self.repositories.get(name).iter().flat_map(|repository| repository.manifests.values()) {
            match Referrer::of(bytes, kind, &limits) {
                Ok(Some((of, referrer))) if of.to_string() == subject => {
                    found.insert(referrer.descriptor.digest, referrer);
                }
                _ => {}
            }
        }
        let wanted = value(query, "artifactType").filter(|_| manner.filters).map(unescaped);
        found.retain(|_, referrer| wanted.as_ref().is_none_or(|wanted| referrer.is(wanted)));
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
            let next = format!("</v2/{name}/referrers/{subject}?from={}{kind}>; rel=\"next\"", start + manner.page);
            response = response.with("Link", next);
        }
        response
    }
}

/// A value of a query without its escapes.
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let escaped = (*first == b'%').then(|| behind.split_at_checked(2)).flatten();
        let code = escaped.and_then(|(digits, _)| u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok());
        bytes.push(code.unwrap_or(*first));
        rest = if code.is_some() { &behind[2..] } else { behind };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
