//! TCP: connections carried both ways.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};

use rustix::event::PollFlags;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::Interest;

/// Connections of one port at a time. More wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 256;

/// Bytes on their way in one direction.
const BUFFER: usize = 8 << 10;

pub(super) struct Listener {
    listener: TcpListener,
    to: SocketAddr,
    connections: Vec<Connection>,
}

impl Listener {
    pub(super) fn new(listener: TcpListener, to: SocketAddr) -> Self {
        Self { listener, to, connections: Vec::new() }
    }

    pub(super) fn interests<'a>(&'a self, into: &mut Vec<Interest<'a>>) {
        if self.connections.len() < CONNECTIONS_MAX {
            into.push(Interest::new(&self.listener, PollFlags::IN));
        }
        for Connection { streams, ways, connecting } in &self.connections {
            for (side, stream) in streams.iter().enumerate() {
                let mut flags = PollFlags::empty();
                let connecting = *connecting && side == 1;
                flags.set(PollFlags::IN, !connecting && ways[side].wants_to_read());
                flags.set(PollFlags::OUT, connecting || ways[1 - side].wants_to_write());
                if !flags.is_empty() {
                    into.push(Interest::new(stream, flags));
                }
            }
        }
    }

    pub(super) fn serve(&mut self) {
        while self.connections.len() < CONNECTIONS_MAX {
            // Would block, or a caller who is gone again.
            let Ok((stream, _)) = self.listener.accept() else { break };
            // A service that cannot be reached: the caller sees its connection end.
            if let Ok(connection) = Connection::new(stream, self.to) {
                self.connections.push(connection);
            }
        }
        self.connections.retain_mut(|connection| connection.carry().is_ok());
    }
}

/// From the caller (0) to the service (1) and back.
struct Connection {
    streams: [TcpStream; 2],
    /// What was read from side 0, from side 1.
    ways: [Way; 2],
    connecting: bool,
}

impl Connection {
    fn new(caller: TcpStream, to: SocketAddr) -> io::Result<Self> {
        let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
        match rustix::net::connect(&socket, &to) {
            Ok(()) | Err(rustix::io::Errno::INPROGRESS) => {}
            Err(error) => return Err(error.into()),
        }
        caller.set_nonblocking(true)?;
        let service = TcpStream::from(socket);
        let _ = (caller.set_nodelay(true), service.set_nodelay(true));
        Ok(Self { streams: [caller, service], ways: [Way::default(), Way::default()], connecting: true })
    }

    /// Carries what there is. An error: it is over.
    fn carry(&mut self) -> io::Result<()> {
        if self.connecting {
            if let Some(error) = self.streams[1].take_error()? {
                return Err(error);
            }
            match self.streams[1].peer_addr() {
                Ok(_) => self.connecting = false,
                Err(_) => return Ok(()),
            }
        }
        let [caller, service] = &self.streams;
        let [there, back] = &mut self.ways;
        there.carry(caller, service)?;
        back.carry(service, caller)?;
        if there.ended && back.ended { Err(ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }
}

/// One direction.
#[derive(Default)]
struct Way {
    buffer: Vec<u8>,
    written: usize,
    /// The sender ended.
    closed: bool,
    /// And the receiver was told so.
    ended: bool,
}

impl Way {
    fn wants_to_read(&self) -> bool {
        !self.closed && self.buffer.is_empty()
    }

    fn wants_to_write(&self) -> bool {
        !self.buffer.is_empty()
    }

    fn carry(&mut self, mut from: &TcpStream, mut to: &TcpStream) -> io::Result<()> {
        loop {
            if self.wants_to_read() {
                let mut bytes = [0u8; BUFFER];
                match from.read(&mut bytes) {
                    Ok(0) => self.closed = true,
                    Ok(length) => self.buffer.extend_from_slice(&bytes[..length]),
                    Err(error) if would_block(&error) => return Ok(()),
                    Err(error) => return Err(error),
                }
            }
            while self.written < self.buffer.len() {
                match to.write(&self.buffer[self.written..]) {
                    Ok(0) => return Err(ErrorKind::WriteZero.into()),
                    Ok(length) => self.written += length,
                    Err(error) if would_block(&error) => return Ok(()),
                    Err(error) => return Err(error),
                }
            }
            self.buffer = Vec::new();
            self.written = 0;
            if self.closed {
                if !self.ended {
                    self.ended = true;
                    let _ = to.shutdown(Shutdown::Write);
                }
                return Ok(());
            }
        }
    }
}

fn would_block(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::shim::Forward;
    use umiak_spec::service::Protocol;

    #[test]
    fn bytes_go_both_ways_and_an_end_is_passed_on() {
        let service = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = service.local_addr().unwrap();
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let listen = free.local_addr().unwrap();
        let ports = [Forward { protocol: Protocol::Tcp, listen, to }];
        assert!(super::super::pass_on(&ports).unwrap_err().contains(&listen.to_string()), "taken");
        drop(free);
        super::super::pass_on(&ports).unwrap();
        // It echoes what it got in whole when the caller ended, then says good-bye.
        let echo = std::thread::spawn(move || {
            for _ in 0..2 {
                let (mut stream, _) = service.accept().unwrap();
                let mut bytes = Vec::new();
                stream.read_to_end(&mut bytes).unwrap();
                stream.write_all(&bytes).unwrap();
            }
        });
        for size in [5usize, 3_000_000] {
            let sent: Vec<u8> = (0..=250u8).cycle().take(size).collect();
            let mut caller = TcpStream::connect(listen).unwrap();
            caller.write_all(&sent).unwrap();
            caller.shutdown(Shutdown::Write).unwrap();
            let mut got = Vec::new();
            caller.read_to_end(&mut got).unwrap();
            assert!(got == sent, "{size}");
        }
        echo.join().unwrap();
        // The service is gone: the caller sees an end, not silence.
        let mut late = TcpStream::connect(listen).unwrap();
        let mut got = Vec::new();
        let _ = late.read_to_end(&mut got);
        assert!(got.is_empty());
    }
}
