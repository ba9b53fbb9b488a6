//! Logs: lines and parts, files that end, reading them again, also while they are written.

use super::*;
use crate::{Line, LogQuery, Stream};
use proptest::prelude::*;
use std::fs;
use std::ops::ControlFlow;

const THEN: Duration = Duration::from_secs(1_700_000_000);

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + THEN
}

fn logs(size: u64, files: u32) -> Logs {
    Logs { size, files }
}

fn read(directory: &Path, query: &LogQuery) -> Vec<(Stream, String)> {
    let mut lines = Vec::new();
    let mut sink = |line: &Line| {
        lines.push((line.stream, String::from_utf8_lossy(&line.text).into_owned()));
        ControlFlow::Continue(())
    };
    read_logs(&[("s".to_owned(), directory.to_owned())], query, &mut sink);
    lines
}

fn pipe() -> (OwnedFd, OwnedFd) {
    use rustix::pipe::{PipeFlags, pipe_with};
    pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).unwrap()
}

#[test]
fn what_is_printed_is_found_again() {
    let scratch = tempfile::tempdir().unwrap();
    let mut output = Output::new(scratch.path(), logs(1 << 20, 2), "");
    let ((out, out_write), (err, err_write)) = (pipe(), pipe());
    output.open(out, err);
    output.note("started", now());
    rustix::io::write(&out_write, b"one\ntwo\npro").unwrap();
    rustix::io::write(&err_write, b"oh\n").unwrap();
    output.read(now());
    assert!(output.flush_at().is_some(), "a prompt is not forgotten");
    output.flush(now());
    assert!(fs::read_to_string(scratch.path().join("log")).unwrap().ends_with("Z stdout P pro\n"));
    rustix::io::write(&out_write, b"mpt\n\nlast").unwrap();
    output.close(now());
    let lines = read(scratch.path(), &LogQuery::default());
    let out: Vec<_> = lines.iter().filter(|(stream, _)| *stream == Stream::Out).map(|(_, text)| text).collect();
    assert_eq!(out, ["one", "two", "prompt", "", "last"]);
    assert_eq!(lines[0], (Stream::Note, "started".to_owned()));
    assert!(lines.contains(&(Stream::Err, "oh".to_owned())));
    let tail = LogQuery { tail: Some(2), ..LogQuery::default() };
    assert_eq!(read(scratch.path(), &tail).len(), 2);
    let later = LogQuery { since: Some(now() + Duration::from_secs(1)), ..LogQuery::default() };
    assert!(read(scratch.path(), &later).is_empty());
}

#[test]
fn files_end_and_the_oldest_go() {
    let scratch = tempfile::tempdir().unwrap();
    let mut output = Output::new(scratch.path(), logs(1000, 3), "");
    for number in 0..200 {
        output.note(&format!("line {number}"), now());
    }
    let sizes: Vec<u64> =
        ["log", "log.1", "log.2"].map(|name| fs::metadata(scratch.path().join(name)).unwrap().len()).into();
    assert!(sizes.iter().all(|size| *size <= 1000), "{sizes:?}");
    assert!(!scratch.path().join("log.3").exists());
    let lines = read(scratch.path(), &LogQuery::default());
    assert_eq!(lines.last().unwrap().1, "line 199");
    let first: usize = lines[0].1.strip_prefix("line ").unwrap().parse().unwrap();
    assert_eq!(lines.len(), 200 - first, "what is left has no gap");
    let mut alone = Output::new(&scratch.path().join("one"), logs(100, 1), "");
    (0..10).for_each(|_| alone.note("0123456789012345678901234567890123456789", now()));
    assert_eq!(read(&scratch.path().join("one"), &LogQuery::default()).len(), 1);
    let mut none = Output::new(&scratch.path().join("none"), Logs::NONE, "");
    none.note("nothing", now());
    assert!(!scratch.path().join("none").exists());
}

#[test]
fn a_disk_that_is_full_loses_lines_and_says_how_many() {
    let scratch = tempfile::tempdir().unwrap();
    let blocked = scratch.path().join("log-directory");
    fs::write(&blocked, "a file where the directory should be").unwrap();
    let mut output = Output::new(&blocked, logs(1000, 2), "");
    output.note("lost", now());
    fs::remove_file(&blocked).unwrap();
    output.note("kept", now());
    let lines = read(&blocked, &LogQuery::default());
    assert!(lines[0].1.ends_with("bytes of output could not be kept"), "{lines:?}");
    assert_eq!(lines[1].1, "kept");
}

#[test]
fn a_disk_that_fills_in_the_middle_keeps_the_lines_that_it_has_room_for() {
    use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
    const ROOM: u64 = 8192;
    let mut file = File::from(memfd_create("log", MemfdFlags::ALLOW_SEALING).unwrap());
    file.set_len(ROOM).unwrap();
    fcntl_add_seals(&file, SealFlags::GROW).unwrap();
    let open = Some(file.try_clone().unwrap());
    let directory = PathBuf::from("/nowhere");
    let mut files = Files { directory, logs: logs(1 << 20, 2), revision: String::new(), open, size: 0, lost: 0 };
    let mut lines = Vec::new();
    (0..1000).for_each(|_| line(&mut lines, now(), "stdout", true, b"of many"));
    files.write(&lines, now());
    let mut kept = Vec::new();
    io::Seek::rewind(&mut file).unwrap();
    io::Read::read_to_end(&mut file, &mut kept).unwrap();
    assert!(kept.ends_with(b" of many\n") && lines.starts_with(&kept), "whole lines");
    assert!(kept.len() as u64 > ROOM - 100, "{}", kept.len());
    assert_eq!((files.size, files.lost), (kept.len() as u64, (lines.len() - kept.len()) as u64));
}

#[test]
fn following_sees_every_line_across_renames() {
    let scratch = tempfile::tempdir().unwrap();
    let mut output = Output::new(scratch.path(), logs(300, 20), "");
    output.note("first", now());
    struct Sink<'a>(Output, usize, &'a mut Vec<String>);
    impl crate::LogSink for Sink<'_> {
        fn line(&mut self, line: &Line) -> ControlFlow<()> {
            self.2.push(String::from_utf8_lossy(&line.text).into_owned());
            if self.1 < 3 {
                self.1 += 1;
                (0..10).for_each(|number| self.0.note(&format!("{}.{number}", self.1), now()));
            }
            if self.2.len() == 31 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
    }
    let mut lines = Vec::new();
    let query = LogQuery { follow: true, ..LogQuery::default() };
    read_logs(&[("s".to_owned(), scratch.path().to_owned())], &query, &mut Sink(output, 0, &mut lines));
    let expected: Vec<String> = (1..=3).flat_map(|round| (0..10).map(move |n| format!("{round}.{n}"))).collect();
    assert_eq!(lines[1..], expected[..]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// However the bytes are cut into reads, the lines are the same, and none is longer than a part.
    #[test]
    fn lines_do_not_depend_on_reads(text in prop::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..3000), cuts in prop::collection::vec(1usize..700, 1..20)) {
        let scratch = tempfile::tempdir().unwrap();
        let mut files = Files { directory: scratch.path().to_owned(), logs: logs(1 << 20, 2), revision: String::new(), open: None, size: 0, lost: 0 };
        let (mut part, mut lines, mut rest) = (vec![], vec![], &text[..]);
        for cut in cuts.iter().cycle() {
            let (piece, tail) = rest.split_at(rest.len().min(*cut));
            split(&mut part, piece, "stdout", now(), &mut lines);
            rest = tail;
            if rest.is_empty() { break; }
        }
        if !part.is_empty() { line(&mut lines, now(), "stdout", false, &part); }
        files.write(&lines, now());
        let mut expected: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
        if expected.last().is_some_and(|last| last.is_empty()) { expected.pop(); }
        let mut found = Vec::new();
        let mut sink = |line: &Line| { found.push(line.text.clone()); ControlFlow::Continue(()) };
        read_logs(&[("s".to_owned(), scratch.path().to_owned())], &LogQuery::default(), &mut sink);
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn any_file_is_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..500)) {
        let scratch = tempfile::tempdir().unwrap();
        fs::write(scratch.path().join("log"), &bytes).unwrap();
        read(scratch.path(), &LogQuery::default());
    }
}
