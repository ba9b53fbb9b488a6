//! The daemon as a process: what it tells its manager, whom it listens to, what it does by itself, how it ends.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "a test works in a scratch directory")]

mod device;

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use device::{Device, RUNS, Said, said};
use rustix::process::{Pid, Signal, kill_process};

const PATIENCE: Duration = Duration::from_secs(60);

/// Looks again and again.
const POLLING: &str = "daemon.poll = \"1 s\"\ndaemon.jitter = 0\n";

/// A daemon, which goes with the test.
struct Daemon {
    child: Child,
    told: Arc<Mutex<Vec<String>>>,
}

impl Daemon {
    /// Starts it, and waits until it says that it is ready.
    fn start(device: &Device) -> Self {
        let place = device.path("notify");
        let _ = fs::remove_file(&place);
        let manager = UnixDatagram::bind(&place).unwrap();
        let mut command = device.command("daemon");
        command.env("NOTIFY_SOCKET", &place).env("WATCHDOG_USEC", "1000000");
        let log = fs::OpenOptions::new().create(true).append(true).open(device.path("daemon.log")).unwrap();
        let child = command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        let told = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&told);
        // Ends with the process: nobody else reads there.
        thread::spawn(move || {
            let mut buffer = [0; 512];
            while let Ok(length) = manager.recv(&mut buffer) {
                heard.lock().unwrap().push(String::from_utf8_lossy(&buffer[..length]).into_owned());
            }
        });
        let daemon = Self { child, told };
        wait_until(device, || daemon.was_told("READY=1"));
        daemon
    }

    fn was_told(&self, message: &str) -> bool {
        self.told.lock().unwrap().iter().any(|told| told == message)
    }

    fn end(&mut self) -> ExitStatus {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        self.child.wait().unwrap()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn wait_until(device: &Device, what: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !what() {
        if Instant::now() >= end {
            let log = fs::read_to_string(device.path("daemon.log")).unwrap_or_default();
            panic!("{}\n{log}", device.status());
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// Waits until the one app runs release `name` and nothing is under way.
fn wait_for(device: &Device, name: &str) {
    let runs = (name.to_owned(), "running".to_owned());
    wait_until(device, || device.runs() == runs && device.status()["underway"]["phase"] == "rest");
}

/// One request through the socket: what came on stdout, and the exit code.
fn ask(socket: &Path, verb: &[&str]) -> (String, i64) {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(format!("{}\n", serde_json::json!({ "verb": verb })).as_bytes()).unwrap();
    let mut out = String::new();
    for line in BufReader::new(stream).lines() {
        let answer: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
        if let Some(exit) = answer["exit"].as_i64() {
            return (out, exit);
        }
        if answer["stream"] == "stdout" {
            out.push_str(answer["text"].as_str().unwrap());
        }
    }
    panic!("the daemon went away: {out}");
}

/// The processes that watch over services.
fn watchers(device: &Device) -> BTreeSet<i32> {
    device.processes().into_iter().filter(|(_, line)| line.contains("\0shim\0")).map(|(pid, _)| pid).collect()
}

#[test]
#[ignore = "needs: crun, busybox-static, iproute2, mount, root"]
fn the_daemon_follows_its_target_and_leaves_containers_alone_when_it_ends() {
    let device = Device::configured(POLLING);
    device.release("one", RUNS, 1);
    device.release("two", RUNS, 2);
    device.done("target set oci:one");
    let mut daemon = Daemon::start(&device);
    wait_for(&device, "one");
    // It looks by itself: nobody tells it of this one.
    device.done("target set oci:two");
    wait_for(&device, "two");
    wait_until(&device, || daemon.was_told("WATCHDOG=1") && daemon.was_told("STATUS=update --yes"));

    // So much of a device that waits is its own.
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.child.id())).unwrap();
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
    let kib = |name: &str| field(name).trim_end_matches(" kB").parse::<u64>().unwrap();
    println!("idle: {} KiB resident, {} KiB of it anonymous", kib("VmRSS:"), kib("RssAnon:"));
    assert!(kib("RssAnon:") < 4 << 10);

    let before = watchers(&device);
    assert_eq!(before.len(), 1);
    assert_eq!(daemon.end().code(), Some(0));
    assert!(!device.path("run/s").exists());
    wait_until(&device, || daemon.was_told("STOPPING=1"));
    assert_eq!(watchers(&device), before);
    let mut again = Daemon::start(&device);
    wait_for(&device, "two");
    again.end();
    assert_eq!(watchers(&device), before, "the service was not started again");
    assert_eq!(device.status()["apps"][0]["services"][0]["restarts"], 0);
}

#[test]
#[ignore = "needs: crun, busybox-static, iproute2, mount, root"]
fn the_socket_has_the_command_lines_verbs_for_root_and_a_group() {
    // Any group that every device has.
    const GROUP: &str = "games";
    let device = Device::configured(&format!("daemon.poll = \"1 h\"\ndaemon.group = \"{GROUP}\"\n"));
    device.release("one", RUNS, 1);
    device.release("two", RUNS, 2);
    device.done("target set oci:one");
    let mut daemon = Daemon::start(&device);
    wait_for(&device, "one");
    let socket = device.path("run/s");

    for line in ["--json status", "status", "--json check", "--json history", "target show", "version", "logs --tail 1"]
    {
        let (out, exit) = ask(&socket, &line.split(' ').collect::<Vec<_>>());
        let here = device.command(line).output().unwrap();
        // What is free changes from one moment to the next.
        let lasting = |text: &str| text.lines().filter(|line| !line.contains(" free")).map(cut).collect::<String>();
        assert_eq!(
            (lasting(&out), Some(exit)),
            (lasting(&String::from_utf8_lossy(&here.stdout)), here.status.code().map(i64::from)),
            "{line}"
        );
    }
    assert_eq!(ask(&socket, &["daemon"]).1, 2);
    // The poll is far: it is the change that wakes the daemon.
    let two = format!("oci:{}", device.path("two").display());
    assert_eq!(ask(&socket, &["target", "set", &two]).1, 0);
    wait_for(&device, "two");

    let group = fs::metadata(&socket).unwrap().gid();
    assert_eq!(fs::metadata(&socket).unwrap().mode() & 0o777, 0o660);
    let member = user(&device, group, "--json status");
    assert_eq!(member.code, Some(0), "{}", member.text);
    assert!(member.text.contains("running"), "{}", member.text);
    let set = user(&device, group, "target set one");
    assert_eq!(set.code, Some(0), "{}", set.text);
    wait_for(&device, "one");
    let stranger = user(&device, 65534, "status");
    assert_eq!(stranger.code, Some(1), "{}", stranger.text);
    assert!(stranger.text.contains(&format!("a member of the group {GROUP}")), "{}", stranger.text);
    assert_eq!(user(&device, group, "support").code, Some(2));
    daemon.end();
}

/// What of a document is the same in a moment.
fn cut(line: &str) -> String {
    line.split("\"free\"").next().unwrap_or_default().to_owned()
}

/// A verb of a user who is nobody, in one group.
fn user(device: &Device, group: u32, line: &str) -> Said {
    let program = device.path("umiakd");
    if !program.exists() {
        // Nobody may look into the directory of a build.
        fs::copy(env!("CARGO_BIN_EXE_umiakd"), &program).unwrap();
        fs::set_permissions(device.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let mut command = Command::new(program);
    command.arg("--config").arg(device.path("umiakd.toml")).args(line.split(' '));
    said(&command.current_dir(device.path("")).uid(65534).gid(group).output().unwrap())
}

#[test]
#[ignore = "needs: crun, busybox-static, iproute2, mount, root"]
fn told_to_end_in_an_update_it_ends_and_the_next_start_goes_on() {
    let device = Device::configured(POLLING);
    device.release("one", RUNS, 1);
    device.done("target set oci:one");
    device.done("update");
    // Its testing window is longer than this test may take.
    device.configure(&format!("{POLLING}testing.window = \"1 h\"\n"));
    device.release("two", RUNS, 2);
    let mut daemon = Daemon::start(&device);
    device.done("target set oci:two");
    wait_until(&device, || device.status()["underway"]["phase"] == "testing");
    let begun = Instant::now();
    assert_eq!(daemon.end().code(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    let left: Vec<_> = device.processes().into_iter().filter(|(_, line)| line.contains("--by-daemon")).collect();
    assert!(left.is_empty(), "{left:?}");
    assert_eq!((device.status()["underway"]["phase"].as_str(), device.runs().1), (Some("testing"), "running".into()));

    device.configure(POLLING);
    let _daemon = Daemon::start(&device);
    wait_for(&device, "two");
}

#[test]
#[ignore = "needs: crun, busybox-static, iproute2, mount, root"]
fn outside_of_its_window_it_waits_and_in_it_a_wake_while_it_is_busy_is_not_lost() {
    // The day is another one, whatever day it is; a clock that was never set is none of this test's.
    let today = (std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs() / 86_400 + 3) % 7;
    let days = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
    let other = days[usize::try_from((today + 3) % 7).unwrap()];
    let device = Device::configured(&format!("{POLLING}daemon.windows = [\"{other} 10:00-11:00\"]\n"));
    device.release("one", RUNS, 1);
    device.release("two", RUNS, 2);
    device.done("target set oci:one");
    let mut daemon = Daemon::start(&device);
    let socket = device.path("run/s");
    // Several looks later, and though somebody rings, nothing was fetched.
    ask(&socket, &["target", "set", &format!("oci:{}", device.path("one").display())]);
    let resumed = || daemon.told.lock().unwrap().iter().filter(|told| *told == "STATUS=resume").count();
    wait_until(&device, || resumed() > 3);
    assert!(!daemon.was_told("STATUS=update --yes") && device.status()["apps"].as_array().unwrap().is_empty());
    daemon.end();

    // The poll is far: it is what was heard during the update that is looked at after it.
    device.configure("daemon.poll = \"1 h\"\ntesting.window = \"3 s\"\n");
    let _daemon = Daemon::start(&device);
    wait_until(&device, || device.status()["underway"]["phase"] == "testing");
    ask(&socket, &["target", "set", &format!("oci:{}", device.path("two").display())]);
    wait_for(&device, "two");
}
