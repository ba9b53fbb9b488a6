//! What runs: read from what the shims wrote down, and believed only as far as their locks and this start of the device go.

use std::time::Duration;

use umiak_spec::Digest;

use super::place::{self, Directories, Place};
use super::shim::{Phase, Seen, Wellness, locked};
use super::sorted_names;
use crate::{Condition, Health, Observed};

/// Every service that was made ready since the device started.
pub(super) fn all(directories: &Directories) -> Vec<Observed> {
    let boot = place::boot_id();
    let services = directories.run.join("services");
    let mut all = Vec::new();
    for app in sorted_names(&services) {
        for revision in sorted_names(&services.join(&app)) {
            let directory = services.join(&app).join(&revision);
            for service in sorted_names(&directory) {
                let instance = directory.join(service);
                let place = place::read::<Place>(&instance.join("place.json")).filter(|place| place.boot == boot);
                all.extend(place.map(|place| observed(place, &instance)));
            }
        }
    }
    all
}

fn observed(place: Place, instance: &std::path::Path) -> Observed {
    // In this order: a shim that ends between the two wrote down that it ended.
    let lives = locked(instance).is_some();
    let seen = Seen::read(instance);
    let condition = condition(seen.as_ref(), lives);
    let seen = seen.unwrap_or_default();
    Observed {
        app: place.key.app,
        revision: place.key.revision,
        service: place.key.service,
        image: place.image.parse::<Digest>().ok(),
        condition,
        health: seen.health.filter(|_| lives).map(|health| match health {
            Wellness::Starting => Health::Starting,
            Wellness::Healthy => Health::Healthy,
            Wellness::Unhealthy => Health::Unhealthy,
        }),
        restarts: seen.restarts,
        detail: seen.detail,
    }
}

fn condition(seen: Option<&Seen>, lives: bool) -> Condition {
    let Some(seen) = seen else { return Condition::Created };
    let code = seen.code.unwrap_or_default();
    let running = || {
        let since = seen.since.map_or(0, |since| super::shim::uptime().saturating_sub(since));
        Condition::Running { since: Duration::from_millis(since) }
    };
    match (seen.phase, lives) {
        (Phase::Ended, _) => Condition::Exited { code, stopped: seen.stopped },
        (Phase::Failed, _) => Condition::Failed { why: seen.detail.clone().unwrap_or_default() },
        (_, false) => Condition::Unwatched,
        (Phase::Waiting, true) => Condition::Restarting { code },
        (Phase::Starting, true) if seen.restarts > 0 => Condition::Restarting { code },
        (Phase::Starting, true) => Condition::Created,
        (Phase::Running | Phase::Stopping, true) => running(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_shim_is_not_believed() {
        let seen = |phase| Seen { phase, code: Some(3), ..Seen::default() };
        assert_eq!(condition(None, false), Condition::Created);
        assert_eq!(condition(Some(&seen(Phase::Running)), false), Condition::Unwatched);
        assert!(matches!(condition(Some(&seen(Phase::Running)), true), Condition::Running { .. }));
        assert_eq!(condition(Some(&seen(Phase::Waiting)), true), Condition::Restarting { code: 3 });
        let ended = Condition::Exited { code: 3, stopped: false };
        assert_eq!(condition(Some(&seen(Phase::Ended)), false), ended);
    }
}
