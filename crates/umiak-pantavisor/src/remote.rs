//! pvr's remote: what a device answers at `/cgi-bin/pvr`, and a hub for each of its devices.
//!
//! `.pvrremote` says where everything is. An object is announced by POST; 409 says that it is there, anything else where
//! to PUT it. "There" is what somebody once sent, whole or not: the length of what can be fetched is compared before it
//! is believed. A revision is POSTed and runs by itself.

use std::cell::RefCell;
use std::time::Duration;

use umiak_pvr::json::Object;
use umiak_pvr::{State, Value};
use umiak_spec::{Digest, Observer};

use crate::device::Settings;
use crate::document::{number, object, text};
use crate::error::Error;
use crate::http::{Ask, Body, Client, Download, Load, server};
use crate::progress::Progress;
use crate::{DOCUMENT_LIMIT, STATE_LIMIT};

const DESCRIPTION: &str = ".pvrremote";

/// Where the remote is when an address is only that of a device's server.
const USUAL: &str = "/cgi-bin/pvr";

/// The remote of a device.
pub(crate) struct Remote {
    client: Client,
    /// The address at which the description was found.
    base: String,
    places: RefCell<Places>,
}

/// What a description says.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Places {
    /// The newest step's name, from its address.
    revision: Option<String>,
    state: String,
    key: Option<String>,
    objects: String,
    post: Option<String>,
}

impl Remote {
    /// Asks the device where everything is.
    pub(crate) fn connect(
        url: &str,
        place: String,
        settings: &Settings,
        observer: &dyn Observer,
    ) -> Result<Self, Error> {
        let client = Client::new(None, url, place, settings)?;
        let bare = server(url).is_some_and(|server| server.len() >= url.len());
        let mut base = url.to_owned();
        let places = match Places::fetch(&client, &base, observer) {
            Err(Error::Status { status: 404, .. } | Error::NotADevice { .. }) if bare => {
                base += USUAL;
                Places::fetch(&client, &base, observer)
            }
            other => other,
        };
        let places = places.map_err(|error| match error {
            Error::Status { place, status: 404, .. } => {
                Error::NotADevice { place, reason: "there is none of it".to_owned() }
            }
            Error::Document { source, .. } => Error::NotADevice { place: base.clone(), reason: source.to_string() },
            other => other,
        })?;
        Ok(Self { client, base, places: RefCell::new(places) })
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// The newest state.
    pub(crate) fn state(&self, observer: &dyn Observer) -> Result<State, Error> {
        let Places { state, key, .. } = self.places.borrow().clone();
        let document = self.client.document(&state, STATE_LIMIT, "the state that the device sent", observer)?;
        // The state itself, or a step that has it as a member.
        let inner = key.as_deref().filter(|_| document.get("#spec").is_none());
        let inner = inner.and_then(|key| document.get(key)).filter(|inner| inner.as_object().is_some()).cloned();
        let place = self.client.place.clone();
        State::from_value(inner.unwrap_or(document)).map_err(|source| Error::State { place, source })
    }

    pub(crate) fn object<'a>(&'a self, digest: &Digest, observer: &'a dyn Observer) -> Result<Download<'a>, Error> {
        let digest = *digest;
        Download::open(&self.client, Box::new(move |observer| self.whereabouts(&digest, observer)), observer)
    }

    /// Where an object can be fetched.
    fn whereabouts(&self, digest: &Digest, observer: &dyn Observer) -> Result<String, Error> {
        let url = format!("{}/{}", self.places.borrow().objects, digest.hex());
        let document = self.client.document(&url, DOCUMENT_LIMIT, "what the device says of an object", observer);
        let document = document.map_err(|error| error.of_object(digest))?;
        match text(&document, "signed-geturl") {
            Some(place) => self.absolute(place),
            None => Err(self.none("it does not say where its objects can be fetched")),
        }
    }

    /// Sends an object unless the device has it. Whether it was sent.
    pub(crate) fn send(
        &self,
        digest: &Digest,
        name: &str,
        load: &Load<'_>,
        force: bool,
        observer: &dyn Observer,
    ) -> Result<bool, Error> {
        let announced = Value::object([
            ("objectname", Value::from(name)),
            ("sha256sum", Value::from(digest.hex())),
            ("size", Value::from(load.length().to_string())),
            ("mime-type", Value::from("application/octet-stream")),
        ]);
        let (url, body) = (self.places.borrow().objects.clone(), announced.canonical());
        let answer = self.client.ask(Ask::post(&url, Body::Json(&body)), &[409], observer)?;
        let there = answer.status().as_u16() == 409;
        let document = self.client.json(answer, DOCUMENT_LIMIT, "the device's answer to an object");
        if there && !force && self.is_whole(digest, load.length(), observer) {
            return Ok(false);
        }
        let document = document?;
        let Some(place) = text(&document, "signed-puturl") else {
            return Err(self.none("it does not say where its objects are to be sent"));
        };
        let place = self.absolute(place)?;
        self.client.ask(Ask::put(&place, Body::Load(load)), &[], observer)?;
        Ok(true)
    }

    /// Whether what the device has under the name is as long as it should be. Nothing of it is read.
    fn is_whole(&self, digest: &Digest, length: u64, observer: &dyn Observer) -> bool {
        self.object(digest, observer).is_ok_and(|download| download.length() == Some(length))
    }

    /// Gives the device a revision; gives its name there.
    pub(crate) fn post(
        &self,
        state: &State,
        message: Option<&str>,
        revision: Option<&str>,
        envelope: &Object,
        observer: &dyn Observer,
    ) -> Result<Option<String>, Error> {
        let Some(url) = self.places.borrow().post.clone() else {
            return Err(Error::Unsupported(format!("{} takes no revisions: it can only be read", self.client.place)));
        };
        let mut members = envelope.clone();
        members.insert("commit-msg".into(), Value::from(message.unwrap_or_default()));
        members.insert("rev".into(), revision.map_or_else(|| Value::from(-1), number_or_text));
        members.insert("state".into(), state.to_value());
        let body = Value::Object(members).canonical();
        match self.client.ask(Ask::post(&url, Body::Json(&body)).once(), &[], observer) {
            Ok(answer) => {
                let document = self.client.json(answer, STATE_LIMIT, "the device's answer to the revision");
                Ok(document.ok().and_then(|document| revision_of(&document)))
            }
            Err(error) if error.is_connection() => self.posted_after_all(state, error, observer),
            Err(error) => Err(error),
        }
    }

    /// Looks whether the device took the revision before the connection broke: it is described anew then.
    fn posted_after_all(&self, state: &State, error: Error, observer: &dyn Observer) -> Result<Option<String>, Error> {
        let before = self.places.borrow().clone();
        let after = Places::fetch(&self.client, &self.base, observer);
        if let Ok(after) = after {
            let moved = after.state != before.state;
            *self.places.borrow_mut() = after;
            if moved && self.state(observer).is_ok_and(|found| found == *state) {
                return Ok(self.places.borrow().revision.clone());
            }
        }
        Err(Error::Unknown { place: self.client.place.clone(), source: Box::new(error) })
    }

    /// How a revision gets on; `None` when the device does not say. All that is asked for it has to be known `within` some
    /// time.
    pub(crate) fn progress(
        &self,
        revision: &str,
        within: Duration,
        observer: &dyn Observer,
    ) -> Result<Option<Progress>, Error> {
        let steps = self.places.borrow().post.clone();
        let step = steps.map(|steps| format!("{steps}/{revision}"));
        let other = self.base.strip_suffix("/pvr").map(|cgi| format!("{cgi}/pvtx/status?rev={revision}"));
        let questions = 1 + u32::from(other.is_some());
        let begun = self.client.clock.now();
        for (url, still) in step.iter().map(|step| (step, questions)).chain(other.iter().map(|other| (other, 1))) {
            // What the first one leaves is there for the next.
            let left = within.saturating_sub(self.client.clock.now().saturating_sub(begun));
            if left.is_zero() {
                break;
            }
            let answer = self.client.ask(Ask::get(url).within(left / still), &[400, 404, 405], observer)?;
            if !answer.status().is_success() {
                continue;
            }
            let document = self.client.json(answer, STATE_LIMIT, "progress").unwrap_or_default();
            if let Some(progress) = object(&document, "progress").and_then(|progress| Progress::read(&progress)) {
                return Ok(Some(progress));
            }
        }
        Ok(None)
    }

    fn absolute(&self, place: &str) -> Result<String, Error> {
        absolute(&self.base, place).ok_or_else(|| self.none("it leads to an address that is none"))
    }

    fn none(&self, reason: &str) -> Error {
        Error::NotADevice { place: self.base.clone(), reason: reason.to_owned() }
    }
}

impl Places {
    fn fetch(client: &Client, base: &str, observer: &dyn Observer) -> Result<Self, Error> {
        let url = format!("{base}/{DESCRIPTION}");
        let document = client.document(&url, DOCUMENT_LIMIT, "the device's description", observer)?;
        Self::read(&document, base).map_err(|reason| Error::NotADevice { place: url, reason })
    }

    fn read(document: &Value, base: &str) -> Result<Self, String> {
        let place = |name: &str| text(document, name).and_then(|place| absolute(base, place.trim_end_matches('/')));
        let needed = |name: &str| place(name).ok_or_else(|| format!("it does not say its `{name}`"));
        let step = place("step-get-url");
        Ok(Self {
            revision: step.and_then(|step| step.rsplit('/').next().map(str::to_owned)),
            state: needed("json-get-url")?,
            key: text(document, "json-key").map(str::to_owned),
            objects: needed("objects-endpoint")?,
            post: place("post-url"),
        })
    }
}

/// An address that a document gives, seen from `base`: http and https only.
fn absolute(base: &str, place: &str) -> Option<String> {
    if let Some((scheme, rest)) = place.split_once("://") {
        let web = scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
        return (web && !rest.is_empty()).then(|| place.to_owned());
    }
    place.starts_with('/').then(|| server(base).map(|server| format!("{server}{place}")))?
}

/// `7` is a number to a hub, `locals/x` is not.
fn number_or_text(revision: &str) -> Value {
    revision.parse::<i64>().map_or_else(|_| Value::from(revision), Value::from)
}

/// A revision's name from a step.
fn revision_of(step: &Value) -> Option<String> {
    number(step, "rev").map(|number| number.to_string()).or_else(|| text(step, "rev").map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(text: &str) -> Result<Places, String> {
        Places::read(&Value::parse(text.as_bytes(), 10_000).unwrap(), "http://10.0.0.7:12368/cgi-bin/pvr")
    }

    #[test]
    fn a_description_says_where_things_are() {
        let read = places(
            r#"{"pvr-spec":"pvr-pantahub-1","json-get-url":"http://10.0.0.7:12368/cgi-bin/pvr/steps/7/state","json-key":"state",
            "objects-endpoint":"/cgi-bin/pvr/objects/","post-url":"http://10.0.0.7:12368/cgi-bin/pvr/steps"}"#,
        );
        let read = read.unwrap();
        assert_eq!(read.objects, "http://10.0.0.7:12368/cgi-bin/pvr/objects");
        assert_eq!(read.key.as_deref(), Some("state"));
        assert!(places(r#"{"json-get-url":"http://a/s"}"#).unwrap_err().contains("objects-endpoint"));
        assert!(places(r#"{"json-get-url":"file:///etc/shadow","objects-endpoint":"/o"}"#).is_err());
        assert!(places("[]").is_err());
    }

    #[test]
    fn a_revision_is_a_number_or_a_name() {
        let step = |text: &str| revision_of(&Value::parse(text.as_bytes(), 1000).unwrap());
        assert_eq!(step(r#"{"rev":7}"#).as_deref(), Some("7"));
        assert_eq!(step(r#"{"rev":"locals/x"}"#).as_deref(), Some("locals/x"));
        assert_eq!(step("{}"), None);
        assert_eq!((number_or_text("7"), number_or_text("locals/x")), (Value::from(7), Value::from("locals/x")));
    }
}
