//! A registry that fails: what is survived, what is resumed, what is refused, and what never reaches the cache.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::fs;
use std::path::Path;

use common::failing::{SIZE, kept, setting};
use common::remote::{Fake, manifest, path};
use common::watch::Watch;
use common::{assert_layers, bytes, context, image, platform, source};
use umiak_registry::{Error, ErrorKind, fetch_all};
use umiak_spec::Silent;
use umiak_testkit::http::Fault;
use umiak_testkit::sample;

#[test]
fn an_image_is_pulled_and_its_reference_is_pinned() {
    let setting = setting();
    setting.pull();
    let source = source(&setting.fake.reference(), &setting.context).unwrap();
    let found = source.resolve(&[]).unwrap();
    let (name, digest) = found.reference.split_once('@').unwrap();
    assert_eq!(name, format!("docker://{}/team/app", setting.fake.server.address()));
    assert_eq!(digest, setting.blobs.last().unwrap().digest.to_string());
    let pinned = common::source(&found.reference, &setting.context).unwrap();
    assert_eq!(pinned.resolve(&[]).unwrap(), found);
}

#[test]
fn nothing_is_downloaded_twice() {
    let setting = setting();
    setting.pull();
    setting.pull();
    assert_eq!(setting.starts(), [0]);
}

#[test]
fn a_pinned_image_that_was_pulled_before_needs_no_network() {
    let setting = setting();
    setting.pull();
    let before = setting.fake.server.requests().len();
    let tagged = source(&setting.fake.reference(), &setting.context).unwrap().resolve(&[]).unwrap();
    assert_eq!(setting.fake.server.requests().len(), before + 1, "a tag may have moved: only it is asked for");
    let common::failing::Setting { context, sample, fake, .. } = setting;
    drop(fake);
    let pinned = source(&tagged.reference, &context).unwrap();
    let found = pinned.resolve(&[platform("linux/amd64")]).unwrap();
    assert_layers(pinned.as_ref(), &found, &sample);
}

#[test]
fn a_layer_that_claims_to_be_endless_is_refused_unfetched() {
    let mut setting = setting();
    setting.context.limits.expanded = 1000;
    assert!(setting.refused().to_string().contains("limit of 1000"));
    assert!(setting.starts().is_empty());
}

#[test]
fn equal_layers_are_downloaded_once_even_at_the_same_time() {
    let setting = setting();
    let source = source(&setting.fake.reference(), &setting.context).unwrap();
    let found = source.resolve(&[]).unwrap();
    let twice = vec![found.layers[0].clone(); 4];
    let blobs = fetch_all(source.as_ref(), &twice, 4, &Silent).unwrap();
    assert!(blobs.iter().all(|blob| bytes(blob) == setting.sample.layers[0].blob));
    assert_eq!(setting.starts(), [0]);
}

#[test]
fn a_cut_connection_is_resumed_where_it_broke() {
    let setting = setting();
    setting.fail([Fault::Cut(100_000), Fault::Cut(200_000)]);
    setting.pull();
    assert_eq!(setting.starts(), [0, 100_000, 300_000]);
}

#[test]
fn a_later_run_resumes_what_an_earlier_one_left() {
    let setting = setting();
    setting.fail(std::iter::once(Fault::Cut(250_000)).chain(std::iter::repeat_n(Fault::Hangup, 40)));
    assert_eq!(setting.refused().kind(), ErrorKind::Network);
    assert!(!kept(&setting.context.cache, &setting.blobs[0]));
    let before = setting.starts().len();

    // The same bytes at another address: the cache goes by digest.
    let other = Fake::start(&setting.blobs);
    let source = source(&other.reference(), &setting.context).unwrap();
    let found = source.resolve(&[]).unwrap();
    assert_layers(source.as_ref(), &found, &setting.sample);
    assert_eq!(other.starts(&path(&setting.blobs[0])), [250_000]);
    assert!(before > 1, "one broken connection is no reason to give up");
}

#[test]
fn a_server_that_falls_silent_is_asked_again() {
    let setting = setting();
    setting.fail([Fault::Stall(50_000)]);
    setting.pull();
    assert_eq!(setting.starts(), [0, 50_000]);
}

#[test]
fn a_server_without_ranges_is_read_from_the_start() {
    let setting = setting();
    setting.fail([Fault::Cut(100_000), Fault::IgnoreRange]);
    setting.pull();
    assert_eq!(setting.starts(), [0, 100_000]);
}

#[test]
fn a_slow_link_is_no_dead_one() {
    let setting = setting();
    // Longer than the patience with a silent server, but never silent for so long.
    setting.fail([Fault::Drip(10)]);
    setting.pull();
    assert_eq!(setting.starts(), [0]);
}

#[test]
fn a_server_whose_blob_is_cut_short_is_found_out() {
    let setting = setting();
    let short = setting.blobs[0].bytes[..300_000].to_vec();
    setting.fake.files.put(&path(&setting.blobs[0]), "application/octet-stream", short);
    // The answer to a range that is not there is 416.
    assert!(matches!(setting.refused(), Error::Size { found: 300_000, .. }));
    let fetched = setting.starts().iter().filter(|start| **start == 0).count();
    assert!(fetched <= 2, "{:?}", setting.starts());
}

#[test]
fn ranges_that_are_not_to_be_had_are_asked_for_as_a_whole() {
    let setting = setting();
    setting.fail([Fault::Cut(100_000), Fault::status(416)]);
    setting.pull();
    assert_eq!(setting.starts(), [0, 100_000, 0]);
}

#[test]
fn no_mixture_of_failures_goes_on_for_ever() {
    for mixture in [
        [Fault::Cut(100_000), Fault::WrongRange],
        [Fault::Cut(100_000), Fault::status(416)],
        [Fault::Cut(100_000), Fault::status(503)],
        [Fault::Stall(0), Fault::IgnoreRange],
        [Fault::Length(50_000), Fault::WrongRange],
    ] {
        let setting = setting();
        // Only the faulty answers count: whatever is right after them would end it.
        setting.fail(mixture.iter().cycle().take(60).cloned());
        let source = source(&setting.fake.reference(), &setting.context).unwrap();
        let found = source.resolve(&[]).unwrap();
        let sums = Watch::until(u64::MAX);
        let result = source.fetch(&found.layers[0], &sums);
        let fetched = sums.done.into_inner();
        assert!(fetched <= 3 * 600_000 && setting.starts().len() < 60, "{mixture:?}: {fetched}, {result:?}");
    }
}

#[test]
fn pieces_that_do_not_fit_together_are_fetched_again_as_one() {
    let setting = setting();
    setting.fail([Fault::Cut(100_000), Fault::WrongBytes]);
    setting.pull();
    assert_eq!(setting.starts(), [0, 100_000, 0]);
}

#[test]
fn a_manifest_without_end_is_refused() {
    let mut setting = setting();
    setting.context.limits.document = 100;
    let error = source(&setting.fake.reference(), &setting.context).unwrap().resolve(&[]).unwrap_err();
    assert!(common::told(&error).contains("limit of 100"), "{}", common::told(&error));
    assert_eq!(setting.fake.server.requests().len(), 1, "it does not get shorter by asking again");
}

#[test]
fn what_a_killed_process_had_fetched_is_kept() {
    let setting = setting();
    setting.fail([Fault::Stall(250_000)]);
    let partial = setting.context.cache.join("blobs/sha256").join(setting.blobs[0].digest.hex());
    let partial = partial.with_extension("partial");
    let mut child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["fetching_until_killed", "--exact"])
        .env("UMIAK_TEST_REFERENCE", setting.fake.reference())
        .env("UMIAK_TEST_DIRECTORY", setting.directory.path())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let there = || fs::metadata(&partial).map_or(0, |found| found.len());
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while there() < 250_000 {
        assert!(std::time::Instant::now() < deadline && child.try_wait().unwrap().is_none(), "{} bytes", there());
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    setting.pull();
    assert_eq!(setting.starts(), [0, 250_000]);
}

/// The process that the test above kills; by itself it does nothing.
#[test]
fn fetching_until_killed() {
    let Ok(reference) = std::env::var("UMIAK_TEST_REFERENCE") else { return };
    let mut context = context(Path::new(&std::env::var_os("UMIAK_TEST_DIRECTORY").unwrap()));
    context.registry.patience = std::time::Duration::from_secs(60);
    let source = source(&reference, &context).unwrap();
    let found = source.resolve(&[]).unwrap();
    let _ = source.fetch(&found.layers[0], &Silent);
    panic!("the server falls silent, so this is never reached");
}

#[test]
fn an_answer_from_elsewhere_is_not_appended() {
    let setting = setting();
    setting.fail([Fault::Cut(100_000), Fault::WrongRange]);
    setting.pull();
    assert_eq!(setting.starts(), [0, 100_000, 0]);
}

#[test]
fn bytes_of_another_place_are_fetched_again_as_one() {
    let setting = setting();
    setting.fail([Fault::Cut(100_000), Fault::WrongPlace]);
    setting.pull();
    assert_eq!(setting.starts(), [0, 100_000, 0]);
}

#[test]
fn another_total_of_a_range_says_nothing() {
    let setting = setting();
    setting.fail([Fault::Cut(100_000), Fault::OtherTotal(5)]);
    setting.pull();
    assert_eq!(setting.starts(), [0, 100_000]);
}

#[test]
fn a_server_that_says_when_to_come_back_is_heeded() {
    thread_local!(static WAITED: std::cell::Cell<u64> = const { std::cell::Cell::new(0) });
    let mut setting = setting();
    setting.context.registry.pause = |time| WAITED.set(WAITED.get() + u64::try_from(time.as_millis()).unwrap());
    setting.fail([Fault::slow_down(30), Fault::slow_down_until(12), Fault::slow_down(3600)]);
    setting.pull();
    assert_eq!(WAITED.get(), 30_000 + 12_000 + 60_000, "an hour is more than anybody waits");
}

#[test]
fn a_blob_host_that_cuts_is_asked_through_the_registry_again() {
    let setting = setting();
    let files = umiak_testkit::http::Files::new();
    files.put("/blob", "application/octet-stream", setting.blobs[0].bytes.clone());
    files.fail("/blob", [Fault::Cut(123_456)]);
    let host = umiak_testkit::http::Server::start(move |request| files.answer(request)).unwrap();
    let to = || Fault::Redirect(format!("http://{}/blob", host.address()));
    setting.fail([to(), to()]);
    setting.pull();
    assert_eq!(setting.starts(), [0, 123_456]);
}

#[test]
fn leftovers_of_something_else_are_dropped() {
    for leftover in [vec![7; 1000], vec![7; SIZE * 2]] {
        let setting = setting();
        let partial = setting.context.cache.join("blobs/sha256").join(setting.blobs[0].digest.hex());
        fs::create_dir_all(partial.parent().unwrap()).unwrap();
        fs::write(partial.with_extension("partial"), leftover).unwrap();
        setting.pull();
        assert_eq!(setting.starts().last(), Some(&0));
    }
}

#[test]
fn a_damaged_blob_in_the_cache_is_fetched_again() {
    let setting = setting();
    setting.pull();
    let place = setting.context.cache.join("blobs/sha256").join(setting.blobs[0].digest.hex());
    let mut wrong = fs::read(&place).unwrap();
    wrong[1000] ^= 1;
    fs::write(&place, wrong).unwrap();
    setting.pull();
    assert_eq!(setting.starts(), [0, 0]);
}

#[test]
fn failures_that_pass_are_waited_out() {
    let setting = setting();
    setting.fail([Fault::status(503), Fault::status(500), Fault::slow_down(1)]);
    setting.fake.files.fail(&manifest("1"), [Fault::status(502), Fault::Hangup]);
    setting.pull();
    assert_eq!(setting.starts().len(), 4);
}

#[test]
fn a_cut_manifest_is_asked_for_again() {
    let setting = setting();
    setting.fake.files.fail(&manifest("1"), [Fault::Cut(20)]);
    setting.fake.files.fail(&path(&setting.blobs[2]), [Fault::Cut(20)]);
    setting.pull();
}

#[test]
fn failures_that_stay_end_it() {
    let setting = setting();
    setting.fail(std::iter::repeat_n(Fault::status(503), 100));
    let error = setting.refused();
    assert_eq!(error.kind(), ErrorKind::Network);
    assert!(error.to_string().contains("503"), "{error}");
    assert!(setting.starts().len() < 30, "attempts are bounded");
}

#[test]
fn wrong_bytes_are_refused_and_never_kept() {
    let setting = setting();
    setting.fail(std::iter::repeat_n(Fault::WrongBytes, 100));
    let error = setting.refused();
    assert!(matches!(&error, Error::Digest { expected, .. } if *expected == setting.blobs[0].digest), "{error:?}");
    assert!(!kept(&setting.context.cache, &setting.blobs[0]));

    // Nothing of it spoils the next try.
    let other = Fake::start(&setting.blobs);
    let source = source(&other.reference(), &setting.context).unwrap();
    let found = source.resolve(&[]).unwrap();
    assert_layers(source.as_ref(), &found, &setting.sample);
}

#[test]
fn a_lying_length_is_found_out() {
    let setting = setting();
    // Shorter: the rest is asked for. Longer: the connection ends early, and there is nothing left to ask for.
    setting.fail([Fault::Length(1000)]);
    setting.pull();

    let too_much = common::failing::setting();
    let mut more = too_much.blobs[0].bytes.clone();
    more.extend([0; 4096]);
    too_much.fake.files.put(&path(&too_much.blobs[0]), "application/octet-stream", more);
    assert!(matches!(too_much.refused(), Error::Size { .. }));
    assert!(!kept(&too_much.context.cache, &too_much.blobs[0]));
}

#[test]
fn a_manifest_with_other_bytes_than_its_digest_is_refused() {
    let setting = setting();
    let digest = setting.blobs.last().unwrap().digest.to_string();
    setting.fake.files.fail(&manifest(&digest), [Fault::WrongBytes]);
    let reference = format!("docker://{}/team/app@{digest}", setting.fake.server.address());
    let error = source(&reference, &setting.context).unwrap().resolve(&[]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
}

#[test]
fn a_missing_image_is_no_network_failure() {
    let setting = setting();
    let reference = format!("docker://{}/team/app:2", setting.fake.server.address());
    let error = source(&reference, &setting.context).unwrap().resolve(&[]).unwrap_err();
    assert!(matches!(&error, Error::NotFound { name, .. } if name == "team/app:2"), "{error:?}");
    assert_eq!(setting.fake.server.requests().len(), 1, "a 404 is not asked for again");

    let mut context = setting.context.clone();
    context.registry.pause = |_| panic!("where nobody has ever answered, waiting is of no use");
    let nobody = source("docker://127.0.0.1:1/team/app:1", &context).unwrap();
    assert_eq!(nobody.resolve(&[]).unwrap_err().kind(), ErrorKind::Network);
}

#[test]
fn a_platform_is_picked_from_the_registrys_index() {
    let setting = setting();
    let samples = ["linux/amd64", "linux/arm64"].map(|platform| image(platform, 4, 10_000));
    let fake = Fake::start(&sample::index(&samples));
    let source = source(&fake.reference(), &setting.context).unwrap();
    let found = source.resolve(&[platform("linux/arm64")]).unwrap();
    assert_eq!(found.config.platform, platform("linux/arm64"));
    let own = sample::image(&samples[1]).last().unwrap().digest;
    assert!(found.reference.ends_with(&own.to_string()), "pinned to the platform's manifest: {}", found.reference);
    assert_eq!(source.resolve(&[platform("linux/arm/v7")]).unwrap_err().kind(), ErrorKind::Platform);
}
