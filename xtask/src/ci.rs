//! `cargo xtask ci`: everything that must hold before a change lands, in the order that fails soonest.

use std::time::Instant;

use crate::{Failure, command, test, tidy};

/// Runs all steps; the first that fails ends it.
///
/// # Errors
/// Names the step.
pub fn run() -> Result<(), Failure> {
    let start = Instant::now();
    step("formatting", || command::run(command::cargo().args(["fmt", "--all", "--check"])))?;
    step("house rules", tidy::run)?;
    step("lints", || {
        let lints = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
        command::run(command::cargo().args(lints))
    })?;
    step("documentation", || {
        let mut doc = command::cargo();
        command::run(doc.args(["doc", "--workspace", "--no-deps", "--quiet"]).env("RUSTDOCFLAGS", "-D warnings"))
    })?;
    step("demo", || command::run(command::cargo().args(["run", "--release", "--quiet", "--", "demo"])))?;
    // Last, so that its closing line is the last.
    step("tests", test::run)?;
    eprintln!("all steps held, {:.0} s", start.elapsed().as_secs_f64());
    Ok(())
}

fn step(name: &str, work: impl FnOnce() -> Result<(), Failure>) -> Result<(), Failure> {
    let start = Instant::now();
    work().map_err(|failure| format!("{name}: {failure}"))?;
    eprintln!("== {name}: held, {:.0} s", start.elapsed().as_secs_f64());
    Ok(())
}
