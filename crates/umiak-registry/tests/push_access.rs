//! Being let in to write: what a token is asked for, and where credentials never go.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::deltas::{assert_same, found, sample, subject};
use common::{context, told};
use umiak_registry::{Context, Credentials, ErrorKind};
use umiak_testkit::http::{Manner, Request, Response, Server, Store};

/// `me:secret` in base64.
const BASIC: &str = "Basic bWU6c2VjcmV0";

/// A registry that can be pushed to, behind a guard that may also change its answers.
fn guarded(
    guard: impl Fn(&Request, Response) -> Response + Send + Sync + 'static,
) -> (tempfile::TempDir, Context, Server, Store) {
    let directory = tempfile::tempdir().unwrap();
    let mut context = context(directory.path());
    context.registry.credentials = Some(Credentials { username: "me".into(), password: "secret".into() });
    let store = Store::default();
    let answering = store.clone();
    let server = Server::start(move |request| guard(request, answering.answer(request, Manner::default()))).unwrap();
    (directory, context, server, store)
}

fn round_trip(server: &Server, context: &Context) {
    let reference = format!("docker://{}/team/app", server.address());
    let delta = sample(&subject(), "one", 50_000);
    let put = delta.put_to(&reference, context).unwrap();
    assert_same(&found(&reference, &subject().digest, context), &[(&put, &delta)]);
}

#[test]
fn one_token_serves_for_looking_and_for_sending() {
    let tokens = Server::start(|request| {
        let scope = request.target.split("scope=").nth(1).unwrap_or("").replace("%3A", ":").replace("%2C", ",");
        let writes = scope.replace("%2F", "/").starts_with("repository:team/app:pull,push");
        Response::new(200, if writes { r#"{"token":"both"}"# } else { r#"{"token":"reading"}"# })
    });
    let tokens = tokens.unwrap();
    let realm = format!("http://{}/token", tokens.address());
    let (_directory, context, server, _) = guarded(move |request, answer| {
        let reads = ["GET", "HEAD"].contains(&request.method.as_str());
        let scope = if reads { "pull" } else { "pull,push" };
        let asks = format!(r#"Bearer realm="{realm}",scope="repository:team/app:{scope}""#);
        match request.header("authorization") {
            Some("Bearer both") => answer,
            Some("Bearer reading") if reads => answer,
            _ => Response::new(401, "").with("WWW-Authenticate", asks),
        }
    });
    let reference = format!("docker://{}/team/app", server.address());
    sample(&subject(), "one", 50_000).put_to(&reference, &context).unwrap();
    assert_eq!(tokens.requests().len(), 1);
    assert_eq!(tokens.requests()[0].header("authorization"), Some(BASIC));
    // Whoever only reads does not ask for more.
    found(&reference, &subject().digest, &context);
    assert_eq!(tokens.requests().len(), 2);
    assert!(!tokens.requests()[1].target.contains("push"), "{}", tokens.requests()[1].target);
}

#[test]
fn a_reader_who_may_not_write_is_told() {
    let (_directory, context, server, _) = guarded(|request, answer| match request.method.as_str() {
        "GET" | "HEAD" => answer,
        _ => Response::new(403, ""),
    });
    let reference = format!("docker://{}/team/app", server.address());
    let error = sample(&subject(), "one", 10).put_to(&reference, &context).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied, "{error:?}");
    assert!(error.to_string().contains("team/app"), "{error}");
}

/// A registry that wants a password and has uploads sent to `elsewhere`.
fn sending_elsewhere(
    elsewhere: impl Fn(&str) -> String + Send + Sync + 'static,
) -> impl Fn(&Request, Response) -> Response {
    move |request, mut answer| {
        if request.header("authorization") != Some(BASIC) {
            return Response::new(401, "").with("WWW-Authenticate", r#"Basic realm="here""#);
        }
        for (name, value) in &mut answer.headers {
            if name == "Location" {
                *value = elsewhere(value);
            }
        }
        answer
    }
}

#[test]
fn an_upload_that_goes_elsewhere_goes_without_the_credentials() {
    let there = std::sync::Arc::new(std::sync::OnceLock::<String>::new());
    let known = std::sync::Arc::clone(&there);
    let guard = sending_elsewhere(move |location| format!("http://{}{location}", known.get().unwrap()));
    let (_directory, context, server, store) = guarded(guard);
    let elsewhere = Server::start(move |request| store.answer(request, Manner::default())).unwrap();
    there.set(elsewhere.address()).unwrap();
    round_trip(&server, &context);
    let asked = elsewhere.requests();
    assert!(asked.iter().filter(|request| request.method == "PUT").count() >= 3, "{}", asked.len());
    assert!(asked.iter().all(|request| request.header("authorization").is_none()));
}

#[test]
fn an_upload_may_go_on_at_an_address_of_any_form() {
    let relative = |location: &str| location.rsplit('/').next().unwrap().to_owned();
    let (_directory, context, server, _) = guarded(sending_elsewhere(relative));
    round_trip(&server, &context);
}

#[test]
fn an_upload_that_goes_nowhere_is_an_error() {
    for (location, words) in [("ftp://x/y", "ftp://x/y"), ("", "does not say where")] {
        let (_directory, context, server, _) = guarded(move |_, mut answer| {
            answer.headers.retain_mut(|(name, value)| {
                *value = if name == "Location" { location.to_owned() } else { value.clone() };
                !value.is_empty()
            });
            answer
        });
        let reference = format!("docker://{}/team/app", server.address());
        let error = sample(&subject(), "one", 10).put_to(&reference, &context).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Network);
        assert!(told(&error).contains(words), "{}", told(&error));
    }
}
