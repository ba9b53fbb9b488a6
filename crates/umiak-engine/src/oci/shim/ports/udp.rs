//! UDP: each sender gets a socket towards the service while it talks, so that answers find their way back.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;

use super::Interest;

/// Senders at a time; the one that was silent longest gives way.
const SENDERS_MAX: usize = 128;

/// A sender that says nothing so long is forgotten.
const SILENCE: Duration = Duration::from_secs(90);

/// Datagrams of one turn, each way.
const TURN_MAX: usize = 64;

/// Bytes of the largest datagram.
const DATAGRAM_MAX: usize = 65_535;

pub(super) struct Relay {
    socket: UdpSocket,
    to: SocketAddr,
    senders: Vec<Sender>,
    buffer: Vec<u8>,
}

struct Sender {
    address: SocketAddr,
    socket: UdpSocket,
    heard: Instant,
}

impl Relay {
    pub(super) fn new(socket: UdpSocket, to: SocketAddr) -> Self {
        Self { socket, to, senders: Vec::new(), buffer: vec![0; DATAGRAM_MAX] }
    }

    pub(super) fn interests<'a>(&'a self, into: &mut Vec<Interest<'a>>) {
        into.push(Interest::new(&self.socket, PollFlags::IN));
        into.extend(self.senders.iter().map(|sender| Interest::new(&sender.socket, PollFlags::IN)));
    }

    pub(super) fn serve(&mut self) {
        let now = Instant::now();
        for _ in 0..TURN_MAX {
            let Ok((length, address)) = self.socket.recv_from(&mut self.buffer) else { break };
            let Some(sender) = self.sender(address, now) else { continue };
            sender.heard = now;
            let socket = sender.socket.try_clone();
            // As on any network: what cannot be delivered is lost.
            let _ = socket.and_then(|socket| socket.send(&self.buffer[..length]));
        }
        for sender in &mut self.senders {
            for _ in 0..TURN_MAX {
                let Ok(length) = sender.socket.recv(&mut self.buffer) else { break };
                sender.heard = now;
                let _ = self.socket.send_to(&self.buffer[..length], sender.address);
            }
        }
        self.senders.retain(|sender| now.duration_since(sender.heard) < SILENCE);
    }

    fn sender(&mut self, address: SocketAddr, now: Instant) -> Option<&mut Sender> {
        if let Some(at) = self.senders.iter().position(|sender| sender.address == address) {
            return self.senders.get_mut(at);
        }
        if self.senders.len() >= SENDERS_MAX {
            let oldest = self.senders.iter().enumerate().min_by_key(|(_, sender)| sender.heard)?.0;
            self.senders.swap_remove(oldest);
        }
        let any: SocketAddr = if self.to.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
        let socket = UdpSocket::bind(any).ok()?;
        socket.connect(self.to).ok()?;
        socket.set_nonblocking(true).ok()?;
        self.senders.push(Sender { address, socket, heard: now });
        self.senders.last_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::shim::Forward;
    use umiak_spec::service::Protocol;

    #[test]
    fn answers_find_their_sender() {
        let service = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = service.local_addr().unwrap();
        let listen = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        super::super::pass_on(&[Forward { protocol: Protocol::Udp, listen, to }]).unwrap();
        std::thread::spawn(move || {
            let mut bytes = [0; 100];
            while let Ok((length, from)) = service.recv_from(&mut bytes) {
                service.send_to(&bytes[..length], from).unwrap();
            }
        });
        let callers: Vec<UdpSocket> = (0..3).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
        for (number, caller) in callers.iter().enumerate() {
            caller.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            caller.send_to(format!("caller {number}").as_bytes(), listen).unwrap();
        }
        for (number, caller) in callers.iter().enumerate() {
            let mut bytes = [0; 100];
            let (length, _) = caller.recv_from(&mut bytes).unwrap();
            assert_eq!(bytes[..length], *format!("caller {number}").as_bytes());
        }
    }
}
