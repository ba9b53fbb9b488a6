//! What a service prints: read from its pipes, kept in files that do not grow without end, and found again.
//!
//! Lines are kept as container engines for Kubernetes do (the CRI log format), so other programs read them too:
//!
//! ```text
//! 2026-01-31T12:00:00.123456789Z stdout F a whole line
//! 2026-01-31T12:00:00.123456789Z stdout P a part of a line: the next part, or F, follows
//! 2026-01-31T12:00:00.123456789Z umiak F:0123456789ab what the shim itself notes, with the revision that it watches
//! ```
//!
//! What follows a note is of its revision; every file begins with one. `log` is being written; `log.1`, `log.2` … are older. A service that prints faster than it can be kept waits; one that
//! prints without end loses its oldest lines; a full disk loses the lines for
//! which it has no room, never the service.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use rustix::io::Errno;
use umiak_spec::service::Logs;

use super::super::stamp;

mod reading;

pub(crate) use reading::read_logs;

/// Bytes of one part of a line.
const PART_MAX: usize = 16 << 10;

/// Bytes taken from one pipe in one turn, so that signals and the other pipe get theirs.
const TURN_MAX: usize = 64 << 10;

/// A line without end is written after so much silence.
const QUIET: Duration = Duration::from_millis(500);

/// Turns that are read after a service ended: what it left in the pipe, and not what an orphan goes on to print.
const LAST_TURNS: usize = 4;

/// The pipes and the files.
pub(super) struct Output {
    pipes: [Option<OwnedFd>; 2],
    kept: Option<OwnedFd>,
    parts: [Vec<u8>; 2],
    quiet_since: Option<Instant>,
    files: Files,
}

const NAMES: [&str; 2] = ["stdout", "stderr"];

impl Output {
    pub(super) fn new(directory: &Path, logs: Logs, revision: &str) -> Self {
        let files = Files {
            directory: directory.to_owned(),
            logs,
            revision: revision.to_owned(),
            open: None,
            size: 0,
            lost: 0,
        };
        Self { pipes: [None, None], kept: None, parts: [vec![], vec![]], quiet_since: None, files }
    }

    /// Takes the reading ends of a new run's pipes.
    pub(super) fn open(&mut self, out: OwnedFd, err: OwnedFd) {
        self.pipes = [Some(out), Some(err)];
    }

    /// Keeps the service's standard input open.
    pub(super) fn keep(&mut self, input: OwnedFd) {
        self.kept = Some(input);
    }

    pub(super) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.pipes.iter().flatten().map(AsFd::as_fd)
    }

    /// When a line without end is to be written.
    pub(super) fn flush_at(&self) -> Option<Instant> {
        self.quiet_since.map(|since| since + QUIET)
    }

    /// Takes what is there. Returns whether anything was.
    pub(super) fn read(&mut self, now: SystemTime) -> bool {
        let mut chunk = [0u8; 8 << 10];
        let mut any = false;
        for (number, name) in NAMES.into_iter().enumerate() {
            let mut lines = Vec::new();
            let mut taken = 0;
            while taken < TURN_MAX {
                let Some(pipe) = &self.pipes[number] else { break };
                match rustix::io::read(pipe, &mut chunk) {
                    // Everyone who could write is gone.
                    Ok(0) => self.pipes[number] = None,
                    Ok(length) => {
                        taken += length;
                        split(&mut self.parts[number], &chunk[..length], name, now, &mut lines);
                    }
                    Err(Errno::INTR) => {}
                    Err(_) => break,
                }
            }
            any |= taken > 0;
            self.files.write(&lines, now);
        }
        self.quiet_since = self.parts.iter().any(|part| !part.is_empty()).then(Instant::now);
        any
    }

    /// Writes lines without end when nothing came for a while.
    pub(super) fn flush_quiet(&mut self, now: SystemTime) {
        if self.flush_at().is_some_and(|at| Instant::now() >= at) {
            self.flush(now);
        }
    }

    fn flush(&mut self, now: SystemTime) {
        self.quiet_since = None;
        for (number, name) in NAMES.into_iter().enumerate() {
            let part = std::mem::take(&mut self.parts[number]);
            if !part.is_empty() {
                let mut lines = Vec::new();
                line(&mut lines, now, name, false, &part);
                self.files.write(&lines, now);
            }
        }
    }

    /// The run is over: takes what is left and lets go of its pipes.
    pub(super) fn close(&mut self, now: SystemTime) {
        for _ in 0..LAST_TURNS {
            if !self.read(now) {
                break;
            }
        }
        self.flush(now);
        self.pipes = [None, None];
        self.kept = None;
    }

    /// Writes a line of the shim's own.
    pub(super) fn note(&mut self, text: &str, now: SystemTime) {
        let lines = self.files.note(text, now);
        self.files.write(&lines, now);
    }
}

/// Adds `bytes` to `part` and hands on every line that ends.
fn split(part: &mut Vec<u8>, bytes: &[u8], name: &str, now: SystemTime, into: &mut Vec<u8>) {
    for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
        let (text, ends) = match piece.split_last() {
            Some((b'\n', text)) => (text, true),
            _ => (piece, false),
        };
        part.extend_from_slice(text);
        while part.len() > PART_MAX {
            line(into, now, name, false, &part[..PART_MAX]);
            part.drain(..PART_MAX);
        }
        if ends {
            line(into, now, name, true, part);
            part.clear();
        }
    }
}

fn line(into: &mut Vec<u8>, now: SystemTime, name: &str, whole: bool, text: &[u8]) {
    into.extend_from_slice(stamp::write(now).as_bytes());
    into.extend_from_slice(format!(" {name} {} ", if whole { 'F' } else { 'P' }).as_bytes());
    into.extend_from_slice(text);
    into.push(b'\n');
}

/// The files of one service's log.
struct Files {
    directory: PathBuf,
    logs: Logs,
    revision: String,
    open: Option<File>,
    size: u64,
    /// Bytes that could not be written.
    lost: u64,
}

impl Files {
    /// Writes whole lines, in as many files as it takes: never more than its size in one, but for a longer line.
    fn write(&mut self, lines: &[u8], now: SystemTime) {
        if self.logs.size == 0 || self.logs.files == 0 {
            return;
        }
        if self.lost > 0 && !lines.is_empty() {
            let note = self.note(&format!("{} bytes of output could not be kept", self.lost), now);
            if self.append(&note) == note.len() {
                self.lost = 0;
            }
        }
        let mut batch = 0..0;
        for piece in lines.split_inclusive(|byte| *byte == b'\n') {
            let end = batch.end + piece.len();
            if self.size + (end - batch.start) as u64 > self.logs.size {
                self.put(&lines[batch.clone()]);
                batch.start = batch.end;
                if self.size > 0 {
                    self.rotate();
                    // Nothing is said by it but whose lines follow.
                    let note = self.note("", now);
                    self.put(&note);
                }
            }
            batch.end = end;
        }
        self.put(&lines[batch]);
    }

    /// A line of the shim's own.
    fn note(&self, text: &str, now: SystemTime) -> Vec<u8> {
        let revision = if self.revision.is_empty() { String::new() } else { format!(":{}", self.revision) };
        format!("{} umiak F{revision} {}\n", stamp::write(now), text.replace('\n', " ")).into_bytes()
    }

    fn put(&mut self, lines: &[u8]) {
        if !lines.is_empty() {
            self.lost += (lines.len() - self.append(lines)) as u64;
        }
    }

    /// Writes whole lines as far as there is room; how many bytes.
    fn append(&mut self, lines: &[u8]) -> usize {
        if self.open.is_none() {
            let made = crate::durable::directory(&self.directory);
            self.open = made.ok().and_then(|()| crate::durable::append(&self.name(0)).ok());
            self.size = self.open.as_ref().and_then(|file| file.metadata().ok()).map_or(0, |meta| meta.len());
        }
        let Some(file) = &mut self.open else { return 0 };
        let written = write_some(file, lines);
        let whole = lines[..written].iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        self.size += whole as u64;
        if whole < lines.len() {
            // A torn line must not be taken for one: what was written of it is cut off again.
            let _ = file.set_len(self.size);
        }
        whole
    }

    fn name(&self, number: u32) -> PathBuf {
        name(&self.directory, number)
    }

    fn rotate(&mut self) {
        self.open = None;
        self.size = 0;
        let last = self.logs.files - 1;
        if last == 0 {
            let _ = crate::durable::remove_file(&self.name(0));
        }
        for number in (0..last).rev() {
            // What is not there yet need not move.
            let _ = crate::durable::rename(&self.name(number), &self.name(number + 1));
        }
    }
}

/// Writes until all is written or no more can be; how many bytes.
fn write_some(file: &mut File, bytes: &[u8]) -> usize {
    let mut written = 0;
    while written < bytes.len() {
        match file.write(&bytes[written..]) {
            Ok(0) => break,
            Ok(count) => written += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    written
}

fn name(directory: &Path, number: u32) -> PathBuf {
    if number == 0 { directory.join("log") } else { directory.join(format!("log.{number}")) }
}

#[cfg(test)]
mod tests;
