//! What is on the device: files of objects, revisions, how the last update gets on, and what is to go wrong.

use std::collections::BTreeMap;

use umiak_pvr::Value;
use umiak_spec::Digest;

use crate::http::{End, Request, Response};

/// The formats of states that the device takes.
const SPECS: [&str; 2] = ["pantavisor-service-system@1", "pantavisor-multi-platform@1"];

/// How an update ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Outcome {
    /// It runs, without a restart.
    #[default]
    Updated,
    /// It runs after a restart, during which so many requests are not answered.
    Done(u32),
    /// A container does not come up: back to what ran before.
    Error,
    /// It is not even tried.
    WontGo(&'static str),
    /// It stays where it is for ever.
    Hangs,
}

/// A revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Its state.
    pub state: Value,
    /// What it is about.
    pub message: String,
    /// How its update gets on: status, percentage, message; the last one stays.
    pub progress: Vec<(&'static str, u8, &'static str)>,
}

/// The device.
pub struct World {
    /// The files below `objects/`, by name: whatever their content is.
    pub files: BTreeMap<String, Vec<u8>>,
    /// Revisions by name.
    pub steps: BTreeMap<String, Step>,
    /// The revision that runs.
    pub current: String,
    /// Bytes that fit on it.
    pub capacity: u64,
    /// Whether its metadata tells about its storage.
    pub tells_room: bool,
    /// How the next update ends.
    pub outcome: Outcome,
    /// So many requests that change something are answered with 503 and `Retry-After: 120`.
    pub busy: u32,
    /// Uploads that break off after so many bytes, the next one first.
    pub cuts: Vec<usize>,
    /// Downloads that break off after so many bytes, the next one first.
    pub breaks: Vec<usize>,
    /// Downloads of which no more than so many bytes come, while the connection stays open, the next one first.
    pub stalls: Vec<usize>,
    /// Requests that are not answered at all.
    pub silent: u32,
    /// Requests that change something whose answers do not arrive.
    pub lost_answers: u32,
    /// Whether it answers ranges.
    pub ranges: bool,
    /// Whether the caller has the role `mgmt`.
    pub managed: bool,
    /// Why it does not trust a state, if it does not.
    pub distrust: Option<&'static str>,
    /// What the web wants to see as a bearer.
    pub token: Option<String>,
    /// The update that is on its way, and how it ends.
    pub running: Option<(String, Outcome)>,
    /// Names of commands that were given, with their payload.
    pub commands: Vec<(String, String)>,
}

impl World {
    pub(super) fn new(state: &str, objects: &[&[u8]]) -> Self {
        let state = Value::parse(state.as_bytes(), 1 << 20).unwrap_or_default();
        let factory = Step { state, message: String::new(), progress: vec![("DONE", 100, "Factory revision")] };
        Self {
            files: objects.iter().map(|bytes| (Digest::of(bytes).hex(), bytes.to_vec())).collect(),
            steps: [("0".to_owned(), factory)].into(),
            current: "0".into(),
            capacity: 1 << 30,
            tells_room: true,
            outcome: Outcome::default(),
            busy: 0,
            cuts: Vec::new(),
            breaks: Vec::new(),
            stalls: Vec::new(),
            silent: 0,
            lost_answers: 0,
            ranges: false,
            managed: true,
            distrust: None,
            token: None,
            running: None,
            commands: Vec::new(),
        }
    }

    /// Bytes that are left.
    #[must_use]
    pub fn free(&self) -> u64 {
        self.capacity.saturating_sub(self.files.values().map(|bytes| bytes.len() as u64).sum())
    }

    /// Whether the file of an object holds what its name says.
    #[must_use]
    pub fn is_whole(&self, name: &str) -> bool {
        self.files.get(name).is_some_and(|bytes| Digest::of(bytes).hex() == name)
    }

    /// After how many bytes the body of a request breaks off.
    pub(super) fn cut(&mut self, request: &Request) -> Option<usize> {
        let upload = request.method == "PUT" && object_of(&request.target).is_some();
        (upload && !self.cuts.is_empty()).then(|| self.cuts.remove(0))
    }

    /// Answers, unless the device is off.
    pub(super) fn met(&mut self, request: &Request, answer: fn(&mut Self, &Request) -> Response) -> Response {
        if self.silent > 0 {
            self.silent -= 1;
            return Response::default();
        }
        let response = answer(self, request);
        if self.lost_answers > 0 && request.method != "GET" {
            self.lost_answers -= 1;
            return Response::default();
        }
        response
    }

    /// Writes an upload into its file, as it comes: an empty file first, then what came of it.
    pub(super) fn upload(&mut self, name: &str, request: &Request) -> Response {
        if self.is_whole(name) {
            return Response::new(200, "");
        }
        self.files.remove(name);
        let room = usize::try_from(self.free()).unwrap_or(usize::MAX);
        self.files.insert(name.to_owned(), request.body[..request.body.len().min(room)].to_vec());
        match (request.body.len() <= room, self.is_whole(name)) {
            (false, _) => error(507, "Not enough disk space"),
            (true, true) => Response::new(200, ""),
            (true, false) => error(422, "Object has bad checksum"),
        }
    }

    /// The content of an object's file, whatever it is.
    pub(super) fn download(&mut self, name: &str, request: &Request) -> Response {
        let Some(bytes) = self.files.get(name) else { return error(400, "Object not found") };
        let from =
            request.header("range").and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
        let mut response = match from.filter(|_| self.ranges) {
            Some(from) if from >= bytes.len() => Response::new(416, ""),
            Some(from) => Response::new(206, &bytes[from..])
                .with("Content-Range", format!("bytes {from}-{}/{}", bytes.len() - 1, bytes.len())),
            None => Response::new(200, &bytes[..]),
        };
        if !self.breaks.is_empty() {
            response.end = End::Cut(self.breaks.remove(0));
        } else if !self.stalls.is_empty() {
            response.end = End::Stall(self.stalls.remove(0));
        }
        response
    }

    /// Why a state is refused when it is put: its form and its signatures, but not its objects.
    pub(super) fn objection(&self, state: &Value) -> Option<String> {
        let spec = state.get("#spec").and_then(Value::as_str).unwrap_or_default();
        if !SPECS.contains(&spec) {
            return Some("State JSON has bad format".into());
        }
        self.distrust.map(Into::into)
    }

    /// The objects that a state names.
    pub(super) fn named(state: &Value) -> Vec<String> {
        let members = state.as_object().into_iter().flatten();
        let values = members.filter_map(|(_, value)| value.as_str());
        values.filter(|text| Digest::from_hex(text).is_ok()).map(str::to_owned).collect()
    }

    /// Begins to run a revision.
    pub(super) fn run(&mut self, name: &str) {
        let Some(step) = self.steps.get(name) else { return };
        let whole = Self::named(&step.state).iter().all(|object| self.is_whole(object));
        let outcome = if whole { self.outcome } else { Outcome::Error };
        let end: &[_] = match outcome {
            Outcome::Updated => &[
                ("INPROGRESS", 50, "Transitioning to new revision without rebooting"),
                ("TESTING", 75, "Awaiting to see if update is stable"),
                ("UPDATED", 100, "Update finished, revision not set as rollback point"),
            ],
            Outcome::Done(_) => &[
                ("INPROGRESS", 50, "Rebooting"),
                ("TESTING", 75, "Awaiting to set rollback point if update is stable"),
                ("DONE", 100, "Update finished, revision set as rollback point"),
            ],
            Outcome::Error if !whole => &[("ERROR", 100, "Object validation went wrong")],
            Outcome::Error => &[
                ("TESTING", 75, "Waiting for all containers to become stable"),
                ("ERROR", 100, "Status goal not reached"),
            ],
            Outcome::WontGo(why) => &[("WONTGO", 100, why)],
            Outcome::Hangs => &[],
        };
        let mut progress = vec![("INPROGRESS", 50, "Update ready to be run")];
        progress.extend(end);
        if let Some(step) = self.steps.get_mut(name) {
            step.progress = progress;
        }
        self.running = Some((name.to_owned(), outcome));
    }

    /// The progress of a revision; the next look finds it one step further.
    pub(super) fn progress(&mut self, name: &str) -> Option<Value> {
        let step = self.steps.get_mut(name)?;
        let (status, percent, message) = *step.progress.first()?;
        if step.progress.len() > 1 {
            step.progress.remove(0);
        }
        if let (Some((_, Outcome::Done(requests))), "Rebooting") = (&self.running, message) {
            self.silent = *requests;
        }
        if percent == 100 && self.running.as_ref().is_some_and(|(running, _)| running == name) {
            self.running = None;
            if matches!(status, "DONE" | "UPDATED") {
                name.clone_into(&mut self.current);
            }
        }
        Some(told((status, percent, message)))
    }

    /// Deletes revisions but the one that runs, and objects that none has; gives the bytes.
    pub(super) fn collect(&mut self) -> u64 {
        let (before, current) = (self.free(), self.current.clone());
        self.steps.retain(|name, _| *name == current);
        let needed: Vec<_> = self.steps.values().flat_map(|step| Self::named(&step.state)).collect();
        self.files.retain(|name, _| needed.contains(name));
        self.free() - before
    }

    /// Whether the device is busy, and says so.
    pub(super) fn is_busy(&mut self) -> bool {
        let busy = self.busy > 0;
        self.busy = self.busy.saturating_sub(1);
        busy || self.running.is_some()
    }
}

/// A progress document.
pub(super) fn told((status, percent, message): (&str, u8, &str)) -> Value {
    Value::object([
        ("status", Value::from(status)),
        ("status-msg", Value::from(message)),
        ("progress", Value::from(i64::from(percent))),
        ("retries", Value::from(0)),
    ])
}

/// The object that an address names.
pub(super) fn object_of(target: &str) -> Option<&str> {
    let path = target.split('?').next().unwrap_or_default();
    path.rsplit('/').next().filter(|name| Digest::from_hex(name).is_ok())
}

/// A failure, as the device tells it.
pub(super) fn error(status: u16, text: &str) -> Response {
    json(status, &Value::object([("Error", Value::from(text))]))
}

/// A document.
pub(super) fn json(status: u16, value: &Value) -> Response {
    Response::new(status, value.canonical()).with("Content-Type", "application/json")
}

/// Come back later.
pub(super) fn busy() -> Response {
    error(503, "An update is in progress").with("Retry-After", "120")
}
