//! Requests from and responses to a socket: as much of HTTP/1.1 as tests need.

use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::{End, Limit, Request, Response};

/// A connection.
pub trait Stream: Read + Write + Send {
    /// Keeps a client that never finishes its request from holding the server up for ever.
    fn limit(&self) -> io::Result<()>;
}

const PATIENCE: Duration = Duration::from_secs(20);

/// Between two pieces of a drip.
const MOMENT: Duration = Duration::from_millis(60);

/// Bytes of a body that are written at once.
const PIECE: usize = 16 << 10;

/// A request's body is refused beyond this.
const MAX_BODY: usize = 16 << 20;

impl Stream for std::net::TcpStream {
    fn limit(&self) -> io::Result<()> {
        self.set_nodelay(true)?;
        // What was sent has left, and does not wait here.
        rustix::net::sockopt::set_socket_send_buffer_size(self, 2 * PIECE)?;
        self.set_read_timeout(Some(PATIENCE))
    }
}

impl Stream for std::os::unix::net::UnixStream {
    fn limit(&self) -> io::Result<()> {
        self.set_read_timeout(Some(PATIENCE))
    }
}

/// One request, `None` when the client closes without one.
pub fn read_request(stream: &mut Box<dyn Stream>, limit: &Limit) -> io::Result<Option<Request>> {
    stream.limit()?;
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let (Some(method), Some(target)) = (words.next(), words.next()) else { return Ok(None) };
    let mut request = Request { method, target, headers: Vec::new(), body: Vec::new(), whole: true };
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        match line.trim_end().split_once(':') {
            Some((name, value)) => request.headers.push((name.to_ascii_lowercase(), value.trim().to_owned())),
            None => break,
        }
    }
    let length = request.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    if length > MAX_BODY {
        return Ok(None);
    }
    let taken = limit(&request).map_or(length, |limit| limit.min(length));
    request.whole = taken == length;
    request.body.resize(taken, 0);
    reader.read_exact(&mut request.body)?;
    Ok(Some(request))
}

/// The response, or as much of it as it should have.
pub fn write_response(
    stream: &mut Box<dyn Stream>,
    response: &Response,
    head_only: bool,
    sent: &AtomicU64,
) -> io::Result<()> {
    if response.status == 0 {
        return Ok(());
    }
    let length = response.announced.unwrap_or(response.body.len());
    let mut head = format!("HTTP/1.1 {} Said\r\nContent-Length: {length}\r\nConnection: close\r\n", response.status);
    for (name, value) in &response.headers {
        head += &format!("{name}: {value}\r\n");
    }
    head += "\r\n";
    stream.write_all(head.as_bytes())?;
    if !head_only {
        match response.end {
            End::Silence => {}
            End::Whole => send(stream, &response.body, sent)?,
            End::Cut(at) | End::Stall(at) => send(stream, &response.body[..at.min(response.body.len())], sent)?,
            End::Drip(pieces) => drip(stream, &response.body, pieces, sent)?,
        }
    }
    stream.flush()
}

/// In pieces, so that what is counted was taken.
fn send(stream: &mut Box<dyn Stream>, body: &[u8], sent: &AtomicU64) -> io::Result<()> {
    for piece in body.chunks(PIECE) {
        stream.write_all(piece)?;
        sent.fetch_add(piece.len() as u64, Ordering::SeqCst);
    }
    Ok(())
}

fn drip(stream: &mut Box<dyn Stream>, body: &[u8], pieces: usize, sent: &AtomicU64) -> io::Result<()> {
    for piece in body.chunks(body.len().div_ceil(pieces.max(1)).max(1)) {
        send(stream, piece, sent)?;
        stream.flush()?;
        std::thread::sleep(MOMENT);
    }
    Ok(())
}
