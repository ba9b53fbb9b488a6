//! What others keep and fetch for the same releases.

use std::fs;

use umiak_testkit::dockerd::Dockerd;
use umiak_testkit::volume::{FileSystem, Volume};

use super::super::fit::watch::look;
use super::super::pairs::Layout;
use super::super::registry::line::{Line, Stop};
use super::super::shell::Shell;
use crate::Failure;

/// Bytes of the file system.
const SIZE: u64 = 3 << 30;

/// What Docker keeps of both releases of a pair.
pub struct Docker {
    /// Its own store.
    pub alone: u64,
    /// And beside it the blobs as they were fetched, as Compose Apps keep them.
    pub with_blobs: u64,
}

/// Bytes that `skopeo copy` of a target fetches.
///
/// # Errors
/// skopeo fails.
pub fn skopeo(shell: &Shell, port: u16, pair: &str) -> Result<u64, Failure> {
    let line = Line::start(port, Stop::Kill, u64::MAX)?;
    shell.prepare(&format!(
        "rm -rf copied; skopeo copy -q --src-tls-verify=false docker://{}/team/{pair}:target oci:copied:1; rm -r copied",
        line.address()
    ))?;
    Ok(line.passed())
}

/// Loads both releases of a pair into a Docker of its own, and lays their blobs beside.
///
/// # Errors
/// No root; a program fails.
pub fn docker(shell: &Shell, pair: &Layout) -> Result<Docker, Failure> {
    let said = |error: std::io::Error| error.to_string();
    let name = format!("docker-{}", pair.name);
    let volume = Volume::make(shell.directory(), &name, FileSystem::Ext4, 4096, SIZE).map_err(said)?;
    let daemon = Dockerd::start(&volume.path().join("docker")).map_err(said)?;
    let empty = look(volume.path())?.bytes;
    for tag in ["base", "target"] {
        let (layout, archive) = (pair.directory.display(), shell.directory().join("archive.tar"));
        shell.prepare(&format!(
            "rm -f archive.tar; skopeo copy -q oci:{layout}:{tag} docker-archive:archive.tar:pair/{}:{tag}",
            pair.name
        ))?;
        daemon.docker(&["load", "-q", "-i", &archive.display().to_string()]).map_err(said)?;
        fs::remove_file(&archive).map_err(said)?;
    }
    let alone = look(volume.path())?.bytes - empty;
    let blobs = volume.path().join("blobs");
    fs::create_dir(&blobs).map_err(said)?;
    for entry in fs::read_dir(pair.directory.join("blobs/sha256")).map_err(said)? {
        let entry = entry.map_err(said)?;
        fs::copy(entry.path(), blobs.join(entry.file_name())).map_err(said)?;
    }
    let with_blobs = look(volume.path())?.bytes - empty;
    Ok(Docker { alone, with_blobs })
}
