//! Services on real runtimes: how they start, what they see, how they end, what is left of them.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may panic and write files")]

mod device;

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use device::{Device, NoImages, REVISION, shell};
use umiak_engine::{Condition, Engine, EngineError, Health as Wellness, Observed};
use umiak_spec::service::{Health, Identity, Logs, Mount, MountKind, Probe, Restart, User};

both! {
    a_service_runs_stops_and_leaves_nothing
    it_sees_what_it_asked_for
    who_ignores_the_signal_is_killed
    restarts_end_where_they_should
    chatter_is_bounded_and_prompts_are_kept
    what_cannot_start_says_why
    memory_runs_out
    probes_tell_the_truth
    a_shim_that_was_killed_is_replaced
    another_agent_finds_it
    the_device_starts_anew
}

fn tmpfs(target: &str) -> Mount {
    Mount {
        target: target.into(),
        read_only: false,
        kind: MountKind::Tmpfs { size: Some(1 << 20), mode: None, options: vec![] },
    }
}

/// Runs until it is told to stop, and says so.
const PATIENT: &str = "trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.02; done";

fn a_service_runs_stops_and_leaves_nothing(device: &mut Device) {
    let deployment = device.run([shell("web", PATIENT)]);
    device.wait_for_words("web", "ready");
    // All of it again changes nothing.
    let started = device.see("web");
    device.start(&deployment).unwrap();
    assert!(started.is_well() && device.see("web").is_well());
    assert_eq!(device.all("web").iter().filter(|line| line.starts_with("started")).count(), 1);
    assert_eq!(device.loops(), 1);
    assert_ne!(device.groups("web"), Vec::<PathBuf>::new());
    let began = Instant::now();
    device.stop("web");
    assert!(began.elapsed() < Duration::from_secs(5));
    device.stop("web");
    assert_eq!(device.see("web").condition, Condition::Exited { code: 0, stopped: true });
    assert!(device.output("web").contains(&"bye".to_owned()));
    // It can be started again without being made ready.
    device.engine.start(&deployment, "web").unwrap();
    device.wait("web", Observed::is_running);
    device.engine.remove(&device.app, REVISION).unwrap();
    device.engine.remove(&device.app, REVISION).unwrap();
    assert!(device.mounts().iter().all(|point| !point.starts_with(device.path("run/services"))));
    assert!(!device.path("run/services").join(&device.app).exists());
    assert_eq!(device.loops(), 0, "its loop device is free again");
    assert!(device.engine.observe().unwrap().is_empty());
    assert_eq!(device.groups("web"), Vec::<PathBuf>::new());
    let error = device.engine.start(&deployment, "web").unwrap_err();
    assert!(matches!(error, EngineError::NotReady { .. }), "{error}");
}

fn it_sees_what_it_asked_for(device: &mut Device) {
    let script = "id; pwd; hostname; echo $GREETING $HOME; (touch /x 2>/dev/null) || echo read-only; touch /tmp/x && echo memory; \
        grep -E 'CapEff|CapBnd|Seccomp:|NoNewPrivs' /proc/self/status; (ls /proc/kcore >/dev/null; head -c1 /proc/kcore | wc -c); \
        echo $$; cat /etc/hosts /etc/hostname";
    let mut service = shell("web", script);
    service.process.user = User { user: Identity::Name("web".into()), group: None };
    service.process.cwd = "/var/work".into();
    service.process.env.insert("GREETING".into(), "good morning".into());
    service.security.no_new_privileges = true;
    service.mounts = vec![tmpfs("/tmp")];
    service.extra_hosts = vec![("other".into(), "192.0.2.9".into())];
    device.run([service]);
    device.wait("web", |seen| matches!(seen.condition, Condition::Exited { code: 0, stopped: false }));
    let output = device.output("web").join("\n");
    for wanted in [
        "uid=33(web) gid=34(web) groups=44(video)",
        "/var/work",
        "\nweb\n",
        "good morning /srv",
        "read-only",
        "\nmemory\n",
        "CapEff:\t0000000000000000",
        "CapBnd:\t00000000a80425fb",
        "Seccomp:\t2",
        "NoNewPrivs:\t1",
        "\n0\n",
        "\n1\n",
        "192.0.2.9\tother",
    ] {
        assert!(output.contains(wanted), "{wanted:?} in {output}");
    }
}

fn who_ignores_the_signal_is_killed(device: &mut Device) {
    let mut service =
        shell("web", "trap '' TERM; (trap '' TERM; while :; do sleep 1; done) & echo ready; while :; do sleep 1; done");
    service.stop_grace = Duration::from_millis(150);
    device.run([service]);
    device.wait_for_words("web", "ready");
    device.stop("web");
    assert_eq!(device.see("web").condition, Condition::Exited { code: 137, stopped: true });
    assert!(device.all("web").iter().any(|line| line.contains("is killed")));
}

fn restarts_end_where_they_should(device: &mut Device) {
    let mut failing = shell("failing", "echo once more; exit 3");
    failing.restart = Restart::OnFailure { most: Some(2) };
    let mut steady = shell("steady", "exit 0");
    steady.restart = Restart::Always;
    device.run([failing, steady]);
    let seen = device.wait("failing", |seen| matches!(seen.condition, Condition::Exited { .. }));
    assert_eq!((seen.condition, seen.restarts), (Condition::Exited { code: 3, stopped: false }, 2));
    assert_eq!(device.output("failing").len(), 3);
    device.wait("steady", |seen| seen.restarts >= 2);
    device.stop("steady");
    assert!(matches!(device.see("steady").condition, Condition::Exited { code: 0, stopped: true }));
}

fn chatter_is_bounded_and_prompts_are_kept(device: &mut Device) {
    let mut service = shell("web", "yes chatter | head -c 3000000; printf 'password: '; sleep 1000");
    service.logs = Logs { size: 50_000, files: 3 };
    service.stop_grace = Duration::ZERO;
    device.run([service]);
    device.wait_for_words("web", "password: ");
    let files = fs::read_dir(device.path("logs").join(&device.app).join("web")).unwrap().flatten();
    let sizes: Vec<u64> = files.map(|entry| entry.metadata().unwrap().len()).collect();
    assert!(sizes.len() == 3 && sizes.iter().all(|size| *size <= 50_000), "{sizes:?}");
    let output = device.output("web");
    assert!(output[..output.len() - 1].iter().all(|line| line == "chatter"), "no line is torn");
}

fn what_cannot_start_says_why(device: &mut Device) {
    let mut nothing = shell("nothing", "");
    nothing.process.args = vec!["/bin/no-such-program".into()];
    let mut nobody = shell("nobody", "");
    nobody.process.user = User::parse("nobody").unwrap();
    let deployment = device.deployment(REVISION, [nothing]);
    let error = device.start(&deployment).unwrap_err().to_string();
    assert!(error.contains("no-such-program"), "{error}");
    let Condition::Failed { why } = device.see("nothing").condition else { panic!("{:?}", device.see("nothing")) };
    assert!(why.contains("no-such-program"));
    let error = device.start(&device.deployment(REVISION, [nobody])).unwrap_err().to_string();
    assert!(error.contains("user nobody is not in the image's /etc/passwd"), "{error}");
    let mut asking = shell("asking", "");
    asking.process.tty = true;
    let error = device.start(&device.deployment(REVISION, [asking])).unwrap_err();
    assert!(matches!(error, EngineError::Refused { .. }), "{error}");
}

fn memory_runs_out(device: &mut Device) {
    // A shell that doubles a word until there is no room.
    let mut service = shell("web", "w=xxxxxxxxxxxxxxxx; while :; do w=$w$w; done");
    service.resources.memory = Some(16 << 20);
    device.run([service]);
    let seen = device.wait("web", |seen| matches!(seen.condition, Condition::Exited { .. }));
    assert_eq!(seen.condition, Condition::Exited { code: 137, stopped: false });
    assert_eq!(seen.detail.as_deref(), Some("memory ran out"));
}

fn probes_tell_the_truth(device: &mut Device) {
    let probe = |probe| {
        let mut health = Health::new(probe);
        health.interval = Duration::from_millis(50);
        health.start_interval = Duration::from_millis(20);
        health.timeout = Duration::from_secs(5);
        health.retries = 2;
        Some(health)
    };
    let exec = |script: &str| probe(Probe::Exec(["/bin/sh", "-c", script].map(str::to_owned).into()));
    let mut file = shell("file", "touch /tmp/well; while :; do sleep 0.05; test -f /tmp/die && rm /tmp/well; done");
    file.mounts = vec![tmpfs("/tmp")];
    file.health = exec("test -f /tmp/well");
    let mut ill = shell("ill", "while :; do sleep 0.05; done");
    ill.health = exec("echo my leg hurts; exit 4");
    let mut slow = ill.clone();
    slow.name = "slow".into();
    slow.health = exec("sleep 1000").map(|health| Health { timeout: Duration::from_millis(100), ..health });
    let mut web = shell("web", "exec httpd -f -p 8080 -h /srv");
    web.health = probe(Probe::Http { port: 8080, path: "/index.html".into() });
    let mut missing = web.clone();
    missing.name = "missing".into();
    missing.health = probe(Probe::Http { port: 8080, path: "/absent".into() });
    let mut closed = web.clone();
    closed.name = "closed".into();
    closed.health = probe(Probe::Tcp { port: 8081 });
    let mut all = [file, ill, slow, web, missing, closed];
    all.iter_mut().for_each(|service| service.stop_grace = Duration::ZERO);
    device.run(all);
    for name in ["file", "web"] {
        device.wait(name, |seen| seen.health == Some(Wellness::Healthy));
    }
    for (name, why) in [("ill", "code 4: my leg hurts"), ("slow", "in time"), ("missing", "404"), ("closed", "8081")] {
        let seen = device.wait(name, |seen| seen.health == Some(Wellness::Unhealthy));
        assert!(seen.detail.as_ref().is_some_and(|detail| detail.contains(why)), "{seen:?}");
        assert!(seen.is_running() && !seen.is_well());
    }
}

fn a_shim_that_was_killed_is_replaced(device: &mut Device) {
    let deployment = device.run([shell("web", PATIENT)]);
    device.wait_for_words("web", "ready");
    let shim = fs::read_to_string(device.instance("web", "lock")).unwrap();
    let status = std::process::Command::new("kill").args(["-KILL", shim.trim()]).status().unwrap();
    assert!(status.success());
    device.wait("web", |seen| seen.condition == Condition::Unwatched);
    device.start(&deployment).unwrap();
    device.wait("web", Observed::is_running);
    // Killed again: stopping makes an end of the service that nobody watches.
    let shim = fs::read_to_string(device.instance("web", "lock")).unwrap();
    std::process::Command::new("kill").args(["-KILL", shim.trim()]).status().unwrap();
    device.wait("web", |seen| seen.condition == Condition::Unwatched);
    device.stop("web");
    assert!(matches!(device.see("web").condition, Condition::Exited { stopped: true, .. }));
}

fn another_agent_finds_it(device: &mut Device) {
    let deployment = device.run([shell("web", PATIENT)]);
    let runtime = PathBuf::from("/bin/true");
    device.wait_for_words("web", "ready");
    // One that was set up for another runtime still sees, and stops, what the first started.
    device.engine = umiak_engine::oci::Oci::new(device::options(device.scratch.path(), &runtime)).unwrap();
    device.wait("web", Observed::is_running);
    device.engine.ready(&deployment, &NoImages).unwrap();
    device.stop("web");
    assert!(matches!(device.see("web").condition, Condition::Exited { stopped: true, .. }));
}

fn the_device_starts_anew(device: &mut Device) {
    let deployment = device.run([shell("web", PATIENT)]);
    device.wait_for_words("web", "ready");
    device.stop("web");
    // As after a start of the device whose run directory is on a disk: no mounts, old papers.
    umiak_mount::unmount(&device.instance("web", "root")).unwrap();
    let keeper = device.path("run/net").join(format!("{}+001122334455+web", device.app));
    umiak_mount::unmount(&keeper).unwrap();
    fs::write(device.path("run/boot"), "another start").unwrap();
    let place = device.instance("web", "place.json");
    let text = fs::read_to_string(&place).unwrap();
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    fs::write(&place, text.replace(boot.trim(), "another start")).unwrap();
    assert!(device.engine.observe().unwrap().is_empty(), "nothing of an earlier start is believed");
    device.start(&deployment).unwrap();
    device.wait("web", |seen| seen.is_running() && seen.restarts == 0);
    device.wait_for_words("web", "ready");
}
