//! A device's web address: pvr's remote, as pvr speaks to it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::{OLD, Patient, Shelf, fake, fetch, large, post, posting, remote, settings, state};
use umiak_pantavisor::{Address, Clock as _, Device, Error, ErrorKind, Settings, Status};
use umiak_pvr::Value;
use umiak_spec::{Digest, Silent};
use umiak_testkit::http::{Response, Server};
use umiak_testkit::pantavisor::Outcome;

#[test]
fn a_revision_goes_the_way_that_the_description_says() {
    let fake = fake();
    let new = large(200_000, 7);
    let (state, shelf, device) = (state(&[OLD, &new]), Shelf::of(&[OLD, &new]), remote(&fake));
    let (revision, told) = post(&device, &posting(&state, &shelf)).unwrap();
    assert_eq!((revision.as_str(), told.last().unwrap().status.clone()), ("1", Status::Updated));
    // What the device runs is not even asked about.
    assert_eq!((fake.count("POST /cgi-bin/pvr/steps/0/objects"), fake.count("PUT /local-s3/")), (1, 1));
    fake.with(|world| {
        assert_eq!((world.current.as_str(), world.steps["1"].message.as_str()), ("1", "a better one"));
        assert_eq!(world.steps["1"].state.canonical(), state.canonical());
    });
    assert_eq!(remote(&fake).state(&Silent).unwrap(), state);
}

#[test]
fn an_address_without_a_path_is_found_as_well() {
    let fake = fake();
    let device = Device::connect(&Address::Remote(fake.server()), &settings(), &Silent).unwrap();
    assert_eq!(device.state(&Silent).unwrap(), state(&[OLD]));
}

#[test]
fn an_object_that_is_there_in_part_only_is_sent_again() {
    let fake = fake();
    let (part, whole) = (large(200_000, 7), large(100_000, 8));
    fake.with(|world| {
        world.files.insert(Digest::of(&part).hex(), part[..5].to_vec());
        world.files.insert(Digest::of(&whole).hex(), whole.clone());
        world.cuts = vec![100_000];
    });
    let (state, shelf, device) = (state(&[OLD, &part, &whole]), Shelf::of(&[OLD, &part, &whole]), remote(&fake));
    post(&device, &posting(&state, &shelf)).unwrap();
    assert!(fake.with(|world| world.is_whole(&Digest::of(&part).hex())));
    assert_eq!(fake.count(&format!("PUT /local-s3/{}", Digest::of(&part).hex())), 2, "one of them was cut off");
    assert_eq!(fake.count(&format!("PUT /local-s3/{}", Digest::of(&whole).hex())), 0);
}

#[test]
fn objects_are_read_on_after_a_cut() {
    let fake = fake();
    let new = large(900_000, 2);
    fake.with(|world| {
        world.files.insert(Digest::of(&new).hex(), new.clone());
        (world.ranges, world.breaks) = (true, vec![100_000, 300_000]);
    });
    assert!(fetch(&remote(&fake), &new).unwrap());
    assert_eq!(fake.count("GET /local-s3/"), 3);
}

#[test]
fn refusals_are_told_in_the_device_s_words() {
    let fake = fake();
    let (state, shelf, device) = (state(&[]), Shelf::default(), remote(&fake));
    fake.with(|world| world.distrust = Some("State has no valid signature"));
    let error = post(&device, &posting(&state, &shelf)).unwrap_err();
    assert!(matches!(error, Error::Refused { .. }) && error.to_string().contains("no valid signature"), "{error}");
    fake.with(|world| (world.distrust, world.outcome) = (None, Outcome::Error));
    let error = post(&device, &posting(&state, &shelf)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::RolledBack);
    let error = device.start(&posting(&state, &shelf), Some("9"), 0, true, &Silent).unwrap_err();
    assert!(matches!(error, Error::Conflict { .. }), "{error:?}");
    assert!(
        device.collect(&Silent).is_err() && device.start(&posting(&state, &shelf), None, 0, false, &Silent).is_err()
    );
}

#[test]
fn a_step_that_was_taken_before_the_connection_broke_is_found() {
    let fake = fake();
    let (state, shelf, device) = (state(&[]), Shelf::default(), remote(&fake));
    // The answer to the step is lost: the device has it, and must not get it twice.
    fake.with(|world| world.lost_answers = 1);
    assert_eq!(device.start(&posting(&state, &shelf), None, 0, true, &Silent).unwrap().as_deref(), Some("1"));
    assert_eq!((fake.count("POST /cgi-bin/pvr/steps"), fake.with(|world| world.steps.len())), (1, 2));
    // One that was not taken is not known to be.
    let fake = common::fake();
    let device = remote(&fake);
    fake.with(|world| world.silent = 1);
    let error = device.start(&posting(&state, &shelf), None, 0, true, &Silent).unwrap_err();
    assert!(matches!(error, Error::Unknown { .. }), "{error:?}");
}

#[test]
fn a_token_is_shown_to_the_device_s_server_only() {
    let elsewhere = Server::start(|_| Response::new(200, "{}")).unwrap();
    let other = elsewhere.address();
    let device = Server::start(move |request| match request.target.as_str() {
        "/me/kiosk/.pvrremote" if request.header("authorization") != Some("Bearer secret") => Response::new(401, ""),
        "/me/kiosk/.pvrremote" => Response::new(
            200,
            format!(r#"{{"json-get-url":"http://{other}/state","objects-endpoint":"http://{other}/objects"}}"#),
        ),
        _ => Response::new(404, ""),
    });
    let device = device.unwrap();
    let address = Address::Remote(format!("http://{}/me/kiosk", device.address()));
    let error = Device::connect(&address, &settings(), &Silent).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Denied);
    let settings = Settings { token: Some("secret".into()), ..settings() };
    Device::connect(&address, &settings, &Silent).unwrap().state(&Silent).unwrap();
    assert!(elsewhere.requests().iter().all(|request| request.header("authorization").is_none()));
    assert_eq!(elsewhere.requests().len(), 1);
}

#[test]
fn what_answers_something_else_is_no_device() {
    for body in
        ["", "<html>hello</html>", "[]", "{}", r#"{"json-get-url":"file:///etc/passwd","objects-endpoint":"/"}"#]
    {
        let server = Server::start(move |_| Response::new(200, body)).unwrap();
        let address = Address::Remote(format!("http://{}/x", server.address()));
        let error = Device::connect(&address, &settings(), &Silent).err().unwrap();
        assert!(matches!(error, Error::NotADevice { .. }), "{body}: {error:?}");
    }
}

#[test]
fn further_members_go_along() {
    let fake = fake();
    let (state, shelf, device) = (state(&[]), Shelf::default(), remote(&fake));
    let mut posting = posting(&state, &shelf);
    posting.envelope.insert("meta".into(), Value::object([("campaign", Value::from("x"))]));
    device.start(&posting, None, 0, true, &Silent).unwrap();
    assert!(fake.bodies("POST /cgi-bin/pvr/steps")[0].contains(r#""meta":{"campaign":"x"}"#));
}

#[test]
fn two_questions_have_the_time_of_one_look() {
    let clock = Arc::new(Patient::default());
    let (passes, (hold, held)) = (Arc::clone(&clock), channel::<()>());
    let held = Mutex::new(held);
    let device = Server::start(move |request| match request.target.as_str() {
        "/cgi-bin/pvr/.pvrremote" => Response::new(
            200,
            r#"{"json-get-url":"/cgi-bin/pvr/json","objects-endpoint":"/cgi-bin/pvr/objects","post-url":"/cgi-bin/pvr/steps"}"#,
        ),
        "/cgi-bin/pvr/steps/7" => {
            passes.pause(Duration::from_millis(59_900));
            Response::new(404, "")
        }
        _ => {
            let _ = held.lock().unwrap().recv();
            Response::new(404, "")
        }
    });
    let (device, hold) = (device.unwrap(), hold); // let go first: who answers is waited for
    let address = Address::Remote(format!("http://{}/cgi-bin/pvr", device.address()));
    let patience = Duration::from_secs(60);
    let settings = Settings { clock, patience, ..settings() };
    let remote = Device::connect(&address, &settings, &Silent).unwrap();
    let begun = Instant::now();
    let error = remote.watch("7", patience, &mut |_| {}, &Silent).unwrap_err();
    assert!(matches!(error, Error::NoVerdict { .. }), "{error:?}");
    assert_eq!(device.count("/cgi-bin/pvtx/status?rev=7"), 1, "it was asked");
    assert!(begun.elapsed() < patience / 2, "the second question had a tenth of a second left");
    drop(hold);
}
