//! Runtimes that hang, services that fork, logs without a disk, limits that hold: the device goes on, and says why.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may panic and write files")]

mod device;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use device::{Device, NEXT, NoImages, REVISION, shell};
use umiak_engine::oci::Oci;
use umiak_engine::{Condition, Engine, EngineError, LogQuery};
use umiak_spec::service::{Logs, Restart};

both! {
    who_forks_is_ended_with_all_it_started
    limits_are_those_that_were_asked_for
    a_disk_without_room_costs_lines_and_nothing_else
    lines_say_of_which_revision_they_are
    services_stop_together
    between_stop_and_start_there_is_little
}

const STAYS: &str = "trap 'exit 0' TERM; echo ready; while :; do sleep 0.02; done";

fn who_forks_is_ended_with_all_it_started(device: &mut Device) {
    // As old daemons do: the first process ends, the work goes on behind it.
    let mut service = shell("web", "(trap '' TERM; while :; do echo behind; sleep 0.02; done) & sleep 0.2; exit 0");
    service.restart = Restart::OnFailure { most: None };
    device.run([service]);
    let seen = device.wait("web", |seen| matches!(seen.condition, Condition::Exited { .. }));
    assert_eq!((seen.condition, seen.restarts), (Condition::Exited { code: 0, stopped: false }, 0));
    assert_eq!(device.groups("web"), Vec::<PathBuf>::new(), "nothing of it is left");
    let said = device.output("web").len();
    assert!(said > 0);
    device.stop("web");
    assert_eq!(device.output("web").len(), said);
}

fn limits_are_those_that_were_asked_for(device: &mut Device) {
    let mut service = shell("web", STAYS);
    service.resources.memory = Some(32 << 20);
    service.resources.cpu_nanos = Some(500_000_000);
    service.resources.pids = Some(20);
    device.run([service]);
    device.wait_for_words("web", "ready");
    let groups = device.groups("web");
    let read = |names: &[&str]| {
        let files = groups.iter().flat_map(|group| names.iter().map(move |name| group.join(name)));
        let found = files.filter_map(|path| fs::read_to_string(path).ok()).next();
        found.unwrap_or_else(|| panic!("none of {names:?} in {groups:?}")).trim().to_owned()
    };
    assert_eq!(read(&["memory.limit_in_bytes", "memory.max"]), (32 << 20).to_string());
    assert_eq!(read(&["pids.max"]), "20");
    assert_eq!(read(&["cpu.cfs_quota_us", "cpu.max"]).split(' ').next(), Some("50000"));
    // And they hold: a shell that starts too many is told so.
    let pids: usize = read(&["pids.current"]).parse().unwrap();
    assert!((1..=20).contains(&pids));
}

fn a_disk_without_room_costs_lines_and_nothing_else(device: &mut Device) {
    let logs = device.path("logs");
    let mount = |arguments: &[&str]| {
        assert!(std::process::Command::new(arguments[0]).args(&arguments[1..]).status().unwrap().success());
    };
    mount(&["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", logs.to_str().unwrap()]);
    let script = "trap 'exit 0' TERM; n=0; while test $n -lt 4000; do echo line $n of many; n=$((n+1)); done; echo done >&2; \
        while :; do sleep 0.02; done";
    let mut service = shell("web", script);
    service.logs = Logs { size: 1 << 20, files: 2 };
    device.run([service]);
    let full = || {
        let entry = logs.join(&device.app).join("web/log");
        fs::metadata(entry).is_ok_and(|meta| meta.len() > 40 << 10)
    };
    let end = Instant::now() + Duration::from_secs(20);
    while !full() {
        assert!(Instant::now() < end);
        std::thread::sleep(Duration::from_millis(3));
    }
    assert!(device.see("web").is_running());
    // Whole lines only, and no more than there is room for.
    assert!(device.output("web").iter().all(|line| line.ends_with("of many") || line == "done"));
    device.stop("web");
    assert!(matches!(device.see("web").condition, Condition::Exited { code: 0, stopped: true }));
    mount(&["umount", logs.to_str().unwrap()]);
}

fn lines_say_of_which_revision_they_are(device: &mut Device) {
    let mut service = shell("web", "n=0; while test $n -lt 100; do echo base $n; n=$((n+1)); done");
    // So small that the first note is long gone.
    service.logs = Logs { size: 2000, files: 2 };
    device.run([service.clone()]);
    device.wait("web", |seen| matches!(seen.condition, Condition::Exited { .. }));
    service.process.args[2] = "echo target".into();
    let next = device.deployment(NEXT, [service]);
    device.start(&next).unwrap();
    device.wait_for_words("web", "target");
    let mut all = Vec::new();
    let mut sink = |line: &umiak_engine::Line| {
        all.push((line.revision.clone().unwrap(), String::from_utf8_lossy(&line.text).into_owned()));
        std::ops::ControlFlow::Continue(())
    };
    device.engine.logs(&device.app, None, &LogQuery::default(), &mut sink).unwrap();
    assert!(all.iter().any(|(_, text)| text.starts_with("base")) && all.iter().all(|(_, text)| !text.is_empty()));
    for (revision, text) in &all {
        match text.as_str() {
            "target" => assert_eq!(revision, "ffeeddccbbaa"),
            text if text.starts_with("base") => assert_eq!(revision, "001122334455", "{text}"),
            _ => {}
        }
    }
}

fn services_stop_together(device: &mut Device) {
    let slow = |name: &str| shell(name, "trap 'sleep 0.7; exit 0' TERM; echo ready; while :; do sleep 0.02; done");
    let names = ["a", "b", "c", "d"];
    device.run(names.map(slow));
    names.iter().for_each(|name| device.wait_for_words(name, "ready"));
    let began = Instant::now();
    let named = names.map(|name| (REVISION, name));
    device.engine.stop_together(&device.app, &named).unwrap();
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(700) && took < Duration::from_millis(2700), "{took:?}");
    assert!(names.iter().all(|name| matches!(device.see(name).condition, Condition::Exited { stopped: true, .. })));
    device.engine.stop_together(&device.app, &named).unwrap();
}

fn between_stop_and_start_there_is_little(device: &mut Device) {
    let service = shell("web", STAYS);
    device.run([service.clone()]);
    device.wait_for_words("web", "ready");
    let next = device.deployment(NEXT, [service]);
    device.engine.ready(&next, &NoImages).unwrap();
    let began = Instant::now();
    device.stop("web");
    let stopped = began.elapsed();
    device.engine.start(&next, "web").unwrap();
    let took = began.elapsed();
    // The service's own part is some 20 ms; a loaded machine is given the rest.
    assert!(took < Duration::from_secs(1), "stopped in {stopped:?}, started in {:?}", took - stopped);
}

/// A runtime of which one verb, or every one, never comes back while the file `hang` is there.
fn hanging(device: &Device, verb: &str) -> Oci {
    let script = device.path("slow-runtime");
    let (hang, runc) = (device.path("hang"), device::program("runc"));
    let text = format!(
        "#!/bin/sh\nfor word in \"$@\" any; do\n[ \"$word\" = {verb} ] && [ -e {} ] && exec sleep 1000\ndone\nexec {} \"$@\"\n",
        hang.display(),
        runc.display()
    );
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let mut options = device::options(device.scratch.path(), &script);
    options.patience = Duration::from_secs(1);
    Oci::new(options).unwrap()
}

#[test]
#[ignore = "needs: runc, squashfs-tools, busybox-static, iproute2, root"]
fn a_runtime_that_hangs_is_given_up_and_what_runs_goes_on() {
    device::on_device("runc", |device| {
        device.run([shell("web", STAYS)]);
        device.wait_for_words("web", "ready");
        let hangs = hanging(device, "any");
        let whole = std::mem::replace(&mut device.engine, hangs);
        fs::write(device.path("hang"), "").unwrap();
        let next = device.deployment(NEXT, [shell("web", STAYS)]);
        let began = Instant::now();
        let error = device.engine.ready(&next, &NoImages).unwrap_err();
        assert!(matches!(error, EngineError::Hangs { .. }), "{error}");
        assert_eq!(error.to_string(), "slow-runtime did not list its containers within 1 s");
        assert!(began.elapsed() < Duration::from_secs(10));
        assert!(device.see("web").is_running(), "nothing was stopped for it");
        device.engine = whole;
    });
}

#[test]
#[ignore = "needs: runc, squashfs-tools, busybox-static, iproute2, root"]
fn a_start_or_an_end_that_hangs_has_its_end() {
    device::on_device("runc", |device| {
        device.engine = hanging(device, "run");
        fs::write(device.path("hang"), "").unwrap();
        let error = device.start(&device.deployment(REVISION, [shell("web", STAYS)])).unwrap_err();
        assert!(error.to_string().contains("slow-runtime"), "{error}");
        assert!(matches!(device.see("web").condition, Condition::Failed { .. }));
        fs::remove_file(device.path("hang")).unwrap();
        let deployment = device.deployment(REVISION, [shell("web", STAYS)]);
        device.start(&deployment).unwrap();
        device.wait_for_words("web", "ready");
        // What cannot be taken away holds up the end for as long as the runtime may take, and no longer.
        device.engine = hanging(device, "delete");
        fs::write(device.path("hang"), "").unwrap();
        let began = Instant::now();
        device.stop("web");
        assert!(began.elapsed() < Duration::from_secs(10));
        assert!(matches!(device.see("web").condition, Condition::Exited { stopped: true, .. }));
        assert!(device.all("web").iter().any(|line| line.contains("did not delete the container within 1 s")));
        fs::remove_file(device.path("hang")).unwrap();
    });
}
