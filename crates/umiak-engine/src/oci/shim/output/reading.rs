//! Logs handed out: parts joined to lines, the oldest first, and new ones as they come.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{PART_MAX, name, stamp};
use crate::{FOLLOW_PAUSE, Line, LogQuery, LogSink, Stream};

/// Files of one log that are looked at.
const FILES_MAX: u32 = 1000;

/// Bytes of one line that are joined: longer ones come in pieces.
const LINE_MAX: usize = 1 << 20;

/// Hands out the logs of services: `logs` has a name and a directory for each.
pub(crate) fn read_logs(logs: &[(String, PathBuf)], query: &LogQuery, sink: &mut dyn LogSink) {
    let mut readers: Vec<Reader> = logs.iter().map(|(name, directory)| Reader::new(name, directory)).collect();
    let mut lines: VecDeque<Line> = VecDeque::new();
    for reader in &mut readers {
        let mut own = VecDeque::new();
        reader.stored(&mut |line| {
            if query.since.is_none_or(|since| line.at >= since) {
                own.push_back(line);
                if query.tail.is_some_and(|tail| own.len() > tail) {
                    own.pop_front();
                }
            }
        });
        lines.extend(own);
    }
    lines.make_contiguous().sort_by_key(|line| line.at);
    for line in &lines {
        if sink.line(line).is_break() {
            return;
        }
    }
    drop(lines);
    if query.follow {
        follow(&mut readers, sink);
    }
}

/// Hands out what comes, until the sink breaks off.
fn follow(readers: &mut [Reader], sink: &mut dyn LogSink) {
    loop {
        let mut any = false;
        for reader in readers.iter_mut() {
            let mut flow = ControlFlow::Continue(());
            reader.news(&mut |line| {
                any = true;
                if flow.is_continue() {
                    flow = sink.line(&line);
                }
            });
            if flow.is_break() {
                return;
            }
        }
        if !any {
            if sink.idle().is_break() {
                return;
            }
            std::thread::sleep(FOLLOW_PAUSE);
        }
    }
}

/// One service's log, and how far it was read.
struct Reader {
    service: String,
    directory: PathBuf,
    /// The file that was written last, by its number, and how far it was read.
    at: Option<(u64, u64)>,
    parts: Vec<Line>,
    /// Whose lines are read, as the last note says.
    revision: Option<String>,
}

impl Reader {
    fn new(service: &str, directory: &Path) -> Self {
        Self { service: service.to_owned(), directory: directory.to_owned(), at: None, parts: vec![], revision: None }
    }

    /// All that is kept.
    fn stored(&mut self, take: &mut dyn FnMut(Line)) {
        let count = (0..FILES_MAX).find(|number| !name(&self.directory, *number).exists()).unwrap_or(FILES_MAX);
        for number in (0..count).rev() {
            self.file(&name(&self.directory, number), 0, take);
        }
        self.end_parts(None, take);
    }

    /// What came since, also when files were renamed meanwhile: each file is found by its number on disk, and the next
    /// is the one before it, as long as both are where they were when it was opened.
    fn news(&mut self, take: &mut dyn FnMut(Line)) {
        loop {
            let Some((inode, offset)) = self.at else { return self.file(&name(&self.directory, 0), 0, take) };
            match self.place_of(inode) {
                Some(0) => {
                    if std::fs::metadata(name(&self.directory, 0)).is_ok_and(|meta| meta.len() > offset) {
                        self.file(&name(&self.directory, 0), offset, take);
                    }
                    if self.place_of(inode) == Some(0) {
                        return;
                    }
                }
                Some(number) => {
                    self.file(&name(&self.directory, number), offset, take);
                    let next = name(&self.directory, number - 1);
                    let newer = std::fs::metadata(&next).map(|meta| meta.ino());
                    if let (Ok(newer), Some(true)) = (newer, self.place_of(inode).map(|now| now == number)) {
                        self.at = Some((newer, 0));
                    }
                }
                // Gone altogether: everything that is there is new.
                None => match (0..FILES_MAX).take_while(|number| name(&self.directory, *number).exists()).last() {
                    Some(oldest) => self.file(&name(&self.directory, oldest), 0, take),
                    None => return,
                },
            }
        }
    }

    /// The file that has this number on disk now.
    fn place_of(&self, inode: u64) -> Option<u32> {
        let mut files = (0..FILES_MAX).map(|number| std::fs::metadata(name(&self.directory, number)));
        let found = files.position(|meta| !matches!(&meta, Ok(meta) if meta.ino() != inode))?;
        let number = u32::try_from(found).ok()?;
        name(&self.directory, number).exists().then_some(number)
    }

    fn file(&mut self, path: &Path, from: u64, take: &mut dyn FnMut(Line)) {
        let Ok(mut file) = File::open(path) else { return };
        let inode = file.metadata().map_or(0, |meta| meta.ino());
        if file.seek(SeekFrom::Start(from)).is_err() {
            return;
        }
        let mut read = from;
        let mut reader = BufReader::new(file);
        let mut bytes = Vec::new();
        loop {
            bytes.clear();
            let most = (PART_MAX + 256) as u64;
            let Ok(length) = reader.by_ref().take(most).read_until(b'\n', &mut bytes) else { break };
            // A line that is being written is read when it is whole.
            if length == 0 || (!bytes.ends_with(b"\n") && length < PART_MAX + 256) {
                break;
            }
            read += length as u64;
            if let Some((mut line, whole)) = parse(&self.service, bytes.strip_suffix(b"\n").unwrap_or(&bytes)) {
                self.revision = line.revision.take().or_else(|| self.revision.take());
                line.revision.clone_from(&self.revision);
                // The beginning of a file.
                if line.stream != Stream::Note || !line.text.is_empty() {
                    self.join(line, whole, take);
                }
            }
        }
        self.at = Some((inode, read));
    }

    /// Parts wait for the end of their line, of each stream by itself.
    fn join(&mut self, line: Line, whole: bool, take: &mut dyn FnMut(Line)) {
        let stream = line.stream;
        match self.parts.iter_mut().find(|part| part.stream == stream) {
            Some(part) if part.text.len() + line.text.len() <= LINE_MAX => part.text.extend_from_slice(&line.text),
            Some(part) => take(std::mem::replace(part, line)),
            None => self.parts.push(line),
        }
        if whole {
            self.end_parts(Some(stream), take);
        }
    }

    fn end_parts(&mut self, only: Option<Stream>, take: &mut dyn FnMut(Line)) {
        for part in std::mem::take(&mut self.parts) {
            if only.is_none_or(|stream| stream == part.stream) {
                take(part);
            } else {
                self.parts.push(part);
            }
        }
    }
}

/// One line of a file, and whether it is whole. None: not a line of ours.
fn parse(service: &str, bytes: &[u8]) -> Option<(Line, bool)> {
    let mut fields = bytes.splitn(4, |byte| *byte == b' ');
    let at = stamp::parse(std::str::from_utf8(fields.next()?).ok()?)?;
    let stream = match fields.next()? {
        b"stdout" => Stream::Out,
        b"stderr" => Stream::Err,
        b"umiak" => Stream::Note,
        _ => return None,
    };
    let tags = std::str::from_utf8(fields.next()?).ok()?;
    let (whole, revision) = tags.split_once(':').map_or((tags, None), |(whole, revision)| (whole, Some(revision)));
    let whole = match whole {
        "F" => true,
        "P" => false,
        _ => return None,
    };
    let revision = revision.filter(|_| stream == Stream::Note).map(str::to_owned);
    let text = fields.next().unwrap_or_default().to_vec();
    Some((Line { at, service: service.to_owned(), revision, stream, text }, whole))
}
