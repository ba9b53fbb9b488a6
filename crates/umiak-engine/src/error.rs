//! Why an engine could not do something, in words for a person beside the device.

use std::io;
use std::path::{Path, PathBuf};

use umiak_mount::MountError;

use crate::Refused;

/// An engine's failure.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The app has no such service.
    #[error("app {app} has no service {service}")]
    NoService {
        /// The app.
        app: String,
        /// The name.
        service: String,
    },
    /// The service was not made ready.
    #[error("service {service} of {app} was not made ready")]
    NotReady {
        /// The app.
        app: String,
        /// The service.
        service: String,
    },
    /// A name that cannot be that of a directory or a container.
    #[error("`{0}` cannot be a name: letters, digits, `.`, `_` and `-` only, 128 at most")]
    Name(String),
    /// The service asks what this engine does not do.
    #[error("service {service} asks for what this engine does not do: {}", list(.refused))]
    Refused {
        /// The service.
        service: String,
        /// What.
        refused: Vec<Refused>,
    },
    /// Something in the image or the service is not as it must be.
    #[error("service {service}: {why}")]
    Service {
        /// The service.
        service: String,
        /// What.
        why: String,
    },
    /// A runtime or daemon said no.
    #[error("{program} cannot {act}: {said}")]
    Program {
        /// `crun`, `runc`, `docker`.
        program: String,
        /// What it was told to do.
        act: String,
        /// Its own words, cut.
        said: String,
    },
    /// A runtime or daemon did not answer.
    #[error("{program} did not {act} within {seconds} s")]
    Hangs {
        /// `crun`, `runc`, `docker`.
        program: String,
        /// What it was told to do.
        act: String,
        /// The limit.
        seconds: u64,
    },
    /// There is no runtime, or no daemon, on this device.
    #[error("no {0} on this device")]
    Absent(String),
    /// A process that SIGKILL does not end: it hangs in the kernel.
    #[error("service {service} of {app} cannot be killed: process {pid} hangs in the kernel")]
    Immortal {
        /// The app.
        app: String,
        /// The service.
        service: String,
        /// The process.
        pid: i32,
    },
    /// The app is still deployed.
    #[error("app {0} is still deployed")]
    Deployed(String),
    /// A mount.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// A file or directory of the engine's.
    #[error("cannot {act} {}: {reason}", path.display())]
    Io {
        /// What was tried.
        act: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's answer.
        reason: io::Error,
    },
}

fn list(refused: &[Refused]) -> String {
    refused.iter().map(|one| format!("{} ({})", one.key, one.why)).collect::<Vec<_>>().join(", ")
}

/// Adds act and path to an I/O error.
pub(crate) trait At<T> {
    fn at(self, act: &'static str, path: &Path) -> Result<T, EngineError>;
}

impl<T, E: Into<io::Error>> At<T> for Result<T, E> {
    fn at(self, act: &'static str, path: &Path) -> Result<T, EngineError> {
        self.map_err(|reason| EngineError::Io { act, path: path.to_owned(), reason: reason.into() })
    }
}
