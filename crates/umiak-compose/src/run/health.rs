//! How a service is found to be healthy: the image's `HEALTHCHECK` with the project's `healthcheck` over it, value by
//! value.
//!
//! Two keys of umiak's own take the place of `test`: `x-umiak-tcp: 8080` (a connection is accepted) and
//! `x-umiak-http: 8080/path` (`GET` is answered with a status below 400). They need no program in the image.

use umiak_spec::service::{Health, ImageDefaults, ImageHealth, Probe};

use super::field::Field;

pub(super) fn read(field: &Field<'_>, image: &ImageDefaults) -> Option<Health> {
    let below = image.health.clone().unwrap_or_default();
    let Some(value) = field.get("healthcheck") else { return below.settled(&image.shell) };
    let time = |key: &str| value.get(key).and_then(|value| value.duration()).filter(|time| !time.is_zero());
    let own = ImageHealth {
        test: value.get("test").map(|test| words(&test)).unwrap_or_default(),
        interval: time("interval"),
        timeout: time("timeout"),
        start_period: time("start_period"),
        start_interval: time("start_interval"),
        retries: value.get("retries").and_then(|value| value.number()).filter(|retries| *retries > 0),
    };
    let disabled = value.get("disable").and_then(|value| value.truth()) == Some(true);
    if disabled || own.test.first().is_some_and(|word| word == "NONE") {
        return None;
    }
    match probe(&value) {
        Some(probe) => Some(own.over(&below).timed(probe)),
        None => own.over(&below).settled(&image.shell),
    }
}

/// The test as the image's configuration would have it; a text is for the shell.
fn words(test: &Field<'_>) -> Vec<String> {
    if test.value.as_list().is_none() {
        return test.text().filter(|text| !text.is_empty()).map_or(vec![], |text| vec!["CMD-SHELL".to_owned(), text]);
    }
    let words = test.texts();
    let right = match words.split_first() {
        None => true,
        Some((form, rest)) => match form.as_str() {
            "NONE" => rest.is_empty(),
            "CMD" => !rest.is_empty(),
            "CMD-SHELL" => rest.len() == 1,
            _ => false,
        },
    };
    if !right {
        test.refuse("a test is a text, or a list that begins with NONE, CMD or CMD-SHELL");
    }
    words
}

fn probe(value: &Field<'_>) -> Option<Probe> {
    if let Some(tcp) = value.get("x-umiak-tcp") {
        return tcp.parsed("a port", port).map(|port| Probe::Tcp { port });
    }
    value.get("x-umiak-http")?.parsed("PORT/PATH", |text| {
        let (number, path) = text.split_once('/').unwrap_or((text, ""));
        let plain = path.bytes().all(|byte| byte.is_ascii_graphic());
        Some(Probe::Http { port: port(number).filter(|_| plain)?, path: format!("/{path}") })
    })
}

fn port(text: &str) -> Option<u16> {
    text.parse().ok().filter(|port| *port > 0)
}
