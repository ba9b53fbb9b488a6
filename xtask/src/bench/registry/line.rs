//! A line to a server that counts what passes, and stops once.
//!
//! What is counted has left for the client: the line holds next to nothing itself, so that the count is what a link
//! would have carried.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::Failure;

/// Bytes that the line takes at once.
const PIECE: usize = 16 << 10;

/// What happens at the given byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// All connections are cut.
    Cut,
    /// Nothing: whoever waits for the byte does something.
    Kill,
}

struct Shared {
    port: u16,
    stop: Stop,
    at: u64,
    passed: AtomicU64,
    /// Whether it has stopped: what was connected before is cut.
    stopped: AtomicBool,
    /// Whether it never will any more.
    healed: AtomicBool,
    closing: AtomicBool,
}

/// A running line; gone when it is dropped.
pub struct Line {
    shared: Arc<Shared>,
    port: u16,
}

impl Line {
    /// Starts a line to `port` that stops when `at` bytes have come from there.
    ///
    /// # Errors
    /// The system has no port.
    pub fn start(port: u16, stop: Stop, at: u64) -> Result<Self, Failure> {
        let failed = |error: std::io::Error| format!("cannot listen: {error}");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
        let own = listener.local_addr().map_err(failed)?.port();
        let (passed, stopped, healed, closing) = Default::default();
        let shared = Arc::new(Shared { port, stop, at, passed, stopped, healed, closing });
        let serving = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if serving.closing.load(Ordering::SeqCst) {
                    break;
                }
                let serving = Arc::clone(&serving);
                // A connection that breaks is what this is for.
                std::thread::spawn(move || drop(serving.carry(&client)));
            }
        });
        Ok(Self { shared, port: own })
    }

    /// `127.0.0.1:PORT`
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Waits until the byte has come.
    pub fn reached(&self) {
        while self.passed() < self.shared.at {
            std::thread::yield_now();
        }
    }

    /// From now on nothing stops.
    pub fn heal(&self) {
        self.shared.healed.store(true, Ordering::SeqCst);
    }

    /// Bytes that have come from the server.
    pub fn passed(&self) -> u64 {
        self.shared.passed()
    }
}

impl Shared {
    fn passed(&self) -> u64 {
        self.passed.load(Ordering::SeqCst)
    }

    fn carry(&self, client: &TcpStream) -> std::io::Result<()> {
        let server = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        client.set_nodelay(true)?;
        rustix::net::sockopt::set_socket_send_buffer_size(client, 2 * PIECE)?;
        let (mut to_server, mut from_client) = (server.try_clone()?, client.try_clone()?);
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut from_client, &mut to_server);
            to_server.shutdown(Shutdown::Write)
        });
        let mut buffer = vec![0; PIECE];
        let is_first = !self.stopped.load(Ordering::SeqCst);
        loop {
            let count = (&server).read(&mut buffer)?;
            let due = self.passed() >= self.at && !self.healed.load(Ordering::SeqCst);
            if self.stop == Stop::Cut && due {
                self.stopped.store(true, Ordering::SeqCst);
            }
            if count == 0 || is_first && self.stopped.load(Ordering::SeqCst) {
                client.shutdown(Shutdown::Both)?;
                return server.shutdown(Shutdown::Both);
            }
            (&mut &*client).write_all(&buffer[..count])?;
            self.passed.fetch_add(count as u64, Ordering::SeqCst);
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::SeqCst);
        // Wakes who listens.
        drop(TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)));
    }
}
