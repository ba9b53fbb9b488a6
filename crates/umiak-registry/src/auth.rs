//! Credentials for registries: given by the caller, or from Docker's configuration and its helper programs.
//!
//! Guarantees: credentials are looked up for one host and sent only there; a helper is run with the host on its
//! standard input, nothing on its command line. A helper that knows nothing is no error; one that fails is.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::Deserialize;

use crate::error::{Error, IoContext as _};

/// A name and a password, or a token that is exchanged for others.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// User name; `<token>` means that the password is an identity token.
    pub username: String,
    /// Password or token.
    pub password: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credentials {{ username: {:?}, .. }}", self.username)
    }
}

/// The parts of Docker's config.json that concern registries.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct DockerConfig {
    auths: Option<BTreeMap<String, Auth>>,
    cred_helpers: Option<BTreeMap<String, String>>,
    creds_store: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Auth {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
}

/// What a helper answers.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Helped {
    #[serde(default)]
    username: String,
    #[serde(default)]
    secret: String,
}

/// What Docker's configuration has for `host`.
///
/// # Errors
/// The configuration is there and cannot be read, is not JSON, or a helper cannot be run or fails.
pub(crate) fn find(config: &Path, host: &str) -> Result<Option<Credentials>, Error> {
    let text = match std::fs::read(config) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        text => text.at("read", config)?,
    };
    let config: DockerConfig = serde_json::from_slice(&text)
        .map_err(|source| Error::Document { what: config.display().to_string(), source: source.into() })?;
    let names = names(host);
    // An empty name is how people switch a helper off.
    let named = |helper: &&String| !helper.is_empty();
    for name in &names {
        if let Some(helper) = config.cred_helpers.as_ref().and_then(|helpers| helpers.get(name)).filter(named) {
            return ask(helper, name);
        }
    }
    if let Some(helper) = config.creds_store.as_ref().filter(named) {
        for name in &names {
            if let Some(found) = ask(helper, name)? {
                return Ok(Some(found));
            }
        }
    }
    let found = config.auths.iter().flatten().find(|(name, _)| names.iter().any(|wanted| bare(name) == bare(wanted)));
    Ok(found.and_then(|(_, auth)| decoded(auth)))
}

/// The names that configurations use for one registry.
fn names(host: &str) -> Vec<String> {
    match host {
        "docker.io" => ["https://index.docker.io/v1/", "docker.io", "index.docker.io", "registry-1.docker.io"]
            .map(str::to_owned)
            .into(),
        other => vec![other.to_owned(), format!("https://{other}")],
    }
}

fn bare(name: &str) -> &str {
    let name = name.strip_prefix("https://").or_else(|| name.strip_prefix("http://")).unwrap_or(name);
    name.split('/').next().unwrap_or(name)
}

fn decoded(auth: &Auth) -> Option<Credentials> {
    if let Some(token) = auth.identitytoken.as_ref().filter(|token| !token.is_empty()) {
        return Some(Credentials { username: "<token>".into(), password: token.clone() });
    }
    if let (Some(username), Some(password)) = (&auth.username, &auth.password) {
        return Some(Credentials { username: username.clone(), password: password.clone() });
    }
    let plain = String::from_utf8(decode(auth.auth.as_ref()?)?).ok()?;
    let (username, password) = plain.split_once(':')?;
    Some(Credentials { username: username.to_owned(), password: password.trim_end_matches('\0').to_owned() })
}

/// Base64 as Docker writes it; padding is not counted.
fn decode(text: &str) -> Option<Vec<u8>> {
    STANDARD_NO_PAD.decode(text.trim().trim_end_matches('=')).ok()
}

/// Asks a helper program for the credentials of `server`, by Docker's credential-helper protocol.
fn ask(helper: &str, server: &str) -> Result<Option<Credentials>, Error> {
    let program = format!("docker-credential-{helper}");
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| Error::Denied {
        registry: server.to_owned(),
        name: format!("credentials ({program})"),
        source: Some(source),
    };
    let mut child = Command::new(&program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| failed(error.into()))?;
    if let Some(mut input) = child.stdin.take() {
        // A helper may answer without reading.
        let _ = input.write_all(server.as_bytes());
    }
    let output = child.wait_with_output().map_err(|error| failed(error.into()))?;
    let said = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        let knows_nothing = said.contains("credentials not found");
        return if knows_nothing { Ok(None) } else { Err(failed(said.trim().to_owned().into())) };
    }
    let helped: Helped = serde_json::from_slice(&output.stdout).map_err(|error| failed(error.into()))?;
    let empty = helped.secret.is_empty();
    Ok((!empty).then_some(Credentials { username: helped.username, password: helped.secret }))
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    fn config(text: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.json");
        std::fs::write(&path, text).unwrap();
        (directory, path)
    }

    #[test]
    fn reads_what_docker_login_stores() {
        let auth = STANDARD.encode(b"me:s:cret");
        let (_kept, path) = config(&format!(
            r#"{{"auths":{{"registry.example:5000":{{"auth":"{auth}"}},"https://index.docker.io/v1/":{{"identitytoken":"t"}}}}}}"#
        ));
        let found = find(&path, "registry.example:5000").unwrap().unwrap();
        assert_eq!((found.username.as_str(), found.password.as_str()), ("me", "s:cret"));
        assert_eq!(find(&path, "docker.io").unwrap().unwrap().username, "<token>");
        assert_eq!(find(&path, "other.example").unwrap(), None);
        assert_eq!(find(Path::new("/nonexistent/config.json"), "x").unwrap(), None);
        assert!(!format!("{found:?}").contains("s:cret"), "passwords are not shown");
    }

    #[test]
    fn what_was_left_empty_is_not_there() {
        let auth = STANDARD.encode(b"me:secret");
        for text in [
            format!(
                r#"{{"credsStore":"","credHelpers":{{"h.example":""}},"auths":{{"h.example":{{"auth":"{auth}"}}}}}}"#
            ),
            format!(r#"{{"credHelpers":null,"credsStore":null,"auths":{{"https://h.example":{{"auth":"{auth}"}}}}}}"#),
        ] {
            let (_kept, path) = config(&text);
            assert_eq!(find(&path, "h.example").unwrap().unwrap().username, "me", "{text}");
        }
        let (_kept, path) = config(r#"{"auths":null}"#);
        assert_eq!(find(&path, "h.example").unwrap(), None);
    }

    #[test]
    fn a_missing_helper_is_named() {
        let (_kept, path) = config(r#"{"credHelpers":{"registry.example":"umiak-test-missing"}}"#);
        let error = find(&path, "registry.example").unwrap_err();
        assert!(error.to_string().contains("docker-credential-umiak-test-missing"), "{error}");
    }

    #[test]
    fn a_configuration_that_cannot_be_read_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let error = find(directory.path(), "h.example").unwrap_err();
        assert!(matches!(error, Error::Io { .. }), "{error:?}");
    }

    #[test]
    fn names_and_passwords_are_read_with_and_without_padding() {
        for text in ["Zm9v", "Zm9vYg==", "Zm9vYg", " Zm9vYg==\n"] {
            assert!(b"foob".starts_with(&decode(text).unwrap()), "{text}");
        }
        assert_eq!(decode("!"), None);
    }
}
