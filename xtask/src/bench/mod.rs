//! `cargo xtask bench NAME`: measures, with the peers in the same run.
//!
//! Guarantees: ours and the peer's runs alternate on the same input; figures are medians; a bar that is missed is
//! printed as missed. With `--write` the table goes into docs/benchmarks.md between the bench's markers.
//! Benches are no tests: nothing fails because a machine was slow.

mod apps;
mod measure;
mod pairs;
mod table;

use std::path::PathBuf;

use crate::{Failure, command};

/// How to run a bench.
pub struct Options {
    /// Where the image pairs are.
    pairs: PathBuf,
    /// Runs per figure.
    runs: usize,
    /// Which pairs.
    only: Vec<String>,
    /// Whether the table goes into the document.
    write: bool,
}

/// Runs the bench of this name.
///
/// # Errors
/// Unknown name or option; a command failed.
pub fn run(name: &str, words: &[&str]) -> Result<(), Failure> {
    let options = options(words)?;
    match name {
        "apps" => apps::bench(&options),
        other => Err(format!("there is no bench `{other}`; there is: apps")),
    }
}

fn options(words: &[&str]) -> Result<Options, Failure> {
    let mut pairs = std::env::var_os("UMIAK_PAIRS").map(PathBuf::from);
    let mut script = command::root().join("../shared/pairs/make-pairs");
    let mut options = Options { pairs: PathBuf::new(), runs: 3, only: Vec::new(), write: false };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut value = || words.next().copied().ok_or_else(|| format!("{word} needs a value"));
        match *word {
            "--pairs" => pairs = Some(value()?.into()),
            "--make-pairs" => script = value()?.into(),
            "--runs" => options.runs = value()?.parse().map_err(|_| "--runs needs a number".to_owned())?,
            "--only" => options.only = value()?.split(',').map(str::to_owned).collect(),
            "--write" => options.write = true,
            other => return Err(format!("unknown option {other}")),
        }
    }
    if options.only.is_empty() {
        options.only = pairs::NAMES.map(str::to_owned).to_vec();
    }
    options.pairs = pairs.unwrap_or_else(|| command::root().join("target/pairs"));
    pairs::ensure(&options.pairs, &script, &options.only)?;
    Ok(options)
}
