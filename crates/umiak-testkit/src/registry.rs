//! Debian's `docker-registry` on a free loopback port.
//!
//! Guarantees: it answers when [`Registry::start`] returns, and it is gone when the value is dropped. Stopped by its
//! own process, never by name.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A running registry.
pub struct Registry {
    process: Child,
    port: u16,
}

impl Registry {
    /// Starts one that keeps its blobs in `directory`.
    ///
    /// # Errors
    /// The program is missing, or does not answer within 20 seconds.
    pub fn start(directory: &Path) -> io::Result<Self> {
        Self::start_with(directory, "")
    }

    /// Starts one with further members of `http` in its configuration, each with a leading comma: `, tls: {{…}}`.
    ///
    /// # Errors
    /// The program is missing, or does not answer within 20 seconds.
    pub fn start_with(directory: &Path, http: &str) -> io::Result<Self> {
        // The port may be taken between the two calls: then the registry exits, and the next try takes another.
        let mut last = io::Error::other("docker-registry was never started");
        for _ in 0..5 {
            let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
            let settings = directory.join("registry.yml");
            let root = directory.join("registry");
            fs::write(
                &settings,
                format!(
                    "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: '{}'}}, delete: {{enabled: true}}}}\n\
                     http: {{addr: '127.0.0.1:{port}'{http}}}\n",
                    root.display()
                ),
            )?;
            let mut command = Command::new("docker-registry");
            command.arg("serve").arg(&settings).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            let mut registry = Self { process: command.spawn()?, port };
            match answered(&mut registry.process, port) {
                Ok(()) => return Ok(registry),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// `127.0.0.1:PORT`
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

/// Waits until the server answers at `port`.
///
/// # Errors
/// It ends, or does not answer within 20 seconds.
pub(crate) fn answered(process: &mut Child, port: u16) -> io::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(20);
    while Instant::now() < deadline {
        if let Some(status) = process.try_wait()? {
            return Err(io::Error::other(format!("the registry ended: {status}")));
        }
        if answers(port).is_ok() {
            return Ok(());
        }
        std::thread::yield_now();
    }
    Err(io::ErrorKind::TimedOut.into())
}

fn answers(port: u16) -> io::Result<()> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(b"GET /v2/ HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
    stream.read_exact(&mut [0; 12])
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
