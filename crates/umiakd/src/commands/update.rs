//! `umiakd check`, `update`, `rollback`, `resume`: what leads from one revision to another.

use std::sync::atomic::AtomicBool;

use serde_json::json;
use umiak_agent::{Agent, Checked, Outcome, Planned, UpdateOptions};
use umiak_ui::{Align, Kind, PlanView, Size, Table, span};

use crate::cli::{CheckArgs, RollbackArgs, UpdateArgs};
use crate::context::Context;
use crate::error::Failure;
use crate::show::{self, Watch};

/// Shows what an update would do.
pub fn check(context: &Context<'_>, agent: &Agent, arguments: &CheckArgs, stop: &AtomicBool) -> Result<(), Failure> {
    let checked = agent.check(&Watch::new(context.printer, stop))?;
    if context.printer.is_json() {
        context.printer.document(&value(&checked, arguments.explain))?;
    } else {
        context.printer.data(&text(context, &checked, arguments.explain))?;
    }
    verdict(context, &checked, arguments.explain)
}

fn text(context: &Context<'_>, checked: &Checked, explain: bool) -> String {
    let Some(planned) = &checked.planned else { return String::new() };
    let mut text = show::changes(&planned.changes).to_string();
    let view = PlanView { device: &planned.device, answer: &planned.answer };
    text.push_str(&view.file_systems().to_string());
    if explain {
        let mut choices = Table::new(&[Align::Left, Align::Left, Align::Right, Align::Left]).flush();
        for choice in &planned.answer.choices {
            let layer = context.printer.digest(&choice.layer);
            choices.row([layer.as_str(), &choice.whose, &Size(choice.download).to_string(), &choice.why]);
        }
        text.push_str(&format!("\n{choices}\n{}", view.reasons()));
        for note in &planned.answer.notes {
            text.push_str(&format!("{note}\n"));
        }
    }
    text
}

fn value(checked: &Checked, explain: bool) -> serde_json::Value {
    let plan = checked.planned.as_ref().map(|planned| {
        let view = PlanView { device: &planned.device, answer: &planned.answer };
        let mut plan = json!({
            "changes": planned.changes,
            "download": planned.download,
            "reserve": planned.reserve,
            "reclaims": planned.reclaim,
            "fits": planned.refusal.is_none(),
            "refusal": planned.refusal,
            "exact": planned.answer.is_exact(),
            "fileSystems": view.file_system_values(),
            "shortfalls": view.shortfalls(),
        });
        if explain && let Some(members) = plan.as_object_mut() {
            members.insert("ledger".into(), view.ledger());
        }
        plan
    });
    json!({
        "revision": checked.revision,
        "current": checked.current,
        "failed": checked.failed,
        "audit": checked.concerns,
        "plan": plan,
    })
}

fn verdict(context: &Context<'_>, checked: &Checked, explained: bool) -> Result<(), Failure> {
    let printer = context.printer;
    if let Some(why) = &checked.failed {
        printer.warning(&format!("revision {} failed before and is not tried again: {why}", checked.revision.short()));
    }
    for concern in &checked.concerns {
        printer.warning(&format!("audit: {concern}"));
    }
    match &checked.planned {
        None if checked.current == Some(checked.revision) => {
            if !context.world.by_daemon {
                printer.fact("Up to date", &format!("revision {}", checked.revision.short()));
            }
        }
        None => printer.fact("Ready", &format!("revision {}: everything is here", checked.revision.short())),
        Some(Planned { refusal: Some(why), .. }) => {
            let failure = Failure::new(Kind::DoesNotFit, format!("the update does not fit: {why}"));
            return Err(if explained { failure } else { failure.hint("--explain shows what takes the room") });
        }
        Some(planned) => {
            let first = if planned.reclaim { "; what nothing needs is removed first" } else { "" };
            printer.fact("Fits", &format!("{} to fetch{first}", Size(planned.download)));
        }
    }
    Ok(())
}

/// Brings the device to its target.
pub fn update(context: &Context<'_>, agent: &Agent, arguments: &UpdateArgs, stop: &AtomicBool) -> Result<(), Failure> {
    if context.talk.dry_run {
        return check(context, agent, &CheckArgs { explain: false }, stop);
    }
    let options = UpdateOptions { stage_only: arguments.stage_only, again: arguments.again, now: arguments.now };
    let outcome = agent.update(&options, &Watch::new(context.printer, stop))?;
    tell(context, &outcome)
}

/// Goes back.
pub fn rollback(
    context: &Context<'_>,
    agent: &Agent,
    arguments: &RollbackArgs,
    stop: &AtomicBool,
) -> Result<(), Failure> {
    if context.talk.dry_run {
        let revision = agent.way_back(arguments.revision.as_deref())?;
        context.printer.fact("Would", &format!("go back to revision {}", revision.short()));
        return Ok(());
    }
    let outcome = agent.rollback(arguments.revision.as_deref(), &Watch::new(context.printer, stop))?;
    tell(context, &outcome)
}

/// Brings up what should run, and what was cut off to its end.
pub fn resume(context: &Context<'_>, agent: &Agent, stop: &AtomicBool) -> Result<(), Failure> {
    match agent.resume(&Watch::new(context.printer, stop))? {
        Some(outcome) => tell(context, &outcome),
        None => Ok(()),
    }
}

/// What came of it; facts on the way were told when they happened.
fn tell(context: &Context<'_>, outcome: &Outcome) -> Result<(), Failure> {
    let printer = context.printer;
    if printer.is_json() {
        printer.document(outcome)?;
    }
    match outcome {
        Outcome::UpToDate { revision } => {
            if !context.world.by_daemon && !printer.is_json() {
                printer.fact("Up to date", &format!("revision {}", revision.short()));
            }
        }
        Outcome::Staged { .. } => printer.hint("umiakd update switches"),
        Outcome::Held { app, seconds, .. } => {
            let left = span(std::time::Duration::from_secs(*seconds));
            printer.note(&format!(
                "{app} asks to wait: the switch is made without it in {left} at the latest; --now does not wait"
            ));
        }
        Outcome::Committed { .. } => {}
        Outcome::RolledBack { failed, why, current } => {
            let runs = current
                .map_or("nothing ran before".to_owned(), |current| format!("revision {} runs again", current.short()));
            return Err(Failure::new(Kind::RolledBack, format!("revision {} failed: {why}", failed.short()))
                .outcome(runs)
                .hint("umiakd logs shows what its services printed; it is not tried again until the target changes"));
        }
    }
    Ok(())
}
