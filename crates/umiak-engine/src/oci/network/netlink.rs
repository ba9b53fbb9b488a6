//! Messages to the kernel's networking (netlink(7)): written, sent, answered.

use std::io;

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

/// `NLM_F_REQUEST | NLM_F_ACK`
const ASK: u16 = 5;
/// With [`ASK`]: make it.
pub(super) const CREATE: u16 = 0x400;
/// With [`CREATE`]: only if it is not there.
pub(super) const EXCLUSIVE: u16 = 0x200;
/// With [`CREATE`]: behind those that are there.
pub(super) const APPEND: u16 = 0x800;

/// All there are: `NLM_F_DUMP`.
const DUMP: u16 = 0x300;

const HEADER: usize = 16;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;

/// Bytes of an answer: the kernel puts no more into one.
const ANSWER_MAX: usize = 32 << 10;

/// Answers to one question for all there are.
const ANSWERS_MAX: usize = 10_000;

/// A message being written.
#[derive(Debug, Clone)]
pub(super) struct Message(Vec<u8>);

impl Message {
    /// A message with its fixed part.
    pub(super) fn new(kind: u16, flags: u16, sequence: u32, fixed: &[u8]) -> Self {
        let mut bytes = vec![0; 4];
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(&(flags | ASK).to_ne_bytes());
        bytes.extend_from_slice(&sequence.to_ne_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(fixed);
        Self(bytes)
    }

    /// Without asking for an answer.
    pub(super) fn silent(mut self) -> Self {
        self.0[6] &= !4;
        self
    }

    /// Asks for all there are.
    fn all(mut self) -> Self {
        let flags = u16::from_ne_bytes([self.0[6], self.0[7]]) & !4 | DUMP;
        self.0[6..8].copy_from_slice(&flags.to_ne_bytes());
        self
    }

    /// Adds an attribute.
    pub(super) fn put(mut self, kind: u16, value: &[u8]) -> Self {
        attribute(&mut self.0, kind, value);
        self
    }

    /// Adds a name with its zero.
    pub(super) fn name(self, kind: u16, name: &str) -> Self {
        let mut bytes = name.as_bytes().to_vec();
        bytes.push(0);
        self.put(kind, &bytes)
    }

    fn finish(mut self) -> Vec<u8> {
        let length = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        self.0[..4].copy_from_slice(&length.to_ne_bytes());
        self.0
    }
}

/// Writes one attribute, padded.
pub(super) fn attribute(into: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
    into.extend_from_slice(&length.to_ne_bytes());
    into.extend_from_slice(&kind.to_ne_bytes());
    into.extend_from_slice(value);
    into.resize(into.len().next_multiple_of(4), 0);
}

/// An attribute by itself, to be put into another.
pub(super) fn nested(parts: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    parts.iter().for_each(|(kind, value)| attribute(&mut bytes, *kind, value));
    bytes
}

/// Sends messages to `protocol` of the network that this thread is in, and waits for the answers. The first error is
/// returned; `tolerated` counts as done.
pub(super) fn talk(protocol: u32, messages: Vec<Message>, answers: usize, tolerated: &[i32]) -> io::Result<()> {
    let protocol = rustix::net::Protocol::from_raw(protocol.try_into().map_err(|_| io::ErrorKind::InvalidInput)?);
    let socket =
        rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, Some(protocol))?;
    exchange(&socket, messages, answers, tolerated)
}

/// As [`talk`], to the routing protocol, whose number is zero.
pub(super) fn talk_route(message: Message, tolerated: &[i32]) -> io::Result<()> {
    let socket = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    exchange(&socket, vec![message], 1, tolerated)
}

/// Asks the routing protocol for all there are; what each answer says behind its header.
pub(super) fn list_route(question: Message) -> io::Result<Vec<Vec<u8>>> {
    let socket = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    let question = question.all().finish();
    rustix::net::sendto(&socket, &question, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
    let mut answer = vec![0u8; ANSWER_MAX];
    let mut all = Vec::new();
    while all.len() < ANSWERS_MAX {
        let (length, _) = rustix::net::recv(&socket, &mut answer[..], RecvFlags::empty())?;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        for (kind, body) in messages(&answer[..length]) {
            match (kind, error_code(body)) {
                (NLMSG_DONE, _) | (NLMSG_ERROR, Some(0)) => return Ok(all),
                (NLMSG_ERROR, code) => return Err(io::Error::from_raw_os_error(code.unwrap_or(0))),
                _ => all.push(body.to_vec()),
            }
        }
    }
    Ok(all)
}

/// The attributes in `bytes`, as far as they are whole.
pub(super) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes([*bytes.first()?, *bytes.get(1)?]));
        let kind = u16::from_ne_bytes([*bytes.get(2)?, *bytes.get(3)?]);
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// Kind and contents of each message of an answer.
fn messages(mut rest: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let head = rest.get(..HEADER)?;
        let size = u32::from_ne_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let kind = u16::from_ne_bytes([head[4], head[5]]);
        let body = &rest[HEADER..size.clamp(HEADER, rest.len())];
        rest = rest.get(size.max(HEADER).next_multiple_of(4)..).unwrap_or_default();
        Some((kind, body))
    })
}

/// What an acknowledgement says: 0, or the error.
fn error_code(body: &[u8]) -> Option<i32> {
    let code: [u8; 4] = body.get(..4)?.try_into().ok()?;
    Some(i32::from_ne_bytes(code).saturating_neg())
}

fn exchange(
    socket: &std::os::fd::OwnedFd,
    questions: Vec<Message>,
    answers: usize,
    tolerated: &[i32],
) -> io::Result<()> {
    let bytes: Vec<u8> = questions.into_iter().flat_map(Message::finish).collect();
    rustix::net::sendto(socket, &bytes, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
    let mut answer = vec![0u8; ANSWER_MAX];
    let mut seen = 0;
    while seen < answers {
        let (length, _) = rustix::net::recv(socket, &mut answer[..], RecvFlags::empty())?;
        for (kind, body) in messages(&answer[..length]) {
            if let (NLMSG_ERROR, Some(code)) = (kind, error_code(body)) {
                if code != 0 && !tolerated.contains(&code) {
                    return Err(io::Error::from_raw_os_error(code));
                }
                seen += 1;
            }
        }
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_laid_out_as_the_kernel_reads_them() {
        let bytes = Message::new(16, CREATE, 7, &[1, 2, 3, 4]).name(3, "ab").finish();
        assert_eq!(bytes.len(), 16 + 4 + 8);
        assert_eq!(u32::from_ne_bytes(bytes[..4].try_into().unwrap()), 28);
        assert_eq!(u16::from_ne_bytes([bytes[6], bytes[7]]), 0x405);
        assert_eq!(bytes[20..], [7u16.to_ne_bytes(), 3u16.to_ne_bytes(), [b'a', b'b'], [0, 0]].concat());
        assert_eq!(nested(&[(1, vec![9])]).len(), 8);
    }

    #[test]
    fn any_answer_is_read_to_its_end() {
        let two = [Message::new(16, 0, 1, &[7; 5]).finish(), Message::new(3, 0, 1, &[]).finish()];
        let mut bytes = two[0].clone();
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes.extend(&two[1]);
        assert_eq!(messages(&bytes).map(|(kind, body)| (kind, body.len())).collect::<Vec<_>>(), [(16, 5), (3, 0)]);
        let nested = nested(&[(3, b"ab\0".to_vec()), (1, vec![1; 6])]);
        assert_eq!(attributes(&nested).collect::<Vec<_>>(), [(3, &b"ab\0"[..]), (1, &[1; 6][..])]);
        // Cut anywhere, and with any length claimed.
        for cut in 0..bytes.len() {
            assert!(messages(&bytes[..cut]).count() <= 2);
            assert!(attributes(&bytes[cut..]).count() <= bytes.len());
        }
        for claimed in [0u32, 1, 15, u32::MAX] {
            bytes[..4].copy_from_slice(&claimed.to_ne_bytes());
            assert!(messages(&bytes).count() <= bytes.len());
        }
    }
}
