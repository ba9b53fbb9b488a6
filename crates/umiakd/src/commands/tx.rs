//! `umiakd tx`.

use std::io::{IsTerminal as _, stdin};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;
use umiak_agent::{Agent, AgentError, Base, Installed, Onto, Transaction};
use umiak_ui::{Kind, Size};

use crate::cli::{TxAddArgs, TxBeginArgs, TxCommand, TxRemoveArgs};
use crate::commands::input::Patient;
use crate::context::Context;
use crate::error::Failure;
use crate::show::Watch;

/// Puts together, shows, commits.
pub fn run(context: &Context<'_>, agent: &Agent, command: &TxCommand, stop: &AtomicBool) -> Result<(), Failure> {
    match command {
        TxCommand::Begin(arguments) => begin(context, agent, arguments),
        TxCommand::Add(arguments) => add(context, agent, arguments, stop),
        TxCommand::Remove(arguments) => remove(context, agent, arguments),
        TxCommand::Show => show(context, agent),
        TxCommand::Commit => commit(context, agent, stop),
        TxCommand::Abort => abort(context, agent),
    }
}

fn begin(context: &Context<'_>, agent: &Agent, arguments: &TxBeginArgs) -> Result<(), Failure> {
    let base = match arguments.base.as_str() {
        "current" => Base::Current,
        "empty" => Base::Empty,
        digits => Base::Revision(digits.to_owned()),
    };
    if context.talk.dry_run {
        context.printer.fact("Would", &format!("begin a transaction from {}", arguments.base));
        return Ok(());
    }
    let begun = agent.begin(&base)?;
    let from = begun.base.map_or_else(|| "nothing".to_owned(), |base| format!("revision {}", base.short()));
    context.printer.fact("Begun", &format!("from {from}: {}", parts(&begun)));
    Ok(())
}

/// What a state is made of, for people.
fn parts(transaction: &Transaction) -> String {
    let parts = transaction.state.parts();
    if parts.is_empty() { "empty".to_owned() } else { parts.join(", ") }
}

fn add(context: &Context<'_>, agent: &Agent, arguments: &TxAddArgs, stop: &AtomicBool) -> Result<(), Failure> {
    let watch = Watch::new(context.printer, stop);
    let name = &arguments.package;
    if name != "-" {
        let path = whole(Path::new(name))?;
        if context.talk.dry_run {
            for installed in agent.judge(&[path], Onto::Transaction, &watch)? {
                context.printer.fact("Would", &format!("add {}", told(name, &installed)));
            }
            return Ok(());
        }
        let installed = agent.add(&path, &watch)?;
        context.printer.fact("Added", &told(name, &installed));
        return Ok(());
    }
    if stdin().is_terminal() {
        return Err(Failure::new(Kind::Usage, "standard input is a terminal, and no package")
            .hint("ssh device umiakd tx add - < package.tgz"));
    }
    if context.talk.dry_run {
        return Err(Failure::new(Kind::Usage, "what comes through standard input cannot be looked at twice")
            .hint("--dry-run needs a file"));
    }
    let mut input = Patient::new(stop).map_err(|error| Failure::of_io("read", Path::new("standard input"), &error))?;
    let installed = agent.add_stream(&mut input, &watch).map_err(|error| {
        let failure = Failure::from(error).outcome("nothing was added; what ran goes on running");
        // A pipe cannot be gone on with, as other work can.
        if stop.load(Ordering::Relaxed) { failure.advice("send all of it again") } else { failure }
    })?;
    context.printer.fact("Added", &told("standard input", &installed));
    Ok(())
}

/// The path as the daemon and the next update find it.
pub fn whole(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path).map_err(|error| Failure::of_io("find", path, &error))
}

/// What a package does, for people.
pub fn told(name: &str, installed: &Installed) -> String {
    let parts = if installed.parts.is_empty() { "no container".to_owned() } else { installed.parts.join(", ") };
    let gone = match installed.removed {
        0 => String::new(),
        1 => "; 1 file of before goes".to_owned(),
        many => format!("; {many} files of before go"),
    };
    format!("{name}: {parts} ({} files, {}){gone}", installed.files, Size(installed.bytes))
}

fn open(agent: &Agent) -> Result<Transaction, Failure> {
    agent.transaction()?.ok_or_else(|| AgentError::NoTransaction.into())
}

fn remove(context: &Context<'_>, agent: &Agent, arguments: &TxRemoveArgs) -> Result<(), Failure> {
    let part = &arguments.part;
    if context.talk.dry_run {
        let gone = agent.parts_of(part)?;
        let names: Vec<String> = gone.iter().map(ToString::to_string).collect();
        context.printer.fact("Would", &format!("remove {}", names.join(" ")));
        return Ok(());
    }
    let removed = agent.take_out(part)?;
    context.printer.fact("Removed", &format!("{part}: {removed} file{}", if removed == 1 { "" } else { "s" }));
    Ok(())
}

fn show(context: &Context<'_>, agent: &Agent) -> Result<(), Failure> {
    let transaction = open(agent)?;
    let state = transaction.state.canonical();
    if context.printer.is_json() {
        let state: serde_json::Value =
            serde_json::from_str(&state).map_err(|error| Failure::from_error(&error, Kind::Environment))?;
        let objects: Vec<String> = transaction.objects.iter().map(ToString::to_string).collect();
        let document =
            json!({ "base": transaction.base, "parts": transaction.state.parts(), "objects": objects, "state": state });
        return Ok(context.printer.document(&document)?);
    }
    Ok(context.printer.data(&format!("{state}\n"))?)
}

fn commit(context: &Context<'_>, agent: &Agent, stop: &AtomicBool) -> Result<(), Failure> {
    if context.talk.dry_run {
        let transaction = open(agent)?;
        context.printer.fact("Would", &format!("set the target to {}", parts(&transaction)));
        return Ok(());
    }
    let committed = agent.commit(&Watch::new(context.printer, stop))?;
    context.printer.fact("Target", &format!("{}: {}", umiak_agent::APP, parts(&committed)));
    if !context.world.by_daemon {
        context.printer.hint("umiakd check shows what an update would do");
    }
    Ok(())
}

fn abort(context: &Context<'_>, agent: &Agent) -> Result<(), Failure> {
    if context.talk.dry_run {
        let transaction = open(agent)?;
        context.printer.fact("Would", &format!("forget what was put together: {}", parts(&transaction)));
        return Ok(());
    }
    agent.abort()?;
    context.printer.fact("Aborted", "what was put together is forgotten");
    Ok(())
}
