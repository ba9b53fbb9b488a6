//! A service's own stop and start: the same bundle with the runtime alone, nobody else about.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::device::{Device, RUNC};
use super::gap::{self, Gap};
use super::releases;
use crate::{Failure, command};

/// The container's name.
const NAME: &str = "bench-own";

/// Seconds from the stop of a service of the device to its start, at least, with the runtime alone.
///
/// # Errors
/// There is no such service; the runtime fails.
pub fn stop_and_start(device: &Device, scratch: &Path, pair: &str) -> Result<f64, Failure> {
    let found = bundle(&device.run().join("services"))?;
    let text = fs::read_to_string(&found).map_err(|error| format!("cannot read {}: {error}", found.display()))?;
    // Another process, in another control group; all else is as the device has it.
    let (word, own) = (releases::word(pair), format!("umiak-own-{pair}"));
    let mut config: serde_json::Value =
        serde_json::from_str(&text.replace(&word, &own)).map_err(|error| error.to_string())?;
    config["linux"]["cgroupsPath"] = format!("/{own}").into();
    let directory = scratch.join("own");
    fs::create_dir_all(&directory).map_err(|error| error.to_string())?;
    fs::write(directory.join("config.json"), config.to_string()).map_err(|error| error.to_string())?;
    let alone = Alone { directory };
    alone.run(&own)?;
    let gap = Gap::watch(own.clone());
    let number = alone.number()?;
    alone.call(&["kill", NAME, "TERM"])?;
    while number.join("exe").exists() {
        std::thread::yield_now();
    }
    alone.call(&["delete", "--force", NAME])?;
    alone.run(&own)?;
    Ok(gap.longest()?.least)
}

/// The first bundle below a directory.
fn bundle(below: &Path) -> Result<PathBuf, Failure> {
    let mut open = vec![below.to_owned()];
    while let Some(directory) = open.pop() {
        let config = directory.join("config.json");
        if config.exists() {
            return Ok(config);
        }
        let entries = fs::read_dir(&directory).into_iter().flatten().flatten();
        open.extend(
            entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path()),
        );
    }
    Err(format!("there is no bundle below {}", below.display()))
}

/// A container of ours; gone when it is dropped.
struct Alone {
    directory: PathBuf,
}

impl Alone {
    fn call(&self, words: &[&str]) -> Result<(), Failure> {
        let mut runc = Command::new(RUNC);
        runc.arg("--root").arg(self.directory.join("state")).args(words);
        // What the service inherits must not hold a pipe open that somebody reads to its end.
        runc.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let status = runc.status().map_err(|error| format!("cannot start runc: {error}"))?;
        if status.success() { Ok(()) } else { Err(format!("`{}` failed: {status}", command::typed(&runc))) }
    }

    fn run(&self, word: &str) -> Result<(), Failure> {
        self.call(&["run", "--detach", "--bundle", &self.directory.display().to_string(), NAME])?;
        gap::until_runs(word)
    }

    /// `/proc/NUMBER` of the first process.
    fn number(&self) -> Result<PathBuf, Failure> {
        let path = self.directory.join("state").join(NAME).join("state.json");
        let text = fs::read(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        let state: serde_json::Value = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
        let number = state["init_process_pid"].as_u64().ok_or("runc tells no process")?;
        Ok(PathBuf::from(format!("/proc/{number}")))
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        let _ = self.call(&["delete", "--force", NAME]);
    }
}
