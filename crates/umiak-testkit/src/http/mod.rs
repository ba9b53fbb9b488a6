//! A small HTTP/1.1 server for tests, on a free loopback port or a Unix socket, that fails in every way a real one can.
//!
//! ```text
//! Server --- Handler (a closure, or Files: bodies by path, with faults queued per path)
//!    |
//!    +-- requests(): what was asked, in order
//! ```
//!
//! One thread per connection, one request per connection. A stall lasts until the server is dropped; only drips wait for
//! a clock. It reads no request bodies beyond what `Content-Length` says, or a [`Server::start_cutting`] less; it knows no
//! TLS. A [`Store`] is a registry that can be pushed to.

mod files;
mod store;
mod wire;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

pub use files::{Fault, Files, dated};
pub use store::{Manner, PushFault, REPOSITORY, Store};

/// What a client asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// `GET`, `HEAD`, `POST`
    pub method: String,
    /// Path and query, as sent.
    pub target: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// Whether the body is all of it. Otherwise the connection is going to be closed, whatever is answered.
    pub whole: bool,
}

impl Request {
    /// The first header called `name` (lower case).
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// How a response ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum End {
    /// As it should.
    #[default]
    Whole,
    /// The connection is closed after so many bytes of the body.
    Cut(usize),
    /// After so many bytes of the body nothing more comes, and the connection stays open.
    Stall(usize),
    /// The body comes in so many pieces, with a moment between two of them.
    Drip(usize),
    /// It does not even begin, and the connection stays open.
    Silence,
}

/// What the server says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Response {
    /// The status; 0 closes the connection without an answer.
    pub status: u16,
    /// Headers besides `Content-Length` and `Connection`.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// What `Content-Length` says, if not the truth.
    pub announced: Option<usize>,
    /// How it ends.
    pub end: End,
}

impl Response {
    /// A response with a body.
    #[must_use]
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, body: body.into(), ..Self::default() }
    }

    /// The same with one more header.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }
}

/// Answers requests; called from several threads.
pub type Handler = dyn Fn(&Request) -> Response + Send + Sync;

/// Bytes of a request's body after which the connection breaks; the request is shown without it.
pub type Limit = dyn Fn(&Request) -> Option<usize> + Send + Sync;

/// A running server. Dropping it ends its threads.
pub struct Server {
    shared: Arc<Shared>,
    place: Place,
    thread: Option<JoinHandle<()>>,
}

enum Place {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

pub(crate) struct Shared {
    handler: Box<Handler>,
    limit: Box<Limit>,
    requests: Mutex<Vec<Request>>,
    sent: AtomicU64,
    stopped: Mutex<bool>,
    wake: Condvar,
    closing: AtomicBool,
}

pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Server {
    /// Listens on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// The system has no port.
    pub fn start(handler: impl Fn(&Request) -> Response + Send + Sync + 'static) -> io::Result<Self> {
        Self::start_cutting(handler, |_| None)
    }

    /// The same, with connections that break while a request comes: after as many bytes of its body as `limit` says.
    ///
    /// # Errors
    /// The system has no port.
    pub fn start_cutting(
        handler: impl Fn(&Request) -> Response + Send + Sync + 'static,
        limit: impl Fn(&Request) -> Option<usize> + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let place = Place::Tcp(listener.local_addr()?);
        Ok(Self::run(handler, limit, place, move || listener.accept().map(|(stream, _)| Box::new(stream) as _)))
    }

    /// Listens on a Unix socket that does not exist yet.
    ///
    /// # Errors
    /// The socket cannot be made.
    pub fn start_unix(path: &Path, handler: impl Fn(&Request) -> Response + Send + Sync + 'static) -> io::Result<Self> {
        Self::start_unix_cutting(path, handler, |_| None)
    }

    /// The same, with connections that break while a request comes, as [`Server::start_cutting`] has them.
    ///
    /// # Errors
    /// The socket cannot be made.
    pub fn start_unix_cutting(
        path: &Path,
        handler: impl Fn(&Request) -> Response + Send + Sync + 'static,
        limit: impl Fn(&Request) -> Option<usize> + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let listener = UnixListener::bind(path)?;
        let place = Place::Unix(path.to_owned());
        Ok(Self::run(handler, limit, place, move || listener.accept().map(|(stream, _)| Box::new(stream) as _)))
    }

    fn run(
        handler: impl Fn(&Request) -> Response + Send + Sync + 'static,
        limit: impl Fn(&Request) -> Option<usize> + Send + Sync + 'static,
        place: Place,
        accept: impl Fn() -> io::Result<Box<dyn wire::Stream>> + Send + 'static,
    ) -> Self {
        let shared = Arc::new(Shared {
            handler: Box::new(handler),
            limit: Box::new(limit),
            requests: Mutex::default(),
            sent: AtomicU64::new(0),
            stopped: Mutex::new(false),
            wake: Condvar::new(),
            closing: AtomicBool::new(false),
        });
        let serving = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            let mut connections = Vec::new();
            while let Ok(stream) = accept() {
                if serving.closing.load(Ordering::SeqCst) {
                    break;
                }
                let shared = Arc::clone(&serving);
                connections.push(std::thread::spawn(move || shared.serve(stream)));
            }
            for connection in connections {
                let _ = connection.join();
            }
        });
        Self { shared, place, thread: Some(thread) }
    }

    /// `127.0.0.1:PORT`, or the socket's path.
    #[must_use]
    pub fn address(&self) -> String {
        match &self.place {
            Place::Tcp(address) => address.to_string(),
            Place::Unix(path) => path.display().to_string(),
        }
    }

    /// Everything that was asked so far, in order.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        locked(&self.shared.requests).clone()
    }

    /// Bytes of bodies that have left, but for what the system holds of each connection: a few dozen KiB.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::SeqCst)
    }

    /// How many requests had this path and query.
    #[must_use]
    pub fn count(&self, target: &str) -> usize {
        locked(&self.shared.requests).iter().filter(|request| request.target == target).count()
    }
}

impl Shared {
    fn serve(&self, mut stream: Box<dyn wire::Stream>) {
        // A client that goes away is its own affair.
        let Ok(Some(request)) = wire::read_request(&mut stream, &*self.limit) else { return };
        locked(&self.requests).push(request.clone());
        let response = (self.handler)(&request);
        if !request.whole {
            return;
        }
        if response.end != End::Silence {
            let _ = wire::write_response(&mut stream, &response, request.method == "HEAD", &self.sent);
        }
        if matches!(response.end, End::Stall(_) | End::Silence) {
            let mut stopped = locked(&self.stopped);
            while !*stopped {
                stopped = self.wake.wait(stopped).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::SeqCst);
        *locked(&self.shared.stopped) = true;
        self.shared.wake.notify_all();
        // Wakes `accept`.
        match &self.place {
            Place::Tcp(address) => drop(TcpStream::connect(address)),
            Place::Unix(path) => drop(UnixStream::connect(path)),
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
