//! HTTP for registries: one request with its credentials, tried again when trying again may help.
//!
//! Guarantees: the Authorization header goes only to the registry's host, never to where a redirect leads or to where an
//! upload is to be sent; a server that is silent for the patience is given up; waiting times are bounded, also those that a server asks for.

use std::hash::{BuildHasher as _, Hasher as _};
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use umiak_spec::{Cancelled, Observer};
use ureq::http::{Method, Request, Response};
use ureq::tls::{PemItem, RootCerts, TlsConfig};
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{ConnectProxyConnector, Connector as _, RustlsConnector};
use ureq::{Agent, SendBody};

use crate::body::Stretch;
use crate::connect::Wires;
use crate::distribution::RegistrySettings;
use crate::error::Error;
use crate::login::Login;
use crate::redirect;
use crate::retry::retry_after;

/// Failures in a row, without a byte of progress, before it is given up.
pub(crate) const ATTEMPTS: u32 = 5;

/// Longest wait between two attempts, whatever a server asks for.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Bytes of each of the two buffers of a connection.
const BUFFER: usize = 128 << 10;

/// The same on the slowest link: the head of an answer must fit.
const LEAST_BUFFER: usize = 16 << 10;

/// How long a request to stop may go unheard while waiting.
const PAUSE_STEP: Duration = Duration::from_millis(200);

pub(crate) type Answer = Response<ureq::Body>;

/// A connection pool to one registry, and what it takes to be let in.
pub(crate) struct Transport {
    agent: Agent,
    login: Login,
    /// An address of the registry: only its server is shown credentials.
    home: String,
    pause: fn(Duration),
    /// Whether the registry has ever answered.
    met: AtomicBool,
    /// Whether it was asked over http and wants https.
    speaks_tls: AtomicBool,
}

/// What is asked of a server.
#[derive(Clone, Copy)]
pub(crate) struct Ask<'a> {
    pub method: &'a Method,
    pub url: &'a str,
    pub headers: &'a [(&'a str, &'a str)],
    pub body: Option<&'a Stretch<'a>>,
}

/// A failed request, and what may be done about it.
pub(crate) struct Setback {
    pub error: Box<Error>,
    /// Whether trying again may help.
    pub again: bool,
    /// How long the server asks to wait.
    pub wait: Option<Duration>,
}

impl From<Error> for Setback {
    fn from(error: Error) -> Self {
        Self { error: Box::new(error), again: false, wait: None }
    }
}

/// Where one request has got to.
struct Journey {
    /// Where it is now: what was asked for, or where redirects led.
    at: String,
    redirects: u32,
    logged_in: bool,
}

impl Journey {
    fn from(start: String) -> Self {
        Self { at: start, redirects: 0, logged_in: false }
    }
}

impl Transport {
    /// For the repository that `login` is for, whose addresses begin with `home`.
    pub(crate) fn new(home: &str, login: Login, settings: &RegistrySettings) -> Result<Self, Error> {
        Ok(Self {
            agent: agent(settings)?,
            login,
            home: home.to_owned(),
            pause: settings.pause,
            met: AtomicBool::new(false),
            speaks_tls: AtomicBool::new(false),
        })
    }

    /// GETs `url`. Statuses that mean success or say something about the range (2xx, 416) are returned, others are
    /// errors. `observer` may end the waiting between attempts.
    pub(crate) fn get(&self, url: &str, headers: &[(&str, &str)], observer: &dyn Observer) -> Result<Answer, Error> {
        self.ask(Ask { method: &Method::GET, url, headers, body: None }, observer)
    }

    /// The same for any request that may be made twice.
    pub(crate) fn ask(&self, ask: Ask<'_>, observer: &dyn Observer) -> Result<Answer, Error> {
        let mut failures = 0;
        loop {
            let setback = match self.once(ask, observer) {
                Ok(answer) => return Ok(answer),
                Err(setback) => setback,
            };
            failures += 1;
            if !setback.again || failures >= ATTEMPTS {
                return Err(*setback.error);
            }
            self.pause(failures, setback.wait, observer)?;
        }
    }

    /// One try, with the redirects and logins that it takes. It begins at the beginning: what a redirect led to before
    /// may have expired, and so may a token.
    pub(crate) fn once(&self, ask: Ask<'_>, observer: &dyn Observer) -> Result<Answer, Setback> {
        let mut journey = Journey::from(self.spoken(ask.url));
        loop {
            observer.check().map_err(Error::from)?;
            if let Some(answer) = self.step(&mut journey, ask)? {
                return Ok(answer);
            }
        }
    }

    /// One request; `None` when another one has to follow: after a redirect, a login, a change to https.
    fn step(&self, journey: &mut Journey, ask: Ask<'_>) -> Result<Option<Answer>, Setback> {
        let at = journey.at.clone();
        let at_home = redirect::same_server(&at, &self.spoken(&self.home));
        let answer = self.call(&at, ask, at_home).map_err(|error| match ask.body.and_then(Stretch::failure) {
            Some(failure) => unreadable(failure).into(),
            None => Setback {
                again: !self.is_hopeless(&error),
                error: Error::Network { action: "reach", url: bare(&at), source: error.into() }.into(),
                wait: None,
            },
        })?;
        match answer.status().as_u16() {
            200..=299 => Ok(Some(answer)),
            416 if ask.method == Method::GET => Ok(Some(answer)),
            301 | 302 | 303 | 307 | 308 => {
                journey.redirects += 1;
                journey.at = redirected(&answer, &at, journey.redirects)?;
                Ok(None)
            }
            401 if at_home && !journey.logged_in => {
                self.login.answer(&self.agent, &answer, &at)?;
                journey.logged_in = true;
                Ok(None)
            }
            401 | 403 => Err(self.login.denied(None).into()),
            status => {
                let wait = retry_after(&answer);
                let detail = detail(answer);
                if status == 400 && at_home && self.wants_tls(&at, detail.as_deref()) {
                    *journey = Journey::from(self.spoken(ask.url));
                    return Ok(None);
                }
                let error = Box::new(Error::Status { url: bare(&at), status, detail });
                Err(Setback { error, again: status == 429 || status >= 500, wait })
            }
        }
    }

    fn call(&self, url: &str, ask: Ask<'_>, with_credentials: bool) -> Result<Answer, ureq::Error> {
        let mut request = Request::builder().method(ask.method.clone()).uri(url);
        for (name, value) in ask.headers {
            request = request.header(*name, *value);
        }
        if let Some(value) = self.login.authorization().filter(|_| with_credentials) {
            request = request.header("Authorization", value);
        }
        let answer = match ask.body {
            None => self.agent.run(request.body(())?),
            Some(body) => {
                // The length makes it one piece: not every registry takes a body in chunks of HTTP's own.
                let request = request.header("Content-Length", body.length());
                self.agent.run(request.body(SendBody::from_reader(&mut body.reader()))?)
            }
        };
        answer.inspect(|_| self.met.store(true, Ordering::Relaxed))
    }

    /// The address in the scheme that the registry speaks.
    fn spoken(&self, url: &str) -> String {
        match url.strip_prefix("http://") {
            Some(rest) if self.speaks_tls.load(Ordering::Relaxed) => format!("https://{rest}"),
            _ => url.to_owned(),
        }
    }

    /// Whether the server asked over http says that it speaks https, as Go's and nginx do.
    fn wants_tls(&self, url: &str, detail: Option<&str>) -> bool {
        let wants = url.starts_with("http://") && detail.is_some_and(|text| text.contains("HTTPS"));
        wants && !self.speaks_tls.swap(true, Ordering::Relaxed)
    }

    /// Whether trying again cannot help: certificates and names do not change in seconds, and a registry that has never
    /// answered and refuses is most likely not there.
    fn is_hopeless(&self, error: &ureq::Error) -> bool {
        match error {
            ureq::Error::Tls(_) | ureq::Error::Rustls(_) | ureq::Error::InvalidProxyUrl => true,
            ureq::Error::BadUri(_) | ureq::Error::Http(_) => true,
            // What rustls finds wrong with a certificate comes as this.
            ureq::Error::Io(error) if error.kind() == ErrorKind::InvalidData => true,
            ureq::Error::HostNotFound | ureq::Error::ConnectionFailed => !self.met.load(Ordering::Relaxed),
            ureq::Error::Io(error) => {
                let absent = [ErrorKind::ConnectionRefused, ErrorKind::HostUnreachable, ErrorKind::NetworkUnreachable];
                absent.contains(&error.kind()) && !self.met.load(Ordering::Relaxed)
            }
            _ => false,
        }
    }

    /// Lets a moment pass while somebody else is busy with what is wanted here.
    pub(crate) fn wait_briefly(&self, observer: &dyn Observer) -> Result<(), Cancelled> {
        observer.check()?;
        (self.pause)(PAUSE_STEP);
        Ok(())
    }

    /// Waits after failure number `failures`: what the server asked for, else about a second, two, four … Never exactly:
    /// many who lost a server at once should not come back at once.
    pub(crate) fn pause(
        &self,
        failures: u32,
        asked: Option<Duration>,
        observer: &dyn Observer,
    ) -> Result<(), Cancelled> {
        let doubled = Duration::from_secs(1) * 2_u32.saturating_pow(failures.saturating_sub(1));
        let mut left = asked.unwrap_or_else(|| spread(doubled, any_number())).min(LONGEST_PAUSE);
        while !left.is_zero() {
            observer.check()?;
            let step = left.min(PAUSE_STEP);
            (self.pause)(step);
            left -= step;
        }
        observer.check()
    }
}

/// An address as messages show it: without its query, which tells nobody anything and may be a secret of the server's.
fn bare(url: &str) -> String {
    url.split('?').next().unwrap_or(url).to_owned()
}

/// What was to be sent cannot be read, or the work was stopped while it was sent.
pub(crate) fn unreadable(failure: std::io::Error) -> Error {
    match failure.get_ref() {
        Some(inner) if inner.is::<Cancelled>() => Cancelled.into(),
        // It came from elsewhere at the same time: that is what failed.
        Some(inner) if inner.is::<Error>() => match failure.downcast() {
            Ok(error) => error,
            Err(source) => Error::Unreadable { source },
        },
        _ => Error::Unreadable { source: failure },
    }
}

/// The client that all requests to one registry go through.
fn agent(settings: &RegistrySettings) -> Result<Agent, Error> {
    let mut config = Agent::config_builder()
        .http_status_as_error(false)
        // Followed here: ureq sends credentials on to another port of the same host.
        .max_redirects(0)
        .user_agent(concat!("umiak/", env!("CARGO_PKG_VERSION")))
        .timeout_connect(Some(settings.patience.min(Duration::from_secs(20))))
        .timeout_recv_response(Some(settings.patience))
        .timeout_per_read(Some(settings.patience))
        .timeout_per_write(Some(settings.patience))
        // A slow link brings little at a time, and whoever waits for it listens in between.
        .input_buffer_size(settings.flow.most_at_once(settings.window.unwrap_or(BUFFER).min(BUFFER)).max(LEAST_BUFFER))
        .output_buffer_size(settings.flow.most_at_once(BUFFER).max(LEAST_BUFFER));
    let mut tls = TlsConfig::builder().disable_verification(settings.insecure);
    if let Some(pem) = &settings.ca_certificates {
        tls = tls.root_certs(roots(pem)?);
    }
    config = config.tls_config(tls.build());
    match settings.proxy.as_deref() {
        None | Some("system") => {}
        Some("no" | "") => config = config.proxy(None),
        Some(url) => {
            let proxy =
                ureq::Proxy::new(url).map_err(|_| Error::Unsupported(format!("`{url}` is no proxy's address")))?;
            config = config.proxy(Some(proxy));
        }
    }
    let wires = Wires { flow: Arc::clone(&settings.flow), window: settings.window };
    let connector = ().chain(ConnectProxyConnector::default()).chain(wires).chain(RustlsConnector::default());
    Ok(Agent::with_parts(config.build(), connector, DefaultResolver::default()))
}

/// `duration`, a quarter more or less.
fn spread(duration: Duration, number: u64) -> Duration {
    let share = u32::try_from(number % 513).unwrap_or(0);
    duration * 3 / 4 + duration / 1024 * share
}

/// A number that differs from process to process and from call to call: the seed of the standard library's hash maps.
fn any_number() -> u64 {
    std::hash::RandomState::new().build_hasher().finish()
}

/// Where the answer of `from` leads.
fn redirected(answer: &Answer, from: &str, redirects: u32) -> Result<String, Error> {
    let location = answer.headers().get("Location").and_then(|value| value.to_str().ok());
    let reason = match location.map(|location| (location, redirect::follow(from, location))) {
        _ if redirects > redirect::MOST => format!("more than {} redirects", redirect::MOST),
        Some((_, Some(to))) => return Ok(to),
        Some((location, None)) => format!("it redirects to {}", location.chars().take(200).collect::<String>()),
        None => "it redirects nowhere".to_owned(),
    };
    Err(Error::Network { action: "follow", url: from.to_owned(), source: reason.into() })
}

fn roots(pem: &[u8]) -> Result<RootCerts, Error> {
    let items = ureq::tls::parse_pem(pem).collect::<Result<Vec<_>, _>>();
    let items = items.map_err(|_| Error::Unsupported("the file of CA certificates is not PEM".into()))?;
    let certificates: Vec<_> = items
        .into_iter()
        .filter_map(|item| match item {
            PemItem::Certificate(certificate) => Some(certificate),
            _ => None,
        })
        .collect();
    Ok(RootCerts::new_with_certs(&certificates))
}

/// What the server says about a failure: the first message of the distribution specification's error list, or text.
pub(crate) fn detail(mut answer: Answer) -> Option<String> {
    let text = answer.body_mut().with_config().limit(64 << 10).read_to_string().ok()?;
    let document: Option<serde_json::Value> = serde_json::from_str(&text).ok();
    let message = document.as_ref().and_then(|document| document["errors"][0]["message"].as_str());
    let line = message.unwrap_or_else(|| text.lines().next().unwrap_or("")).trim();
    let line: String = line.chars().filter(|letter| !letter.is_control()).take(200).collect();
    (!line.is_empty()).then_some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_times_are_spread_around_what_they_should_be() {
        let second = Duration::from_secs(1);
        let (least, most) = (Duration::from_millis(750), Duration::from_millis(1250));
        assert_eq!(spread(second, 0), least);
        assert!((0..2000).all(|number| (least..=most).contains(&spread(second, number))));
        assert!(spread(second, 512) > Duration::from_millis(1249));
        let different: std::collections::BTreeSet<u64> = (0..10).map(|_| any_number() % 513).collect();
        assert!(different.len() > 1);
    }
}
