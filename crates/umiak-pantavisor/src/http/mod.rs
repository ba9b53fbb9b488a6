//! HTTP to one device: a request, its answer, and what to do when there is none.
//!
//! Guarantees: a token goes to the server of the device's own address only; what was asked for over https is never asked
//! for over http; a device that asks to be left alone (503) is asked again when it said, as long as the caller has
//! patience; every answer that is read has a limit. A request that must not be made twice says so.
//!
//! Nothing waits without end: reaching a device, its silence ([`Settings::patience`]), and a document as a whole, whichever
//! way it goes ([`Settings::document`]) have limits. An object takes as long as it takes while it goes on.

mod body;
mod download;
mod time;
mod wire;

use std::io::Read as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use umiak_pvr::Value;
use umiak_spec::Observer;
use ureq::http::{Method, Request, Response};
use ureq::tls::{PemItem, RootCerts, TlsConfig};
use ureq::unversioned::transport::{ConnectProxyConnector, Connector as _, RustlsConnector};
use ureq::{Agent, SendBody, Timeout};

use crate::clock::{Clock, wait};
use crate::device::Settings;
use crate::error::Error;

pub(crate) use body::{Body, Load, PHASE};
pub use download::Download;
use time::Sent;
pub(crate) use time::Time;
use wire::{NoNames, Wires};

pub(crate) type Answer = Response<ureq::Body>;

/// Failures of the connection in a row before it is given up.
pub(crate) const ATTEMPTS: u32 = 5;

/// How long it takes to reach a device that is there.
const CONNECT: Duration = Duration::from_secs(5);

/// How long it takes to learn where a name leads to: two questions to each of three servers.
const RESOLVE: Duration = Duration::from_secs(30);

/// How long a device is left alone when it is busy and does not say for how long.
const BUSY: Duration = Duration::from_secs(10);

/// The least time between two questions to a device that is busy, whatever it says.
const PAUSE: Duration = Duration::from_secs(1);

/// Bytes of an answer to a failed request that are looked at.
const DETAIL: u64 = 16 << 10;

/// The way to one device.
pub(crate) struct Client {
    agent: Agent,
    /// What all addresses begin with that get the token: scheme, host and port.
    home: String,
    token: Option<String>,
    pub(crate) clock: Arc<dyn Clock>,
    /// How long a document may take.
    document: Duration,
    /// How long a device may be busy.
    busy: Duration,
    /// What messages call the device.
    pub(crate) place: String,
}

/// What is asked for.
#[derive(Clone, Copy)]
pub(crate) struct Ask<'a> {
    pub method: &'a Method,
    pub url: &'a str,
    pub body: Body<'a>,
    /// The first byte that is wanted of what is there.
    pub from: u64,
    /// Whether asking twice does no harm.
    pub repeatable: bool,
    /// How long the answer may take.
    pub time: Time,
}

impl<'a> Ask<'a> {
    pub(crate) fn get(url: &'a str) -> Self {
        Self { method: &Method::GET, url, body: Body::Nothing, from: 0, repeatable: true, time: Time::Document }
    }

    pub(crate) fn put(url: &'a str, body: Body<'a>) -> Self {
        Self { method: &Method::PUT, body, ..Self::get(url) }
    }

    pub(crate) fn post(url: &'a str, body: Body<'a>) -> Self {
        Self { method: &Method::POST, body, ..Self::get(url) }
    }

    /// The same, but only once: who asks twice gets it twice.
    pub(crate) fn once(self) -> Self {
        Self { repeatable: false, ..self }
    }

    /// The same, once, and for those who have not long.
    pub(crate) fn within(self, time: Duration) -> Self {
        Self { time: Time::Within(time), ..self.once() }
    }
}

impl Client {
    /// To the socket of a device, or to the server of `home`.
    pub(crate) fn new(socket: Option<PathBuf>, home: &str, place: String, settings: &Settings) -> Result<Self, Error> {
        Ok(Self {
            agent: agent(socket, home, settings)?,
            home: server(home).unwrap_or_default(),
            token: settings.token.clone(),
            clock: Arc::clone(&settings.clock),
            document: settings.document,
            busy: settings.busy,
            place,
        })
    }

    /// Asks until there is an answer: of success, or of one of the statuses in `known`.
    pub(crate) fn ask(&self, ask: Ask<'_>, known: &[u16], observer: &dyn Observer) -> Result<Answer, Error> {
        let begun = self.clock.now();
        let mut failures = 0;
        loop {
            observer.check()?;
            let (error, asked) = match self.once(ask) {
                Ok(answer) if answer.status().is_success() || known.contains(&answer.status().as_u16()) => {
                    return Ok(answer);
                }
                Ok(answer) if answer.status().as_u16() == 503 => {
                    if let Time::Within(_) = ask.time {
                        return Err(Error::Busy { place: self.place.clone(), waited: Duration::ZERO });
                    }
                    let asked = header(&answer, "Retry-After").and_then(|text| text.trim().parse().ok());
                    self.leave_alone(begun, asked.map_or(BUSY, Duration::from_secs), observer)?;
                    continue;
                }
                Ok(answer) => self.judged(ask, answer)?,
                Err(error) => (error, None),
            };
            failures += 1;
            if !ask.repeatable || failures >= ATTEMPTS || !error.is_connection() && asked.is_none() {
                return Err(error);
            }
            let pause: Duration = asked.unwrap_or_else(|| Duration::from_secs(1 << (failures - 1)));
            wait(&*self.clock, pause, observer)?;
        }
    }

    /// One try.
    fn once(&self, ask: Ask<'_>) -> Result<Answer, Error> {
        let failed = |source: ureq::Error| match source {
            // No weather: the next try would end alike.
            ureq::Error::BadUri(_) | ureq::Error::Http(_) | ureq::Error::RequireHttpsOnly(_) => {
                Error::NotADevice { place: self.named(ask.url), reason: source.to_string() }
            }
            source => Error::Network { action: "reach", place: self.named(ask.url), source: source.into() },
        };
        let mut request = Request::builder().method(ask.method.clone()).uri(ask.url);
        if let Some(token) = self.token.as_ref().filter(|_| server(ask.url).as_ref() == Some(&self.home)) {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        if ask.from > 0 {
            request = request.header("Range", format!("bytes={}-", ask.from));
        }
        let built = |error: ureq::http::Error| failed(error.into());
        let (agent, document) = (&self.agent, Sent::Document);
        match ask.body {
            Body::Nothing if *ask.method == Method::GET => {
                ask.time.run(agent, document, request.body(()).map_err(built)?)
            }
            Body::Nothing => ask.time.run(agent, document, request.body(&[][..]).map_err(built)?),
            Body::Json(text) => {
                let request = request.header("Content-Type", "application/json");
                ask.time.run(agent, document, request.body(text.as_bytes()).map_err(built)?)
            }
            Body::Text(text) => ask.time.run(agent, document, request.body(text.as_bytes()).map_err(built)?),
            Body::Load(load) => {
                // The length makes it one piece: a device knows no other form.
                let request = request.header("Content-Length", load.length());
                let mut reader = load.reader()?;
                let request = request.body(SendBody::from_reader(&mut reader)).map_err(built)?;
                let answer = ask.time.run(agent, Sent::Object, request);
                return match (load.failure(), answer) {
                    (Some(error), _) => Err(error),
                    (None, answer) => answer.map_err(failed),
                };
            }
        }
        .map_err(failed)
    }

    /// What an answer that means failure says, and how long to wait if asking again may help.
    fn judged(&self, ask: Ask<'_>, answer: Answer) -> Result<(Error, Option<Duration>), Error> {
        let status = answer.status().as_u16();
        let place = self.named(ask.url);
        let detail = self.detail(answer);
        let error = match status {
            401 | 403 => Error::Denied { place, detail },
            409 => Error::Conflict { place, detail },
            422 => Error::Refused { place, detail },
            507 => Error::NoRoom { place, detail },
            _ => Error::Status { place, status, detail },
        };
        match status {
            429 | 502 | 504 => Ok((error, Some(BUSY))),
            _ => Err(error),
        }
    }

    /// What a device says about a failure, as far as it comes in time: what is asked for may have been an object.
    fn detail(&self, mut answer: Answer) -> Option<String> {
        let begun = self.clock.now();
        let mut reader = answer.body_mut().with_config().limit(DETAIL).reader();
        let (mut bytes, mut buffer) = (Vec::new(), [0; 1024]);
        while self.clock.now().saturating_sub(begun) < self.document {
            match reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => bytes.extend(&buffer[..count]),
                Err(_) => return None,
            }
        }
        detail(&bytes)
    }

    fn leave_alone(&self, since: Duration, asked: Duration, observer: &dyn Observer) -> Result<(), Error> {
        let waited = self.clock.now().saturating_sub(since);
        // A device that says 0 is not asked as fast as it answers.
        let asked = asked.max(PAUSE);
        if waited.saturating_add(asked) > self.busy {
            return Err(Error::Busy { place: self.place.clone(), waited });
        }
        observer.note(&format!("The device is busy; asking again in {} s", asked.as_secs()));
        Ok(wait(&*self.clock, asked, observer)?)
    }

    /// An address as messages show it: without its query, which may be a secret.
    fn named(&self, url: &str) -> String {
        let url = url.split('?').next().unwrap_or(url);
        match url.strip_prefix(wire::SOCKET_HOST) {
            Some(path) => format!("{} ({path})", self.place),
            None => url.to_owned(),
        }
    }

    /// All of an answer that is a small document.
    pub(crate) fn read(&self, answer: Answer, limit: u64, what: &str) -> Result<Vec<u8>, Error> {
        let mut answer = answer;
        answer.body_mut().with_config().limit(limit).read_to_vec().map_err(|source| match source {
            ureq::Error::BodyExceedsLimit(_) => Error::Document {
                what: what.to_owned(),
                source: umiak_pvr::json::ParseError::TooLong { length: limit.saturating_add(1), limit },
            },
            ureq::Error::Timeout(Timeout::RecvBody) => {
                Error::Slow { place: self.place.clone(), what: what.to_owned(), limit: self.document }
            }
            source => Error::Network { action: "read from", place: self.place.clone(), source: source.into() },
        })
    }

    /// The same as JSON.
    pub(crate) fn json(&self, answer: Answer, limit: u64, what: &str) -> Result<Value, Error> {
        let bytes = self.read(answer, limit, what)?;
        Value::parse(&bytes, limit).map_err(|source| Error::Document { what: what.to_owned(), source })
    }

    /// GETs a JSON document, again if the answer breaks off.
    pub(crate) fn document(&self, url: &str, limit: u64, what: &str, observer: &dyn Observer) -> Result<Value, Error> {
        let mut failures = 0;
        loop {
            let answer = self.ask(Ask::get(url), &[], observer)?;
            match self.json(answer, limit, what) {
                Err(error) if error.is_connection() && failures + 1 < ATTEMPTS => failures += 1,
                other => return other,
            }
            wait(&*self.clock, Duration::from_secs(1 << (failures - 1)), observer)?;
        }
    }
}

/// A header of an answer.
pub(crate) fn header<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    answer.headers().get(name)?.to_str().ok()
}

/// What a device says about a failure: `{"Error":"…"}`, or the first line of a text.
fn detail(bytes: &[u8]) -> Option<String> {
    let document = Value::parse(bytes, DETAIL).ok();
    let member = |name| document.as_ref().and_then(|document| document.get(name)?.as_str().map(str::to_owned));
    let text = ["Error", "error", "msg"].into_iter().find_map(member);
    let text = text.unwrap_or_else(|| String::from_utf8_lossy(bytes).lines().next().unwrap_or("").to_owned());
    let line: String = text.trim().chars().filter(|character| !character.is_control()).take(200).collect();
    (!line.is_empty() && !line.starts_with('<')).then_some(line)
}

/// Scheme, host and port of an address, in one form.
pub(crate) fn server(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let scheme = scheme.to_ascii_lowercase();
    let host = rest.split(['/', '?', '#']).next()?.to_ascii_lowercase();
    let usual = if scheme == "https" { ":443" } else { ":80" };
    Some(format!("{scheme}://{}", host.strip_suffix(usual).unwrap_or(&host)))
}

fn agent(socket: Option<PathBuf>, home: &str, settings: &Settings) -> Result<Agent, Error> {
    let patience = Some(settings.patience);
    let encrypted = home.starts_with("https://");
    let mut config = Agent::config_builder()
        .http_status_as_error(false)
        .https_only(encrypted)
        .max_redirects(5)
        .max_redirects_will_error(false)
        .user_agent(concat!("umiak/", env!("CARGO_PKG_VERSION")))
        .timeout_resolve(Some(RESOLVE))
        .timeout_connect(Some(CONNECT.min(settings.patience)))
        .timeout_send_body(Some(settings.document))
        .timeout_recv_response(patience)
        .timeout_recv_body(Some(settings.document))
        .timeout_per_read(patience)
        .timeout_per_write(patience);
    if !encrypted {
        // What serves on devices closes or forgets connections as it likes; making one costs nothing next to it.
        config = config.max_idle_connections(0);
    }
    let mut tls = TlsConfig::builder().disable_verification(settings.insecure);
    if let Some(pem) = &settings.ca_certificates {
        tls = tls.root_certs(roots(pem)?);
    }
    config = config.tls_config(tls.build());
    match settings.proxy.as_deref() {
        _ if socket.is_some() => config = config.proxy(None),
        None | Some("system") => {}
        Some("no" | "") => config = config.proxy(None),
        Some(url) => {
            let unusable = |_| Error::Unsupported(format!("`{url}` is no proxy's address"));
            config = config.proxy(Some(ureq::Proxy::new(url).map_err(unusable)?));
        }
    }
    let names = NoNames::unless(socket.is_none());
    let connector =
        ().chain(ConnectProxyConnector::default()).chain(Wires { socket }).chain(RustlsConnector::default());
    Ok(Agent::with_parts(config.build(), connector, names))
}

fn roots(pem: &[u8]) -> Result<RootCerts, Error> {
    let items = ureq::tls::parse_pem(pem).collect::<Result<Vec<_>, _>>();
    let items = items.map_err(|_| Error::Unsupported("the file of CA certificates is not PEM".into()))?;
    let certificates = items.into_iter().filter_map(|item| match item {
        PemItem::Certificate(certificate) => Some(certificate),
        _ => None,
    });
    Ok(RootCerts::new_with_certs(&certificates.collect::<Vec<_>>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_scheme_host_and_port() {
        assert_eq!(server("HTTP://Kiosk.local:80/a?b"), server("http://kiosk.local"));
        for other in ["https://kiosk.local", "http://kiosk.local:81", "http://kiosk.local.evil", "http://x@kiosk.local"]
        {
            assert_ne!(server("http://kiosk.local"), server(other), "{other}");
        }
        assert_eq!(server("kiosk"), None);
    }
}
