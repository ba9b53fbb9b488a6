//! The groups of a device: in which order containers start, how far each has to come, when it is started again.

use umiak_spec::service::Restart;

use super::found::{At, Found, number};
use crate::json::Value;
use crate::state::{Entry, State};

/// How far a container has to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Goal {
    /// Its volumes can be mounted; it is not started.
    Mounted,
    /// It was started.
    Started,
    /// It says itself that it is ready.
    Ready,
}

impl Goal {
    pub(super) fn parse(text: &str) -> Option<Self> {
        match text {
            "MOUNTED" => Some(Self::Mounted),
            "STARTED" => Some(Self::Started),
            "READY" => Some(Self::Ready),
            _ => None,
        }
    }
}

/// A group.
#[derive(Debug, Clone)]
pub(super) struct Group {
    pub(super) name: String,
    pub(super) goal: Goal,
    pub(super) restart: Restart,
}

/// The groups, in the order in which they start.
#[derive(Debug, Clone)]
pub(super) struct Groups(Vec<Group>);

impl Groups {
    /// Those that `device.json` or the older `groups.json` names; else those that a device has unsaid.
    pub(super) fn of(state: &State, found: &Found) -> Self {
        let inline = |path: &str| match state.get(path) {
            Some(Entry::Inline(value)) => Some(value),
            _ => None,
        };
        let device = inline("device.json").and_then(|device| device.get("groups"));
        let (place, list) = match (device, inline("groups.json")) {
            (Some(list), _) => ("device.json", list),
            (None, Some(list)) => ("groups.json", list),
            (None, None) => return Self::unsaid(),
        };
        let at = found.at(place);
        Self(at.items("groups", list).iter().filter_map(|one| group(one, &at)).collect())
    }

    fn unsaid() -> Self {
        let group = |name: &str, goal| Group { name: name.to_owned(), goal, restart: Restart::Always };
        let (mounted, started) = (Goal::Mounted, Goal::Started);
        Self(vec![group("data", mounted), group("root", started), group("platform", started), group("app", started)])
    }

    /// The group of that name, with its place in the order.
    pub(super) fn get(&self, name: &str) -> Option<(usize, &Group)> {
        self.0.iter().enumerate().find(|(_, group)| group.name == name)
    }

    /// Where a container is that names none: in the last one.
    pub(super) fn last(&self) -> Option<(usize, &Group)> {
        self.0.iter().enumerate().next_back()
    }
}

fn group(one: &Value, at: &At<'_>) -> Option<Group> {
    if let Some(name) = one.as_str() {
        return Some(Group { name: name.to_owned(), goal: Goal::Started, restart: Restart::Always });
    }
    let mut group = Group { name: String::new(), goal: Goal::Started, restart: Restart::Always };
    for (key, value) in at.members("groups", one) {
        let whole = format!("groups.{key}");
        match key {
            "name" => group.name = at.text(&whole, value)?.to_owned(),
            "status_goal" => match at.text(&whole, value).map(|text| (text, Goal::parse(text))) {
                Some((_, Some(goal))) => group.goal = goal,
                Some((text, None)) => at.refuse(whole, format!("`{text}` is not MOUNTED, STARTED or READY")),
                None => {}
            },
            "auto_recovery" => group.restart = recovery(&whole, value, at),
            "description" => {}
            "restart_policy" => at.pass(whole, RESTART_POLICY),
            "timeout" => at.pass(whole, "the device's own patience holds"),
            _ => at.refuse(whole, "is not understood here"),
        }
    }
    if group.name.is_empty() {
        at.refuse("groups", "one has no name");
        return None;
    }
    Some(group)
}

/// Why nothing has to be done for `restart_policy`.
pub(super) const RESTART_POLICY: &str = "what changed is started again, and the device never";

/// `auto_recovery`. As on a device, `on-failure` looks at no code; the device itself is not started again, so that there is
/// no end to trying but where the document wants one.
pub(super) fn recovery(key: &str, value: &Value, at: &At<'_>) -> Restart {
    let (mut policy, mut most, mut endless) = ("on-failure", None, true);
    for (name, value) in at.members(key, value) {
        let whole = format!("{key}.{name}");
        match name {
            "policy" => policy = at.text(&whole, value).unwrap_or("no"),
            "max_retries" => match number(value).and_then(|number| u32::try_from(number).ok()) {
                Some(number) => most = Some(number).filter(|number| *number > 0),
                None => at.refuse(whole, "must be a number"),
            },
            "backoff_policy" => endless = at.text(&whole, value) != Some("never"),
            "retry_delay" | "backoff_factor" | "reset_window" | "stable_timeout" => {
                at.pass(whole, "the engine waits between starts by its own rule");
            }
            _ => at.refuse(whole, "is not understood here"),
        }
    }
    match (policy, most) {
        ("no", _) => Restart::No,
        ("on-failure", Some(most)) if !endless => Restart::OnFailure { most: Some(most) },
        ("always" | "on-failure", _) => Restart::Always,
        ("unless-stopped", _) => Restart::UnlessStopped,
        (other, _) => {
            at.refuse(format!("{key}.policy"), format!("`{other}` is not no, always, on-failure or unless-stopped"));
            Restart::No
        }
    }
}
