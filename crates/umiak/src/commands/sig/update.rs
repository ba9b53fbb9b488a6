//! `umiak sig update`.

use umiak_pvr::State;
use umiak_seal::{Rule, Signer as _, seal, sealed, with_payload};

use super::add::at_least;
use super::{advise, files, protected, store, warn_of_changes};
use crate::cli::{SigArgs, SigUpdateArgs};
use crate::commands::signing::signing;
use crate::context::Context;
use crate::error::{Failure, Kind, Outcome};

/// Signs again what the stored signatures, or those that are named, cover now.
pub fn run(context: &Context<'_>, common: &SigArgs, arguments: &SigUpdateArgs) -> Outcome {
    let repository = context.repository()?;
    let mut state = repository.pristine()?;
    let rules = rules(&state, arguments)?;
    if rules.is_empty() {
        context.printer.note("There are no signatures");
        return Ok(());
    }
    if rules.len() > 1 && common.output.is_some() {
        return Err(Failure::new(Kind::Usage, "--output is for one signature").hint("name which one"));
    }
    let signing = signing(context, &common.signing)?;
    // All are made before the first is written: one that cannot be made leaves all as they were.
    let mut documents = Vec::new();
    for rule in rules {
        let document = seal(&state, &rule, &signing.key, &signing.chain)?;
        let shown = if common.with_payload { with_payload(&document, &state, &rule)? } else { document };
        let protected = protected(&state, &rule)?;
        state = sealed(&state, &rule, shown.clone())?;
        documents.push((rule, shown, protected));
    }
    for (rule, document, protected) in &documents {
        advise(context, rule);
        warn_of_changes(context, &repository, protected)?;
        let text = format!("{}: {} ({})", rule.key(), files(protected.len()), signing.key.algorithm().jws());
        if context.talk.dry_run {
            context.would(&format!("sign {text}"));
            continue;
        }
        store(context, &repository, common.output.as_deref(), rule, document)?;
        context.printer.fact("Signed", &text);
    }
    if !context.talk.dry_run && common.output.is_none() {
        context.printer.hint("`umiak commit` records the signatures");
    }
    Ok(())
}

/// The stored rules, those that cover other signatures last: they have to cover the renewed ones.
fn rules(state: &State, arguments: &SigUpdateArgs) -> Result<Vec<Rule>, Failure> {
    let names = if arguments.names.is_empty() { Rule::names(state) } else { arguments.names.clone() };
    let mut rules = Vec::new();
    for name in names {
        let rule = Rule::stored(state, &name)?;
        let generation = at_least(&name, rule.generation, arguments.generation)?;
        let others = protected(state, &rule)?.iter().any(|key| key.starts_with("_sigs/"));
        rules.push((others, rule.of_generation(generation)));
    }
    rules.sort_by_key(|(others, _)| *others);
    Ok(rules.into_iter().map(|(_, rule)| rule).collect())
}
