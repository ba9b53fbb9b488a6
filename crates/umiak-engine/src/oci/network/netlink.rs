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

const HEADER: usize = 16;
const NLMSG_ERROR: u16 = 2;

/// Bytes of an answer.
const ANSWER_MAX: usize = 16 << 10;

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

fn exchange(
    socket: &std::os::fd::OwnedFd,
    messages: Vec<Message>,
    answers: usize,
    tolerated: &[i32],
) -> io::Result<()> {
    let bytes: Vec<u8> = messages.into_iter().flat_map(Message::finish).collect();
    rustix::net::sendto(socket, &bytes, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
    let mut answer = vec![0u8; ANSWER_MAX];
    let mut seen = 0;
    while seen < answers {
        let (length, _) = rustix::net::recv(socket, &mut answer[..], RecvFlags::empty())?;
        let mut rest = &answer[..length];
        while rest.len() >= HEADER + 4 {
            let size = u32::from_ne_bytes([rest[0], rest[1], rest[2], rest[3]]) as usize;
            let kind = u16::from_ne_bytes([rest[4], rest[5]]);
            let size = size.clamp(HEADER, rest.len());
            if kind == NLMSG_ERROR && size >= HEADER + 4 {
                let code = i32::from_ne_bytes([rest[16], rest[17], rest[18], rest[19]]).saturating_neg();
                if code != 0 && !tolerated.contains(&code) {
                    return Err(io::Error::from_raw_os_error(code));
                }
                seen += 1;
            }
            rest = &rest[size.next_multiple_of(4).min(rest.len())..];
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
}
