//! What services get on the device that is there after its next start, too: told before it is made, for whoever counts.
//!
//! Guarantees: every directory and file that [`super::prepare`] and the shim make outside of the run directory is named.
//! What may be there already is named as well: an image may have the places that mounts need, a project the directories
//! that are bound. Not named is what services write, and what a new volume is filled with.

use std::path::{Component, Path, PathBuf};

use umiak_spec::service::{Logs, MountKind, Persistence, Root, Service};

use super::place::{Directories, Instance};
use super::{root, volumes};
use crate::{Deployment, EngineError, Made};

/// Directories that a runtime makes in a root where the image has them not.
const PLACES: [&str; 4] = ["/dev", "/etc", "/proc", "/sys"];

/// Bytes of a log at first: that the service started, and by whom.
const FIRST_LINES: u64 = 1 << 10;

/// What all services of a deployment get.
pub(super) fn all(directories: &Directories, deployment: &Deployment) -> Result<Made, EngineError> {
    let mut made = Made::default();
    for placed in &deployment.services {
        let instance = Instance::of(directories, deployment, placed)?;
        logs(&instance, placed.service.logs, &mut made);
        mounts(&instance, deployment, &placed.service, &mut made)?;
        writable(&instance, &placed.service, &mut made);
    }
    Ok(made)
}

fn logs(instance: &Instance, logs: Logs, made: &mut Made) {
    if logs.size > 0 && logs.files > 0 {
        made.files.insert(instance.logs().join("log"), FIRST_LINES);
    }
}

fn mounts(instance: &Instance, deployment: &Deployment, service: &Service, made: &mut Made) -> Result<(), EngineError> {
    for mount in &service.mounts {
        match &mount.kind {
            MountKind::Volume(volume) if volume.persistence != Persistence::Boot => {
                let directory = volumes::directory(instance, volume)?;
                if volume.above {
                    made.directories.insert(directory.join("upper"));
                    made.directories.insert(directory.join("work/work"));
                }
                made.directories.insert(directory);
            }
            MountKind::Bind(bind) if bind.create => {
                let source = Path::new(&bind.source);
                let below = deployment.project.as_ref().map(|project| project.join(source));
                made.directories.extend(if source.is_absolute() { Some(source.to_owned()) } else { below });
            }
            MountKind::Volume(_) | MountKind::Bind(_) | MountKind::Tmpfs { .. } => {}
        }
    }
    Ok(())
}

/// The top of a root that is kept, with the places that are made in it for mounts.
fn writable(instance: &Instance, service: &Service, made: &mut Made) {
    if !matches!(service.root, Root::Writable(Persistence::Revision | Persistence::Persistent)) {
        return;
    }
    let base = root::base(instance, &service.root);
    made.directories.insert(base.join("work/work"));
    let upper = base.join("upper");
    let targets = service.mounts.iter().map(|mount| mount.target.as_str());
    for place in PLACES.into_iter().chain([service.process.cwd.as_str()]).chain(targets) {
        made.directories.insert(inside(&upper, Path::new(place)));
    }
}

/// A path of the service below the directory that stands for its root.
fn inside(root: &Path, path: &Path) -> PathBuf {
    root.join(path.components().filter(|part| matches!(part, Component::Normal(_))).collect::<PathBuf>())
}
