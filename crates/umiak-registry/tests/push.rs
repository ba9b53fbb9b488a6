//! Pushing to a registry that fails: what is resumed, what is begun anew, what is refused.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::sync::atomic::Ordering;

use common::deltas::{Sample, assert_same, found, sample, subject};
use common::watch::Watch;
use common::{context, told};
use umiak_registry::{Context, Error, ErrorKind, Sink, Stored, open_sink};
use umiak_spec::{Descriptor, Digest, ReadAt, Silent};
use umiak_testkit::http::{Manner, PushFault, Request, Response, Server, Store, dated};

const SIZE: usize = 600_000;

/// A registry that can be pushed to, and an empty cache.
struct Setting {
    _directory: tempfile::TempDir,
    context: Context,
    server: Server,
    store: Store,
    blob: Descriptor,
    content: Vec<u8>,
}

fn setting(manner: Manner) -> Setting {
    let directory = tempfile::tempdir().unwrap();
    let context = context(directory.path());
    let (server, store) = Store::start(manner).unwrap();
    let content: Vec<u8> = (0..SIZE).map(|at| (at.wrapping_mul(31) >> 3).to_le_bytes()[0]).collect();
    let blob = Descriptor::new("a/b", Digest::of(&content), SIZE as u64);
    Setting { _directory: directory, context, server, store, blob, content }
}

impl Setting {
    fn reference(&self) -> String {
        format!("docker://{}/team/app", self.server.address())
    }

    fn sink(&self) -> Box<dyn Sink> {
        open_sink(&self.reference().parse().unwrap(), &self.context).unwrap()
    }

    fn put(&self) -> Result<Stored, Error> {
        self.sink().put_blob(&self.blob, &self.content, &Silent)
    }

    /// Puts the blob, sees that it is there, and returns the method of every request that had bytes, with its range.
    fn sent(&self) -> Vec<String> {
        assert_eq!(self.put().unwrap(), Stored::New);
        assert_eq!(self.store.blob(&self.blob.digest).unwrap(), self.content);
        let sends = |request: &&Request| request.header("content-length").is_some_and(|length| length != "0");
        let told = |request: &Request| {
            let range = request.header("content-range").unwrap_or("");
            format!("{} {range}", request.method).trim_end().to_owned()
        };
        self.server.requests().iter().filter(sends).map(told).collect()
    }

    fn count(&self, method: &str) -> usize {
        self.server.requests().iter().filter(|request| request.method == method).count()
    }
}

#[test]
fn a_blob_is_sent_in_one_piece_and_only_once() {
    let setting = setting(Manner::default());
    assert_eq!(setting.sent(), ["PUT"]);
    let before = setting.server.requests().len();
    assert_eq!(setting.put().unwrap(), Stored::There);
    let after = setting.server.requests().split_off(before);
    assert_eq!(after.iter().map(|request| request.method.as_str()).collect::<Vec<_>>(), ["HEAD"]);
}

#[test]
fn a_blob_of_no_bytes_is_a_blob() {
    let setting = setting(Manner::default());
    let nothing = Descriptor::new("a/b", Digest::of(b""), 0);
    assert_eq!(setting.sink().put_blob(&nothing, &Vec::new(), &Silent).unwrap(), Stored::New);
    assert_eq!(setting.store.blob(&nothing.digest).unwrap(), b"");
}

#[test]
fn a_broken_upload_goes_on_where_it_broke() {
    let setting = setting(Manner::default());
    setting.store.fail([PushFault::Cut(100_000), PushFault::Cut(200_000)]);
    assert_eq!(setting.sent(), ["PUT", "PATCH 100000-599999", "PATCH 300000-599999"]);
}

#[test]
fn an_upload_that_the_registry_forgets_is_begun_anew() {
    let setting = setting(Manner { remembers: false, ..Manner::default() });
    setting.store.fail([PushFault::Cut(100_000)]);
    assert_eq!(setting.sent(), ["PUT", "PUT"]);
    assert_eq!(setting.count("POST"), 2);
}

#[test]
fn after_two_broken_connections_it_is_sent_in_chunks() {
    let setting = setting(Manner { remembers: false, ..Manner::default() });
    setting.store.fail([PushFault::Cut(100_000), PushFault::Cut(100_000)]);
    assert_eq!(setting.sent(), ["PUT", "PUT", "PATCH 0-599999"]);
}

#[test]
fn a_registry_that_does_not_take_it_whole_gets_chunks() {
    for status in [405, 411, 413, 415, 501] {
        let setting = setting(Manner::default());
        setting.store.fail([PushFault::Status(status)]);
        assert_eq!(setting.sent(), ["PUT", "PATCH 0-599999"], "{status}");
    }
}

#[test]
fn large_blobs_are_cut_into_chunks() {
    let mut setting = setting(Manner { largest_body: 8 << 20, ..Manner::default() });
    setting.content = vec![7; (9 << 20) + 1];
    setting.blob = Descriptor::new("a/b", Digest::of(&setting.content), setting.content.len() as u64);
    assert_eq!(setting.sent(), ["PUT", "PATCH 0-8388607", "PATCH 8388608-9437184"]);
}

#[test]
fn a_registry_that_is_busy_is_asked_again() {
    let setting = setting(Manner::default());
    setting.store.fail([PushFault::Status(503), PushFault::Status(429)]);
    setting.sent();
}

#[test]
fn a_registry_that_says_when_to_come_back_is_heeded() {
    thread_local!(static WAITED: std::cell::Cell<std::time::Duration> = const { std::cell::Cell::new(std::time::Duration::ZERO) });
    let mut setting = setting(Manner::default());
    setting.context.registry.pause = |time| WAITED.set(WAITED.get() + time);
    let seconds = vec![("Retry-After".to_owned(), "7".to_owned())];
    setting.store.fail([PushFault::Refused(429, seconds), PushFault::Refused(503, dated(40))]);
    setting.sent();
    assert_eq!(WAITED.get().as_secs(), 47);
}

#[test]
fn a_registry_that_takes_all_and_never_answers_is_not_sent_it_again() {
    let setting = setting(Manner::default());
    setting.store.fail([PushFault::Silence]);
    assert_eq!(setting.sent(), ["PUT"]);
}

#[test]
fn a_registry_that_stored_something_else_is_not_believed() {
    let setting = setting(Manner::default());
    setting.store.fail([PushFault::OtherDigest]);
    assert_eq!(setting.put().unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn an_upload_that_is_redirected_to_a_blob_host_goes_there() {
    let setting = setting(Manner::default());
    let (host, there) = Store::start(Manner::default()).unwrap();
    // The upload is begun there, too: it is where the redirect leads.
    let mut stream = std::net::TcpStream::connect(host.address()).unwrap();
    std::io::Write::write_all(&mut stream, b"POST /v2/team/app/blobs/uploads/ HTTP/1.1\r\n\r\n").unwrap();
    std::io::Read::read_to_end(&mut stream, &mut Vec::new()).unwrap();
    let to = format!("http://{}/v2/team/app/blobs/uploads/number-1", host.address());
    setting.store.fail([PushFault::Redirect(to)]);
    assert_eq!(setting.put().unwrap(), Stored::New);
    assert_eq!(there.blob(&setting.blob.digest).unwrap(), setting.content);
}

#[test]
fn a_registry_that_always_fails_is_given_up() {
    for fault in [PushFault::Cut(1), PushFault::Status(500)] {
        let setting = setting(Manner { remembers: false, ..Manner::default() });
        setting.store.fail(std::iter::repeat_n(fault, 50));
        let error = setting.put().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Network, "{error:?}");
        assert!(setting.server.requests().len() < 30);
        assert!(setting.store.blob(&setting.blob.digest).is_none());
    }
}

#[test]
fn contents_that_are_not_the_blob_are_told_and_not_stored() {
    let mut setting = setting(Manner::default());
    setting.content[5] ^= 1;
    let error = setting.put().unwrap_err();
    assert!(matches!(&error, Error::Digest { expected, .. } if *expected == setting.blob.digest), "{error:?}");
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    setting.content.pop();
    let before = setting.server.requests().len();
    assert!(matches!(setting.put().unwrap_err(), Error::Size { .. }));
    assert_eq!(setting.server.requests().len(), before, "nothing was asked");
}

/// A file that cannot be read behind its middle.
struct Bad(u64);

impl ReadAt for Bad {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> std::io::Result<()> {
        buffer.fill(0);
        if offset < self.0 / 2 { Ok(()) } else { Err(std::io::Error::other("a bad sector")) }
    }
    fn len(&self) -> std::io::Result<u64> {
        Ok(self.0)
    }
}

#[test]
fn a_file_that_cannot_be_read_is_no_failure_of_the_network() {
    let setting = setting(Manner::default());
    let error = setting.sink().put_blob(&setting.blob, &Bad(SIZE as u64), &Silent).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::System);
    assert!(told(&error).contains("a bad sector"), "{}", told(&error));
    assert_eq!(setting.count("POST"), 1, "not tried again");
}

#[test]
fn what_is_told_adds_up_whatever_breaks() {
    for remembers in [true, false] {
        let setting = setting(Manner { remembers, ..Manner::default() });
        setting.store.fail([PushFault::Cut(100_000), PushFault::Cut(200_000), PushFault::Cut(100_000)]);
        let watch = Watch::until(u64::MAX);
        setting.sink().put_blob(&setting.blob, &setting.content, &watch).unwrap();
        let (expected, done) = (watch.expected.into_inner(), watch.done.into_inner());
        assert_eq!(expected, done, "remembers: {remembers}");
        assert!(done >= SIZE as u64);
    }
}

#[test]
fn an_upload_can_be_stopped() {
    let setting = setting(Manner::default());
    let watch = Watch::until(1);
    let error = setting.sink().put_blob(&setting.blob, &setting.content, &watch).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled, "{error:?}");
    assert!(watch.done.load(Ordering::SeqCst) < SIZE as u64);
    assert!(setting.store.blob(&setting.blob.digest).is_none());
}

/// A delta that was put, twice, and found again.
fn round_trip(manner: Manner) -> Setting {
    let setting = setting(manner);
    let subject = subject();
    let samples: Vec<Sample> = ["one", "other", "third"].map(|name| sample(&subject, name, 50_000)).into();
    let put: Vec<Descriptor> =
        samples.iter().map(|sample| sample.put_to(&setting.reference(), &setting.context).unwrap()).collect();
    samples[1].put_to(&setting.reference(), &setting.context).unwrap();
    let expected: Vec<_> = put.iter().zip(&samples).collect();
    assert_same(&found(&setting.reference(), &subject.digest, &setting.context), &expected);
    assert!(found(&setting.reference(), &Digest::of(b"lonely"), &setting.context).is_empty());
    setting
}

#[test]
fn deltas_are_found_by_the_referrers_api() {
    let setting = round_trip(Manner::default());
    assert!(!setting.server.requests().iter().any(|request| request.target.contains("sha256-")), "no tag is needed");
}

#[test]
fn deltas_are_found_on_all_pages_whoever_filters() {
    for filters in [true, false] {
        let manner = Manner { page: 1, filters, ..Manner::default() };
        let setting = round_trip(manner);
        let other = format!(
            r#"{{"schemaVersion":2,"artifactType":"a/b","config":{{"mediaType":"a/b","digest":"{0}","size":2}},"subject":{{"mediaType":"a/b","digest":"{1}","size":1}}}}"#,
            Digest::of(b"{}"),
            subject().digest
        );
        setting.store.put(&Digest::of(other.as_bytes()).to_string(), umiak_spec::media_type::OCI_MANIFEST, other);
        assert_eq!(found(&setting.reference(), &subject().digest, &setting.context).len(), 3);
        let source = common::source(&setting.reference(), &setting.context).unwrap();
        assert_eq!(source.referrers(&subject().digest, None, &Silent).unwrap().len(), 4);
    }
}

#[test]
fn a_registry_that_lists_referrers_without_saying_so_gets_no_tag() {
    let setting = round_trip(Manner { says_subject: false, ..Manner::default() });
    assert!(setting.store.manifest(&umiak_spec::referrers::fallback_tag(&subject().digest)).is_none());
}

#[test]
fn a_registry_without_referrers_gets_them_under_a_tag() {
    for heeds_conditions in [true, false] {
        let setting = round_trip(Manner { referrers: false, heeds_conditions, ..Manner::default() });
        let list = setting.store.manifest(&umiak_spec::referrers::fallback_tag(&subject().digest)).unwrap();
        assert_eq!(umiak_spec::Listing::parse(&list, &setting.context.limits).unwrap().len(), 3);
    }
}

#[test]
fn a_list_that_others_change_at_the_same_time_gets_the_entry_in_the_end() {
    let setting = setting(Manner { referrers: false, heeds_conditions: false, ..Manner::default() });
    let empty = umiak_spec::Listing::default().to_bytes();
    setting.store.overwrite(empty.clone());
    setting.store.overwrite(empty.clone());
    let subject = subject();
    sample(&subject, "one", 10).put_to(&setting.reference(), &setting.context).unwrap();
    assert_eq!(found(&setting.reference(), &subject.digest, &setting.context).len(), 1);
    for _ in 0..20 {
        setting.store.overwrite(empty.clone());
    }
    let error = sample(&subject, "other", 10).put_to(&setting.reference(), &setting.context).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Network, "{error:?}");
    assert!(told(&error).contains("others change it"), "{}", told(&error));
}

#[test]
fn a_list_with_entries_that_are_gone_is_still_changed() {
    let setting = setting(Manner { referrers: false, ..Manner::default() });
    let subject = subject();
    let gone = Digest::of(b"gone");
    let list = format!(r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"a/b","digest":"{gone}","size":1}}]}}"#);
    let tag = umiak_spec::referrers::fallback_tag(&subject.digest);
    setting.store.put(&tag, umiak_spec::media_type::OCI_INDEX, list);
    sample(&subject, "one", 10).put_to(&setting.reference(), &setting.context).unwrap();
    assert_eq!(found(&setting.reference(), &subject.digest, &setting.context).len(), 1);
}

#[test]
fn a_list_that_lost_the_artifact_types_is_completed_from_the_manifests() {
    let setting = round_trip(Manner { referrers: false, ..Manner::default() });
    let tag = umiak_spec::referrers::fallback_tag(&subject().digest);
    let list = String::from_utf8(setting.store.manifest(&tag).unwrap()).unwrap();
    let poorer = list.replace(&format!(r#""artifactType":"{}","#, umiak_spec::delta::ARTIFACT_TYPE), "");
    assert_ne!(poorer, list);
    setting.store.put(&tag, umiak_spec::media_type::OCI_INDEX, poorer);
    assert_eq!(found(&setting.reference(), &subject().digest, &setting.context).len(), 3);
}

#[test]
fn a_tag_is_given_last_and_names_the_manifest() {
    let setting = setting(Manner::default());
    let sample = sample(&subject(), "one", 10);
    let reference = format!("{}:d1", setting.reference());
    let stored = sample.put_to(&reference, &setting.context).unwrap();
    assert_eq!(setting.store.manifest("d1").unwrap(), sample.delta.to_bytes());
    let mut puts = setting.server.requests().into_iter().filter(|request| request.method == "PUT");
    assert!(puts.next_back().unwrap().target.ends_with("/manifests/d1"));
    let source = common::source(&reference, &setting.context).unwrap();
    let (descriptor, bytes) = source.top(&Silent).unwrap();
    assert_eq!((descriptor.digest, bytes), (stored.digest, sample.delta.to_bytes()));
    let error = source.resolve(&[]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "a delta is no image: {error:?}");
}

#[test]
fn a_manifest_is_not_stored_when_a_blob_is_not() {
    let setting = setting(Manner::default());
    let mut sample = sample(&subject(), "one", 1000);
    sample.contents[0][7] ^= 1;
    let error = sample.put_to(&setting.reference(), &setting.context).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
    assert!(!setting.server.requests().iter().any(|request| request.target.contains("/manifests/")));
    sample.contents.pop();
    let error = sample.put_to(&setting.reference(), &setting.context).unwrap_err();
    assert!(error.to_string().contains("2 parts, and 1"), "{error}");
}

#[test]
fn pages_for_people_and_loops_of_pages_are_no_lists() {
    let directory = tempfile::tempdir().unwrap();
    let context = context(directory.path());
    let referrers = |server: &Server| {
        let source = common::source(&format!("docker://{}/team/app:1", server.address()), &context).unwrap();
        source.referrers(&Digest::of(b"x"), None, &Silent)
    };
    let html = Server::start(|request| match request.target.contains("referrers") {
        true => Response::new(200, "<html>").with("Content-Type", "text/html"),
        false => Response::new(404, ""),
    });
    assert!(referrers(&html.unwrap()).unwrap().is_empty());
    let page = |link: &'static str| {
        Server::start(move |_| {
            Response::new(200, r#"{"manifests":[]}"#).with("Link", format!("<{link}>; rel=\"next\""))
        })
    };
    let error = referrers(&page("/v2/team/app/referrers/next").unwrap()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
    let error = referrers(&page("http://elsewhere.example/").unwrap()).unwrap_err();
    assert!(told(&error).contains("elsewhere.example"), "{}", told(&error));
    let broken = Server::start(|_| Response::new(200, "nonsense").with("Content-Type", "application/json"));
    assert_eq!(referrers(&broken.unwrap()).unwrap_err().kind(), ErrorKind::Corrupt);
}
