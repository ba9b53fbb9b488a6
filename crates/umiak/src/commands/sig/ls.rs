//! `umiak sig ls`: shows, and does not judge the day.

use umiak_pvr::json::{Object, Value, pretty_fields};
use umiak_sign::{ChainError, Known, PvsError, Report, SignedState, Signers};

use super::{members, state_of, trust};
use crate::cli::{SigArgs, SigLsArgs};
use crate::clock;
use crate::commands::signing::trusted;
use crate::context::Context;
use crate::error::Outcome;

/// Verifies the signatures and prints what they cover, in pvr's form.
pub fn run(context: &Context<'_>, common: &SigArgs, arguments: &SigLsArgs) -> Outcome {
    let members = members(&state_of(context, arguments.device.as_deref())?);
    let trusted = trusted(context, &trust(common))?;
    let signed = SignedState::verify(&members, &trusted.signers())?;
    warn_of_days(context, &members, &trusted.signers());
    let Report { protected, excluded, notseen } = signed.report();
    let mut report = vec![
        ("protected", Value::from(protected)),
        ("excluded", Value::from(excluded)),
        ("notseen", Value::from(notseen)),
    ];
    if arguments.with_sigs {
        let documents: Vec<Value> = signed.signatures.keys().filter_map(|key| members.get(key).cloned()).collect();
        report.push(("sigs", Value::Array(documents)));
    }
    let fields: Vec<(&str, &Value)> = report.iter().map(|(name, value)| (*name, value)).collect();
    Ok(context.printer.data(&format!("{}\n", pretty_fields(&fields, "", "    ")))?)
}

/// Tells whose last day is over: what is listed here is refused elsewhere.
fn warn_of_days(context: &Context<'_>, members: &Object, signers: &Signers<'_>) {
    let today = Known { now: Some(clock::now(None)), ..Known::default() };
    for refused in SignedState::examine(members, signers, &today).1 {
        if let PvsError::Chain { name, source: expired @ ChainError::Expired { .. } } = refused {
            context.printer.warning(&format!("{name}: {expired}: `umiak sig verify` and devices refuse it"));
        }
    }
}
