//! Our containers as the daemon tells of them, and what that means.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use umiak_spec::Digest;

use super::client::{Client, escaped};
use super::{name, time};
use crate::{Condition, EngineError, Health, Observed};

/// Characters of a probe's last words that are passed on.
const DETAIL_MAX: usize = 200;

/// A container of ours.
#[derive(Debug, Clone)]
pub(super) struct Container {
    pub id: String,
    pub labels: BTreeMap<String, String>,
    /// `created`, `running`, `exited`, …
    pub state: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    id: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    state: String,
}

impl Container {
    pub fn label(&self, key: &str) -> &str {
        self.labels.get(key).map_or("", String::as_str)
    }

    pub fn is_of(&self, app: &str, revision: &str) -> bool {
        self.label(name::APP) == app && self.label(name::REVISION) == revision
    }

    pub fn runs(&self) -> bool {
        matches!(self.state.as_str(), "running" | "restarting" | "paused")
    }
}

/// All that have our label, in order of app, revision, service.
pub(super) fn ours(client: &Client) -> Result<Vec<Container>, EngineError> {
    let filters = serde_json::json!({ "label": [name::APP] }).to_string();
    let path = format!("/containers/json?all=1&filters={}", escaped(&filters));
    let listed: Vec<Listed> = client.get(&path, "list its containers")?;
    let mut all: Vec<Container> =
        listed.into_iter().map(|one| Container { id: one.id, labels: one.labels, state: one.state }).collect();
    let key = |one: &Container| [name::APP, name::REVISION, name::SERVICE].map(|key| one.label(key).to_owned());
    all.sort_by_cached_key(|one| (key(one), one.id.clone()));
    Ok(all)
}

/// What inspecting one tells.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Inspected {
    state: State,
    #[serde(default)]
    restart_count: u32,
    host_config: HostConfig,
    config: Config,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct State {
    status: String,
    #[serde(default)]
    pid: i32,
    #[serde(default)]
    exit_code: i32,
    #[serde(default)]
    error: String,
    #[serde(default)]
    started_at: String,
    #[serde(default, rename = "OOMKilled")]
    oom_killed: bool,
    health: Option<ProbeState>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ProbeState {
    status: String,
    log: Option<Vec<ProbeLog>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ProbeLog {
    #[serde(default)]
    exit_code: i32,
    #[serde(default)]
    output: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HostConfig {
    restart_policy: Option<RestartPolicy>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RestartPolicy {
    #[serde(default)]
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Config {
    #[serde(default)]
    pub tty: bool,
}

impl Inspected {
    pub fn find(client: &Client, id: &str) -> Result<Option<Self>, EngineError> {
        client.find(&format!("/containers/{id}/json"), "look at a container")
    }

    pub fn has_terminal(&self) -> bool {
        self.config.tty
    }

    /// What it means. `now` is the daemon's clock, by which it also noted when the container started.
    pub fn observed(&self, container: &Container, now: &str) -> Observed {
        let text = |key: &str| container.label(key).to_owned();
        Observed {
            app: text(name::APP),
            revision: text(name::REVISION),
            service: text(name::SERVICE),
            image: container.label(name::IMAGE).parse::<Digest>().ok(),
            condition: self.condition(container, now),
            health: self.health(),
            restarts: self.restart_count,
            detail: self.detail(),
        }
    }

    fn condition(&self, container: &Container, now: &str) -> Condition {
        let state = &self.state;
        match state.status.as_str() {
            "running" | "paused" => Condition::Running { since: self.since(container, now) },
            "restarting" => Condition::Restarting { code: state.exit_code },
            _ if !state.error.is_empty() => Condition::Failed { why: state.error.clone() },
            "created" => Condition::Created,
            _ => Condition::Exited { code: state.exit_code, stopped: self.was_stopped(container) },
        }
    }

    /// Whether we stopped it: then its restart policy was taken away. One that has none is taken for stopped when a signal
    /// ended it that we send.
    fn was_stopped(&self, container: &Container) -> bool {
        let policy = self.host_config.restart_policy.as_ref().map_or("", |policy| policy.name.as_str());
        let none = policy.is_empty() || policy == "no";
        match container.label(name::RESTART) {
            "no" | "" => matches!(self.state.exit_code, 137 | 143),
            _ => none,
        }
    }

    /// How long it runs: by the kernel's clock if its process is to be seen here, else by the daemon's.
    fn since(&self, container: &Container, now: &str) -> Duration {
        if let Some(age) = time::age_of_process(self.state.pid, &container.id) {
            return age;
        }
        let (started, now) = (time::parse(&self.state.started_at), time::parse(now));
        started.zip(now).and_then(|(started, now)| now.duration_since(started).ok()).unwrap_or_default()
    }

    fn health(&self) -> Option<Health> {
        match self.state.health.as_ref()?.status.as_str() {
            "starting" => Some(Health::Starting),
            "healthy" => Some(Health::Healthy),
            "unhealthy" => Some(Health::Unhealthy),
            _ => None,
        }
    }

    fn detail(&self) -> Option<String> {
        if self.state.oom_killed {
            return Some("memory ran out".into());
        }
        let last = self.state.health.as_ref()?.log.as_ref()?.last().filter(|last| last.exit_code != 0)?;
        let words: String = last.output.trim().chars().take(DETAIL_MAX).collect();
        let code = last.exit_code;
        Some(if words.is_empty() {
            format!("the probe ended with {code}")
        } else {
            format!("the probe ended with {code}: {words}")
        })
    }
}
