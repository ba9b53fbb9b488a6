//! Being let in: tokens, passwords, helpers, and where credentials never go.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use common::remote::{Fake, path, settings};
use common::{assert_layers, context, image, source};
use umiak_registry::{Context, Credentials, ErrorKind};
use umiak_testkit::http::{Fault, Files, Request, Response, Server};
use umiak_testkit::sample::{self, SampleImage};

/// `me:secret` in base64.
const BASIC: &str = "Basic bWU6c2VjcmV0";

fn me() -> Credentials {
    Credentials { username: "me".into(), password: "secret".into() }
}

/// The files of a fake registry behind a guard.
fn guarded(
    guard: impl Fn(&Request) -> Option<Response> + Send + Sync + 'static,
) -> (tempfile::TempDir, Context, SampleImage, Server, Files) {
    let directory = tempfile::tempdir().unwrap();
    let context = context(directory.path());
    let sample = image("linux/amd64", 2, 50_000);
    let files = Fake::start(&sample::image(&sample)).files;
    let answering = files.clone();
    let server = Server::start(move |request| guard(request).unwrap_or_else(|| answering.answer(request))).unwrap();
    (directory, context, sample, server, files)
}

fn reference(server: &Server) -> String {
    format!("docker://{}/team/app:1", server.address())
}

fn basic_guard(request: &Request) -> Option<Response> {
    let asks = Response::new(401, "").with("WWW-Authenticate", r#"Basic realm="here""#);
    (request.header("authorization") != Some(BASIC)).then_some(asks)
}

#[test]
fn a_password_is_sent_when_it_is_asked_for() {
    let (_directory, mut context, sample, server, _) = guarded(basic_guard);
    let refused = source(&reference(&server), &context).unwrap().resolve(&[]).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Denied, "{refused:?}");
    context.registry.credentials = Some(me());
    let source = source(&reference(&server), &context).unwrap();
    let found = source.resolve(&[]).unwrap();
    assert_layers(source.as_ref(), &found, &sample);
    context.registry.credentials = Some(Credentials { password: "wrong".into(), ..me() });
    let refused = common::source(&reference(&server), &context).unwrap().resolve(&[]).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Denied, "{refused:?}");
    assert!(!common::told(&refused).contains("wrong"), "passwords are not told");
}

#[test]
fn dockers_configuration_is_used() {
    let (directory, mut context, _, server, _) = guarded(basic_guard);
    let config = directory.path().join("config.json");
    let auth = BASIC.trim_start_matches("Basic ");
    fs::write(&config, format!(r#"{{"auths":{{"{}":{{"auth":"{auth}"}}}}}}"#, server.address())).unwrap();
    context.registry.docker_config = Some(config.clone());
    assert!(source(&reference(&server), &context).unwrap().resolve(&[]).is_ok());
    fs::write(&config, "nonsense").unwrap();
    let error = source(&reference(&server), &context).unwrap().resolve(&[]).unwrap_err();
    assert!(error.to_string().contains("config.json"), "{error}");
}

/// A registry that wants tokens, and the server that gives them to `me`.
fn with_tokens() -> (tempfile::TempDir, Context, SampleImage, Server, Arc<Server>) {
    let tokens = Server::start(|request| match request.header("authorization") {
        Some(BASIC) => Response::new(200, r#"{"token":"for-me"}"#),
        Some(_) => Response::new(401, ""),
        None => Response::new(200, r#"{"access_token":"for-all"}"#),
    });
    let tokens = Arc::new(tokens.unwrap());
    let realm = format!("http://{}/token", tokens.address());
    let (directory, context, sample, server, _) = guarded(move |request| {
        let asks = format!(r#"Bearer realm="{realm}",service="registry.example",scope="repository:team/app:pull""#);
        match request.header("authorization") {
            Some("Bearer for-me" | "Bearer for-all") => None,
            _ => Some(Response::new(401, "").with("WWW-Authenticate", asks)),
        }
    });
    (directory, context, sample, server, tokens)
}

#[test]
fn tokens_are_fetched_once_for_all_requests() {
    let (_directory, mut context, sample, server, tokens) = with_tokens();
    for credentials in [None, Some(me())] {
        context.registry.credentials = credentials;
        let before = tokens.requests().len();
        let source = source(&reference(&server), &context).unwrap();
        let found = source.resolve(&[]).unwrap();
        assert_layers(source.as_ref(), &found, &sample);
        let asked = tokens.requests().split_off(before);
        assert_eq!(asked.len(), 1);
        assert!(asked[0].target.contains("service=registry.example"), "{}", asked[0].target);
        assert!(asked[0].target.contains("scope=repository"), "{}", asked[0].target);
    }
    let passed_on = |request: &Request| request.header("authorization") == Some(BASIC);
    assert!(!server.requests().iter().any(passed_on), "the password is for the token server");
}

#[test]
fn a_token_server_that_stumbles_is_asked_again() {
    let asked = std::sync::atomic::AtomicUsize::new(0);
    let tokens = Server::start(move |_| match asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
        0 => Response::default(),
        1 => Response::new(503, "busy"),
        2 => Response::new(429, "").with("Retry-After", "1"),
        _ => Response::new(200, r#"{"token":"t"}"#),
    });
    let tokens = tokens.unwrap();
    let realm = format!("http://{}/token", tokens.address());
    let (_directory, context, sample, server, _) = guarded(move |request| {
        let asks = Response::new(401, "").with("WWW-Authenticate", format!(r#"Bearer realm="{realm}""#));
        (request.header("authorization") != Some("Bearer t")).then_some(asks)
    });
    let source = source(&reference(&server), &context).unwrap();
    let found = source.resolve(&[]).unwrap();
    assert_layers(source.as_ref(), &found, &sample);
    assert_eq!(tokens.requests().len(), 4);
}

#[test]
fn a_token_server_that_stays_away_ends_it() {
    let tokens = Server::start(|_| Response::new(500, "down")).unwrap();
    let realm = format!("http://{}/token", tokens.address());
    let (_directory, context, _, server, _) =
        guarded(move |_| Some(Response::new(401, "").with("WWW-Authenticate", format!(r#"Bearer realm="{realm}""#))));
    let error = source(&reference(&server), &context).unwrap().resolve(&[]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Network, "{error:?}");
    assert!(error.to_string().contains("/token"), "{error}");
    assert!(tokens.requests().len() < 10);
}

#[test]
fn a_wrong_password_is_denied_by_the_token_server() {
    let (_directory, mut context, _, server, _tokens) = with_tokens();
    context.registry.credentials = Some(Credentials { password: "wrong".into(), ..me() });
    let error = source(&reference(&server), &context).unwrap().resolve(&[]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied, "{error:?}");
}

#[test]
fn an_expired_token_is_replaced() {
    let tokens = Server::start({
        let given = std::sync::atomic::AtomicUsize::new(0);
        move |_| {
            Response::new(200, format!(r#"{{"token":"t{}"}}"#, given.fetch_add(1, std::sync::atomic::Ordering::SeqCst)))
        }
    })
    .unwrap();
    let realm = format!("http://{}/token", tokens.address());
    let (_directory, context, sample, server, _) = guarded(move |request| {
        // The first token is good for manifests only, as if it had expired by the time of the blobs.
        let wanted = if request.target.contains("/manifests/") { "Bearer t0" } else { "Bearer t1" };
        let asks = Response::new(401, "").with("WWW-Authenticate", format!(r#"Bearer realm="{realm}""#));
        (request.header("authorization") != Some(wanted)).then_some(asks)
    });
    let source = source(&reference(&server), &context).unwrap();
    let found = source.resolve(&[]).unwrap();
    assert_layers(source.as_ref(), &found, &sample);
    assert_eq!(tokens.requests().len(), 2);
}

#[test]
fn a_redirect_is_followed_without_the_credentials() {
    let (_directory, mut context, sample, server, files) = guarded(basic_guard);
    context.registry.credentials = Some(me());
    let blobs = sample::image(&sample);
    let elsewhere = Fake::start(&blobs);
    // The same machine under another name is another host.
    let there = elsewhere.server.address().replace("127.0.0.1", "localhost");
    files.fail(&path(&blobs[0]), [Fault::Redirect(format!("http://{there}{}", path(&blobs[0])))]);
    let source = source(&reference(&server), &context).unwrap();
    let found = source.resolve(&[]).unwrap();
    assert_layers(source.as_ref(), &found, &sample);
    let asked = elsewhere.server.requests();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].header("authorization"), None);
}

#[test]
fn a_redirect_to_another_port_goes_without_the_credentials() {
    let (_directory, mut context, sample, server, files) = guarded(basic_guard);
    context.registry.credentials = Some(me());
    let blobs = sample::image(&sample);
    let elsewhere = Fake::start(&blobs);
    let there = elsewhere.server.address();
    files.fail(&path(&blobs[0]), [Fault::Redirect(format!("http://{there}{}", path(&blobs[0])))]);
    let source = source(&reference(&server), &context).unwrap();
    let found = source.resolve(&[]).unwrap();
    assert_layers(source.as_ref(), &found, &sample);
    let asked = elsewhere.server.requests();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].header("authorization"), None);
}

#[test]
fn redirects_without_end_are_given_up() {
    let (_directory, context, sample, server, files) = guarded(|_| None);
    let blobs = sample::image(&sample);
    let itself = format!("http://{}{}", server.address(), path(&blobs[0]));
    files.fail(&path(&blobs[0]), std::iter::repeat_n(Fault::Redirect(itself), 1000));
    let source = source(&reference(&server), &context).unwrap();
    let found = source.resolve(&[]).unwrap();
    let error = source.fetch(&found.layers[0], &umiak_spec::Silent).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Network, "{error:?}");
}

/// Helpers are found on the search path, which belongs to a process: this test runs its other half in a new one.
#[test]
fn a_credential_helper_is_asked_on_its_standard_input() {
    let directory = tempfile::tempdir().unwrap();
    let helper = directory.path().join("docker-credential-umiak-test");
    let script = format!(
        "#!/bin/sh\nread server\necho \"$1 $server\" >> {}/asked\n\
         case $server in *unknown*) echo 'credentials not found in native keychain'; exit 1;; esac\n\
         echo '{{\"ServerURL\":\"x\",\"Username\":\"me\",\"Secret\":\"secret\"}}'\n",
        directory.path().display()
    );
    fs::write(&helper, script).unwrap();
    fs::set_permissions(&helper, fs::Permissions::from_mode(0o755)).unwrap();
    let path = std::env::var("PATH").unwrap_or_default();
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["helped", "--exact", "--nocapture"])
        .env("PATH", format!("{}:{path}", directory.path().display()))
        .env("UMIAK_TEST_HELPED", directory.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let asked = fs::read_to_string(directory.path().join("asked")).unwrap();
    assert!(asked.starts_with("get 127.0.0.1:"), "{asked}");
}

/// The other half of the test above; where no helper is on the search path, the error names it.
#[test]
fn helped() {
    let place = std::env::var_os("UMIAK_TEST_HELPED");
    let (directory, mut context, _, server, _) = guarded(basic_guard);
    let config = place.as_deref().map_or(directory.path(), std::path::Path::new).join("config.json");
    context.registry = umiak_registry::RegistrySettings { docker_config: Some(config.clone()), ..settings() };
    for text in [
        format!(r#"{{"credHelpers":{{"{}":"umiak-test"}}}}"#, server.address()),
        r#"{"credsStore":"umiak-test"}"#.to_owned(),
    ] {
        fs::write(&config, text).unwrap();
        match source(&reference(&server), &context).unwrap().resolve(&[]) {
            Ok(_) => assert!(place.is_some()),
            Err(error) => {
                assert!(place.is_none(), "{error:?}");
                assert!(error.to_string().contains("docker-credential-umiak-test"), "{error}");
            }
        }
    }
}
