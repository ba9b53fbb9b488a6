//! HTTP for registries: one request with its credentials, tried again when trying again may help.
//!
//! Guarantees: the Authorization header goes only to the registry's host, never to where a redirect leads; a server
//! that is silent for the patience is given up; waiting times are bounded, also those that a server asks for.

use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use umiak_spec::{Cancelled, Observer};
use ureq::Agent;
use ureq::http::{Response, StatusCode};
use ureq::tls::{PemItem, RootCerts, TlsConfig};

use crate::auth::{Credentials, base64_encode};
use crate::distribution::RegistrySettings;
use crate::error::Error;
use crate::redirect;

/// Failures in a row, without a byte of progress, before it is given up.
pub(crate) const ATTEMPTS: u32 = 5;

/// Longest wait between two attempts, whatever a server asks for.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// How long a request to stop may go unheard while waiting.
const PAUSE_STEP: Duration = Duration::from_millis(200);

pub(crate) type Answer = Response<ureq::Body>;

/// A connection pool to one registry, and what it takes to be let in.
pub(crate) struct Transport {
    agent: Agent,
    host: String,
    scope: String,
    settings: RegistrySettings,
    authorization: Mutex<Option<String>>,
    /// Whether the registry has ever answered.
    met: AtomicBool,
    /// Whether it was asked over http and wants https.
    speaks_tls: AtomicBool,
}

/// What a registry asks for with status 401.
#[derive(Debug, PartialEq, Eq)]
enum Challenge {
    Basic,
    Bearer { realm: String, service: Option<String>, scope: Option<String> },
}

#[derive(Deserialize)]
struct Token {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
}

impl Transport {
    /// For one repository of `host`.
    pub(crate) fn new(host: &str, repository: &str, settings: &RegistrySettings) -> Result<Self, Error> {
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            // Followed here: ureq sends credentials on to another port of the same host.
            .max_redirects(0)
            .user_agent(concat!("umiak/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(settings.patience.min(Duration::from_secs(20))))
            .timeout_recv_response(Some(settings.patience))
            .timeout_per_read(Some(settings.patience));
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
        Ok(Self {
            agent: config.build().new_agent(),
            host: host.to_owned(),
            scope: format!("repository:{repository}:pull"),
            settings: settings.clone(),
            authorization: Mutex::default(),
            met: AtomicBool::new(false),
            speaks_tls: AtomicBool::new(false),
        })
    }

    /// GETs `url`. Statuses that mean success or say something about the range (2xx, 416) are returned, others are
    /// errors. `observer` may end the waiting between attempts.
    pub(crate) fn get(&self, url: &str, headers: &[(&str, &str)], observer: &dyn Observer) -> Result<Answer, Error> {
        let mut failures = 0;
        let mut asked = false;
        let mut url = self.spoken(url);
        let (mut at, mut redirects) = (url.clone(), 0);
        loop {
            let at_home = redirect::same_server(&at, &url);
            let (error, wait) = match self.call(&at, headers, at_home) {
                Err(error) => {
                    let hopeless = self.is_hopeless(&error);
                    let error = Error::Network { action: "reach", url: at.clone(), source: error.into() };
                    if hopeless {
                        return Err(error);
                    }
                    (error, None)
                }
                Ok(answer) => match answer.status().as_u16() {
                    200..=299 | 416 => return Ok(answer),
                    301 | 302 | 303 | 307 | 308 => {
                        redirects += 1;
                        at = redirected(&answer, &at, redirects)?;
                        continue;
                    }
                    401 if !asked && at_home => {
                        asked = true;
                        self.authorize(&answer, &at)?;
                        continue;
                    }
                    401 | 403 => return Err(self.denied(None)),
                    status => {
                        let wait = retry_after(&answer);
                        let detail = detail(answer);
                        if status == 400 && at_home && self.wants_tls(&at, detail.as_deref()) {
                            url = self.spoken(&url);
                            at.clone_from(&url);
                            continue;
                        }
                        let error = Error::Status { url: at.clone(), status, detail };
                        if status != 429 && status < 500 {
                            return Err(error);
                        }
                        (error, wait)
                    }
                },
            };
            failures += 1;
            if failures >= ATTEMPTS {
                return Err(error);
            }
            // From the beginning: what a redirect led to may have expired.
            (at, redirects) = (url.clone(), 0);
            self.pause(failures, wait, observer)?;
        }
    }

    fn call(&self, url: &str, headers: &[(&str, &str)], with_credentials: bool) -> Result<Answer, ureq::Error> {
        let mut request = self.agent.get(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(value) = self.authorization().filter(|_| with_credentials) {
            request = request.header("Authorization", value);
        }
        request.call().inspect(|_| self.met.store(true, Ordering::Relaxed))
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
            ureq::Error::Tls(_) | ureq::Error::Rustls(_) | ureq::Error::BadUri(_) | ureq::Error::InvalidProxyUrl => {
                true
            }
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

    /// Waits before attempt number `failures`: what the server asked for, else a second, two, four …
    pub(crate) fn pause(
        &self,
        failures: u32,
        asked: Option<Duration>,
        observer: &dyn Observer,
    ) -> Result<(), Cancelled> {
        let doubled = Duration::from_secs(1) * 2_u32.saturating_pow(failures.saturating_sub(1));
        let mut left = asked.unwrap_or(doubled).min(LONGEST_PAUSE);
        while !left.is_zero() {
            observer.check()?;
            let step = left.min(PAUSE_STEP);
            (self.settings.pause)(step);
            left -= step;
        }
        observer.check()
    }

    fn authorization(&self) -> Option<String> {
        self.authorization.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn denied(&self, source: Option<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        let name = self.scope.trim_start_matches("repository:").trim_end_matches(":pull").to_owned();
        Error::Denied { registry: self.host.clone(), name, source }
    }

    fn credentials(&self) -> Result<Option<Credentials>, Error> {
        match (&self.settings.credentials, &self.settings.docker_config) {
            (Some(given), _) => Ok(Some(given.clone())),
            (None, Some(config)) => crate::auth::find(config, &self.host),
            (None, None) => Ok(None),
        }
    }

    /// Gets what the challenge of a 401 from `url` asks for.
    fn authorize(&self, answer: &Answer, url: &str) -> Result<(), Error> {
        let asked = answer.headers().get_all("WWW-Authenticate").iter().filter_map(|value| value.to_str().ok());
        let challenges: Vec<Challenge> = asked.filter_map(challenge).collect();
        let credentials = self.credentials()?;
        let value = match challenges.iter().max_by_key(|challenge| matches!(challenge, Challenge::Bearer { .. })) {
            Some(Challenge::Bearer { realm, .. }) if url.starts_with("https://") && !realm.starts_with("https://") => {
                return Err(self.denied(Some(format!("it wants the password sent to {realm}, unencrypted").into())));
            }
            Some(Challenge::Bearer { realm, service, scope }) => {
                let scope = scope.as_deref().unwrap_or(&self.scope);
                format!("Bearer {}", self.token(realm, service.as_deref(), scope, credentials.as_ref())?)
            }
            Some(Challenge::Basic) => basic(credentials.as_ref().ok_or_else(|| self.denied(None))?),
            None => return Err(self.denied(Some("the registry does not say how to log in".into()))),
        };
        *self.authorization.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
        Ok(())
    }

    fn token(
        &self,
        realm: &str,
        service: Option<&str>,
        scope: &str,
        credentials: Option<&Credentials>,
    ) -> Result<String, Error> {
        let result = match credentials {
            Some(credentials) if credentials.username == "<token>" => {
                let form = [
                    ("grant_type", "refresh_token"),
                    ("client_id", "umiak"),
                    ("service", service.unwrap_or("")),
                    ("scope", scope),
                    ("refresh_token", &credentials.password),
                ];
                self.agent.post(realm).send_form(form)
            }
            _ => {
                let mut request = self.agent.get(realm).query("scope", scope);
                if let Some(service) = service {
                    request = request.query("service", service);
                }
                if let Some(credentials) = credentials {
                    request = request.header("Authorization", basic(credentials));
                }
                request.call()
            }
        };
        let network = |source: ureq::Error| Error::Network {
            action: "get a token from",
            url: realm.to_owned(),
            source: source.into(),
        };
        let mut answer = result.map_err(network)?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::BAD_REQUEST => return Err(self.denied(None)),
            status => {
                return Err(Error::Status { url: realm.to_owned(), status: status.as_u16(), detail: detail(answer) });
            }
        }
        let body = answer.body_mut().with_config().limit(1 << 20).read_to_vec().map_err(network)?;
        let token: Token = serde_json::from_slice(&body)
            .map_err(|source| Error::Document { what: format!("the token from {realm}"), source: source.into() })?;
        token.token.or(token.access_token).ok_or_else(|| self.denied(Some("the token server gave no token".into())))
    }
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

fn basic(credentials: &Credentials) -> String {
    format!("Basic {}", base64_encode(format!("{}:{}", credentials.username, credentials.password).as_bytes()))
}

/// What the server says about a failure: the first message of the distribution specification's error list, or text.
fn detail(mut answer: Answer) -> Option<String> {
    let text = answer.body_mut().with_config().limit(64 << 10).read_to_string().ok()?;
    let document: Option<serde_json::Value> = serde_json::from_str(&text).ok();
    let message = document.as_ref().and_then(|document| document["errors"][0]["message"].as_str());
    let line = message.unwrap_or_else(|| text.lines().next().unwrap_or("")).trim();
    let line: String = line.chars().filter(|letter| !letter.is_control()).take(200).collect();
    (!line.is_empty()).then_some(line)
}

fn retry_after(answer: &Answer) -> Option<Duration> {
    let seconds = answer.headers().get("Retry-After")?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// Reads one WWW-Authenticate value: the scheme and its `name="value"` parameters.
fn challenge(text: &str) -> Option<Challenge> {
    let (scheme, mut rest) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
    if scheme.eq_ignore_ascii_case("basic") {
        return Some(Challenge::Basic);
    }
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let (mut realm, mut service, mut scope) = (None, None, None);
    while let Some((name, after)) = rest.split_once('=') {
        let (value, next) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => after.split_once(',').unwrap_or((after, "")),
        };
        match name.trim_matches([',', ' ']).to_ascii_lowercase().as_str() {
            "realm" => realm = Some(value.to_owned()),
            "service" => service = Some(value.to_owned()),
            "scope" => scope = Some(value.to_owned()),
            _ => {}
        }
        rest = next;
    }
    Some(Challenge::Bearer { realm: realm?, service, scope })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_of_real_registries() {
        let text =
            r#"Bearer realm="https://auth.example/token",service="registry.example",scope="repository:a/b:pull,push""#;
        let Some(Challenge::Bearer { realm, service, scope }) = challenge(text) else { panic!("no bearer") };
        assert_eq!(realm, "https://auth.example/token");
        assert_eq!(service.as_deref(), Some("registry.example"));
        assert_eq!(scope.as_deref(), Some("repository:a/b:pull,push"));
        assert_eq!(challenge(r#"Basic realm="x""#), Some(Challenge::Basic));
        assert_eq!(challenge("Negotiate"), None);
        assert_eq!(challenge(r#"Bearer service="x""#), None, "no realm, nobody to ask");
        assert_eq!(challenge(r#"Bearer realm="cut"#), None);
    }
}
