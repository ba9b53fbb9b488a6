//! `umiak sig`: add, ls, update, verify.

mod add;
mod ls;
mod update;
mod verify;

use std::path::Path;

use umiak_pvr::json::{Object, Value};
use umiak_pvr::{Reference, State};
use umiak_repository::{AddOptions, Repository, peek};
use umiak_seal::Rule;
use umiak_sign::Selection;

use crate::cli::{SigArgs, SigCommand, TrustArgs};
use crate::commands::beside::{self, Beside};
use crate::context::Context;
use crate::error::{Failure, Kind, Outcome};

/// Runs one of the verbs.
///
/// # Errors
/// What the verb says.
pub fn run(context: &Context<'_>, arguments: &SigArgs) -> Outcome {
    if arguments.certs_url.is_some() {
        let failure = Failure::new(Kind::Usage, "umiak fetches no keys: everybody has those that pvr fetches");
        return Err(failure.hint("`umiak keys new` makes a key that nobody else has"));
    }
    match &arguments.command {
        SigCommand::Add(add) => add::run(context, arguments, add),
        SigCommand::Ls(ls) => ls::run(context, arguments, ls),
        SigCommand::Update(update) => update::run(context, arguments, update),
        SigCommand::Verify(verify) => verify::run(context, arguments, verify),
    }
}

/// The flags of trust, with what pvr has in front of the verb.
fn trust(arguments: &SigArgs) -> TrustArgs {
    let mut trust = arguments.trust.clone();
    trust.pubkey.extend(arguments.pubkey_in_front.clone());
    trust
}

/// The committed state here, or that of the device or package that is named.
fn state_of(context: &Context<'_>, device: Option<&str>) -> Result<State, Failure> {
    match device {
        None => Ok(context.repository()?.pristine()?),
        Some(device) => Ok(peek(&Reference::parse(device)?, &context.progress())?),
    }
}

/// A state as the signatures see it.
fn members(state: &State) -> Object {
    match state.to_value() {
        Value::Object(members) => members,
        _ => Object::new(),
    }
}

/// Keys whose values the rule signs.
fn protected(state: &State, rule: &Rule) -> Result<Vec<String>, Failure> {
    let selection = Selection::parse(&rule.include, &rule.exclude)
        .map_err(|error| Failure::new(Kind::Usage, format!("`{}` cannot be signed: {error}", rule.name)))?;
    Ok(selection.of(&members(state)).protected.into_iter().map(str::to_owned).collect())
}

/// Puts a signature into its place and on the list for the next commit, or to where it was asked for.
fn store(
    context: &Context<'_>,
    repository: &Repository,
    output: Option<&Path>,
    rule: &Rule,
    document: &Value,
) -> Outcome {
    let text = document.canonical();
    match output {
        Some(file) if file.as_os_str() == "-" => Ok(context.printer.data(&format!("{text}\n"))?),
        Some(file) => Beside::write(file, text.as_bytes()),
        None => {
            let key = rule.key();
            beside::directory(&repository.root().join("_sigs"))?;
            Beside::write(&repository.root().join(&key), text.as_bytes())?;
            repository.add(&[key], AddOptions::default(), &context.progress())?;
            Ok(())
        }
    }
}

/// What is worth knowing of a rule before a device has to live with it.
fn advise(context: &Context<'_>, rule: &Rule) {
    let foreign = rule.not_for_devices();
    if !foreign.is_empty() {
        let list = foreign.join(", ");
        context.printer.warning(&format!("Pantavisor devices do not read these patterns as pvr does: {list}"));
    }
}

/// Warns of files that are signed as they were committed and are something else now.
fn warn_of_changes(context: &Context<'_>, repository: &Repository, protected: &[String]) -> Outcome {
    let changes = repository.status(&context.progress())?;
    let changed: Vec<&str> = changes
        .iter()
        .map(|change| change.path.as_str())
        .filter(|path| protected.binary_search_by(|key| key.as_str().cmp(path)).is_ok())
        .collect();
    if let [first, more @ ..] = &changed[..] {
        let others = if more.is_empty() { String::new() } else { format!(" and {} more", more.len()) };
        context.printer.warning(&format!("signed as committed, and changed since: {first}{others}"));
    }
    Ok(())
}

/// A number of files in words.
fn files(count: usize) -> String {
    if count == 1 { "1 file".into() } else { format!("{count} files") }
}
