//! What others keep and fetch for the same releases.

use std::fs;

use umiak_testkit::dockerd::Dockerd;
use umiak_testkit::volume::{FileSystem, Volume};

use super::super::fit::watch::look;
use super::super::pairs::Layout;
use super::super::registry::line::Line;
use super::super::shell::Shell;
use crate::Failure;

/// Bytes of the file system.
const SIZE: u64 = 3 << 30;

/// What Docker keeps of both releases of a pair, and fetched for the second.
pub struct Docker {
    /// Its own store.
    pub alone: u64,
    /// And beside it the blobs as they were fetched, as Compose Apps keep them.
    pub with_blobs: u64,
    /// Bytes of `docker pull` of the target where the base is.
    pub fetched: u64,
}

/// Bytes that `skopeo copy` of a target fetches.
///
/// # Errors
/// skopeo fails.
pub fn skopeo(shell: &Shell, line: &Line, pair: &str) -> Result<u64, Failure> {
    let before = line.passed();
    shell.prepare(&format!(
        "rm -rf copied; skopeo copy -q --src-tls-verify=false docker://{}/team/{pair}:target oci:copied:1; rm -r copied",
        line.address()
    ))?;
    Ok(line.passed() - before)
}

/// Pulls both releases of a pair into a Docker of its own, and lays their blobs beside.
///
/// # Errors
/// No root; a program fails.
pub fn docker(shell: &Shell, line: &Line, pair: &Layout) -> Result<Docker, Failure> {
    let said = |error: std::io::Error| error.to_string();
    let name = format!("docker-{}", pair.name);
    let volume = Volume::make(shell.directory(), &name, FileSystem::Ext4, 4096, SIZE).map_err(said)?;
    let daemon = Dockerd::start_on_network(&volume.path().join("docker")).map_err(said)?;
    let empty = look(volume.path())?.bytes;
    let pull = |tag: &str| {
        let before = line.passed();
        let reference = format!("{}/team/{}:{tag}", line.address(), pair.name);
        daemon.docker(&["pull", "-q", &reference]).map_err(said)?;
        Ok::<_, Failure>(line.passed() - before)
    };
    pull("base")?;
    let fetched = pull("target")?;
    let alone = look(volume.path())?.bytes - empty;
    let blobs = volume.path().join("blobs");
    fs::create_dir(&blobs).map_err(said)?;
    for entry in fs::read_dir(pair.directory.join("blobs/sha256")).map_err(said)? {
        let entry = entry.map_err(said)?;
        fs::copy(entry.path(), blobs.join(entry.file_name())).map_err(said)?;
    }
    let with_blobs = look(volume.path())?.bytes - empty;
    Ok(Docker { alone, with_blobs, fetched })
}
