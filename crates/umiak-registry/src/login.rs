//! Logging in to a registry: what a 401 asks for, and the header that answers it.
//!
//! Follows RFC 7617 (basic) and the token authentication of the distribution specification (bearer). Guarantees: a
//! password that an https registry asks for never goes out unencrypted; a token is asked for once and used for every
//! request until the registry wants another.

use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use ureq::Agent;

use crate::auth::Credentials;
use crate::distribution::RegistrySettings;
use crate::error::Error;
use crate::retry::retry_after;
use crate::transport::{Answer, Setback, detail};

/// Reading.
pub(crate) const PULL: &str = "pull";
/// Writing; reading is part of it.
pub(crate) const PUSH: &str = "pull,push";

/// Removing; needs the other two to find what is to be removed.
pub(crate) const DELETE: &str = "pull,push,delete";

/// One repository's Authorization header, once there is one.
pub(crate) struct Login {
    host: String,
    repository: String,
    /// What is going to be done: [`PULL`], [`PUSH`] or [`DELETE`].
    actions: &'static str,
    /// Another repository that is read.
    other: Option<String>,
    settings: RegistrySettings,
    authorization: Mutex<Option<String>>,
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

impl Login {
    pub(crate) fn new(host: &str, repository: &str, actions: &'static str, settings: &RegistrySettings) -> Self {
        Self {
            host: host.to_owned(),
            repository: repository.to_owned(),
            actions,
            other: None,
            settings: settings.clone(),
            authorization: Mutex::default(),
        }
    }

    /// The same with permission to read another repository.
    pub(crate) fn reading(self, other: Option<&str>) -> Self {
        Self { other: other.map(str::to_owned), ..self }
    }

    /// The header's value that the registry last accepted or was never shown.
    pub(crate) fn authorization(&self) -> Option<String> {
        self.authorization.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What it means when the registry still says no.
    pub(crate) fn denied(&self, source: Option<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        Error::Denied { registry: self.host.clone(), name: self.repository.clone(), source }
    }

    fn credentials(&self) -> Result<Option<Credentials>, Error> {
        match (&self.settings.credentials, &self.settings.docker_config) {
            (Some(given), _) => Ok(Some(given.clone())),
            (None, Some(config)) => crate::auth::find(config, &self.host),
            (None, None) => Ok(None),
        }
    }

    /// Gets what the challenge of a 401 from `url` asks for.
    ///
    /// # Errors
    /// [`Setback`]; worth another try when the token server could not be reached or is busy.
    pub(crate) fn answer(&self, agent: &Agent, answer: &Answer, url: &str) -> Result<(), Setback> {
        let asked = answer.headers().get_all("WWW-Authenticate").iter().filter_map(|value| value.to_str().ok());
        let challenges: Vec<Challenge> = asked.filter_map(challenge).collect();
        let credentials = self.credentials()?;
        let value = match challenges.iter().max_by_key(|challenge| matches!(challenge, Challenge::Bearer { .. })) {
            Some(Challenge::Bearer { realm, .. }) if url.starts_with("https://") && !realm.starts_with("https://") => {
                let reason = format!("it wants the password sent to {realm}, unencrypted");
                return Err(self.denied(Some(reason.into())).into());
            }
            Some(Challenge::Bearer { realm, service, scope }) => {
                let own = format!("repository:{}:", self.repository);
                // Asked for all at once: the token for looking whether a blob is there must serve for sending it, too.
                let all = format!("{own}{}", self.actions);
                let scope =
                    scope.as_deref().filter(|scope| self.actions == PULL || !scope.starts_with(&own)).unwrap_or(&all);
                let mut scopes = vec![scope.to_owned()];
                scopes.extend(self.other.as_ref().map(|other| format!("repository:{other}:{PULL}")));
                format!("Bearer {}", self.token(agent, realm, service.as_deref(), &scopes, credentials.as_ref())?)
            }
            Some(Challenge::Basic) => basic(credentials.as_ref().ok_or_else(|| self.denied(None))?),
            None => return Err(self.denied(Some("the registry does not say how to log in".into())).into()),
        };
        *self.authorization.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
        Ok(())
    }

    fn token(
        &self,
        agent: &Agent,
        realm: &str,
        service: Option<&str>,
        scopes: &[String],
        credentials: Option<&Credentials>,
    ) -> Result<String, Setback> {
        let network = |source: ureq::Error| {
            let again = !matches!(source, ureq::Error::Tls(_) | ureq::Error::Rustls(_) | ureq::Error::BadUri(_));
            let (action, url) = ("get a token from", realm.to_owned());
            Setback { error: Error::Network { action, url, source: source.into() }.into(), again, wait: None }
        };
        let mut answer = ask(agent, realm, service, scopes, credentials).map_err(network)?;
        match answer.status().as_u16() {
            200 => {}
            400 | 401 | 403 => return Err(self.denied(None).into()),
            status => {
                let (again, wait) = (status == 429 || status >= 500, retry_after(&answer));
                let error = Box::new(Error::Status { url: realm.to_owned(), status, detail: detail(answer) });
                return Err(Setback { error, again, wait });
            }
        }
        let body = answer.body_mut().with_config().limit(1 << 20).read_to_vec().map_err(network)?;
        let token: Token = serde_json::from_slice(&body)
            .map_err(|source| Error::Document { what: format!("the token from {realm}"), source: source.into() })?;
        let token = token.token.or(token.access_token).filter(|token| !token.is_empty());
        Ok(token.ok_or_else(|| self.denied(Some("the token server gave no token".into())))?)
    }
}

/// Asks the token server: with GET and a password, or with POST when Docker's configuration has an identity token.
fn ask(
    agent: &Agent,
    realm: &str,
    service: Option<&str>,
    scopes: &[String],
    credentials: Option<&Credentials>,
) -> Result<Answer, ureq::Error> {
    if let Some(credentials) = credentials.filter(|credentials| credentials.username == "<token>") {
        return agent.post(realm).send_form([
            ("grant_type", "refresh_token"),
            ("client_id", "umiak"),
            ("service", service.unwrap_or("")),
            // One member, several words: RFC 6749.
            ("scope", &scopes.join(" ")),
            ("refresh_token", &credentials.password),
        ]);
    }
    let mut request = scopes.iter().fold(agent.get(realm), |request, scope| request.query("scope", scope));
    if let Some(service) = service {
        request = request.query("service", service);
    }
    if let Some(credentials) = credentials {
        request = request.header("Authorization", basic(credentials));
    }
    request.call()
}

fn basic(credentials: &Credentials) -> String {
    format!("Basic {}", STANDARD.encode(format!("{}:{}", credentials.username, credentials.password)))
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

    proptest::proptest! {
        #[test]
        fn any_challenge_is_read_or_refused(pieces in proptest::collection::vec("Bearer|Basic| |,|=|\"|realm|scope|service|[a-z:/]{0,5}|\\PC", 0..12)) {
            let text = pieces.concat();
            if let Some(Challenge::Bearer { realm, .. }) = challenge(&text) {
                proptest::prop_assert!(text.contains(&realm));
            }
        }
    }

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
