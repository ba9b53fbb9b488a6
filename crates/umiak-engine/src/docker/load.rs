//! Images from our store into the daemon's: the stream that `docker load` reads, made on the way.
//!
//! No file is written on our side and no network is asked. The stream has the layers that the daemon lacks: those at the
//! bottom of an image which another of its images has as well are left out, and if it misses them after all it gets
//! everything. Afterwards the image is there under the name that says what is in it, and its layers are those that its
//! configuration names.

use std::io::{self, Read, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::json;
use umiak_spec::{Digest, ImageConfig, Limits};

use super::client::{self, Client, Timed};
use super::name;
use crate::{EngineError, Images};

/// A daemon that takes and says nothing for so long hangs.
const PATIENCE: Duration = Duration::from_secs(300);

/// Between two looks whether the other side still does something.
const LOOK: Duration = Duration::from_millis(500);

/// Bytes of the daemon's report that are kept.
const REPORT_MAX: usize = 64 << 10;

const BLOCK: usize = 512;
const ACT: &str = "load an image";

/// What an image is made of.
pub(super) struct Parts {
    pub config: Digest,
    pub text: Vec<u8>,
    pub diff_ids: Vec<Digest>,
}

impl Parts {
    pub fn of(config: &Digest, images: &dyn Images) -> Result<Self, EngineError> {
        let wrong = |why: String| EngineError::Io {
            act: "read the configuration of image",
            path: config.to_string().into(),
            reason: io::Error::other(why),
        };
        let text = images.config(config).map_err(|error| wrong(error.to_string()))?;
        let parsed = ImageConfig::parse(&text, &Limits::default()).map_err(|error| wrong(error.to_string()))?;
        Ok(Self { config: *config, text, diff_ids: parsed.diff_ids })
    }
}

/// A layer of the stream.
struct Member<'a> {
    diff_id: &'a Digest,
    /// Bytes; none: the daemon has it.
    size: Option<u64>,
}

/// Loads one image, without the first `present` layers.
pub(super) fn load(client: &Client, parts: &Parts, images: &dyn Images, present: usize) -> Result<(), EngineError> {
    let mut members = vec![];
    for (at, diff_id) in parts.diff_ids.iter().enumerate() {
        // The same layer twice is one member.
        let needed =
            at >= present && !members.iter().any(|known: &Member<'_>| known.diff_id == diff_id && known.size.is_some());
        let size =
            if needed { Some(images.layer_size(diff_id).map_err(|error| unreadable(diff_id, error))?) } else { None };
        members.push(Member { diff_id, size });
    }
    let manifest = manifest(parts);
    let mut length = padded(manifest.len() as u64) + padded(parts.text.len() as u64) + 2 * BLOCK as u64;
    length += members.iter().filter_map(|member| member.size).map(padded).sum::<u64>();
    let mut stream = client.connect(ACT, PATIENCE)?;
    let request = format!(
        "POST /images/load?quiet=0 HTTP/1.0\r\nHost: docker\r\nContent-Type: application/x-tar\r\nContent-Length: {length}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).map_err(|error| client::failed(ACT, PATIENCE, &error))?;
    let answer = stream.another().map_err(|error| client::failed(ACT, PATIENCE, &error))?;
    exchange(stream, answer, |stream| {
        member(stream, "manifest.json", manifest.len() as u64, &mut manifest.as_slice())?;
        member(stream, &format!("{}.json", parts.config.hex()), parts.text.len() as u64, &mut parts.text.as_slice())?;
        for one in &members {
            if let Some(size) = one.size {
                let mut tar = images.layer(one.diff_id).map_err(Broken::Source)?;
                member(stream, &file(one.diff_id), size, &mut tar)?;
            }
        }
        stream.write_all(&[0; 2 * BLOCK]).map_err(Broken::Stream)
    })
}

/// Sends with `send` while the answer is read, so that neither side waits for the other to listen.
fn exchange(
    mut stream: Timed,
    answer: Timed,
    send: impl FnOnce(&mut Sending<'_>) -> Result<(), Broken>,
) -> Result<(), EngineError> {
    let last = Mutex::new(Instant::now());
    std::thread::scope(|scope| {
        let listening = scope.spawn(|| listen(answer, &last));
        let mut sending = Sending { stream: &mut stream, last: &last };
        let outcome = send(&mut sending);
        if outcome.is_err() {
            // Whether it was ours to fail or the daemon's: it is not to wait for the rest.
            stream.close();
        }
        let heard = listening.join().unwrap_or_else(|_| Err(io::Error::other("reading the answer failed")));
        judge(outcome, heard)
    })
}

/// What the daemon said counts before what the connection did.
fn judge(sent: Result<(), Broken>, heard: io::Result<(u16, Vec<u8>)>) -> Result<(), EngineError> {
    let sent = match sent {
        Err(Broken::Source(reason)) => {
            return Err(EngineError::Io { act: "read", path: "a layer for Docker".into(), reason });
        }
        Err(Broken::Stream(error)) => Err(error),
        Ok(()) => Ok(()),
    };
    match (sent, heard) {
        (sent, Ok((status, report))) => {
            if status != 200 {
                return Err(client::said(ACT, &client::complaint(status, &report)));
            }
            if let Some(words) = complaint(&report) {
                return Err(client::said(ACT, &words));
            }
            sent.map_err(|error| client::failed(ACT, PATIENCE, &error))
        }
        (Err(error), Err(_)) | (Ok(()), Err(error)) => Err(client::failed(ACT, PATIENCE, &error)),
    }
}

/// Why not all was sent.
#[derive(Debug)]
enum Broken {
    /// What was to be sent could not be read.
    Source(io::Error),
    /// The daemon takes no more.
    Stream(io::Error),
}

/// The sending half: what goes through is a sign of life.
struct Sending<'a> {
    stream: &'a mut Timed,
    last: &'a Mutex<Instant>,
}

impl Write for Sending<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.prolong(PATIENCE);
        let count = self.stream.write(bytes)?;
        alive(self.last);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn alive(last: &Mutex<Instant>) {
    *last.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Instant::now();
}

/// Status and the end of the report. Gives up when for a long time nothing went in either direction.
fn listen(answer: Timed, last: &Mutex<Instant>) -> io::Result<(u16, Vec<u8>)> {
    let answer = client::head(Patient { stream: answer, last })?;
    let (mut body, mut report, mut buffer) = (answer.body, vec![], vec![0; 16 << 10]);
    loop {
        match body.read(&mut buffer)? {
            0 => return Ok((answer.status, report)),
            count => {
                report.extend_from_slice(&buffer[..count]);
                report.drain(..report.len().saturating_sub(REPORT_MAX));
            }
        }
    }
}

/// Reads on as long as something goes on.
struct Patient<'a> {
    stream: Timed,
    last: &'a Mutex<Instant>,
}

impl Read for Patient<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            self.stream.prolong(LOOK);
            match self.stream.read(buffer) {
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    let last = *self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    if last.elapsed() > PATIENCE {
                        return Err(io::ErrorKind::TimedOut.into());
                    }
                }
                other => {
                    alive(self.last);
                    return other;
                }
            }
        }
    }
}

/// The report is a line of JSON for each step; one of them may be an error.
fn complaint(report: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Step {
        error: Option<String>,
    }
    let lines = report.split(|byte| *byte == b'\n');
    lines.filter_map(|line| serde_json::from_slice::<Step>(line).ok()?.error).next_back()
}

fn unreadable(diff_id: &Digest, reason: io::Error) -> EngineError {
    EngineError::Io { act: "read layer", path: diff_id.to_string().into(), reason }
}

fn file(diff_id: &Digest) -> String {
    format!("{}/layer.tar", diff_id.hex())
}

fn manifest(parts: &Parts) -> Vec<u8> {
    let layers: Vec<String> = parts.diff_ids.iter().map(file).collect();
    let config = format!("{}.json", parts.config.hex());
    json!([{ "Config": config, "RepoTags": [name::image(&parts.config)], "Layers": layers }]).to_string().into_bytes()
}

/// Bytes of a member with its header.
fn padded(size: u64) -> u64 {
    BLOCK as u64 + size.next_multiple_of(BLOCK as u64)
}

/// A member of the tar; `content` must have exactly `size` bytes.
fn member(into: &mut impl Write, name: &str, size: u64, content: &mut dyn Read) -> Result<(), Broken> {
    into.write_all(&header(name, size)).map_err(Broken::Stream)?;
    let mut buffer = vec![0; 64 << 10];
    let mut left = size;
    loop {
        let count = match content.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other.map_err(Broken::Source)?,
        };
        if count as u64 > left || (count == 0 && left > 0) {
            let why = format!("{name} has not the {size} bytes it should have");
            return Err(Broken::Source(io::Error::new(io::ErrorKind::InvalidData, why)));
        }
        if count == 0 {
            break;
        }
        into.write_all(&buffer[..count]).map_err(Broken::Stream)?;
        left -= count as u64;
    }
    let rest = usize::try_from(size.next_multiple_of(BLOCK as u64) - size).unwrap_or_default();
    into.write_all(&[0; BLOCK][..rest]).map_err(Broken::Stream)
}

/// A USTAR header of a file of root's; sizes beyond 8 GiB in binary, as GNU tar has them.
fn header(name: &str, size: u64) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let mut put = |at: usize, text: &[u8]| block[at..at + text.len()].copy_from_slice(text);
    put(0, name.as_bytes());
    put(100, b"0000644\x000000000\x000000000\0");
    if size < 1 << 33 {
        put(124, format!("{size:011o}\0").as_bytes());
    } else {
        put(124, &[0x80, 0, 0, 0]);
        put(128, &size.to_be_bytes());
    }
    put(136, b"00000000000\0");
    put(148, b"        0");
    put(257, b"ustar\x0000");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_those_of_tar() {
        let header = header("a/layer.tar", 1025);
        assert_eq!(&header[..12], b"a/layer.tar\0");
        assert_eq!(&header[124..136], b"00000002001\0");
        let sum: u32 = header
            .iter()
            .enumerate()
            .map(|(at, byte)| if (148..156).contains(&at) { 32 } else { u32::from(*byte) })
            .sum();
        assert_eq!(&header[148..156], format!("{sum:06o}\0 ").as_bytes());
        let mut out = vec![];
        member(&mut out, "x", 3, &mut &b"abc"[..]).unwrap();
        assert_eq!(out.len() as u64, padded(3));
        assert!(member(&mut vec![], "x", 4, &mut &b"abc"[..]).is_err(), "too short");
        assert!(member(&mut vec![], "x", 2, &mut &b"abc"[..]).is_err(), "too long");
    }

    #[test]
    fn the_report_is_searched_for_an_error() {
        assert_eq!(
            complaint(b"{\"status\":\"x\"}\r\n{\"errorDetail\":{},\"error\":\"no space\"}\r\n"),
            Some("no space".into())
        );
        assert_eq!(complaint(b"{\"stream\":\"Loaded image: a\\n\"}\n"), None);
    }
}
