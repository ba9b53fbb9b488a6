//! A line to a server that counts what passes, and stops when it is told to.
//!
//! What is counted has left for the client: the line holds next to nothing itself, so that the count is what a link
//! would have carried.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use crate::Failure;

/// Bytes that the line takes at once.
const PIECE: usize = 16 << 10;

struct Shared {
    port: u16,
    /// All connections are cut at this byte.
    cut: AtomicU64,
    passed: AtomicU64,
    /// How often it was cut: what was connected before does not live on.
    cuts: AtomicU64,
    closing: AtomicBool,
}

/// No byte is this one.
const NEVER: u64 = u64::MAX;

/// A running line; gone when it is dropped.
pub struct Line {
    shared: Arc<Shared>,
    port: u16,
    listening: Option<JoinHandle<()>>,
}

impl Line {
    /// Starts a line to `port`.
    ///
    /// # Errors
    /// The system has no port.
    pub fn start(port: u16) -> Result<Self, Failure> {
        Self::start_at(0, port)
    }

    /// Starts a line from the port `own` to `port`.
    ///
    /// # Errors
    /// Somebody has that port.
    pub fn start_at(own: u16, port: u16) -> Result<Self, Failure> {
        let failed = |error: std::io::Error| format!("cannot listen: {error}");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, own)).map_err(failed)?;
        let own = listener.local_addr().map_err(failed)?.port();
        let cut = AtomicU64::new(NEVER);
        let shared =
            Arc::new(Shared { port, cut, passed: AtomicU64::new(0), cuts: AtomicU64::new(0), closing: false.into() });
        let serving = Arc::clone(&shared);
        let listening = std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if serving.closing.load(Ordering::SeqCst) {
                    break;
                }
                let serving = Arc::clone(&serving);
                // A connection that breaks is what this is for.
                std::thread::spawn(move || drop(serving.carry(&client)));
            }
        });
        Ok(Self { shared, port: own, listening: Some(listening) })
    }

    /// `127.0.0.1:PORT`
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Where it begins.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Cuts all connections, once, when so many more bytes have come.
    pub fn cut_after(&self, bytes: u64) {
        self.shared.cut.store(self.passed() + bytes, Ordering::SeqCst);
    }

    /// From now on nothing is cut.
    pub fn heal(&self) {
        self.shared.cut.store(NEVER, Ordering::SeqCst);
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
        let since = self.cuts.load(Ordering::SeqCst);
        loop {
            let count = (&server).read(&mut buffer)?;
            let at = self.cut.load(Ordering::SeqCst);
            // Of all connections one is the first to see it.
            if self.passed() >= at && self.cut.compare_exchange(at, NEVER, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
                self.cuts.fetch_add(1, Ordering::SeqCst);
            }
            if count == 0 || self.cuts.load(Ordering::SeqCst) != since {
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
        // Wakes who listens; then the port is free.
        drop(TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)));
        drop(self.listening.take().map(JoinHandle::join));
    }
}
