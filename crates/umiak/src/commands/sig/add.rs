//! `umiak sig add`.

use umiak_pvr::State;
use umiak_seal::{Rule, Signer as _, seal, with_payload};
use umiak_sign::Algorithm;

use super::{advise, files, protected, store, warn_of_changes};
use crate::cli::{SigAddArgs, SigArgs};
use crate::commands::signing::signing;
use crate::context::Context;
use crate::error::{Failure, Kind, Outcome};

/// Signs what the flags select of the committed state.
pub fn run(context: &Context<'_>, common: &SigArgs, arguments: &SigAddArgs) -> Outcome {
    let repository = context.repository()?;
    let state = repository.pristine()?;
    let rule = rule(&state, arguments)?;
    let signing = signing(context, &common.signing)?;
    let document = seal(&state, &rule, &signing.key, &signing.chain)?;
    let document = if common.with_payload { with_payload(&document, &state, &rule)? } else { document };
    let protected = protected(&state, &rule)?;
    advise(context, &rule);
    if signing.key.algorithm() != Algorithm::Rsa {
        context.printer.detail("Pantavisor's own verifier takes RSA only; umiakd takes this key as well");
    }
    warn_of_changes(context, &repository, &protected)?;
    protected.iter().for_each(|key| context.printer.detail(key));
    let by = signing.key.algorithm().jws();
    if context.talk.dry_run {
        context.would(&format!("sign {} as {} ({by})", files(protected.len()), rule.key()));
        return Ok(());
    }
    store(context, &repository, common.output.as_deref(), &rule, &document)?;
    let certificates = if signing.chain.is_empty() { "" } else { ", with its certificates" };
    let generation = rule.generation.map_or_else(String::new, |generation| format!(", generation {generation}"));
    context
        .printer
        .fact("Signed", &format!("{}: {} ({by}{certificates}){generation}", rule.key(), files(protected.len())));
    if common.output.is_none() {
        context.printer.hint("`umiak commit` records the signature");
    }
    Ok(())
}

/// The rule that the flags say, with the generation of the signature that is there unless they say one.
fn rule(state: &State, arguments: &SigAddArgs) -> Result<Rule, Failure> {
    let SigAddArgs { part, raw, include, exclude, noconfig, generation } = arguments;
    let rule = match (part, raw) {
        (Some(part), _) => Rule::part(part, include, exclude, !noconfig),
        (None, Some(raw)) => {
            // pvr would sign `**` here, which no device verifies.
            let all = ["**".to_owned()];
            Rule::raw(raw, if include.is_empty() { &all[..] } else { include.as_slice() }, exclude)
        }
        (None, None) => return Err(Failure::new(Kind::Usage, "missing: --part or --raw")),
    };
    // Whatever is there and cannot be read is replaced.
    let stored = Rule::stored(state, &rule.name).ok().and_then(|stored| stored.generation);
    let generation = at_least(&rule.name, stored, *generation)?;
    Ok(rule.of_generation(generation))
}

/// The generation that is asked for, or that of the stored signature, which must not be lower.
pub(super) fn at_least(name: &str, stored: Option<u64>, asked: Option<u64>) -> Result<Option<u64>, Failure> {
    match (stored, asked) {
        (Some(stored), Some(asked)) if asked < stored => {
            let text = format!("the signature `{name}` is of generation {stored}, and {asked} is lower");
            Err(Failure::new(Kind::Usage, text).hint("devices that have seen the higher one refuse a lower one"))
        }
        (stored, asked) => Ok(asked.or(stored)),
    }
}
