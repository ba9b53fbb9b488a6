//! `umiakd pin`, `unpin`, `prune`, `fsck`: what is kept, and whether it is whole.

use std::sync::atomic::AtomicBool;

use serde_json::json;
use umiak_agent::{Agent, Fate, Obsolete, Repairs};
use umiak_store::Depth;
use umiak_ui::{Align, Kind, Size, Table};

use crate::cli::{FsckArgs, RevisionArgs};
use crate::context::Context;
use crate::error::Failure;
use crate::show::Watch;

/// Keeps a revision.
pub fn pin(context: &Context<'_>, agent: &Agent, arguments: &RevisionArgs) -> Result<(), Failure> {
    if context.talk.dry_run {
        return would(context, agent, arguments, "pin");
    }
    let revision = agent.pin(Some(&arguments.revision))?;
    context.printer.fact("Pinned", &format!("revision {}", revision.short()));
    Ok(())
}

/// Lets it go again.
pub fn unpin(context: &Context<'_>, agent: &Agent, arguments: &RevisionArgs) -> Result<(), Failure> {
    if context.talk.dry_run {
        return would(context, agent, arguments, "unpin");
    }
    let revision = agent.unpin(Some(&arguments.revision))?;
    context.printer.fact("Unpinned", &format!("revision {}", revision.short()));
    Ok(())
}

fn would(context: &Context<'_>, agent: &Agent, arguments: &RevisionArgs, word: &str) -> Result<(), Failure> {
    let revision = agent.named(&arguments.revision)?;
    context.printer.fact("Would", &format!("{word} revision {}", revision.short()));
    Ok(())
}

/// Removes what nothing needs, or says what that would be.
pub fn prune(context: &Context<'_>, agent: &Agent) -> Result<(), Failure> {
    let obsolete = if context.talk.dry_run { agent.prune_plan()? } else { agent.prune()?.0 };
    list(context, &obsolete)
}

fn list(context: &Context<'_>, obsolete: &Obsolete) -> Result<(), Failure> {
    let printer = context.printer;
    let bytes = obsolete.plan.bytes();
    if printer.is_json() {
        let objects: Vec<_> = obsolete
            .plan
            .objects
            .iter()
            .map(|one| json!({ "object": one.object.to_string(), "bytes": one.bytes }))
            .collect();
        return Ok(printer.document(&json!({ "revisions": obsolete.revisions, "objects": objects, "bytes": bytes }))?);
    }
    let mut table = Table::new(&[Align::Left, Align::Right]).flush();
    for one in &obsolete.plan.objects {
        table.row([one.object.to_string(), Size(one.bytes).to_string()]);
    }
    printer.data(&table.to_string())?;
    match context.talk.dry_run {
        true => printer.fact("Would", &format!("free {}", Size(bytes))),
        false => printer.fact("Pruned", &format!("{} freed", Size(bytes))),
    }
    Ok(())
}

/// Verifies everything.
pub fn fsck(context: &Context<'_>, agent: &Agent, arguments: &FsckArgs, stop: &AtomicBool) -> Result<(), Failure> {
    let repair = arguments.repair && !context.talk.dry_run;
    let repairs = agent.fsck(Depth::Content, repair, &Watch::new(context.printer, stop))?;
    report(context, &repairs)?;
    if repairs.is_sound() {
        context.printer.fact("Verified", "everything that is stored");
        return Ok(());
    }
    let left = repairs.findings.iter().filter(|finding| finding.fate != Fate::Repaired).count();
    let failure = Failure::new(Kind::Untrusted, format!("{left} damaged and not repaired"));
    Err(if repair { failure } else { failure.hint("umiakd fsck --repair repairs what can be") })
}

fn report(context: &Context<'_>, repairs: &Repairs) -> Result<(), Failure> {
    let fate = |fate: &Fate| match fate {
        Fate::Found => "damaged".to_owned(),
        Fate::Repaired => "repaired".to_owned(),
        Fate::Left(why) => format!("not repaired: {why}"),
    };
    if context.printer.is_json() {
        let findings: Vec<_> = repairs
            .findings
            .iter()
            .map(|finding| json!({ "damage": finding.damage.to_string(), "fate": fate(&finding.fate) }))
            .collect();
        return Ok(context
            .printer
            .document(&json!({ "findings": findings, "mended": repairs.mended, "engine": repairs.engine }))?);
    }
    let mut text = String::new();
    for mended in &repairs.mended {
        text.push_str(&format!("mended: {mended}\n"));
    }
    for finding in &repairs.findings {
        text.push_str(&format!("{}: {}\n", finding.damage, fate(&finding.fate)));
    }
    if let Some(why) = &repairs.engine {
        text.push_str(&format!("engine: {why}\n"));
    }
    Ok(context.printer.data(&text)?)
}
