//! The daemon's door: a unix socket through which root and one group have the same verbs as the command line.
//!
//! ```text
//! caller -> {"verb": ["update", "--stage-only"]}                    one line, at most 64 KiB
//! daemon -> {"stream": "stderr", "text": " Fit  needs 58 MiB …"}    as often as there is something to say
//!           {"exit": 0}                                             then the connection ends
//! ```
//!
//! Each verb runs as a child process of the same program, which has its own memory, its own crash and the store's locks;
//! the door carries its lines. Guarantees: who may not write to the socket's file cannot speak; one request of one line a
//! connection, with a limit on its length and on the time it takes; at most [`CALLERS`] at once; only the verbs of [`open_to_callers`].
//! A caller who hangs up stops a query; an update goes on without him. The form is in `docs/formats/socket.md`.
#![allow(clippy::disallowed_methods, reason = "a socket is gone with its process: nothing here is durable")]

use std::fs::{self, Permissions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How many are served at once; more are told to come again.
pub const CALLERS: usize = 8;

/// The longest request, in bytes.
const LONGEST: u64 = 64 << 10;

/// How long a caller may take to say what he wants, or to take what he is told.
const PATIENCE: Duration = Duration::from_secs(10);

/// The longest piece of a line that is carried at once, in bytes.
const PIECE: usize = 16 << 10;

/// Bytes of stack of a thread that carries lines.
const STACK: usize = 128 << 10;

/// What a caller asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The words of a command line behind the program's name.
    pub verb: Vec<String>,
}

/// What a caller is told, line by line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Answer {
    /// A line, or a piece of a long one.
    Said {
        /// `stdout` or `stderr`.
        stream: String,
        /// With its line feed, where it has one.
        text: String,
    },
    /// The end.
    Ended {
        /// The verb's exit code.
        exit: u8,
    },
}

/// What a verb is to the door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// It only looks: who hangs up has seen enough.
    Looks,
    /// It changes something: it goes on to its end.
    Changes,
}

/// The verbs that may come through the door; those that write files where the caller says, or are for the system, may not.
#[must_use]
pub fn open_to_callers(verb: &str) -> Option<Manner> {
    match verb {
        "status" | "check" | "history" | "logs" | "help" | "version" => Some(Manner::Looks),
        "target" | "update" | "rollback" | "pin" | "unpin" | "prune" | "fsck" => Some(Manner::Changes),
        _ => None,
    }
}

/// The door while it is open. Its socket goes with it.
pub struct Door {
    listener: UnixListener,
    path: PathBuf,
    service: Arc<Service>,
}

struct Service {
    /// How a verb's process begins: program, and the words before the verb.
    program: PathBuf,
    before: Vec<String>,
    callers: AtomicUsize,
    /// Is told after a verb that changed something.
    changed: Box<dyn Fn() + Send + Sync>,
}

/// Opens the socket at `path` for root and `group`; without such a group for root alone. `program` with `before` and a
/// verb's words is what runs it.
///
/// # Errors
/// The directory or the socket cannot be made; another daemon listens there.
pub fn open(
    path: &Path,
    group: &str,
    program: PathBuf,
    before: Vec<String>,
    changed: impl Fn() + Send + Sync + 'static,
) -> io::Result<Door> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    if UnixStream::connect(path).is_ok() {
        return Err(io::Error::new(io::ErrorKind::AddrInUse, "another daemon listens there"));
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // Until its mode is set only the owner may write to it: no umask takes that away, none gives more.
    let listener = UnixListener::bind(path)?;
    if let Some(group) = group_id(group, &fs::read_to_string("/etc/group").unwrap_or_default()) {
        std::os::unix::fs::chown(path, None, Some(group))?;
    }
    fs::set_permissions(path, Permissions::from_mode(0o660))?;
    let service = Service { program, before, callers: AtomicUsize::new(0), changed: Box::new(changed) };
    Ok(Door { listener, path: path.to_owned(), service: Arc::new(service) })
}

/// The number of a group in the text of `/etc/group`.
fn group_id(name: &str, groups: &str) -> Option<u32> {
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok()).flatten()
    })
}

impl Door {
    /// Serves callers until the listener fails, which it does not while the process lives.
    pub fn serve(&self) {
        for caller in self.listener.incoming().flatten() {
            let service = Arc::clone(&self.service);
            if service.callers.fetch_add(1, Ordering::AcqRel) >= CALLERS {
                service.callers.fetch_sub(1, Ordering::AcqRel);
                refuse(&caller, "too many callers at once: come again");
                continue;
            }
            let thread = thread::Builder::new().name("caller".into()).stack_size(STACK);
            let begun = thread.spawn({
                let service = Arc::clone(&service);
                move || {
                    service.serve(&caller);
                    service.callers.fetch_sub(1, Ordering::AcqRel);
                }
            });
            if begun.is_err() {
                service.callers.fetch_sub(1, Ordering::AcqRel);
            }
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        // The next daemon removes it as well.
        let _ = fs::remove_file(&self.path);
    }
}

impl Service {
    fn serve(&self, caller: &UnixStream) {
        let _ = caller.set_read_timeout(Some(PATIENCE));
        let _ = caller.set_write_timeout(Some(PATIENCE));
        match read_request(caller) {
            Ok((request, manner)) => self.run(caller, &request, manner),
            Err(refusal) => refuse(caller, &refusal),
        }
    }

    fn run(&self, caller: &UnixStream, request: &Request, manner: Manner) {
        let mut command = Command::new(&self.program);
        command.args(&self.before).args(&request.verb);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = match command.spawn() {
            Ok(child) => child,
            Err(error) => return refuse(caller, &format!("cannot start {}: {error}", self.program.display())),
        };
        let exit = carry(caller, child, manner);
        tell(caller, &Answer::Ended { exit });
        if manner == Manner::Changes {
            (self.changed)();
        }
    }
}

fn read_request(caller: &UnixStream) -> Result<(Request, Manner), String> {
    let mut line = Vec::new();
    BufReader::new(caller.take(LONGEST))
        .read_until(b'\n', &mut line)
        .map_err(|error| format!("no request came: {error}"))?;
    let request: Request = serde_json::from_slice(&line).map_err(|error| format!("not a request: {error}"))?;
    let verb = request.verb.iter().find(|word| !word.starts_with('-')).map(String::as_str).unwrap_or_default();
    // A word in front of the verb would be an option of the program's, such as another configuration.
    let first = request.verb.first().map(String::as_str).unwrap_or_default();
    match open_to_callers(verb) {
        Some(manner) if first == verb && !names_a_place(&request.verb) => Ok((request, manner)),
        _ => Err(format!("`{}` does not go through the socket", request.verb.join(" "))),
    }
}

/// Whether a request wants another configuration or store than the daemon's.
fn names_a_place(words: &[String]) -> bool {
    words.iter().any(|word| ["--config", "--store"].iter().any(|option| word.starts_with(option)))
}

/// Carries the child's lines to the caller; gives the exit code.
fn carry(caller: &UnixStream, mut child: Child, manner: Manner) -> u8 {
    let (said, lines) = sync_channel::<Answer>(64);
    let readers = [
        child.stdout.take().and_then(|stream| reader("stdout", stream, said.clone())),
        child.stderr.take().and_then(|stream| reader("stderr", stream, said.clone())),
    ];
    drop(said);
    let child = Mutex::new(child);
    let mut listening = true;
    for line in lines {
        if listening && !tell(caller, &line) {
            listening = false;
            if manner == Manner::Looks {
                let _ = child.lock().unwrap_or_else(PoisonError::into_inner).kill();
            }
        }
    }
    for reader in readers.into_iter().flatten() {
        let _ = reader.join();
    }
    let status = child.lock().unwrap_or_else(PoisonError::into_inner).wait();
    // Killed by a signal, or lost: 1, the environment's affair.
    status.ok().and_then(|status| status.code()).and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

fn reader(
    name: &'static str,
    stream: impl Read + Send + 'static,
    said: SyncSender<Answer>,
) -> Option<thread::JoinHandle<()>> {
    let work = move || {
        let mut lines = BufReader::with_capacity(PIECE, stream);
        loop {
            let mut piece = Vec::new();
            match (&mut lines).take(PIECE as u64).read_until(b'\n', &mut piece) {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
            let text = String::from_utf8_lossy(&piece).into_owned();
            if said.send(Answer::Said { stream: name.into(), text }).is_err() {
                return;
            }
        }
    };
    thread::Builder::new().name(name.into()).stack_size(STACK).spawn(work).ok()
}

/// Whether the caller took it.
fn tell(mut caller: &UnixStream, answer: &Answer) -> bool {
    let Ok(mut line) = serde_json::to_vec(answer) else { return false };
    line.push(b'\n');
    caller.write_all(&line).is_ok()
}

fn refuse(caller: &UnixStream, why: &str) {
    tell(caller, &Answer::Said { stream: "stderr".into(), text: format!("error: {why}\n") });
    tell(caller, &Answer::Ended { exit: umiak_ui::USAGE });
}

/// Asks the daemon behind `path` to run `verb`, with everything it says to `heard`. Gives the exit code.
///
/// # Errors
/// No daemon listens there, or it went away before the end.
pub fn ask(path: &Path, verb: &[String], mut heard: impl FnMut(&str, &str)) -> io::Result<u8> {
    let mut stream = UnixStream::connect(path)?;
    let mut request = serde_json::to_vec(&Request { verb: verb.to_vec() })?;
    request.push(b'\n');
    stream.write_all(&request)?;
    for line in BufReader::new(stream).lines() {
        match serde_json::from_str(&line?)? {
            Answer::Said { stream, text } => heard(&stream, &text),
            Answer::Ended { exit } => return Ok(exit),
        }
    }
    Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the daemon went away"))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    /// A door behind which `/bin/sh -c SCRIPT` is the program; the verb's words are its arguments.
    fn door(directory: &Path, script: &str) -> (PathBuf, std::sync::mpsc::Receiver<()>) {
        let path = directory.join("run/umiakd.sock");
        let (changed, changes) = channel();
        let changed = Mutex::new(changed);
        let door = open(&path, "no such group", "/bin/sh".into(), vec!["-c".into(), script.into()], move || {
            let _ = changed.lock().unwrap().send(());
        });
        let door = door.unwrap();
        thread::spawn(move || door.serve());
        (path, changes)
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
        for line in [
            "daemon",
            "shim x",
            "--config /tmp/x status",
            "status --config=/tmp/x",
            "status --store /tmp",
            "export a b",
        ] {
            let (exit, said) = asked(&path, line);
            assert_eq!(exit, 2, "{line}");
            assert_eq!(said, format!("stderr: error: `{line}` does not go through the socket\n"));
        }
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
        let _ = stream.write_all(&vec![b'['; usize::try_from(LONGEST).unwrap() + 1]);
        let mut said = Vec::new();
        let _ = stream.read_to_end(&mut said);
        assert!(String::from_utf8_lossy(&said).contains("not a request") || said.is_empty());
        assert_eq!(asked(&path, "status").0, 0);
    }

    #[test]
    fn a_query_ends_with_its_caller_and_an_update_does_not() {
        let directory = tempfile::tempdir().unwrap();
        let marker = directory.path().join("went-on");
        let script =
            format!("echo begun; while ! test -e {0}.go; do echo more; sleep 0.05; done; touch {0}", marker.display());
        let (path, changes) = door(directory.path(), &script);
        let begin = |line: &str| {
            let mut stream = UnixStream::connect(&path).unwrap();
            let request = serde_json::to_vec(&Request { verb: words(line) }).unwrap();
            stream.write_all(&[&request[..], b"\n"].concat()).unwrap();
            BufReader::new(stream).lines().next().unwrap().unwrap()
        };
        assert!(begin("update").contains("begun"));
        fs::write(format!("{}.go", marker.display()), "").unwrap();
        changes.recv_timeout(PATIENCE).unwrap();
        assert!(marker.exists());
        fs::remove_file(&marker).unwrap();
        fs::remove_file(format!("{}.go", marker.display())).unwrap();
        assert!(begin("logs").contains("begun"));
        // The door is free again only when the child is gone.
        let (exit, _) = {
            let go = format!("{}.go", marker.display());
            fs::write(go, "").unwrap();
            asked(&path, "status")
        };
        assert_eq!(exit, 0);
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
        assert!(!stale.exists());
    }

    #[test]
    fn groups_are_found_by_name() {
        assert_eq!(group_id("umiak", "root:x:0:\numiak:x:991:me,you\n"), Some(991));
        assert_eq!(group_id("um", "umiak:x:991:\n"), None);
    }
}
