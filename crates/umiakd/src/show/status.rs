//! `umiakd status`: one sentence, then apps with services, revisions, space, and what is wrong.

use umiak_agent::{AppStatus, RevisionStatus, Status};
use umiak_ui::{Align, Size, Table, printable};

use super::moment;

/// The text of a status. It ends with a line feed.
#[must_use]
pub fn status(status: &Status) -> String {
    let mut text = format!("{}\n", printable(&status.sentence));
    part(&mut text, &apps(&status.apps));
    part(&mut text, &revisions(&status.revisions));
    part(&mut text, &device(status));
    if !status.audit.is_empty() {
        text.push_str("\nthe policy only looks, and would refuse:\n");
        text.extend(status.audit.iter().map(|concern| format!("  {}\n", printable(concern))));
    }
    if let Some(trouble) = &status.trouble {
        text.push_str(&format!("\nlast trouble: {} ({})\n", printable(&trouble.why), printable(&trouble.doing)));
        if let Some(hint) = &trouble.hint {
            text.push_str(&format!("hint: {}\n", printable(hint)));
        }
    }
    text
}

fn part(text: &mut String, table: &Table) {
    if !table.is_empty() {
        text.push_str(&format!("\n{table}"));
    }
}

fn apps(apps: &[AppStatus]) -> Table {
    let mut table = Table::new(&[Align::Left, Align::Left, Align::Left, Align::Left]).flush();
    for app in apps {
        table.row([app.name.as_str(), app.condition.word(), &app.reference, ""]);
        for service in &app.services {
            let restarts = match service.restarts {
                0 => String::new(),
                1 => "restarted once".to_owned(),
                count => format!("restarted {count} times"),
            };
            let detail = service.detail.as_deref().unwrap_or_default();
            table.row([
                format!("  {}", service.name),
                service.condition.word().to_owned(),
                detail.to_owned(),
                restarts,
            ]);
        }
    }
    table
}

fn revisions(revisions: &[RevisionStatus]) -> Table {
    let mut table = Table::new(&[Align::Left, Align::Left, Align::Left, Align::Left]).flush();
    for revision in revisions {
        let roles: Vec<_> = revision.roles.iter().map(|role| role.word()).collect();
        let apps: Vec<_> = revision.apps.iter().map(|(_, reference)| reference.as_str()).collect();
        let note = revision.why.as_deref().unwrap_or(if revision.stored { "" } else { "not whole in the store" });
        table.row([revision.revision.short(), roles.join(", "), apps.join(" "), note.to_owned()]);
    }
    table
}

fn device(status: &Status) -> Table {
    let mut table = Table::new(&[Align::Left, Align::Left]).flush();
    match &status.target {
        Some(target) => {
            let since = target.at.map_or_else(String::new, |at| format!(" (set {})", moment(Some(at))));
            let asked = if target.asked.is_empty() { "nothing".to_owned() } else { target.asked.join(" ") };
            table.row(["target", &format!("{asked}{since}")]);
        }
        None => table.row(["target", "none: umiakd target set NAME…"]),
    }
    if let Some(space) = &status.space {
        table.row(["space", &format!("{} free of {}", Size(space.free), Size(space.size))]);
    }
    table.row(["engine", &status.engine]);
    table
}

#[cfg(test)]
mod tests {
    use umiak_agent::{Condition, Role, ServiceStatus, Space, TargetStatus, Trouble, Underway};
    use umiak_spec::Digest;

    use super::*;

    #[test]
    fn a_device_that_went_back_says_so_and_why() {
        let (good, bad) = (Digest::of(b"good"), Digest::of(b"bad"));
        let service =
            |name: &str, condition, restarts| ServiceStatus { name: name.into(), condition, detail: None, restarts };
        let shown = status(&Status {
            sentence: "runs what it ran before: the last update failed".into(),
            engine: "oci (crun)".into(),
            underway: Underway { phase: "rest".into(), revision: None, why: None, boots: 0 },
            target: Some(TargetStatus {
                asked: vec!["registry.example/shop:stable".into()],
                revision: Some(bad),
                at: Some(1_800_000_000),
            }),
            apps: vec![AppStatus {
                name: "shop".into(),
                digest: good,
                reference: "registry.example/shop:1".into(),
                condition: Condition::Healthy,
                services: vec![service("web", Condition::Healthy, 0), service("db", Condition::Running, 2)],
            }],
            revisions: vec![
                RevisionStatus {
                    revision: good,
                    roles: vec![Role::Current, Role::Pinned],
                    stored: true,
                    apps: vec![("shop".into(), "registry.example/shop:1".into())],
                    why: None,
                },
                RevisionStatus {
                    revision: bad,
                    roles: vec![Role::Failed],
                    stored: false,
                    apps: vec![("shop".into(), "registry.example/shop:2".into())],
                    why: Some("web: exited with 1".into()),
                },
            ],
            space: Some(Space { size: 1 << 30, free: 212 << 20 }),
            trouble: Some(Trouble {
                doing: "update".into(),
                why: "web:\x1b[2J exited".into(),
                hint: Some("publish another release".into()),
                at: None,
            }),
            audit: vec!["shop is signed by 0 of the 1 that the policy asks for (release)".into()],
        });
        let expected = format!(
            "runs what it ran before: the last update failed\n\
             \n\
             shop   healthy  registry.example/shop:1\n  \
               web  healthy\n  \
               db   running                           restarted 2 times\n\
             \n\
             {}  current, pinned  registry.example/shop:1\n\
             {}  failed           registry.example/shop:2  web: exited with 1\n\
             \n\
             target  registry.example/shop:stable (set 2027-01-15T08:00:00Z)\n\
             space   212 MiB free of 1.0 GiB\n\
             engine  oci (crun)\n\
             \n\
             the policy only looks, and would refuse:\n  \
               shop is signed by 0 of the 1 that the policy asks for (release)\n\
             \n\
             last trouble: web:\\u{{1b}}[2J exited (update)\n\
             hint: publish another release\n",
            good.short(),
            bad.short()
        );
        assert_eq!(shown, expected);
    }
}
