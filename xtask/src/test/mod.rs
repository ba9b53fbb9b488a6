//! `cargo xtask test`: every test there is, and a list of those that could not run.
//!
//! Guarantees: each test is run by its full name, so the closing line counts what was asked for, not what a runner chose
//! to report; a test binary that dies counts as failed tests. A test that could not run is named at the end with its
//! need, and in CI that is a failure. It does not retry and knows no list of tests that may fail.

mod binary;
mod count;
mod options;

use std::collections::BTreeSet;

use crate::needs::{Need, Needs};
use crate::peers;
use crate::{Failure, command};
use binary::Outcome;
pub use options::{Options, Tier};

/// A test that was asked for and cannot run here.
struct LeftOut {
    name: String,
    need: Need,
}

/// Runs the tests that the options choose.
///
/// # Errors
/// A test failed, or, in CI, could not run; or the tests cannot be built.
pub fn run(options: &Options) -> Result<(), Failure> {
    let needs = Needs::of_workspace()?;
    peers::check(&needs.packages(Tier::All))?;
    let binaries = binary::build()?;
    let missing = peers::install(&needs.packages(options.tier))?;

    let mut outcome = Outcome::default();
    let mut left_out = Vec::new();
    for binary in &binaries {
        let mut chosen = Vec::new();
        for test in binary.tests()? {
            let need = if test.ignored { Some(needs.of(&binary.package, &test.name)?) } else { None };
            if !options.tier.includes(need) || !options.matches(&test.name) {
                continue;
            }
            match need.filter(|need| cannot_run(need, &missing)) {
                Some(need) => left_out.push(LeftOut { name: binary.shown(&test.name), need: need.clone() }),
                None => chosen.push(test.name),
            }
        }
        outcome.add(binary.run(&chosen, &options.runner)?);
    }
    if options.documentation() {
        outcome.add(binary::documentation()?);
    }
    close(&outcome, &left_out, &missing)
}

fn cannot_run(need: &Need, missing: &BTreeSet<String>) -> bool {
    (need.root && !command::is_root()) || !need.packages.is_disjoint(missing)
}

/// Says what failed and what was left out; the closing line is the last on stdout.
fn close(outcome: &Outcome, left_out: &[LeftOut], missing: &BTreeSet<String>) -> Result<(), Failure> {
    for name in &outcome.failed_names {
        eprintln!("failed: {name}");
    }
    for test in left_out {
        eprintln!("skipped: {} (needs {})", test.name, test.need);
    }
    for line in peers::advice(missing) {
        eprintln!("hint: {line}");
    }
    if left_out.iter().any(|test| test.need.root) && !command::is_root() {
        eprintln!("hint: tests that mount or change owners run as root only");
    }
    println!("{} passed, {} failed, {} skipped", outcome.passed, outcome.failed, left_out.len());
    if outcome.failed > 0 {
        return Err("some tests failed".into());
    }
    if outcome.passed == 0 {
        return Err("no test was run".into());
    }
    if command::in_ci() && !left_out.is_empty() {
        return Err("in CI every test must run".into());
    }
    Ok(())
}
