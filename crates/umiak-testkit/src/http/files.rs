//! Bodies by path, with `Range`, `ETag` and a queue of faults per path.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use umiak_spec::Digest;

use super::{End, Request, Response, locked};

/// What goes wrong with one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The connection is closed after so many bytes of this response's body.
    Cut(usize),
    /// After so many bytes of this response's body nothing more comes.
    Stall(usize),
    /// This response's body comes in so many pieces, slowly.
    Drip(usize),
    /// The connection is closed without an answer.
    Hangup,
    /// This status, with these headers.
    Status(u16, Vec<(String, String)>),
    /// 307 to this address.
    Redirect(String),
    /// Right length, wrong bytes.
    WrongBytes,
    /// `Content-Length` says this.
    Length(usize),
    /// `Range` is ignored: 200 and everything.
    IgnoreRange,
    /// 206, but from the start instead of from where it was asked.
    WrongRange,
    /// 206 with a `Content-Range` that is right, over bytes that are not those.
    WrongPlace,
    /// 206 with a `Content-Range` that begins where it should and names another length of the whole.
    OtherTotal(usize),
    /// The content has changed meanwhile: another `ETag`.
    OtherTag,
    /// Something else is there, this once.
    Instead(Vec<u8>),
}

impl Fault {
    /// A bare status.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self::Status(status, Vec::new())
    }

    /// 429 with `Retry-After` in seconds.
    #[must_use]
    pub fn slow_down(seconds: u64) -> Self {
        Self::Status(429, vec![("Retry-After".into(), seconds.to_string())])
    }

    /// 429 with `Retry-After` as a date that is `seconds` behind the server's own `Date`, which is long past.
    #[must_use]
    pub fn slow_down_until(seconds: u64) -> Self {
        Self::Status(429, dated(seconds))
    }
}

/// The headers `Date` and `Retry-After` of a server whose clock stands at noon of a day in 2021; `seconds` are fewer
/// than in a minute.
#[must_use]
pub fn dated(seconds: u64) -> Vec<(String, String)> {
    let at = |seconds: u64| format!("Wed, 06 Jan 2021 12:00:{seconds:02} GMT");
    vec![("Date".into(), at(0)), ("Retry-After".into(), at(seconds))]
}

pub(super) struct File {
    content_type: String,
    body: Vec<u8>,
}

#[derive(Default)]
struct State {
    files: BTreeMap<String, File>,
    faults: BTreeMap<String, VecDeque<Fault>>,
}

/// A table of bodies; clones share it.
#[derive(Clone, Default)]
pub struct Files(Arc<Mutex<State>>);

impl Files {
    /// An empty table.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Serves `body` at `path`.
    pub fn put(&self, path: &str, content_type: &str, body: impl Into<Vec<u8>>) {
        let file = File { content_type: content_type.into(), body: body.into() };
        locked(&self.0).files.insert(path.into(), file);
    }

    /// The next requests for `path` fail, one fault each; then all is well again.
    pub fn fail(&self, path: &str, faults: impl IntoIterator<Item = Fault>) {
        locked(&self.0).faults.entry(path.into()).or_default().extend(faults);
    }

    /// Answers one request: the handler of a [`super::Server`].
    #[must_use]
    pub fn answer(&self, request: &Request) -> Response {
        let path = request.target.split('?').next().unwrap_or_default();
        let mut state = locked(&self.0);
        let fault = state.faults.get_mut(path).and_then(VecDeque::pop_front);
        let Some(file) = state.files.get(path) else {
            return early(fault.as_ref()).unwrap_or_else(|| Response::new(404, "no such file"));
        };
        early(fault.as_ref()).unwrap_or_else(|| file.answer(request, fault.as_ref()))
    }
}

/// Faults that need no file.
pub(super) fn early(fault: Option<&Fault>) -> Option<Response> {
    match fault? {
        Fault::Hangup => Some(Response::default()),
        Fault::Status(status, headers) => {
            Some(Response { headers: headers.clone(), ..Response::new(*status, "a planned fault") })
        }
        Fault::Redirect(to) => Some(Response::new(307, "").with("Location", to)),
        _ => None,
    }
}

impl File {
    pub(super) fn new(content_type: &str, body: Vec<u8>) -> Self {
        Self { content_type: content_type.into(), body }
    }

    pub(super) fn answer(&self, request: &Request, fault: Option<&Fault>) -> Response {
        let mut body = self.body.clone();
        let mut tag = format!("\"{}\"", Digest::of(&body).short());
        match fault {
            Some(Fault::WrongBytes) => body.iter_mut().for_each(|byte| *byte ^= 0xff),
            Some(Fault::Instead(other)) => body.clone_from(other),
            Some(Fault::OtherTag) => tag = "\"other\"".into(),
            _ => {}
        }
        let start = if fault == Some(&Fault::IgnoreRange) { None } else { range_start(request, &tag) };
        let total = body.len();
        let mut response = match start {
            Some(start) if start >= total => Response::new(416, "").with("Content-Range", format!("bytes */{total}")),
            Some(start) => {
                let start = if fault == Some(&Fault::WrongRange) { 0 } else { start };
                let whole = if let Some(Fault::OtherTotal(other)) = fault { *other } else { total };
                let range = format!("bytes {start}-{}/{whole}", total - 1);
                if fault == Some(&Fault::WrongPlace) {
                    body.rotate_left(1);
                }
                Response::new(206, body.split_off(start)).with("Content-Range", range)
            }
            None => Response::new(200, body),
        };
        response = response.with("Content-Type", &self.content_type).with("ETag", tag).with("Accept-Ranges", "bytes");
        match fault {
            Some(Fault::Cut(at)) => response.end = End::Cut(*at),
            Some(Fault::Stall(at)) => response.end = End::Stall(*at),
            Some(Fault::Drip(pieces)) => response.end = End::Drip(*pieces),
            Some(Fault::Length(length)) => response.announced = Some(*length),
            _ => {}
        }
        response
    }
}

/// Where `Range: bytes=N-` starts, if it is there and `If-Range` still holds.
fn range_start(request: &Request, tag: &str) -> Option<usize> {
    let start = request.header("range")?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()?;
    let same = request.header("if-range").is_none_or(|wanted| wanted == tag);
    same.then_some(start)
}
