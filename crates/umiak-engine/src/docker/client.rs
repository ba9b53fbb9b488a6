//! The Docker daemon's API over its socket: HTTP/1.0, one connection a call, so that no answer comes in pieces.
//!
//! Every call has a limit of time, connecting included, and answers have one of length. A daemon that is not there, one
//! that hangs and one that says no are three different errors.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt};
use serde::de::DeserializeOwned;

use crate::EngineError;

/// Bytes of one answer that is read whole.
const ANSWER_MAX: u64 = 64 << 20;

/// Bytes of an answer's head.
const HEAD_MAX: u64 = 64 << 10;

/// Characters of what a daemon said that are passed on.
pub(super) const SAID_MAX: usize = 1000;

pub(super) struct Client {
    pub socket: PathBuf,
    /// How long one call may take that is answered at once.
    pub patience: Duration,
}

/// An answer; its body is next.
pub(super) struct Answer<R = Timed> {
    pub status: u16,
    pub body: BufReader<R>,
}

/// A connection that gives up at a point in time, or never.
pub(super) struct Timed {
    stream: UnixStream,
    end: Instant,
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(left(self.end)?))?;
        self.stream.read(buffer)
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(left(self.end)?))?;
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Timed {
    /// The connection goes on for so long from now.
    pub fn prolong(&mut self, patience: Duration) {
        self.end = Instant::now() + patience;
    }

    /// Neither side is heard any more.
    pub fn close(&self) {
        // It may be closed already.
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
    }

    /// A second handle of the connection.
    pub fn another(&self) -> io::Result<Self> {
        Ok(Self { stream: self.stream.try_clone()?, end: self.end })
    }
}

fn left(end: Instant) -> io::Result<Duration> {
    let left = end.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

impl Client {
    /// A call whose answer is a JSON document.
    pub fn get<T: DeserializeOwned>(&self, path: &str, act: &str) -> Result<T, EngineError> {
        let answer = self.call("GET", path, None, act, self.patience)?;
        let body = self.good(answer, act, &[200])?;
        serde_json::from_slice(&body).map_err(|error| said(act, &format!("its answer is not understood: {error}")))
    }

    /// The same; none if what is asked for is not there.
    pub fn find<T: DeserializeOwned>(&self, path: &str, act: &str) -> Result<Option<T>, EngineError> {
        let answer = self.call("GET", path, None, act, self.patience)?;
        if answer.status == 404 {
            return Ok(None);
        }
        let body = self.good(answer, act, &[200])?;
        let value = serde_json::from_slice(&body);
        value.map(Some).map_err(|error| said(act, &format!("its answer is not understood: {error}")))
    }

    /// A call that changes something and may take `more` time besides; the statuses in `fine` are good.
    pub fn tell(
        &self,
        method: &str,
        path: &str,
        json: Option<&str>,
        act: &str,
        fine: &[u16],
        more: Duration,
    ) -> Result<u16, EngineError> {
        let answer = self.call(method, path, json, act, self.patience.saturating_add(more))?;
        let status = answer.status;
        self.good(answer, act, fine)?;
        Ok(status)
    }

    /// Sends a request and reads the answer's head.
    pub fn call(
        &self,
        method: &str,
        path: &str,
        json: Option<&str>,
        act: &str,
        patience: Duration,
    ) -> Result<Answer, EngineError> {
        let mut stream = self.connect(act, patience)?;
        let body = json.unwrap_or_default();
        let kind = if json.is_some() { "Content-Type: application/json\r\n" } else { "" };
        let request =
            format!("{method} {path} HTTP/1.0\r\nHost: docker\r\n{kind}Content-Length: {}\r\n\r\n{body}", body.len());
        stream.write_all(request.as_bytes()).map_err(|error| failed(act, patience, &error))?;
        head(stream).map_err(|error| failed(act, patience, &error))
    }

    /// The body of an answer with one of the statuses in `fine`; of any other the daemon's complaint.
    pub fn good(&self, answer: Answer, act: &str, fine: &[u16]) -> Result<Vec<u8>, EngineError> {
        let status = answer.status;
        let mut body = vec![];
        answer.body.take(ANSWER_MAX).read_to_end(&mut body).map_err(|error| failed(act, self.patience, &error))?;
        if fine.contains(&status) {
            return Ok(body);
        }
        Err(said(act, &complaint(status, &body)))
    }

    /// A connection that lasts so long. A daemon that accepts nothing does not hold the caller.
    pub fn connect(&self, act: &str, patience: Duration) -> Result<Timed, EngineError> {
        let refused = |error: rustix::io::Errno| match io::Error::from(error) {
            error if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
                EngineError::Absent(format!("Docker daemon at {}", self.socket.display()))
            }
            error if matches!(error.kind(), io::ErrorKind::WouldBlock) => failed(act, patience, &error),
            reason => EngineError::Io { act: "connect to", path: self.socket.clone(), reason },
        };
        let address = SocketAddrUnix::new(&self.socket).map_err(refused)?;
        let flags = SocketFlags::CLOEXEC;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).map_err(refused)?;
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, Some(patience)).map_err(refused)?;
        rustix::net::connect(&socket, &address).map_err(refused)?;
        Ok(Timed { stream: UnixStream::from(socket), end: Instant::now() + patience })
    }
}

/// Reads status line and headers.
pub(super) fn head<R: Read>(stream: R) -> io::Result<Answer<R>> {
    let mut body = BufReader::with_capacity(64 << 10, stream);
    let status = status(&mut body)?;
    Ok(Answer { status, body })
}

fn status(reader: &mut impl BufRead) -> io::Result<u16> {
    let broken = || io::Error::new(io::ErrorKind::InvalidData, "the answer is not HTTP");
    let mut line = String::new();
    let mut head = reader.take(HEAD_MAX);
    head.read_line(&mut line)?;
    let status = line.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(broken)?;
    loop {
        line.clear();
        if head.read_line(&mut line)? == 0 {
            return Err(broken());
        }
        if line.trim_end().is_empty() {
            return Ok(status);
        }
    }
}

/// What the daemon says is wrong: `{"message": "…"}`, or whatever it is.
pub(super) fn complaint(status: u16, body: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Message {
        message: String,
    }
    let text = match serde_json::from_slice::<Message>(body) {
        Ok(Message { message }) => message,
        Err(_) => String::from_utf8_lossy(&body[..body.len().min(SAID_MAX)]).into_owned(),
    };
    if text.trim().is_empty() { format!("it answers {status}") } else { text }
}

/// The daemon said no.
pub(super) fn said(act: &str, words: &str) -> EngineError {
    let said = words.trim().chars().take(SAID_MAX).collect();
    EngineError::Program { program: "docker".to_owned(), act: act.to_owned(), said }
}

/// The connection failed.
pub(super) fn failed(act: &str, patience: Duration, error: &io::Error) -> EngineError {
    match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => {
            EngineError::Hangs { program: "docker".to_owned(), act: act.to_owned(), seconds: patience.as_secs() }
        }
        _ => said(act, &format!("the connection broke: {error}")),
    }
}

/// A text as part of a query.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn heads_are_read_to_their_end_or_refused() {
        assert_eq!(status(&mut &b"HTTP/1.0 200 OK\r\nA: b\r\n\r\nbody"[..]).unwrap(), 200);
        for wrong in ["", "HTTP/1.0", "HTTP/1.0 x\r\n\r\n", "HTTP/1.0 200 OK\r\nA: b", "\u{0}\n\n"] {
            assert!(status(&mut wrong.as_bytes()).is_err(), "{wrong}");
        }
        let endless = format!("HTTP/1.0 200 OK\r\n{}", "A: b\r\n".repeat(100_000));
        assert!(status(&mut endless.as_bytes()).is_err());
    }

    #[test]
    fn a_daemon_that_hangs_or_is_not_there_is_told_apart() {
        let scratch = tempfile::tempdir().unwrap();
        let client = Client { socket: scratch.path().join("s"), patience: Duration::from_millis(50) };
        let asked = || client.get::<serde_json::Value>("/info", "answer").unwrap_err();
        assert!(matches!(asked(), EngineError::Absent(_)));
        // It accepts nothing: calls queue up, until the queue is full and connecting hangs too.
        let listener = UnixListener::bind(&client.socket).unwrap();
        rustix::net::listen(&listener, 1).unwrap();
        for _ in 0..4 {
            let error = asked();
            assert!(matches!(error, EngineError::Hangs { .. }), "{error}");
        }
        drop(listener);
        assert!(matches!(asked(), EngineError::Absent(_)));
    }

    #[test]
    fn complaints_are_passed_on() {
        assert_eq!(complaint(404, br#"{"message":"no such container"}"#), "no such container");
        assert_eq!(complaint(500, b""), "it answers 500");
        assert_eq!(escaped("a/b c\u{e4}"), "a%2Fb%20c%C3%A4");
    }
}
