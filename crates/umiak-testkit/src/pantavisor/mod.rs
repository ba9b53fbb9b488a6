//! A device that runs Pantavisor, as far as whoever posts to it can tell: its control socket and its web address over
//! one storage.
//!
//! It follows what is known of the real one, its bad habits included: an upload goes straight into the object's file, so
//! that a cut leaves a part of it there; `409` is said of any file of the name; whether a revision's objects are whole is
//! found out when it runs. It runs nothing: an update goes one step further with each look at its progress.

mod control;
mod remote;
mod world;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use tempfile::TempDir;

use crate::http::{Request, Response, Server, locked};
pub use world::{Outcome, Step, World};

/// A running device. Dropping it ends it.
pub struct Device {
    world: Arc<Mutex<World>>,
    control: Server,
    web: Server,
    socket: PathBuf,
    _place: TempDir,
}

impl Device {
    /// A device that runs revision `0` of `state`, with `objects`.
    ///
    /// # Errors
    /// The system has no socket or port.
    pub fn start(state: &str, objects: &[&[u8]]) -> io::Result<Self> {
        let world = Arc::new(Mutex::new(World::new(state, objects)));
        let place = tempfile::tempdir()?;
        let socket = place.path().join("pv-ctrl");
        let of = |answer: fn(&mut World, &Request) -> Response| {
            let (answering, cutting) = (Arc::clone(&world), Arc::clone(&world));
            (
                move |request: &Request| locked(&answering).met(request, answer),
                move |request: &Request| locked(&cutting).cut(request),
            )
        };
        let (answer, cut) = of(control::answer);
        let control = Server::start_unix_cutting(&socket, answer, cut)?;
        let (answer, cut) = of(remote::answer);
        let web = Server::start_cutting(answer, cut)?;
        Ok(Self { world, control, web, socket, _place: place })
    }

    /// The control socket.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The address of its remote.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}/cgi-bin/pvr", self.server())
    }

    /// The address of its web server.
    #[must_use]
    pub fn server(&self) -> String {
        format!("http://{}", self.web.address())
    }

    /// Looks at what is on the device, or changes it.
    pub fn with<R>(&self, look: impl FnOnce(&mut World) -> R) -> R {
        look(&mut locked(&self.world))
    }

    /// What was asked so far, `METHOD path`, in order, on either way.
    #[must_use]
    pub fn asked(&self) -> Vec<String> {
        let line = |request: &Request| format!("{} {}", request.method, request.target);
        self.control.requests().iter().chain(&self.web.requests()).map(line).collect()
    }

    /// How many requests began with this, as [`Device::asked`] shows them.
    #[must_use]
    pub fn count(&self, beginning: &str) -> usize {
        self.asked().iter().filter(|line| line.starts_with(beginning)).count()
    }

    /// The bodies of these requests, as text.
    #[must_use]
    pub fn bodies(&self, line: &str) -> Vec<String> {
        let all = self.control.requests().into_iter().chain(self.web.requests());
        let meant = all.filter(|request| format!("{} {}", request.method, request.target) == line);
        meant.map(|request| String::from_utf8_lossy(&request.body).into_owned()).collect()
    }
}
