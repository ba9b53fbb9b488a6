//! Packages laid into the state of a device, and parts taken out of it again: what a transaction does.
//!
//! A *part* of a state is what belongs together: a container's directory, its configuration `_config/NAME/`, its signature
//! `_sigs/NAME.json`. [`State::install`] replaces parts whole, because a file that is left of an older build would break the
//! signature of the next one; [`State::without`] takes out what a signature spoke for and nobody else does. Which keys a
//! signature speaks for is told by the caller ([`Rules`]): nothing is verified here.
//!
//! Guarantees: all that a package has is in the result as the package has it; of what the package does not bring nothing goes
//! but what belongs to its parts; installing twice is installing once; what cannot be a state is an error and no state.

use std::collections::BTreeSet;

use crate::json::Value;
use crate::path::StatePath;
use crate::state::{Entry, State, StateError};

/// Where signatures are.
const SIGNATURES: &str = "_sigs/";
/// Where files that are laid over containers are.
const CONFIG: &str = "_config/";

/// What a signature says of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// It is signed: another value, or none, would break the signature.
    Signed,
    /// It belongs to what is signed and was left out of it.
    Left,
    /// Nothing.
    Nothing,
}

/// What one signature says of keys.
pub type Rule = Box<dyn Fn(&str) -> Said>;

/// Reads a signature: its key and its value; `None` where the value is none. Patterns that mean every key say nothing.
pub type Rules<'r> = dyn Fn(&str, &Value) -> Option<Rule> + 'r;

/// A state that was changed, and what went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// The state.
    pub state: State,
    /// Keys that were there before and are not now, sorted.
    pub removed: Vec<StatePath>,
}

/// A part that is not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no part `{part}`: there {}", named(parts))]
pub struct NoPart {
    /// What was asked for.
    pub part: String,
    /// What there is.
    pub parts: Vec<String>,
}

fn named(parts: &[String]) -> String {
    match parts {
        [] => "is none".to_owned(),
        [only] => format!("is {only}"),
        several => format!("are {}", several.join(", ")),
    }
}

impl State {
    /// Lays a package into this state.
    ///
    /// Containers, and configurations of containers, that the package brings replace those of their names whole; every other
    /// key replaces the one of its name. The signature of a container that is replaced goes with it, and so does one that
    /// spoke for nothing but what is replaced. A configuration that the package does not bring stays, unless a
    /// signature of the package speaks for it.
    ///
    /// # Errors
    /// [`StateError::FileAndDirectory`] when the two do not fit together.
    pub fn install(&self, package: &Self, rules: &Rules<'_>) -> Result<Changed, StateError> {
        let brought: BTreeSet<&str> = package.keys().filter_map(directory).collect();
        let signed = rules_of(package, rules);
        let containers = || brought.iter().filter(|name| !name.starts_with(CONFIG));
        let stale = |key: &str| {
            let own = directory(key).is_some_and(|directory| brought.contains(directory));
            let signature = || containers().any(|name| signature_of(name) == key);
            let broken = || {
                let belongs = containers().any(|name| Some(config_of(name).as_str()) == directory(key));
                belongs && signed.iter().any(|(_, rule)| rule(key) == Said::Signed)
            };
            own || signature() || broken()
        };
        let mut gone: BTreeSet<&str> = self.keys().filter(|key| package.get(key).is_none() && stale(key)).collect();
        for (key, rule) in rules_of(self, rules) {
            let replaced = |key: &str| gone.contains(key) || package.get(key).is_some();
            let keys = self.keys().chain(package.keys()).filter(|key| !key.starts_with(SIGNATURES));
            let mut spoken = keys.filter(|key| rule(key) == Said::Signed).peekable();
            if package.get(key).is_none() && spoken.peek().is_some() && spoken.all(replaced) {
                gone.insert(key);
            }
        }
        let (left, removed) = self.split(&gone);
        Ok(Changed { state: left.overlay(package)?, removed })
    }

    /// Takes a part out of this state.
    ///
    /// `NAME`: the container, its configuration, its signature and what that spoke for. `_sigs/NAME.json`: the signature and
    /// what it spoke for. `_config/NAME`: the configuration. What another signature is over stays, except in the container's
    /// own directory.
    ///
    /// # Errors
    /// [`NoPart`].
    pub fn without(&self, part: &str, rules: &Rules<'_>) -> Result<Changed, NoPart> {
        let part = part.trim_end_matches('/');
        let below = |directory: &str| -> BTreeSet<&str> {
            let prefix = format!("{directory}/");
            self.keys().filter(|key| key.starts_with(&prefix)).collect()
        };
        let gone = match (part.strip_prefix(SIGNATURES), part.strip_prefix(CONFIG)) {
            (Some(_), _) => self.spoken_for(part, rules),
            (None, Some(name)) if !name.contains('/') => below(part),
            (None, Some(_)) => BTreeSet::new(),
            (None, None) if part.contains('/') || part.starts_with('_') => BTreeSet::new(),
            (None, None) => {
                let mut gone = self.spoken_for(&signature_of(part), rules);
                let others = self.others(&signature_of(part), rules);
                let config = below(&config_of(part));
                gone.extend(config.into_iter().filter(|key| !protected(&others, key)));
                gone.extend(below(part));
                gone
            }
        };
        if gone.is_empty() || part.is_empty() {
            return Err(NoPart { part: part.chars().take(200).collect(), parts: self.parts() });
        }
        let (state, removed) = self.split(&gone);
        Ok(Changed { state, removed })
    }

    /// The parts that [`State::without`] takes out: containers, and signatures and configurations that belong to none of these.
    #[must_use]
    pub fn parts(&self) -> Vec<String> {
        let directories: BTreeSet<&str> = self.keys().filter_map(directory).collect();
        let belongs = |directory: &str| directory.strip_prefix(CONFIG).is_some_and(|name| directories.contains(name));
        let mut parts: Vec<String> =
            directories.iter().filter(|name| !belongs(name)).map(|name| (*name).to_owned()).collect();
        let lone =
            |key: &&str| key.starts_with(SIGNATURES) && !directories.iter().any(|name| signature_of(name) == **key);
        parts.extend(self.keys().filter(lone).map(str::to_owned));
        parts
    }

    /// The signature `name` and the keys that it speaks for and no other signature is over. Signatures of others stay.
    fn spoken_for(&self, name: &str, rules: &Rules<'_>) -> BTreeSet<&str> {
        let Some((key, Entry::Inline(value))) = self.entries().get_key_value(name) else { return BTreeSet::new() };
        let mut gone: BTreeSet<&str> = [key.as_str()].into();
        let Some(rule) = rules(name, value) else { return gone };
        let others = self.others(name, rules);
        let free = |key: &&str| rule(key) != Said::Nothing && !key.starts_with(SIGNATURES) && !protected(&others, key);
        gone.extend(self.keys().filter(free));
        gone
    }

    /// The signatures but this one.
    fn others(&self, name: &str, rules: &Rules<'_>) -> Vec<Rule> {
        rules_of(self, rules).into_iter().filter(|(key, _)| *key != name).map(|(_, rule)| rule).collect()
    }

    fn keys(&self) -> impl Iterator<Item = &str> {
        self.entries().keys().map(StatePath::as_str)
    }

    fn split(&self, gone: &BTreeSet<&str>) -> (Self, Vec<StatePath>) {
        let mut left = self.clone();
        let removed = self.entries().keys().filter(|key| gone.contains(key.as_str())).cloned().collect();
        for key in gone {
            left.remove(key);
        }
        (left, removed)
    }
}

/// The signatures of a state.
fn rules_of<'s>(state: &'s State, rules: &Rules<'_>) -> Vec<(&'s str, Rule)> {
    let rule = |(path, entry): (&'s StatePath, &Entry)| match entry {
        Entry::Inline(value) => Some((path.as_str(), rules(path.as_str(), value)?)),
        Entry::Object(_) => None,
    };
    state.entries().iter().filter_map(rule).collect()
}

fn protected(others: &[Rule], key: &str) -> bool {
    others.iter().any(|rule| rule(key) == Said::Signed)
}

/// What is replaced whole with this key: a directory at the top, or one below `_config/`. None for files at the top, and for
/// what lies in directories that belong to no container.
fn directory(key: &str) -> Option<&str> {
    let from = if key.starts_with(CONFIG) { CONFIG.len() } else { 0 };
    let at = key[from..].find('/')? + from;
    let directory = &key[..at];
    (from > 0 || !directory.starts_with('_')).then_some(directory)
}

fn signature_of(container: &str) -> String {
    format!("{SIGNATURES}{container}.json")
}

fn config_of(container: &str) -> String {
    format!("{CONFIG}{container}")
}
