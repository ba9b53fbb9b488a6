//! Which keys a signature speaks for, as packages are merged by it. Nothing is verified: that was done, or will be.

use umiak_pvr::json::Value;
use umiak_pvr::merge::{Rule, Said};
use umiak_sign::{PVS_SPEC, PvsHeader, Selection};

/// What the signature `name` says; `None` where the value is none that can be read. Patterns that mean everything say
/// nothing: they would take everything with them.
pub(super) fn rules(name: &str, value: &Value) -> Option<Rule> {
    if value.get("#spec").and_then(Value::as_str) != Some(PVS_SPEC) {
        return None;
    }
    let header = PvsHeader::of(name, value).ok()?;
    let some = |patterns: Vec<String>| -> Vec<String> {
        patterns.into_iter().filter(|pattern| !matches!(pattern.as_str(), "*" | "**")).collect()
    };
    let selection = Selection::parse(&some(header.include), &some(header.exclude)).ok()?;
    Some(Box::new(move |key| match selection.means(key) {
        (true, false) => Said::Signed,
        (true, true) => Said::Left,
        (false, _) => Said::Nothing,
    }))
}
