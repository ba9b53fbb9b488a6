//! `umiakd status`, `history`.

use umiak_agent::Agent;

use crate::cli::HistoryArgs;
use crate::context::Context;
use crate::error::Failure;
use crate::show;

/// One sentence, and everything behind it.
pub fn status(context: &Context<'_>, agent: &Agent) -> Result<(), Failure> {
    let status = agent.status()?;
    if context.printer.is_json() {
        return Ok(context.printer.document(&status)?);
    }
    Ok(context.printer.data(&show::status(&status))?)
}

/// What was done, and why.
pub fn history(context: &Context<'_>, agent: &Agent, arguments: &HistoryArgs) -> Result<(), Failure> {
    let all = agent.history()?;
    let first = arguments.last.map_or(0, |last| all.len().saturating_sub(last));
    if context.printer.is_json() {
        return Ok(context.printer.document(&all[first..])?);
    }
    Ok(context.printer.data(&show::history(&all[first..]))?)
}
