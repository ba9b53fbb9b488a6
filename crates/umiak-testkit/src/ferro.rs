//! `ferro-oci-server` on a free loopback port: a real registry that has referrers and no ranges.
//!
//! Guarantees: it answers when [`Ferro::start`] returns, and it is gone when the value is dropped. Stopped by its own
//! process, never by name. `cargo xtask test` builds it.

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::registry::answered;

/// A running registry.
pub struct Ferro {
    process: Child,
    port: u16,
}

impl Ferro {
    /// Starts one that keeps its blobs in `directory`.
    ///
    /// # Errors
    /// The program is missing, or does not answer within 20 seconds.
    pub fn start(directory: &Path) -> io::Result<Self> {
        let program = program()?;
        // The port may be taken between the two calls: then it exits, and the next try takes another.
        let mut last = io::Error::other("ferro-oci-server was never started");
        for _ in 0..5 {
            let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
            let mut command = Command::new(&program);
            command.env("FERRO_OCI_LISTEN", format!("127.0.0.1:{port}"));
            command.env("FERRO_OCI_STORAGE_DIR", directory.join("ferro"));
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            let mut ferro = Self { process: command.spawn()?, port };
            match answered(&mut ferro.process, port) {
                Ok(()) => return Ok(ferro),
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

/// Where `cargo xtask test` puts it: in `peers` of the target directory that this test is in.
fn program() -> io::Result<PathBuf> {
    let test = std::env::current_exe()?;
    let mut places = test.ancestors().map(|place| place.join("peers/bin/ferro-oci-server"));
    places.find(|place| place.exists()).ok_or_else(|| {
        io::Error::new(io::ErrorKind::NotFound, "ferro-oci-server is not in target/peers: `cargo xtask test` builds it")
    })
}

impl Drop for Ferro {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
