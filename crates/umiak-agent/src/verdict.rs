//! The verdict on a target: a pure function of what was observed, how long it is watched, and the policy.
//!
//! | a service … | while waiting | at the end of patience |
//! |---|---|---|
//! | runs without a probe, or its probe is good | good | good |
//! | ended with code 0 and is not to be started again | good | good |
//! | runs, its probe has not said yet; is being started again; is not watched | wait | bad |
//! | its probe says unhealthy; ended with another code; was started again too often; cannot start; is gone | bad | bad |
//!
//! Good needs all services good and the window over. Bad is bad at once.

use std::collections::BTreeMap;
use std::time::Duration;

use umiak_engine::{Condition as Doing, Health, Observed};
use umiak_spec::service::{Restart, Service};

use crate::status::Condition;

/// What a service is to be: who it is, and what it is expected to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Expected<'a> {
    pub app: &'a str,
    pub revision: &'a str,
    pub service: &'a Service,
}

/// The limits of a testing window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// All services have to be good at the end of it.
    pub window: Duration,
    /// So much longer is waited for those that are not.
    pub patience: Duration,
    /// So often a service may be started again.
    pub restarts: u32,
}

/// What is thought of a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It passed.
    Good,
    /// It failed, and why.
    Bad(String),
    /// Not known yet.
    Wait {
        /// Services that are good.
        healthy: usize,
    },
}

/// How one service is.
enum Standing {
    Good,
    Pending(String),
    Bad(String),
}

/// The key of a service in the journal's count of restarts.
pub(crate) fn key(app: &str, service: &str) -> String {
    format!("{app}/{service}")
}

/// The verdict after `elapsed`. `before` counts restarts when the window began.
pub(crate) fn verdict(
    expected: &[Expected<'_>],
    observed: &[Observed],
    elapsed: Duration,
    before: &BTreeMap<String, u32>,
    limits: &Limits,
) -> Verdict {
    let mut healthy = 0;
    let mut pending = None;
    for one in expected {
        let name = key(one.app, &one.service.name);
        let begun = before.get(&name).copied().unwrap_or(0);
        match standing(one.service, find(observed, one), begun, limits) {
            Standing::Good => healthy += 1,
            Standing::Pending(why) => pending = pending.or_else(|| Some(format!("{name} {why}"))),
            Standing::Bad(why) => return Verdict::Bad(format!("{name} {why}")),
        }
    }
    match pending {
        None if elapsed >= limits.window => Verdict::Good,
        Some(why) if elapsed >= limits.window.saturating_add(limits.patience) => {
            Verdict::Bad(format!("{why} after {} s", elapsed.as_secs()))
        }
        _ => Verdict::Wait { healthy },
    }
}

/// The observation that is about this service.
pub(crate) fn find<'o>(observed: &'o [Observed], one: &Expected<'_>) -> Option<&'o Observed> {
    observed
        .iter()
        .find(|found| found.app == one.app && found.revision == one.revision && found.service == one.service.name)
}

fn standing(service: &Service, found: Option<&Observed>, begun: u32, limits: &Limits) -> Standing {
    let Some(found) = found else { return Standing::Bad("is gone".to_owned()) };
    let detail = found.detail.as_deref().map_or_else(String::new, |detail| format!(" ({detail})"));
    // A count below the one at the beginning is that of a new container.
    let restarts = if found.restarts < begun { found.restarts } else { found.restarts - begun };
    if restarts > limits.restarts {
        return Standing::Bad(format!("ended and was started again {restarts} times{detail}"));
    }
    match &found.condition {
        Doing::Running { .. } => match found.health {
            None | Some(Health::Healthy) => Standing::Good,
            Some(Health::Starting) => Standing::Pending(format!("is not healthy yet{detail}")),
            Some(Health::Unhealthy) => Standing::Bad(format!("is unhealthy{detail}")),
        },
        Doing::Exited { code: 0, stopped: false } if may_end(service) => Standing::Good,
        Doing::Exited { stopped: true, .. } => Standing::Bad("was stopped".to_owned()),
        Doing::Exited { code, .. } => Standing::Bad(format!("ended with code {code}{detail}")),
        Doing::Failed { why } => Standing::Bad(format!("cannot be started: {why}")),
        Doing::Restarting { code } => Standing::Pending(format!("ended with code {code} and is started again")),
        Doing::Created => Standing::Pending("was not started".to_owned()),
        Doing::Unwatched => Standing::Pending("is not watched".to_owned()),
    }
}

/// Whether a service that ended well is not to be started again.
fn may_end(service: &Service) -> bool {
    matches!(service.restart, Restart::No | Restart::OnFailure { .. })
}

/// How a service is, for people.
pub(crate) fn condition(service: &Service, found: Option<&Observed>) -> Condition {
    let Some(found) = found else { return Condition::Absent };
    match &found.condition {
        Doing::Running { .. } => match found.health {
            None => Condition::Running,
            Some(Health::Healthy) => Condition::Healthy,
            Some(Health::Starting) => Condition::Starting,
            Some(Health::Unhealthy) => Condition::Unhealthy,
        },
        Doing::Exited { code: 0, stopped: false } if may_end(service) => Condition::Completed,
        Doing::Exited { .. } | Doing::Failed { .. } | Doing::Restarting { .. } => Condition::Exited,
        Doing::Created | Doing::Unwatched => Condition::Absent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { window: Duration::from_secs(60), patience: Duration::from_secs(30), restarts: 2 };

    fn observed(condition: Doing, health: Option<Health>, restarts: u32) -> Observed {
        Observed {
            app: "shop".into(),
            revision: "r".into(),
            service: "web".into(),
            image: None,
            condition,
            health,
            restarts,
            detail: None,
        }
    }

    fn judge(service: &Service, found: Vec<Observed>, seconds: u64, begun: u32) -> Verdict {
        let before = BTreeMap::from([("shop/web".to_owned(), begun)]);
        let expected = [Expected { app: "shop", revision: "r", service }];
        verdict(&expected, &found, Duration::from_secs(seconds), &before, &LIMITS)
    }

    #[test]
    fn each_condition_has_its_verdict_at_each_time() {
        let running = Doing::Running { since: Duration::ZERO };
        let exited = |code, stopped| Doing::Exited { code, stopped };
        let cases = [
            (running.clone(), None, "wait good good"),
            (running.clone(), Some(Health::Healthy), "wait good good"),
            (running.clone(), Some(Health::Starting), "wait wait bad"),
            (running, Some(Health::Unhealthy), "bad bad bad"),
            (exited(0, false), None, "wait good good"),
            (exited(1, false), None, "bad bad bad"),
            (exited(0, true), None, "bad bad bad"),
            (Doing::Failed { why: "no such file".into() }, None, "bad bad bad"),
            (Doing::Restarting { code: 1 }, None, "wait wait bad"),
            (Doing::Created, None, "wait wait bad"),
            (Doing::Unwatched, None, "wait wait bad"),
        ];
        let service = Service::new("web", vec![]);
        for (condition, health, expected) in cases {
            let words = [59, 60, 90].map(|seconds| {
                match judge(&service, vec![observed(condition.clone(), health, 0)], seconds, 0) {
                    Verdict::Good => "good",
                    Verdict::Bad(_) => "bad",
                    Verdict::Wait { .. } => "wait",
                }
            });
            assert_eq!(words.join(" "), expected, "{condition:?} {health:?}");
        }
        assert_eq!(judge(&service, vec![], 0, 0), Verdict::Bad("shop/web is gone".into()));
    }

    #[test]
    fn restarts_are_counted_from_the_beginning_of_the_window() {
        let service = Service::new("web", vec![]);
        let running = Doing::Running { since: Duration::ZERO };
        let at = |restarts, begun| judge(&service, vec![observed(running.clone(), None, restarts)], 60, begun);
        assert_eq!(at(2, 0), Verdict::Good);
        assert!(matches!(at(3, 0), Verdict::Bad(why) if why.contains("3 times")));
        assert_eq!(at(12, 10), Verdict::Good, "those before the window do not count");
        assert_eq!(at(1, 10), Verdict::Good, "a new container counts from nothing");
    }

    #[test]
    fn a_service_that_is_to_run_always_may_not_end() {
        let mut service = Service::new("web", vec![]);
        service.restart = Restart::Always;
        let ended = observed(Doing::Exited { code: 0, stopped: false }, None, 0);
        assert!(matches!(judge(&service, vec![ended], 0, 0), Verdict::Bad(_)));
    }
}
