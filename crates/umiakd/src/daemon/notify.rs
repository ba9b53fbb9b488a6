//! What the service manager is told: ready, what is going on, still alive, stopping.
//!
//! The protocol of systemd's `sd_notify(3)`: one datagram of `KEY=value` lines to the socket in `NOTIFY_SOCKET`, a path or
//! an abstract name after `@`. Without that variable nobody listens and nothing is sent. A message that is not taken within
//! [`PATIENCE`] is lost: the manager's own timeouts judge then.

use std::cell::Cell;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

/// How long the manager may take to take a message: its queue is short, and it may be busy or gone.
const PATIENCE: Duration = Duration::from_secs(1);

/// Who is told.
pub struct Manager {
    to: Option<(UnixDatagram, SocketAddr)>,
    /// How often a sign of life is given.
    watchdog: Option<Duration>,
    /// When the last one was.
    alive: Cell<Option<Instant>>,
}

impl Manager {
    /// `socket` is the value of `NOTIFY_SOCKET`, `watchdog` that of `WATCHDOG_USEC`.
    #[must_use]
    pub fn new(socket: Option<&OsStr>, watchdog: Option<&str>) -> Self {
        let to = socket.and_then(|name| {
            let socket = UnixDatagram::unbound().ok()?;
            socket.set_write_timeout(Some(PATIENCE)).ok()?;
            Some((socket, address(name).ok()?))
        });
        let watchdog = watchdog.and_then(|text| text.parse().ok()).filter(|micros| *micros > 0);
        let watchdog = watchdog.map(|micros: u64| Duration::from_micros(micros / 2));
        Self { to, watchdog, alive: Cell::new(None) }
    }

    /// How long may pass between two signs of life; `None`: none is wanted.
    #[must_use]
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// The device runs what it should; the daemon listens.
    pub fn ready(&self) {
        self.send("READY=1");
    }

    /// One line on what is going on, for `systemctl status`.
    pub fn status(&self, text: &str) {
        let line: String = text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
        self.send(&format!("STATUS={line}"));
    }

    /// A sign of life, where one is wanted by now.
    pub fn alive(&self) {
        let Some(often) = self.watchdog else { return };
        // Half of the time again, since callers come when they come.
        if self.alive.get().is_none_or(|last| last.elapsed() >= often / 2) {
            self.send("WATCHDOG=1");
            self.alive.set(Some(Instant::now()));
        }
    }

    /// The daemon ends.
    pub fn stopping(&self) {
        self.send("STOPPING=1");
    }

    fn send(&self, message: &str) {
        if let Some((socket, to)) = &self.to {
            // Nobody can be told that the manager is gone.
            let _ = socket.send_to_addr(message.as_bytes(), to);
        }
    }
}

fn address(name: &OsStr) -> io::Result<SocketAddr> {
    match name.as_bytes().strip_prefix(b"@") {
        Some(hidden) => SocketAddr::from_abstract_name(hidden),
        None => SocketAddr::from_pathname(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 256];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    #[test]
    fn the_manager_hears_what_happens() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let listener = UnixDatagram::bind(&path).unwrap();
        let manager = Manager::new(Some(path.as_os_str()), Some("3000000"));
        manager.ready();
        manager.status("fetching\nshop");
        manager.alive();
        // Not again so soon.
        manager.alive();
        manager.stopping();
        assert_eq!(
            [heard(&listener), heard(&listener), heard(&listener), heard(&listener)],
            ["READY=1", "STATUS=fetching shop", "WATCHDOG=1", "STOPPING=1"]
        );
        assert_eq!(manager.watchdog(), Some(Duration::from_millis(1500)));
    }

    #[test]
    fn an_abstract_name_is_understood_and_nobody_is_nobody() {
        let name = format!("umiakd-notify-{}", std::process::id());
        let listener = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        Manager::new(Some(OsStr::new(&format!("@{name}"))), None).stopping();
        assert_eq!(heard(&listener), "STOPPING=1");
        let nobody = Manager::new(None, Some("0"));
        nobody.ready();
        assert_eq!(nobody.watchdog(), None);
    }

    #[test]
    fn a_manager_that_listens_no_more_does_not_hold_anybody_up() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let _deaf = UnixDatagram::bind(&path).unwrap();
        let manager = Manager::new(Some(path.as_os_str()), None);
        let filled = (0..10_000).any(|_| {
            let begun = Instant::now();
            manager.ready();
            begun.elapsed() >= PATIENCE
        });
        assert!(filled, "the queue has an end");
    }
}
