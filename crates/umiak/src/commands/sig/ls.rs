//! `umiak sig ls`.

use umiak_pvr::json::{Value, pretty_fields};
use umiak_sign::{Report, SignedState};

use super::{members, state_of, trust};
use crate::cli::{SigArgs, SigLsArgs};
use crate::commands::signing::trusted;
use crate::context::Context;
use crate::error::Outcome;

/// Verifies the signatures and prints what they cover, in pvr's form.
pub fn run(context: &Context<'_>, common: &SigArgs, arguments: &SigLsArgs) -> Outcome {
    let members = members(&state_of(context, arguments.device.as_deref())?);
    let trusted = trusted(context, &trust(common))?;
    let signed = SignedState::verify(&members, &trusted.signers())?;
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
