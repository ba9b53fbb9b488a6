//! The door with a shell behind it in place of umiakd.

use std::io::{BufRead, BufReader, Read, Write};
use std::sync::mpsc::{Receiver, channel};

use super::*;

/// A door that is served, what shuts it, and what it says of changes.
struct Open {
    path: PathBuf,
    latch: Latch,
    changes: Receiver<()>,
}

/// A door behind which `/bin/sh -c SCRIPT` is the program; the verb's words are its arguments.
fn served(directory: &Path, script: &str) -> Open {
    let path = directory.join("run/umiakd.sock");
    let (changed, changes) = channel();
    let changed = Mutex::new(changed);
    let door = open(&path, "no such group", "/bin/sh".into(), vec!["-c".into(), script.into()], move || {
        let _ = changed.lock().unwrap().send(());
    });
    let door = door.unwrap();
    let latch = door.latch();
    thread::spawn(move || door.serve());
    Open { path, latch, changes }
}

fn door(directory: &Path, script: &str) -> (PathBuf, Receiver<()>) {
    let open = served(directory, script);
    (open.path, open.changes)
}

/// Says a line and hears the first one of what comes.
fn begin(path: &Path, line: &str) -> (UnixStream, String) {
    let mut stream = UnixStream::connect(path).unwrap();
    let request = serde_json::to_vec(&Request { verb: words(line) }).unwrap();
    stream.write_all(&[&request[..], b"\n"].concat()).unwrap();
    let mut first = String::new();
    BufReader::new(&stream).read_line(&mut first).unwrap();
    (stream, first)
}

fn words(line: &str) -> Vec<String> {
    line.split(' ').map(str::to_owned).collect()
}

fn asked(path: &Path, line: &str) -> (u8, String) {
    let mut all = String::new();
    let exit = ask(path, &words(line), |stream, text| all.push_str(&format!("{stream}: {text}"))).unwrap();
    (exit, all)
}

#[test]
fn a_verb_s_lines_and_its_exit_code_come_through() {
    let directory = tempfile::tempdir().unwrap();
    let (path, changes) = door(directory.path(), "echo \"$0 $1\"; exit 6");
    assert_eq!(asked(&path, "update --stage-only"), (6, "stdout: update --stage-only\n".into()));
    changes.recv_timeout(PATIENCE).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
}

#[test]
fn only_verbs_for_callers_come_through_and_none_with_another_place() {
    let directory = tempfile::tempdir().unwrap();
    let (path, _) = door(directory.path(), "echo \"$0\"");
    for line in ["daemon", "shim x", "--config /tmp/x status", "--store /tmp status", "export a b"] {
        let (exit, said) = asked(&path, line);
        assert_eq!(exit, 2, "{line}");
        assert_eq!(said, format!("stderr: error: `{line}` does not go through the socket: it is for root\n"));
    }
    assert_eq!(asked(&path, "status --config=/tmp/x").0, 2);
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n").unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    assert!(said.contains("not a request") && said.ends_with("{\"exit\":2}\n"), "{said}");
}

#[test]
fn an_endless_request_is_cut_off() {
    let directory = tempfile::tempdir().unwrap();
    let (path, _) = door(directory.path(), "true");
    let mut stream = UnixStream::connect(&path).unwrap();
    // The daemon may answer and hang up before all is written.
    let _ = stream.write_all(&vec![b'['; (64 << 10) + 1]);
    let mut said = Vec::new();
    let _ = stream.read_to_end(&mut said);
    assert!(String::from_utf8_lossy(&said).contains("not a request") || said.is_empty());
    assert_eq!(asked(&path, "status").0, 0);
}

/// A verb that says one line, and waits until there is a file `go`; then it leaves a file `done`.
fn waits(directory: &Path) -> String {
    let place = directory.display();
    format!("echo begun $$; while ! test -e {place}/go; do sleep 0.05; done; touch {place}/done")
}

/// The process that said `begun PID`.
fn begun(first: &str) -> PathBuf {
    let answer: serde_json::Value = serde_json::from_str(first).unwrap();
    let pid = answer["text"].as_str().unwrap().trim().strip_prefix("begun ").unwrap().to_owned();
    Path::new("/proc").join(pid)
}

fn wait_until(what: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !what() {
        assert!(Instant::now() < end);
        thread::sleep(LOOK);
    }
}

#[test]
fn a_query_ends_with_its_caller_though_it_says_nothing_and_an_update_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let (path, changes) = door(directory.path(), &waits(directory.path()));
    let (caller, first) = begin(&path, "logs");
    // He who says no more still listens.
    caller.shutdown(std::net::Shutdown::Write).unwrap();
    let (listener, second) = begin(&path, "status");
    listener.shutdown(std::net::Shutdown::Write).unwrap();
    drop(caller);
    wait_until(|| !begun(&first).exists());
    assert!(begun(&second).exists());

    drop(begin(&path, "update"));
    fs::write(directory.path().join("go"), "").unwrap();
    changes.recv_timeout(PATIENCE).unwrap();
    assert!(directory.path().join("done").exists());
    let mut rest = String::new();
    (&listener).read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "{\"exit\":0}\n");
}

#[test]
fn a_caller_who_takes_nothing_holds_an_update_up_once_only() {
    let directory = tempfile::tempdir().unwrap();
    // More lines than pipe, pieces and socket hold, and then a pause before each of a few more.
    let talks = "yes 'a line that nobody reads' | head -n 100000; for word in 1 2 3; do echo $word; sleep 0.1; done";
    let (path, changes) = door(directory.path(), talks);
    let begun = Instant::now();
    let (_deaf, _) = begin(&path, "update");
    changes.recv_timeout(PATIENCE * 3).unwrap();
    assert!(begun.elapsed() < PATIENCE * 2, "{:?}", begun.elapsed());
}

#[test]
fn verbs_end_when_the_door_is_shut_the_stubborn_ones_too() {
    for (script, patience) in
        [("echo begun $$; exec sleep 1000", 20), ("trap '' TERM; echo begun $$; while :; do sleep 1; done", 0)]
    {
        let directory = tempfile::tempdir().unwrap();
        let Open { path, latch, .. } = served(directory.path(), script);
        let (_caller, first) = begin(&path, "update");
        latch.shut(Duration::from_secs(patience));
        wait_until(|| !begun(&first).exists());
        assert!(!path.exists());
    }
}

#[test]
fn a_second_daemon_is_refused_and_a_dead_one_s_socket_is_taken_over() {
    let directory = tempfile::tempdir().unwrap();
    let (path, _) = door(directory.path(), "true");
    let second = open(&path, "", "/bin/true".into(), Vec::new(), || ());
    assert_eq!(second.err().unwrap().kind(), io::ErrorKind::AddrInUse);
    let stale = directory.path().join("stale.sock");
    drop(UnixListener::bind(&stale).unwrap());
    assert!(open(&stale, "", "/bin/true".into(), Vec::new(), || ()).is_ok());
}

#[test]
fn groups_are_found_by_name() {
    assert_eq!(group_id("umiak", "root:x:0:\numiak:x:991:me,you\n"), Some(991));
    assert_eq!(group_id("um", "umiak:x:991:\n"), None);
}
