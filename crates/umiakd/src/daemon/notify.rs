//! What the service manager is told: ready, what is going on, still alive, stopping.
//!
//! The protocol of systemd's `sd_notify(3)`: one datagram of `KEY=value` lines to the socket in `NOTIFY_SOCKET`, a path or
//! an abstract name after `@`. Without that variable nobody listens and nothing is sent. A message that cannot be sent
//! is lost: the manager's own timeouts judge then.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// Who is told.
pub struct Manager {
    to: Option<(UnixDatagram, SocketAddr)>,
    /// How often a sign of life is wanted.
    watchdog: Option<Duration>,
}

impl Manager {
    /// `socket` is the value of `NOTIFY_SOCKET`, `watchdog` that of `WATCHDOG_USEC`.
    #[must_use]
    pub fn new(socket: Option<&OsStr>, watchdog: Option<&str>) -> Self {
        let to = socket.and_then(|name| Some((UnixDatagram::unbound().ok()?, address(name).ok()?)));
        let watchdog = watchdog.and_then(|text| text.parse().ok()).filter(|micros| *micros > 0);
        Self { to, watchdog: watchdog.map(|micros: u64| Duration::from_micros(micros / 2)) }
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

    /// A sign of life.
    pub fn alive(&self) {
        self.send("WATCHDOG=1");
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
        assert_eq!(
            [heard(&listener), heard(&listener), heard(&listener)],
            ["READY=1", "STATUS=fetching shop", "WATCHDOG=1"]
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
}
