//! A verb's lines on their way to the caller.

use std::io::{BufRead, BufReader, Read};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::process::Child;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::STACK;
use super::words::{Answer, Manner, tell};

/// The longest piece of a line that is carried at once, in bytes.
const PIECE: usize = 16 << 10;

/// Pieces on their way at once.
const PIECES: usize = 64;

/// How often it is looked whether the caller is still there while nothing is said.
const LOOK: Duration = Duration::from_millis(500);

/// Carries the child's lines to the caller until it says no more. Who takes nothing for too long is hung up on, so that he
/// holds nobody up. A query ends when nobody listens any longer.
pub fn carry(caller: &UnixStream, child: &mut Child, manner: Manner) {
    let (said, lines) = sync_channel::<Answer>(PIECES);
    let readers = [
        child.stdout.take().and_then(|stream| reader("stdout", stream, said.clone())),
        child.stderr.take().and_then(|stream| reader("stderr", stream, said.clone())),
    ];
    drop(said);
    let mut listening = true;
    while let Some(line) = next(&lines) {
        if !listening {
            continue;
        }
        listening = line.map_or_else(|| !hung_up(caller), |line| tell(caller, &line));
        if !listening {
            let _ = caller.shutdown(Shutdown::Both);
            if manner == Manner::Looks {
                // It has ended by itself, or it looks at things and can be cut off anywhere.
                let _ = child.kill();
            }
        }
    }
    for reader in readers.into_iter().flatten() {
        let _ = reader.join();
    }
}

/// The next line; `Some(None)` when none came for a while, `None` when none will.
fn next(lines: &Receiver<Answer>) -> Option<Option<Answer>> {
    match lines.recv_timeout(LOOK) {
        Ok(line) => Some(Some(line)),
        Err(RecvTimeoutError::Timeout) => Some(None),
        Err(RecvTimeoutError::Disconnected) => None,
    }
}

/// Whether the caller's end is closed. One that only says no more still listens.
fn hung_up(caller: &UnixStream) -> bool {
    let mut asked = [PollFd::new(caller, PollFlags::empty())];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut asked, Some(&now)).is_ok() && asked[0].revents().intersects(PollFlags::HUP | PollFlags::ERR)
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
