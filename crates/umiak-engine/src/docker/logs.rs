//! What containers printed, line by line, out of the daemon's stream.
//!
//! Without a terminal the stream consists of frames: a byte that says which output, three of nothing, four of length, and so many bytes.
//! Each line begins with its time. Several services are put in order as their lines come.

use std::io::{self, BufRead, BufReader, Read};
use std::ops::ControlFlow;
use std::time::{Duration, SystemTime};

use super::client::{Client, Timed, failed};
use super::container::{Container, Inspected};
use super::{name, time};
use crate::{EngineError, FOLLOW_PAUSE, Line, LogQuery, LogSink, Stream};

/// Bytes of one line; more is cut.
const LINE_MAX: usize = 64 << 10;

/// How long one container's output may take to be handed out.
const PATIENCE: Duration = Duration::from_secs(300);

const ACT: &str = "hand out what a service printed";

/// Hands the lines of these containers to `sink`.
pub(super) fn hand_out(
    client: &Client,
    containers: &[Container],
    query: &LogQuery,
    sink: &mut dyn LogSink,
) -> Result<(), EngineError> {
    let mut since: Vec<Option<SystemTime>> = vec![query.since; containers.len()];
    let mut tail = query.tail;
    loop {
        let mut sources = vec![];
        for (container, since) in containers.iter().zip(&since) {
            sources.extend(Source::open(client, container, *since, tail)?);
        }
        if merge(&mut sources, containers, &mut since, sink)?.is_break() || !query.follow {
            return Ok(());
        }
        drop(sources);
        tail = None;
        if sink.idle().is_break() {
            return Ok(());
        }
        std::thread::sleep(FOLLOW_PAUSE);
    }
}

/// The earliest line first; `since` of its container becomes just after it.
fn merge(
    sources: &mut [Source],
    containers: &[Container],
    since: &mut [Option<SystemTime>],
    sink: &mut dyn LogSink,
) -> Result<ControlFlow<()>, EngineError> {
    let mut next: Vec<Option<Line>> = vec![];
    for source in &mut *sources {
        next.push(source.line()?);
    }
    loop {
        let first = next.iter().enumerate().filter_map(|(at, line)| Some((line.as_ref()?.at, at))).min();
        let Some((time, at)) = first else { return Ok(ControlFlow::Continue(())) };
        let line = std::mem::replace(&mut next[at], sources[at].line()?);
        if let Some(of) = containers.iter().position(|one| one.id == sources[at].id) {
            since[of] = time.checked_add(Duration::from_nanos(1));
        }
        if line.is_some_and(|line| sink.line(&line).is_break()) {
            return Ok(ControlFlow::Break(()));
        }
    }
}

/// The lines of one container.
struct Source {
    id: String,
    service: String,
    revision: Option<String>,
    frames: BufReader<Frames<BufReader<Timed>>>,
}

impl Source {
    fn open(
        client: &Client,
        container: &Container,
        since: Option<SystemTime>,
        tail: Option<usize>,
    ) -> Result<Option<Self>, EngineError> {
        let Some(inspected) = Inspected::find(client, &container.id)? else { return Ok(None) };
        let tail = tail.map_or("all".to_owned(), |lines| lines.to_string());
        let since = since.map(|time| format!("&since={}", time::seconds(time))).unwrap_or_default();
        let path = format!("/containers/{}/logs?stdout=1&stderr=1&timestamps=1&tail={tail}{since}", container.id);
        let answer = client.call("GET", &path, None, ACT, PATIENCE)?;
        if answer.status != 200 {
            client.good(answer, ACT, &[200])?;
            return Ok(None);
        }
        let frames = Frames { inner: answer.body, raw: inspected.has_terminal(), left: 0, stream: Stream::Out };
        let service = container.label(name::SERVICE).to_owned();
        let revision = Some(name::short(container.label(name::REVISION)));
        let frames = BufReader::with_capacity(8 << 10, frames);
        Ok(Some(Self { id: container.id.clone(), service, revision, frames }))
    }

    /// The next line; none at the end. What has no time in front is passed over: it is the rest of a line that was cut.
    fn line(&mut self) -> Result<Option<Line>, EngineError> {
        loop {
            let mut bytes = vec![];
            let stream = read_line(&mut self.frames, &mut bytes).map_err(|error| failed(ACT, PATIENCE, &error))?;
            let Some(stream) = stream else { return Ok(None) };
            let space = bytes.iter().position(|byte| *byte == b' ').unwrap_or(bytes.len());
            let stamp = std::str::from_utf8(&bytes[..space]).ok().and_then(time::parse);
            if let Some(at) = stamp {
                let text = bytes.get(space + 1..).unwrap_or_default();
                let text = text.strip_suffix(b"\r").unwrap_or(text).to_vec();
                return Ok(Some(Line {
                    at,
                    service: self.service.clone(),
                    revision: self.revision.clone(),
                    stream,
                    text,
                }));
            }
        }
    }
}

/// A line without its end, cut at the limit, and where it was printed; none at the end of the stream.
fn read_line<R: Read>(frames: &mut BufReader<Frames<R>>, line: &mut Vec<u8>) -> io::Result<Option<Stream>> {
    let mut stream = None;
    loop {
        let bytes = frames.fill_buf()?;
        if bytes.is_empty() {
            return Ok(stream);
        }
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let part = &bytes[..end.unwrap_or(bytes.len())];
        line.extend_from_slice(&part[..part.len().min(LINE_MAX.saturating_sub(line.len()))]);
        let count = end.map_or(bytes.len(), |end| end + 1);
        stream.get_or_insert(frames.get_ref().stream);
        frames.consume(count);
        if end.is_some() {
            return Ok(stream);
        }
    }
}

/// The contents of frames.
struct Frames<R> {
    inner: R,
    /// No frames: the container has a terminal.
    raw: bool,
    left: u32,
    stream: Stream,
}

impl<R: Read> Read for Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.raw || buffer.is_empty() {
            return self.inner.read(buffer);
        }
        while self.left == 0 {
            let mut head = [0; 8];
            let mut filled = 0;
            while filled < head.len() {
                match self.inner.read(&mut head[filled..])? {
                    0 if filled == 0 => return Ok(0),
                    0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                    count => filled += count,
                }
            }
            self.stream = if head[0] == 2 { Stream::Err } else { Stream::Out };
            self.left = u32::from_be_bytes([head[4], head[5], head[6], head[7]]);
        }
        let most = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let count = self.inner.read(&mut buffer[..most])?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= u32::try_from(count).unwrap_or(self.left);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(bytes: &[u8], raw: bool) -> io::Result<Vec<(Stream, String)>> {
        let mut frames = BufReader::new(Frames { inner: bytes, raw, left: 0, stream: Stream::Out });
        let mut all = vec![];
        loop {
            let mut line = vec![];
            match read_line(&mut frames, &mut line)? {
                None => return Ok(all),
                Some(stream) => all.push((stream, String::from_utf8_lossy(&line).into_owned())),
            }
        }
    }

    #[test]
    fn frames_become_lines() {
        let frame = |kind: u8, text: &str| {
            let length = u32::try_from(text.len()).unwrap().to_be_bytes();
            [&[kind, 0, 0, 0], &length[..], text.as_bytes()].concat()
        };
        let bytes = [frame(1, "one\n"), frame(2, "two\n"), frame(1, ""), frame(1, "th"), frame(1, "ree\n")].concat();
        let expected = [(Stream::Out, "one"), (Stream::Err, "two"), (Stream::Out, "three")];
        let expected: Vec<_> = expected.map(|(stream, text)| (stream, text.to_owned())).into();
        assert_eq!(lines(&bytes, false).unwrap(), expected);
        assert_eq!(lines(b"a\nb", true).unwrap().len(), 2);
        for cut in 1..bytes.len() {
            // Any beginning gives lines or an error, never more than there is.
            if let Ok(lines) = lines(&bytes[..cut], false) {
                assert!(lines.len() <= 3);
            }
        }
        let long = frame(1, &"x".repeat(LINE_MAX + 10));
        assert_eq!(lines(&long, false).unwrap()[0].1.len(), LINE_MAX);
    }
}
