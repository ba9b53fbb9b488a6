//! What the project does with itself: `cargo xtask test | ci | fuzz | tidy | dist | bench`.
//!
//! Guarantees: every step is a plain command that is printed before it runs, so that a person can run it alone; the
//! exit code is 0 only when all of it held. It changes no source file, and no document but the tables between markers in
//! docs/benchmarks.md when asked to.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "this is a program for us: it talks to a terminal and works on a checkout, not on anybody's store"
)]

mod bench;
mod ci;
mod command;
mod dist;
mod fuzz;
mod needs;
mod peers;
mod test;
mod tidy;

use std::process::ExitCode;

const USAGE: &str = "\
cargo xtask TASK

  test            all tests; installs (as root) or names the packages they need
                    [--tier quick|peers|root|all] [-- [PART OF A NAME ..] [RUNNER OPTION ..]]
  ci              what CI runs: formatting, house rules, lints, documentation, the demo, all tests
  fuzz [SECONDS]  a few seconds of each fuzz target, when `cargo fuzz` is there
  dist [--target x86_64|aarch64]
                  static programs and the Debian package of umiakd, into target/dist
  tidy            the house rules that compilers do not know
  bench apps      device apps, and
  bench registry  copies between registries, and
  bench pkg       packages for six platforms, and one onto a device, and
  bench delta     deltas: the measures of docs/benchmarks.md, with the peers in the same run
                    [--pairs DIR] [--make-pairs SCRIPT] [--only PAIR,..] [--measure NAME,..] [--runs N] [--write]
                    [--umiak FILE] [--peers-cache DIR]
";

/// Why a task did not succeed: one line for a person.
type Failure = String;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["test", options @ ..] => test::Options::parse(options).and_then(|options| test::run(&options)),
        ["ci"] => ci::run(),
        ["fuzz"] => fuzz::run(60),
        ["fuzz", seconds] => seconds.parse().map_err(|_| "seconds are a number".to_owned()).and_then(fuzz::run),
        ["tidy"] => tidy::run(),
        ["dist", options @ ..] => dist::run(options),
        ["bench", name, options @ ..] => bench::run(name, options),
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}
