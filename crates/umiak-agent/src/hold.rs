//! Apps that ask to wait with the switch.
//!
//! A service with the label `dev.umiak.update-lock` finds a directory at `/run/umiak` in its root; while there is a file
//! `update.lock` in it, the switch waits, for as long as the policy allows and no longer. A reboot takes the file away.

use std::path::PathBuf;
use std::time::Duration;

use umiak_spec::service::{Bind, Mount, MountKind, Propagation, Service};

use crate::agent::Agent;
use crate::arrangement::Places;

/// The label of services that may ask.
pub const LABEL: &str = "dev.umiak.update-lock";

/// Where such a service finds the directory.
pub const DIRECTORY: &str = "/run/umiak";

/// The file that asks.
pub const FILE: &str = "update.lock";

/// The directory of an app's requests on the device.
fn directory(agent: &Agent, app: &str) -> PathBuf {
    agent.run.join("apps").join(app)
}

/// Gives a service that may ask its directory.
pub(crate) fn equip(agent: &Agent, app: &str, service: &mut Service) {
    let wants = service.labels.get(LABEL).is_some_and(|value| value != "false");
    if !wants || service.mounts.iter().any(|mount| mount.target == DIRECTORY) {
        return;
    }
    let source = directory(agent, app).display().to_string();
    let bind = Bind { source, create: true, recursive: false, propagation: Propagation::Private };
    service.mounts.push(Mount { target: DIRECTORY.to_owned(), read_only: false, kind: MountKind::Bind(bind) });
    service.mounts.sort_by(|one, other| one.target.cmp(&other.target));
}

/// The first app that asks to wait and of which services would stop, and how long it still may.
pub(crate) fn asked(agent: &Agent, waited: Duration, current: &Places, target: &Places) -> Option<(String, Duration)> {
    let left = agent.policy.hold.checked_sub(waited).filter(|left| !left.is_zero())?;
    let stops = |app: &&String| current.get(*app) != target.get(*app);
    let locked = |app: &&String| directory(agent, app).join(FILE).exists();
    current.keys().filter(stops).find(locked).map(|app| (app.clone(), left))
}
