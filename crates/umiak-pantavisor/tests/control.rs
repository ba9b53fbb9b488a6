//! A device's control socket: only what is missing is sent, and each refusal is told for what it is.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::time::Duration;

use common::{OLD, Shelf, control, fake, fetch, large, post, posting, state};
use umiak_pantavisor::{Address, Device, Error, ErrorKind, LONGEST_NAME, Missing, Status, Survey};
use umiak_spec::{Digest, Silent};
use umiak_testkit::pantavisor::Outcome;

#[test]
fn only_what_is_missing_is_sent_and_the_revision_runs() {
    let fake = fake();
    let (new, device) = (large(300_000, 7), control(&fake));
    let (state, shelf) = (state(&[OLD, &new]), Shelf::of(&[OLD, &new]));
    let (revision, told) = post(&device, &posting(&state, &shelf)).unwrap();
    assert!(revision.starts_with("locals/umiak-1700000000-") && revision.len() <= LONGEST_NAME, "{revision}");
    let told: Vec<_> = told.iter().map(|progress| (progress.status.clone(), progress.percent)).collect();
    let expected = [(Status::InProgress, 50), (Status::InProgress, 50), (Status::Testing, 75), (Status::Updated, 100)];
    assert_eq!(told, expected);
    assert_eq!(fake.count("PUT /objects/"), 1);
    fake.with(|world| {
        assert_eq!(world.current, revision);
        assert_eq!(world.steps[&revision].state.canonical(), state.canonical());
        assert_eq!(world.steps[&revision].message, "a better one");
        assert_eq!(world.commands, [("LOCAL_RUN".to_owned(), revision.clone())]);
    });
    // A second time there is nothing to send, and it runs already.
    let survey = device.survey(&posting(&state, &shelf), &Silent).unwrap();
    assert!(survey.running && survey.missing.is_empty());
}

#[test]
fn the_part_of_an_upload_that_was_cut_off_counts_as_missing() {
    let fake = fake();
    let new = large(500_000, 3);
    let name = Digest::of(&new).hex();
    let (state, shelf, device) = (state(&[&new]), Shelf::of(&[&new]), control(&fake));
    // As it is after a run that was killed: a part lies under the object's name.
    fake.with(|world| world.files.insert(name.clone(), new[..1000].to_vec()));
    let survey = device.survey(&posting(&state, &shelf), &Silent).unwrap();
    assert_eq!((survey.missing[0].there, survey.bytes(), survey.needed()), (Some(1000), 500_000, 499_000));
    // And the connection breaks twice more on the way.
    fake.with(|world| world.cuts = vec![70_000, 400_000]);
    post(&device, &posting(&state, &shelf)).unwrap();
    assert_eq!(fake.count("PUT /objects/"), 3);
    assert!(fake.with(|world| world.is_whole(&name)));
}

#[test]
fn what_is_damaged_on_the_device_is_sent_again_by_force() {
    let fake = fake();
    let name = Digest::of(OLD).hex();
    fake.with(|world| world.files.get_mut(&name).unwrap()[3] ^= 1);
    let new = large(1000, 3);
    let (state, shelf, device) = (state(&[OLD, &new]), Shelf::of(&[OLD, &new]), control(&fake));
    // Its length is right: the device finds out when it runs it.
    match post(&device, &posting(&state, &shelf)) {
        Err(error @ Error::Failed { .. }) => {
            assert!(error.to_string().contains("Object validation went wrong"), "{error}");
            assert_eq!(error.kind(), ErrorKind::RolledBack);
        }
        other => panic!("{other:?}"),
    }
    let mut again = posting(&state, &shelf);
    again.force = true;
    let survey = device.survey(&again, &Silent).unwrap();
    assert_eq!(device.send(&again, &survey, &Silent).unwrap().objects, 2);
    assert!(fake.with(|world| world.is_whole(&name)));
}

#[test]
fn what_does_not_fit_is_told_before_the_first_byte() {
    let fake = fake();
    fake.with(|world| world.capacity = 400_000);
    let new = large(390_000, 1);
    let (state, shelf, device) = (state(&[OLD, &new]), Shelf::of(&[OLD, &new]), control(&fake));
    let posting = posting(&state, &shelf);
    let survey = device.survey(&posting, &Silent).unwrap();
    // A twentieth is the device's reserve.
    assert_eq!(survey.room.unwrap().free, 400_000 - OLD.len() as u64 - 20_000);
    let error = device.send(&posting, &survey, &Silent).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DoesNotFit);
    assert_eq!(fake.count("PUT"), 0);
    // A revision of before that nobody needs makes room.
    let left = large(100_000, 9);
    fake.with(|world| {
        world.capacity = 500_000;
        world.files.insert(Digest::of(&left).hex(), left.clone())
    });
    assert!(!device.survey(&posting, &Silent).unwrap().fits());
    assert_eq!(device.collect(&Silent).unwrap(), 100_000);
    let survey = device.survey(&posting, &Silent).unwrap();
    assert_eq!(device.send(&posting, &survey, &Silent).unwrap().objects, 1);
}

#[test]
fn a_device_that_runs_full_says_so_in_the_middle_of_an_upload() {
    let fake = fake();
    fake.with(|world| (world.tells_room, world.capacity) = (false, 100_000));
    let new = large(6_000_000, 1);
    let (state, shelf, device) = (state(&[&new]), Shelf::of(&[&new]), control(&fake));
    let posting = posting(&state, &shelf);
    let survey = device.survey(&posting, &Silent).unwrap();
    assert_eq!(survey.room, None);
    let error = device.send(&posting, &survey, &Silent).unwrap_err();
    assert!(matches!(error, Error::NoRoom { .. }), "{error:?}");
    assert!(error.to_string().contains("Not enough disk space"), "{error}");
    assert_eq!(fake.count("PUT /objects/"), 1, "a full device is not asked again");
}

/// The answer comes when a few bytes of many have been read, and the connection is closed upon it.
#[test]
fn an_answer_in_the_middle_of_an_upload_is_heard() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("pv-ctrl");
    let listener = UnixListener::bind(&path).unwrap();
    let serving = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.read_exact(&mut [0; 5000]).unwrap();
        let text = r#"{"Error":"Not enough disk space"}"#;
        write!(stream, "HTTP/1.1 507 Insufficient Storage\r\nContent-Length: {}\r\n\r\n{text}", text.len()).unwrap();
    });
    let new = large(4_000_000, 1);
    let (state, shelf) = (state(&[&new]), Shelf::of(&[&new]));
    let missing = Missing { digest: Digest::of(&new), length: new.len() as u64, there: None };
    let survey = Survey {
        objects: [(missing.digest, missing.length)].into(),
        missing: vec![missing],
        running: false,
        room: None,
    };
    let device = Device::connect(&Address::Control(path), &common::settings(), &Silent).unwrap();
    let error = device.send(&posting(&state, &shelf), &survey, &Silent).unwrap_err();
    serving.join().unwrap();
    assert!(matches!(error, Error::NoRoom { .. }) && error.to_string().contains("Not enough disk space"), "{error:?}");
}

#[test]
fn a_busy_device_is_left_alone_as_long_as_it_says() {
    let fake = fake();
    let (state, shelf, device) = (state(&[]), Shelf::default(), control(&fake));
    fake.with(|world| world.busy = 2);
    post(&device, &posting(&state, &shelf)).unwrap();
    assert_eq!(fake.count("PUT /steps/"), 4, "twice in vain, once taken, and its message");
    // But not for ever.
    fake.with(|world| world.busy = 1000);
    let other = common::state(&[OLD]);
    let error = device.start(&posting(&other, &shelf), None, 1, true, &Silent).unwrap_err();
    assert!(matches!(error, Error::Busy { waited, .. } if waited > Duration::from_secs(700)), "{error:?}");
}

#[test]
fn what_the_device_does_not_take_is_told_in_its_words() {
    let fake = fake();
    let (state, shelf, device) = (state(&[]), Shelf::default(), control(&fake));
    fake.with(|world| world.distrust = Some("State signature is missing"));
    let error = device.start(&posting(&state, &shelf), None, 1, true, &Silent).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("State signature is missing"), "{error}");
    fake.with(|world| (world.distrust, world.managed) = (None, false));
    let error = device.survey(&posting(&state, &shelf), &Silent).unwrap_err();
    assert_eq!((error.kind(), fake.with(|world| world.steps.len())), (ErrorKind::Denied, 1));
}

#[test]
fn an_update_that_fails_says_why() {
    for (outcome, kind, text) in [
        (Outcome::Error, ErrorKind::RolledBack, "ERROR: Status goal not reached"),
        (Outcome::WontGo("Space required 900 B, available 1 B"), ErrorKind::DoesNotFit, "WONTGO: Space required"),
        (Outcome::WontGo("Update aborted"), ErrorKind::Corrupt, "WONTGO: Update aborted"),
        (Outcome::Hangs, ErrorKind::Network, "it said INPROGRESS last"),
    ] {
        let fake = fake();
        fake.with(|world| world.outcome = outcome);
        let error = post(&control(&fake), &posting(&state(&[]), &Shelf::default())).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(text), "{error}");
        assert_eq!(fake.with(|world| world.current.clone()), "0");
    }
}

#[test]
fn a_device_that_starts_anew_is_waited_for() {
    let fake = fake();
    fake.with(|world| world.outcome = Outcome::Done(7));
    let (revision, told) = post(&control(&fake), &posting(&state(&[]), &Shelf::default())).unwrap();
    assert_eq!(told.last().unwrap().status, Status::Done);
    assert_eq!(fake.with(|world| world.current.clone()), revision);
}

#[test]
fn a_revision_that_was_put_and_never_run_is_gone_on_with() {
    let fake = fake();
    let (state, shelf, device) = (state(&[]), Shelf::default(), control(&fake));
    let posting = posting(&state, &shelf);
    let first = device.start(&posting, None, 1, false, &Silent).unwrap().unwrap();
    assert!(fake.with(|world| world.commands.is_empty()));
    let second = device.start(&posting, None, 2, true, &Silent).unwrap().unwrap();
    assert_eq!(first, second);
    // One that was run is not: its progress is that of the run before.
    device.watch(&second, Duration::from_secs(60), &mut |_| {}, &Silent).unwrap();
    let third = device.start(&posting, None, 3, true, &Silent).unwrap().unwrap();
    assert!(third.starts_with("locals/umiak-3-"), "{third}");
}

#[test]
fn a_name_that_is_taken_is_a_conflict_unless_it_is_the_same() {
    let fake = fake();
    let (one, other, shelf, device) = (state(&[]), state(&[OLD]), Shelf::of(&[OLD]), control(&fake));
    let start = |state, name| device.start(&posting(state, &shelf), Some(name), 1, false, &Silent);
    assert_eq!(start(&one, "locals/mine").unwrap().unwrap(), "locals/mine");
    assert_eq!(start(&one, "mine").unwrap().unwrap(), "locals/mine");
    assert!(matches!(start(&other, "mine"), Err(Error::Conflict { .. })));
    assert!(matches!(start(&other, "../mine"), Err(Error::Unsupported(_))));
}

#[test]
fn an_object_of_ours_that_is_damaged_or_gone_is_named() {
    let fake = fake();
    let good = large(100_000, 5);
    let (state, device) = (state(&[&good]), control(&fake));
    let mut shelf = Shelf::of(&[&good]);
    shelf.0.get_mut(&Digest::of(&good)).unwrap()[50_000] ^= 1;
    let survey = device.survey(&posting(&state, &shelf), &Silent).unwrap();
    let error = device.send(&posting(&state, &shelf), &survey, &Silent).unwrap_err();
    assert!(matches!(error, Error::Damaged { digest, .. } if digest == Digest::of(&good)), "{error:?}");
    assert!(!fake.with(|world| world.is_whole(&Digest::of(&good).hex())));
    let error = device.survey(&posting(&state, &Shelf::default()), &Silent).unwrap_err();
    assert!(matches!(error, Error::Unreadable { .. }), "{error:?}");
}

#[test]
fn objects_are_read_on_after_a_cut_with_ranges_and_without() {
    for ranges in [true, false] {
        let fake = fake();
        let (new, device) = (large(900_000, 2), control(&fake));
        fake.with(|world| {
            world.files.insert(Digest::of(&new).hex(), new.clone());
            (world.ranges, world.breaks) = (ranges, vec![100_000, 300_000, 0, 650_000]);
        });
        assert!(fetch(&device, &new).unwrap());
        assert!(fake.count("GET /objects/") >= 4);
    }
    // Five cuts without a byte between them are enough.
    let fake = fake();
    fake.with(|world| world.breaks = vec![10, 10, 10, 10, 10, 10, 10]);
    assert!(fetch(&control(&fake), OLD).is_err());
}

#[test]
fn what_is_no_control_socket_is_told() {
    let place = tempfile::tempdir().unwrap();
    let address = Address::Control(place.path().join("nobody"));
    let device = Device::connect(&address, &common::settings(), &Silent).unwrap();
    let error = device.state(&Silent).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Network);
    assert!(error.to_string().contains("nobody"), "{error}");
}
