//! Debian's docker-registry on a free loopback port, for a bench.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::Failure;

/// A running registry; stopped when it is dropped.
pub struct Server {
    process: Child,
    port: u16,
}

impl Server {
    /// Starts one that keeps its blobs in `directory`.
    ///
    /// # Errors
    /// It does not answer within 20 seconds.
    pub fn start(directory: &Path) -> Result<Self, Failure> {
        let failed = |error: std::io::Error| format!("cannot start docker-registry: {error}");
        std::fs::create_dir_all(directory).map_err(failed)?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
        let port = listener.local_addr().map_err(failed)?.port();
        drop(listener);
        let settings = directory.join("registry.yml");
        let text = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: '{}'}}}}\n\
             http: {{addr: '127.0.0.1:{port}'}}\n",
            directory.join("blobs").display()
        );
        std::fs::write(&settings, text).map_err(failed)?;
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(&settings).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let server = Self { process: command.spawn().map_err(failed)?, port };
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            if Instant::now() > deadline {
                return Err("docker-registry does not answer".into());
            }
            std::thread::yield_now();
        }
        Ok(server)
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `127.0.0.1:PORT`
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
