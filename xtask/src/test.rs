//! `cargo xtask test`: every test there is, and a list of those that could not run.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use crate::needs::{self, Need};
use crate::{Failure, command};

/// Counts of test results, as the test runners print them.
#[derive(Debug, Default, PartialEq, Eq, Clone, Copy)]
struct Count {
    passed: u64,
    failed: u64,
    filtered: u64,
}

impl Count {
    /// Adds the numbers of a line `test result: ok. 3 passed; 0 failed; ..`.
    fn add_line(&mut self, line: &str) {
        let Some(rest) = line.trim().strip_prefix("test result: ") else { return };
        for part in rest.split([';', '.']) {
            match part.trim().split_once(' ') {
                Some((number, "passed")) => self.passed += number.parse().unwrap_or(0),
                Some((number, "failed")) => self.failed += number.parse().unwrap_or(0),
                Some((number, "filtered out")) => self.filtered += number.parse().unwrap_or(0),
                _ => {}
            }
        }
    }
}

/// Runs everything that can run.
///
/// # Errors
/// A test failed, or, in CI, could not run.
pub fn run() -> Result<(), Failure> {
    let needs = needs::of_workspace()?;
    let wanted: BTreeSet<String> = needs.iter().flat_map(|need| need.packages.iter().cloned()).collect();
    let missing = needs::install(&wanted);
    let left_out: Vec<&Need> = needs
        .iter()
        .filter(|need| (need.root && !command::is_root()) || !need.packages.is_disjoint(&missing))
        .collect();

    let mut count = Count::default();
    let mut tests = command::cargo();
    tests.args(["test", "--workspace", "--lib", "--bins", "--tests", "--no-fail-fast", "--", "--include-ignored"]);
    for need in &left_out {
        tests.args(["--skip", &need.test]);
    }
    let all_built = counted(&mut tests, &mut count)?;
    let documented = counted(command::cargo().args(["test", "--workspace", "--doc", "--no-fail-fast"]), &mut count)?;

    if !missing.is_empty() {
        let list = missing.iter().map(String::as_str).collect::<Vec<_>>().join(" ");
        eprintln!("\nhint: the tests below need Debian packages: apt-get install {list}");
    }
    for need in &left_out {
        eprintln!("skipped: {} (needs {})", need.test, describe(need));
    }
    println!("{} passed, {} failed, {} skipped", count.passed, count.failed, left_out.len());
    if count.failed > 0 || !all_built || !documented {
        return Err("some tests failed".into());
    }
    if command::in_ci() && !left_out.is_empty() {
        return Err("in CI every test must run".into());
    }
    Ok(())
}

fn describe(need: &Need) -> String {
    let mut words: Vec<&str> = need.packages.iter().map(String::as_str).collect();
    if need.root {
        words.push("root");
    }
    words.join(", ")
}

/// Runs a test command, passing its output on and counting results; whether it succeeded.
fn counted(tests: &mut Command, count: &mut Count) -> Result<bool, Failure> {
    command::say(tests);
    let mut child = tests.stdout(Stdio::piped()).spawn().map_err(|error| format!("cannot start cargo: {error}"))?;
    if let Some(output) = child.stdout.take() {
        for line in BufReader::new(output).lines() {
            let line = line.map_err(|error| format!("cannot read the tests' output: {error}"))?;
            count.add_line(&line);
            println!("{line}");
        }
    }
    Ok(child.wait().map_err(|error| format!("cannot wait for cargo: {error}"))?.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_the_runner_prints() {
        let mut count = Count::default();
        count.add_line("test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 3 filtered out; finished in 0.1s");
        count.add_line("test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out");
        count.add_line("test other ... ok");
        assert_eq!(count, Count { passed: 13, failed: 2, filtered: 3 });
    }
}
