//! `cargo xtask bench NAME`: measures, with the peers in the same run.
//!
//! Guarantees: ours and the peer's runs alternate on the same input; figures are medians; a bar that is missed is
//! printed as missed. With `--write` the table goes into docs/benchmarks.md between the bench's markers.
//! Benches are no tests: nothing fails because a machine was slow.

mod agent;
mod apps;
mod delta;
mod fit;
mod machine;
mod measure;
mod noise;
mod pairs;
mod pkg;
mod registry;
mod shell;
mod table;

use std::path::{Path, PathBuf};

use crate::{Failure, command, dist, tidy};

/// Compressor and block size of squashfs images, ours and the peers': pvr's.
const FORMAT: &str = "-comp xz -b 128K";

/// How to run a bench.
#[derive(Debug)]
pub struct Options {
    /// Where the image pairs are.
    pairs: PathBuf,
    /// The script that builds those that are missing.
    make_pairs: PathBuf,
    /// Runs per figure.
    runs: usize,
    /// Which pairs; all when empty.
    only: Vec<String>,
    /// Which measures; all when empty.
    measures: Vec<String>,
    /// The program to measure; built when it is not given.
    umiak: Option<PathBuf>,
    /// Where sizes of peers' results are remembered.
    peers_cache: Option<PathBuf>,
    /// Whether the table goes into the document.
    write: bool,
}

/// Runs the bench of this name.
///
/// # Errors
/// Unknown name or option; a command failed.
pub fn run(name: &str, words: &[&str]) -> Result<(), Failure> {
    let options = Options::parse(words, std::env::var_os("UMIAK_PAIRS").map(PathBuf::from))?;
    match name {
        "agent" => agent::bench(&options),
        "apps" => apps::bench(&options),
        "delta" => delta::bench(&options),
        "fit" => fit::bench(&options),
        "pkg" => pkg::bench(&options),
        "registry" => registry::bench(&options),
        other => Err(format!("there is no bench `{other}`; there are: agent, apps, delta, fit, pkg, registry")),
    }
}

impl Options {
    fn parse(words: &[&str], pairs: Option<PathBuf>) -> Result<Self, Failure> {
        let mut options = Self {
            pairs: pairs.unwrap_or_else(|| command::root().join("target/pairs")),
            make_pairs: command::root().join("../shared/pairs/make-pairs"),
            runs: 3,
            only: Vec::new(),
            measures: Vec::new(),
            umiak: None,
            peers_cache: None,
            write: false,
        };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().copied().ok_or_else(|| format!("{word} needs a value"));
            let list = |value: &str| value.split(',').map(str::to_owned).collect();
            match *word {
                "--pairs" => options.pairs = value()?.into(),
                "--make-pairs" => options.make_pairs = value()?.into(),
                "--runs" => options.runs = value()?.parse().map_err(|_| "--runs needs a number".to_owned())?,
                "--only" => options.only = list(value()?),
                "--measure" => options.measures = list(value()?),
                "--umiak" => options.umiak = Some(value()?.into()),
                "--peers-cache" => options.peers_cache = Some(value()?.into()),
                "--write" => options.write = true,
                other => return Err(format!("bench does not know `{other}`")),
            }
        }
        if options.write && !(options.only.is_empty() && options.measures.is_empty()) {
            return Err("--write is for the whole table: leave --only and --measure out".into());
        }
        if options.write && options.umiak.is_some() {
            return Err("--write is for what this source makes: leave --umiak out".into());
        }
        if options.runs == 0 {
            return Err("--runs needs at least 1".into());
        }
        Ok(options)
    }

    /// Whether a measure was asked for.
    fn wants(&self, measure: &str) -> bool {
        self.measures.is_empty() || self.measures.iter().any(|wanted| wanted == measure)
    }
}

/// The program to measure, built unless the options name one, and cargo's target directory.
fn program(options: &Options) -> Result<(PathBuf, PathBuf), Failure> {
    let metadata = tidy::metadata()?;
    let target = metadata["target_directory"].as_str().map(Path::new).ok_or("cargo names no target directory")?;
    if let Some(umiak) = &options.umiak {
        let whole = umiak.canonicalize().map_err(|error| format!("cannot find {}: {error}", umiak.display()))?;
        return Ok((whole, target.to_owned()));
    }
    command::run(command::cargo().args(["build", "--release", "--package", "umiak"]))?;
    Ok((target.join("release/umiak"), target.to_owned()))
}

/// The device's program as it is handed out (`cargo xtask dist`), or the one beside the program that the options name.
fn device_program(options: &Options, umiak: &Path) -> Result<PathBuf, Failure> {
    if options.umiak.is_some() { Ok(umiak.with_file_name("umiakd")) } else { dist::program("umiakd") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_the_table_does_not_replace_the_whole() {
        assert!(Options::parse(&["--write", "--runs", "1"], None).unwrap().write);
        assert!(Options::parse(&["--write", "--only", "a"], None).is_err());
        assert!(Options::parse(&["--write", "--umiak", "x"], None).is_err());
        assert!(Options::parse(&["--runs", "0"], None).is_err());
        assert!(Options::parse(&["--fast"], None).is_err());
        let part = Options::parse(&["--measure", "patch,status", "--pairs", "x"], Some("y".into())).unwrap();
        assert!(part.wants("patch") && !part.wants("images"));
        assert_eq!(part.pairs, PathBuf::from("x"));
    }
}
