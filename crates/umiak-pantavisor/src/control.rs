//! pv-ctrl: HTTP over a Unix socket, on the device itself.
//!
//! Its habits, which everything here reckons with: an upload goes straight into the object's file, so that one which was
//! cut off lies there under its name, shorter; the list of objects tells their lengths; a whole object that is sent again
//! is drained and compared; a state is verified when it is put, and its objects are not; no progress is kept of a revision
//! that was never run.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use umiak_pvr::{State, Value};
use umiak_spec::{Digest, Observer};

use crate::device::Settings;
use crate::document::{number, object, text};
use crate::error::Error;
use crate::http::{Ask, Body, Client, Download, Load};
use crate::post::Room;
use crate::progress::Progress;
use crate::revision::Revision;
use crate::{DOCUMENT_LIMIT, LIST_LIMIT, STATE_LIMIT};

/// The control socket of a device.
pub(crate) struct Control {
    client: Client,
}

impl Control {
    pub(crate) fn new(socket: &Path, place: String, settings: &Settings) -> Result<Self, Error> {
        Ok(Self { client: Client::new(Some(socket.to_owned()), &at(""), place, settings)? })
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// The state that runs.
    pub(crate) fn state(&self, observer: &dyn Observer) -> Result<State, Error> {
        self.state_at("/steps/current", observer)
    }

    fn state_at(&self, path: &str, observer: &dyn Observer) -> Result<State, Error> {
        let document = self.client.document(&at(path), STATE_LIMIT, "the state that the device sent", observer)?;
        State::from_value(document).map_err(|source| Error::State { place: self.client.place.clone(), source })
    }

    /// Every object that has a file, and that file's length, where it is told.
    pub(crate) fn objects(&self, observer: &dyn Observer) -> Result<BTreeMap<Digest, Option<u64>>, Error> {
        let list = self.client.document(&at("/objects"), LIST_LIMIT, "the device's list of objects", observer)?;
        let entries = list.as_array().unwrap_or_default();
        let entry = |entry: &Value| Some((Digest::from_hex(text(entry, "sha256")?).ok()?, number(entry, "size")));
        Ok(entries.iter().filter_map(entry).collect())
    }

    pub(crate) fn object<'a>(&'a self, digest: &Digest, observer: &'a dyn Observer) -> Result<Download<'a>, Error> {
        let url = at(&format!("/objects/{}", digest.hex()));
        Download::open(&self.client, Box::new(move |_| Ok(url.clone())), observer)
            .map_err(|error| error.of_object(digest))
    }

    pub(crate) fn send(&self, digest: &Digest, load: &Load<'_>, observer: &dyn Observer) -> Result<(), Error> {
        let url = at(&format!("/objects/{}", digest.hex()));
        self.client.ask(Ask::put(&url, Body::Load(load)), &[], observer).map(drop)
    }

    /// What the device says of its storage; `None` when it says nothing that can be understood.
    pub(crate) fn room(&self, observer: &dyn Observer) -> Result<Option<Room>, Error> {
        let known = [400, 403, 404];
        let answer = self.client.ask(Ask::get(&at("/device-meta")), &known, observer)?;
        if !answer.status().is_success() {
            return Ok(None);
        }
        let metadata = self.client.json(answer, DOCUMENT_LIMIT, "the device's metadata").unwrap_or_default();
        let storage = object(&metadata, "storage");
        Ok(storage.and_then(|storage| {
            let free = number(&storage, "free")?;
            // What it keeps in reserve is off one of the two.
            let free = number(&storage, "real_free").map_or(free, |real| real.min(free));
            Some(Room { free, total: number(&storage, "total") })
        }))
    }

    /// Lets the device delete what no revision needs that it keeps; gives the bytes.
    pub(crate) fn collect(&self, observer: &dyn Observer) -> Result<u64, Error> {
        let url = at("/storage/gc");
        let answer = self.client.ask(Ask::post(&url, Body::Nothing), &[], observer)?;
        let document = self.client.json(answer, DOCUMENT_LIMIT, "what the device reclaimed")?;
        Ok(number(&document, "reclaimed").unwrap_or(0))
    }

    /// A revision of `state` that umiak put there and that was never run.
    pub(crate) fn untouched(&self, state: &State, observer: &dyn Observer) -> Result<Option<Revision>, Error> {
        let steps = self.client.document(&at("/steps"), LIST_LIMIT, "the device's list of revisions", observer)?;
        for step in steps.as_array().unwrap_or_default() {
            let Some(name) = text(step, "name").and_then(|name| Revision::new(name).ok()) else { continue };
            if name.is_of(state) && self.is_untouched(&name, observer)? && self.has(&name, state, observer)? {
                return Ok(Some(name));
            }
        }
        Ok(None)
    }

    fn is_untouched(&self, name: &Revision, observer: &dyn Observer) -> Result<bool, Error> {
        Ok(self.progress(name.as_str(), None, observer)?.is_none_or(|progress| progress.is_untouched()))
    }

    /// Whether the revision `name` is one of `state`.
    fn has(&self, name: &Revision, state: &State, observer: &dyn Observer) -> Result<bool, Error> {
        match self.state_at(&format!("/steps/{name}"), observer) {
            Ok(found) => Ok(found == *state),
            Err(Error::Status { .. } | Error::State { .. } | Error::Document { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Puts the revision there. One of the same name and state that was never run counts as put.
    pub(crate) fn put(&self, name: &Revision, state: &State, observer: &dyn Observer) -> Result<(), Error> {
        let (url, text) = (at(&format!("/steps/{name}")), state.canonical());
        match self.client.ask(Ask::put(&url, Body::Json(&text)), &[], observer) {
            Err(Error::Conflict { .. }) if self.is_untouched(name, observer)? && self.has(name, state, observer)? => {
                Ok(())
            }
            other => other.map(drop),
        }
    }

    pub(crate) fn describe(&self, name: &Revision, message: &str, observer: &dyn Observer) -> Result<(), Error> {
        let url = at(&format!("/steps/{name}/commitmsg"));
        self.client.ask(Ask::put(&url, Body::Text(message)), &[], observer).map(drop)
    }

    /// Lets the device run the revision. A connection that breaks says nothing: a device that got the command stops
    /// answering soon anyway. Then its progress tells.
    pub(crate) fn run(&self, name: &Revision, observer: &dyn Observer) -> Result<(), Error> {
        let command = Value::object([("op", Value::from("LOCAL_RUN")), ("payload", Value::from(name.as_str()))]);
        let (url, text) = (at("/commands"), command.canonical());
        let mut tries = 0;
        loop {
            let error = match self.client.ask(Ask::post(&url, Body::Json(&text)).once(), &[], observer) {
                Err(error) if error.is_connection() => error,
                other => return other.map(drop),
            };
            tries += 1;
            match self.is_untouched(name, observer) {
                Ok(false) => return Ok(()),
                Ok(true) if tries < 3 => {}
                _ => return Err(Error::Unknown { place: self.client.place.clone(), source: Box::new(error) }),
            }
        }
    }

    /// How the revision gets on; `None` when nothing is known of it yet. Asks again when the device does not answer, unless
    /// it has to be known `within` some time.
    pub(crate) fn progress(
        &self,
        revision: &str,
        within: Option<Duration>,
        observer: &dyn Observer,
    ) -> Result<Option<Progress>, Error> {
        let url = at(&format!("/steps/{revision}/progress"));
        let ask = within.map_or(Ask::get(&url), |within| Ask::get(&url).within(within));
        let answer = self.client.ask(ask, &[400, 404], observer)?;
        if !answer.status().is_success() {
            return Ok(None);
        }
        // It is written while we read: what is not whole is looked at again later.
        match self.client.json(answer, DOCUMENT_LIMIT, "progress") {
            Ok(document) => Ok(Progress::read(&document)),
            Err(Error::Document { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn at(path: &str) -> String {
    format!("http://localhost{path}")
}
