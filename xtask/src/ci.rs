//! `cargo xtask ci`: everything that must hold before a change lands, in the order that fails soonest.

use std::time::Instant;

use crate::{Failure, command, fuzz, test, tidy};

/// Runs all steps; the first that fails ends it.
///
/// # Errors
/// Names the step.
pub fn run() -> Result<(), Failure> {
    let mut steps = Steps(Vec::new());
    let result = all(&mut steps);
    eprintln!("\n{:>7}  step", "seconds");
    for (name, seconds) in &steps.0 {
        eprintln!("{seconds:>7.1}  {name}");
    }
    result
}

fn all(steps: &mut Steps) -> Result<(), Failure> {
    steps.run("formatting", || command::run(command::cargo().args(["fmt", "--all", "--check"])))?;
    steps.run("house rules", tidy::run)?;
    steps.run("lints", || {
        let lints = ["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"];
        command::run(command::cargo().args(lints))
    })?;
    steps.run("durable file operations in their modules", || {
        let lints = ["clippy", "--workspace", "--lib", "--bins", "--locked", "--", "-D", "clippy::disallowed_methods"];
        command::run(command::cargo().args(lints))
    })?;
    steps.run("documentation", || {
        let mut doc = command::cargo();
        doc.args(["doc", "--workspace", "--no-deps", "--document-private-items", "--quiet"]);
        command::run(doc.env("RUSTDOCFLAGS", "-D warnings"))
    })?;
    steps.run("fuzz targets", || fuzz::run(10))?;
    steps.run("demo", || command::run(command::cargo().args(["run", "--release", "--quiet", "--", "demo"])))?;
    // Last, so that the count of tests is the last line on stdout.
    steps.run("tests", || test::run(&test::Options::default()))
}

/// The steps so far with their seconds.
struct Steps(Vec<(&'static str, f64)>);

impl Steps {
    fn run(&mut self, name: &'static str, work: impl FnOnce() -> Result<(), Failure>) -> Result<(), Failure> {
        let start = Instant::now();
        let result = work();
        self.0.push((name, start.elapsed().as_secs_f64()));
        result.map_err(|failure| format!("{name}: {failure}"))
    }
}
