//! Copies between registries that fail: what is resumed on either side, what is refused, and what nobody ever sees.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use common::copying::{Setting, setting, setting_like, whole};
use umiak_registry::{Clock, DEFAULT_BUDGET, ErrorKind, Flow};
use umiak_testkit::http::{Fault, Files, Manner, PushFault, Server, dated};

/// Copies with these faults in reading the largest blob, and compares everything. Returns where its requests began.
fn read_with(faults: impl IntoIterator<Item = Fault>) -> Vec<u64> {
    let setting = setting();
    setting.from.1.fail_reading(&setting.layer_path(), faults);
    setting.copied();
    setting.starts()
}

/// Copies with these faults in sending blobs, and compares everything.
fn sent_with(manner: Manner, faults: impl IntoIterator<Item = PushFault>) -> Setting {
    let setting = setting_like(manner);
    setting.to.1.fail(faults);
    setting.copied();
    setting
}

/// The kind of the error of copying; nothing of it is to be seen.
fn refused(setting: &Setting) -> ErrorKind {
    let error = setting.copy(&whole()).unwrap_err();
    assert!(setting.to.1.manifest("2").is_none(), "{error:?}");
    error.kind()
}

#[test]
fn a_source_that_is_cut_at_any_byte_is_resumed_there() {
    let length = setting().layer().bytes.len();
    for at in [0, 1, 4095, 131_072, length / 2, length - 1] {
        assert_eq!(read_with([Fault::Cut(at)]), [0, at as u64], "{at}");
    }
    assert_eq!(read_with([Fault::Cut(1000), Fault::Cut(1000), Fault::Hangup]), [0, 1000, 2000, 2000]);
}

#[test]
fn a_source_that_falls_silent_is_asked_again() {
    assert_eq!(read_with([Fault::Stall(50_000)]), [0, 50_000]);
}

#[test]
fn a_source_that_is_busy_is_waited_for() {
    read_with([Fault::slow_down(1), Fault::slow_down_until(3), Fault::status(503), Fault::status(500)]);
}

#[test]
fn a_source_that_redirects_to_a_blob_host_is_followed_for_each_piece() {
    let setting = setting();
    let files = Files::new();
    files.put("/blob", "application/octet-stream", setting.layer().bytes.clone());
    files.fail("/blob", [Fault::Cut(70_000)]);
    let host = Server::start(move |request| files.answer(request)).unwrap();
    let to = || Fault::Redirect(format!("http://{}/blob", host.address()));
    setting.from.1.fail_reading(&setting.layer_path(), [to(), to()]);
    setting.copied();
    assert_eq!(setting.starts(), [0, 70_000]);
    assert_eq!(common::remote::starts(&host, "/blob"), [0, 70_000]);
}

#[test]
fn a_source_that_drips_is_no_dead_one() {
    assert_eq!(read_with([Fault::Drip(10)]), [0]);
}

#[test]
fn a_source_without_ranges_is_read_over() {
    assert_eq!(read_with([Fault::Cut(100_000), Fault::IgnoreRange]), [0, 100_000]);
}

#[test]
fn a_source_that_refuses_a_range_is_asked_again_until_it_is_given_up() {
    assert_eq!(read_with([Fault::Cut(100_000), Fault::status(416)]), [0, 100_000, 100_000]);
    let setting = setting();
    let faults = std::iter::once(Fault::Cut(100_000)).chain(std::iter::repeat_n(Fault::status(416), 50));
    setting.from.1.fail_reading(&setting.layer_path(), faults);
    assert_eq!(refused(&setting), ErrorKind::Corrupt);
    assert!(setting.starts().len() < 10, "{:?}", setting.starts());
}

#[test]
fn a_source_that_lies_about_a_length_is_found_out() {
    // Shorter: the rest is asked for.
    assert_eq!(read_with([Fault::Length(1000)]), [0, 1000]);
    // Longer: the connection ends before what it promised.
    read_with([Fault::Length(1 << 20)]);
    read_with([Fault::Cut(100_000), Fault::OtherTotal(7)]);
}

#[test]
fn a_source_that_answers_with_another_range_is_asked_again() {
    assert_eq!(read_with([Fault::Cut(100_000), Fault::WrongRange]), [0, 100_000, 100_000]);
}

#[test]
fn pieces_that_do_not_fit_together_are_copied_again_as_one() {
    assert_eq!(read_with([Fault::Cut(100_000), Fault::WrongPlace]), [0, 100_000, 0]);
}

#[test]
fn wrong_bytes_never_arrive() {
    let setting = setting();
    setting.from.1.fail_reading(&setting.layer_path(), std::iter::repeat_n(Fault::WrongBytes, 20));
    assert_eq!(refused(&setting), ErrorKind::Corrupt);
    assert!(setting.to.1.blob(&setting.layer().digest).is_none());
    assert!(setting.starts().len() <= 2);
}

#[test]
fn a_blob_that_is_longer_than_it_should_be_never_arrives() {
    let setting = setting();
    let mut more = setting.layer().bytes.clone();
    more.push(0);
    setting.from.1.fail_reading(&setting.layer_path(), std::iter::repeat_n(Fault::Instead(more), 20));
    assert_eq!(refused(&setting), ErrorKind::Corrupt);
    assert!(setting.to.1.blob(&setting.layer().digest).is_none());
}

#[test]
fn a_target_that_breaks_off_goes_on_where_it_broke() {
    for at in [1, 4095, 100_000] {
        let setting = sent_with(Manner::default(), [PushFault::Cut(at), PushFault::Cut(at)]);
        assert!(setting.starts().len() <= 3, "what is sent again is fetched from there: {:?}", setting.starts());
    }
    sent_with(Manner { remembers: false, ..Manner::default() }, [PushFault::Cut(100_000)]);
}

#[test]
fn a_target_that_takes_all_and_never_answers_is_looked_at() {
    let setting = sent_with(Manner::default(), [PushFault::Silence]);
    let begun = setting.to.0.requests().iter().filter(|request| request.method == "POST").count();
    assert_eq!(begun, 6, "what it has is not sent again");
}

#[test]
fn a_target_that_is_busy_is_waited_for() {
    let busy = |headers: Vec<(String, String)>| PushFault::Refused(429, headers);
    let seconds = vec![("Retry-After".to_owned(), "1".to_owned())];
    sent_with(Manner::default(), [busy(seconds), busy(dated(2)), PushFault::Status(503)]);
}

#[test]
fn a_target_that_takes_small_bodies_only_gets_chunks() {
    for status in [405, 413, 501] {
        sent_with(Manner::default(), [PushFault::Status(status)]);
    }
}

#[test]
fn a_target_that_stored_something_else_is_not_believed() {
    let setting = setting();
    setting.to.1.fail(std::iter::repeat_n(PushFault::OtherDigest, 20));
    assert_eq!(refused(&setting), ErrorKind::Corrupt);
}

#[test]
fn both_may_fail_at_once() {
    let setting = setting();
    setting.from.1.fail_reading(&setting.layer_path(), [Fault::Cut(50_000), Fault::Stall(10_000), Fault::IgnoreRange]);
    setting.to.1.fail([PushFault::Cut(80_000), PushFault::Status(500), PushFault::Cut(1)]);
    setting.copied();
}

#[test]
fn a_target_that_always_fails_is_given_up() {
    let setting = setting();
    setting.to.1.fail(std::iter::repeat_n(PushFault::Status(500), 200));
    assert_eq!(refused(&setting), ErrorKind::Network);
    assert!(setting.to.0.requests().len() < 100);
}

/// Time that passes only while somebody waits.
#[derive(Default)]
struct Waiting(AtomicU64);

impl Clock for Waiting {
    fn now(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::SeqCst))
    }
    fn pause(&self, time: Duration) {
        self.0.fetch_add(u64::try_from(time.as_nanos()).unwrap(), Ordering::SeqCst);
    }
}

#[test]
fn a_limited_copy_takes_its_time() {
    let mut setting = setting();
    let clock = Arc::new(Waiting::default());
    setting.context.registry.flow = Arc::new(Flow::new(DEFAULT_BUDGET).limited(100_000, clock.clone()));
    setting.copied();
    // Several who wait at once let this clock run ahead: it is a bound from below.
    let least = (2 * common::copying::SIZE) as f64 / 100_000.0 * 0.9;
    assert!(clock.now().as_secs_f64() >= least, "{:?}", clock.now());
}

#[test]
fn a_copy_with_the_least_budget_arrives() {
    let mut setting = setting();
    setting.context.registry.flow = Arc::new(Flow::new(0));
    setting.copied();
}
