//! Which tests `cargo xtask test` runs, as said on its command line.
//!
//! `[--tier quick|peers|root|all] [-- [NAME ..] [RUNNER OPTION ..]]`: names are parts of test names; options from the
//! first word that begins with `-` on go to each test runner (`--nocapture`, `--test-threads=1`).

use crate::Failure;
use crate::needs::Need;

/// Tests by what they need.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    /// Those that need nothing: what plain `cargo test` runs.
    Quick,
    /// Those that need programs of others but not root.
    Peers,
    /// Those that need root.
    Root,
    /// All of them.
    #[default]
    All,
}

impl Tier {
    /// Whether a test with this need (`None`: it needs nothing) is of this tier.
    pub fn includes(self, need: Option<&Need>) -> bool {
        match self {
            Self::All => true,
            Self::Quick => need.is_none(),
            Self::Peers => need.is_some_and(|need| !need.root),
            Self::Root => need.is_some_and(|need| need.root),
        }
    }
}

/// The parsed command line.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Which tests by their needs.
    pub tier: Tier,
    /// A test must contain one of these; empty: all tests.
    pub names: Vec<String>,
    /// Options for each test runner.
    pub runner: Vec<String>,
}

impl Options {
    /// Parses the words after `test`.
    ///
    /// # Errors
    /// An unknown word.
    pub fn parse(words: &[&str]) -> Result<Self, Failure> {
        let mut options = Self::default();
        let mut words = words.iter().copied();
        while let Some(word) = words.next() {
            match word {
                "--tier" => options.tier = tier(words.next().unwrap_or(""))?,
                "--" => break,
                _ => match word.strip_prefix("--tier=") {
                    Some(name) => options.tier = tier(name)?,
                    None => return Err(format!("test does not know `{word}`; names of tests go after `--`")),
                },
            }
        }
        let rest: Vec<String> = words.map(str::to_owned).collect();
        let names = rest.iter().take_while(|word| !word.starts_with('-')).count();
        options.runner = rest[names..].to_vec();
        options.names = rest[..names].to_vec();
        Ok(options)
    }

    /// Whether a test of this name was asked for.
    pub fn matches(&self, test: &str) -> bool {
        self.names.is_empty() || self.names.iter().any(|name| test.contains(name.as_str()))
    }

    /// Whether examples in the documentation run too: they need nothing and have no names to choose by.
    pub fn documentation(&self) -> bool {
        matches!(self.tier, Tier::Quick | Tier::All) && self.names.is_empty()
    }
}

fn tier(name: &str) -> Result<Tier, Failure> {
    match name {
        "quick" => Ok(Tier::Quick),
        "peers" => Ok(Tier::Peers),
        "root" => Ok(Tier::Root),
        "all" => Ok(Tier::All),
        _ => Err(format!("there is no tier `{name}`: quick, peers, root or all")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_runner_options_are_told_apart() {
        let options = Options::parse(&["--tier", "root", "--", "mounts", "overlay", "--nocapture"]).unwrap();
        assert_eq!(options.tier, Tier::Root);
        assert_eq!(options.names, ["mounts", "overlay"]);
        assert_eq!(options.runner, ["--nocapture"]);
        assert!(options.matches("kernel::mounts_it") && !options.matches("reads"));
        assert_eq!(Options::parse(&[]).unwrap(), Options::default());
        assert!(Options::parse(&["mounts"]).is_err() && Options::parse(&["--tier=slow"]).is_err());
    }

    #[test]
    fn tiers_are_disjoint_and_cover_all() {
        let peers = Need { packages: ["attr".to_owned()].into(), root: false };
        let root = Need { packages: ["attr".to_owned()].into(), root: true };
        for need in [None, Some(&peers), Some(&root)] {
            let tiers = [Tier::Quick, Tier::Peers, Tier::Root];
            assert_eq!(tiers.iter().filter(|tier| tier.includes(need)).count(), 1);
            assert!(Tier::All.includes(need));
        }
    }
}
