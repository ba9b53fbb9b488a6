//! Compose as a program: the plugin of the Docker client (version 2), which runs by itself as well, or `docker-compose`
//! (1.27 and later). It only makes things; starting and stopping them is done over the API.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use std::collections::BTreeMap;

use rustix::process::{Pid, Signal};

use crate::EngineError;

/// Where Compose is looked for, in this order.
const PLACES: [&str; 6] = [
    "/usr/local/lib/docker/cli-plugins/docker-compose",
    "/usr/local/libexec/docker/cli-plugins/docker-compose",
    "/usr/lib/docker/cli-plugins/docker-compose",
    "/usr/libexec/docker/cli-plugins/docker-compose",
    "/usr/local/bin/docker-compose",
    "/usr/bin/docker-compose",
];

/// Making containers and networks takes seconds; on a device under load a minute.
const PATIENCE: Duration = Duration::from_secs(180);

/// Between two looks whether it has ended.
const LOOK: Duration = Duration::from_millis(20);

/// Bytes of its words that are kept.
const SAID_MAX: usize = 64 << 10;

/// What it is called in errors.
const PROGRAM: &str = "docker-compose";

/// Compose, found on this device.
#[derive(Debug, Clone)]
pub(super) struct Compose {
    program: PathBuf,
    socket: PathBuf,
}

impl Compose {
    pub fn find(named: Option<&Path>, socket: &Path) -> Option<Self> {
        let found = match named {
            Some(named) => Some(named.to_owned()),
            None => PLACES.iter().map(PathBuf::from).find(|path| path.is_file()),
        };
        found.map(|program| Self { program, socket: socket.to_owned() })
    }

    /// Makes what the file says, starting nothing.
    pub fn create(
        &self,
        project: &str,
        directory: &Path,
        file: &str,
        environment: &BTreeMap<String, String>,
    ) -> Result<(), EngineError> {
        let mut command = Command::new(&self.program);
        command.args(["--project-name", project, "--project-directory"]).arg(directory);
        command.args(["--file", "-", "up", "--no-start"]).current_dir(directory);
        // Nothing of our own environment decides: no other file, no other daemon, no variables.
        command
            .env_clear()
            .envs(environment)
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command.env("DOCKER_HOST", format!("unix://{}", self.socket.display())).env("HOME", "/nonexistent");
        command.env("COMPOSE_INTERACTIVE_NO_CLI", "1").env("COMPOSE_ANSI", "never").env("LC_ALL", "C.UTF-8");
        for name in ["COMPOSE_FILE", "COMPOSE_PROFILES", "COMPOSE_PROJECT_NAME", "DOCKER_CONTEXT", "DOCKER_TLS_VERIFY"]
        {
            command.env_remove(name);
        }
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let act = "make the containers";
        let failed = |said: String| EngineError::Program { program: PROGRAM.into(), act: act.into(), said };
        let mut child = command.spawn().map_err(|error| failed(format!("it does not start: {error}")))?;
        let (input, complaints) = (child.stdin.take(), child.stderr.take());
        let text = file.to_owned();
        // It may begin to complain before it has read everything.
        let writing = std::thread::spawn(move || input.map(|mut input| input.write_all(text.as_bytes())));
        let reading = std::thread::spawn(move || complaints.map(last_words).unwrap_or_default());
        let good = wait(&mut child);
        let _ = writing.join();
        match good {
            Some(true) => Ok(()),
            Some(false) => Err(failed(words(&reading.join().unwrap_or_default()))),
            None => Err(EngineError::Hangs { program: PROGRAM.into(), act: act.into(), seconds: PATIENCE.as_secs() }),
        }
    }
}

/// Whether it ended well; none: it had to be killed, with all that it started.
fn wait(child: &mut Child) -> Option<bool> {
    let end = Instant::now() + PATIENCE;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status.success()),
            Err(_) => return Some(false),
            Ok(None) if Instant::now() >= end => {
                let _ = rustix::process::kill_process_group(Pid::from_child(child), Signal::KILL);
                let _ = child.wait();
                return None;
            }
            Ok(None) => std::thread::sleep(LOOK),
        }
    }
}

fn last_words(mut from: impl Read) -> Vec<u8> {
    let (mut kept, mut buffer) = (vec![], vec![0; 8 << 10]);
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        kept.extend_from_slice(&buffer[..count]);
        kept.drain(..kept.len().saturating_sub(SAID_MAX));
    }
    kept
}

/// What a person needs of it: not the progress (`Creating … done`), the end of the rest.
fn words(said: &[u8]) -> String {
    let text = String::from_utf8_lossy(said);
    let progress = |line: &&str| line.starts_with("Creating ") || line.trim().is_empty();
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !progress(line)).collect();
    let said = lines[lines.len().saturating_sub(8)..].join("; ");
    if said.is_empty() { "it says nothing".to_owned() } else { said.chars().take(1000).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_compose_says_is_passed_on() {
        let scratch = tempfile::tempdir().unwrap();
        let program = scratch.path().join("compose");
        std::fs::write(&program, "#!/bin/sh\ncat >seen\necho 'Creating x ...'>&2; echo no such network >&2\nexit 1\n")
            .unwrap();
        std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let compose = Compose::find(Some(&program), Path::new("/nonexistent")).unwrap();
        let error = compose.create("p", scratch.path(), "services: {}\n", &BTreeMap::new()).unwrap_err();
        assert_eq!(error.to_string(), "docker-compose cannot make the containers: no such network");
        assert_eq!(std::fs::read_to_string(scratch.path().join("seen")).unwrap(), "services: {}\n");
    }
}
