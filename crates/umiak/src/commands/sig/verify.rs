//! `umiak sig verify`.

use serde_json::json;
use umiak_sign::{PvsHeader, Report, SignedState};
use umiak_ui::{Align, Table};

use super::{files, members, state_of, trust};
use crate::cli::{SigArgs, SigVerifyArgs};
use crate::clock;
use crate::commands::signing::trusted;
use crate::context::Context;
use crate::error::{Failure, Kind, Outcome};

/// Keys that a message names.
const SHOWN: usize = 5;

/// Verifies the signatures of a state.
pub fn run(context: &Context<'_>, common: &SigArgs, arguments: &SigVerifyArgs) -> Outcome {
    let members = members(&state_of(context, arguments.device.as_deref())?);
    let trusted = trusted(context, &trust(common))?;
    let signed = SignedState::verify_at(&members, &trusted.signers(), Some(clock::now(None)))?;
    let mut rows = Vec::new();
    for (key, signer) in &signed.signatures {
        let Some(document) = members.get(key) else { continue };
        let header = PvsHeader::of(key, document)?;
        let protected = header.selection(key)?.of(&members).protected.len();
        rows.push((key, signer, header, protected));
    }
    if context.printer.is_json() {
        let list: Vec<_> = rows
            .iter()
            .map(|(key, signer, header, protected)| {
                let (algorithm, generation) = (header.algorithm.jws(), header.generation);
                json!({"signature": key, "signer": signer, "algorithm": algorithm, "generation": generation, "protected": protected})
            })
            .collect();
        context.printer.document(&json!({ "signatures": list, "report": signed.report() }))?;
    } else {
        let mut table = Table::new(&[Align::Left, Align::Left, Align::Left, Align::Left, Align::Left]).flush();
        for (key, signer, header, protected) in &rows {
            let generation = header.generation.map_or_else(String::new, |number| format!("generation {number}"));
            table.row([key.as_str(), header.algorithm.jws(), signer.as_str(), &files(*protected), &generation]);
        }
        context.printer.data(&table.to_string())?;
    }
    verdict(context, &signed, arguments.strict)
}

fn verdict(context: &Context<'_>, signed: &SignedState, strict: bool) -> Outcome {
    let Report { protected, excluded, notseen } = signed.report();
    if signed.signatures.is_empty() {
        return Err(Failure::new(Kind::Untrusted, "nobody signed anything").hint("`umiak sig add` signs a part"));
    }
    let count = match signed.signatures.len() {
        1 => "1 signature holds".to_owned(),
        count => format!("{count} signatures hold"),
    };
    let (protected, excluded) = (files(protected.len()), excluded.len());
    context
        .printer
        .fact("Verified", &format!("{count}: {protected} signed, {excluded} left out, {} not seen", notseen.len()));
    for key in &notseen {
        context.printer.detail(&format!("not seen: {key}"));
    }
    if strict && !notseen.is_empty() {
        let more = notseen.len().saturating_sub(SHOWN);
        let list = notseen[..notseen.len().min(SHOWN)].join(", ");
        let list = if more == 0 { list } else { format!("{list} and {more} more") };
        let failure = Failure::new(Kind::Untrusted, format!("not everything is signed: {list}"));
        return Err(failure.hint("`umiak sig add --raw NAME --include KEY` signs what belongs to no app"));
    }
    Ok(())
}
