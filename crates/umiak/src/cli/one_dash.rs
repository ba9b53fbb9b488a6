//! Long flags with one dash, as Go's flag package takes them: `-patch`, `-hl`, `-message=text`.
//!
//! People's pvr scripts have both spellings. An argument `-name` or `-name=value` whose `name` is a long flag of some
//! command becomes `--name`; everything else stays, so that `-vq` is still two short flags. Nothing is touched after
//! `--`, nor a value that follows a flag that takes one.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;

use clap::Command;

/// The arguments with one-dash long flags spelt with two.
pub fn as_two(arguments: Vec<OsString>, grammar: &Command) -> Vec<OsString> {
    let known = Flags::of(grammar);
    let mut literal = false;
    let mut value_next = false;
    let mut spelt = Vec::with_capacity(arguments.len());
    for argument in arguments {
        let Some(text) = argument.to_str().filter(|_| !literal && !value_next) else {
            value_next = false;
            spelt.push(argument);
            continue;
        };
        literal = text == "--";
        let rewritten = known.rewrite(text);
        value_next = known.takes_value(rewritten.as_deref().unwrap_or(text));
        spelt.push(rewritten.map_or(argument.clone(), OsString::from));
    }
    spelt
}

/// Long names of all flags of a grammar, and which flags take the next argument as their value.
struct Flags {
    long: BTreeSet<String>,
    valued: BTreeMap<String, bool>,
}

impl Flags {
    fn of(grammar: &Command) -> Self {
        let mut flags = Self { long: BTreeSet::new(), valued: BTreeMap::new() };
        flags.collect(grammar);
        flags
    }

    fn collect(&mut self, command: &Command) {
        for flag in command.get_arguments() {
            let valued = flag.get_action().takes_values();
            for long in flag
                .get_long_and_visible_aliases()
                .into_iter()
                .flatten()
                .chain(flag.get_all_aliases().into_iter().flatten())
            {
                self.long.insert(long.to_owned());
                self.note(format!("--{long}"), valued);
            }
            if let Some(short) = flag.get_short() {
                self.note(format!("-{short}"), valued);
            }
        }
        command.get_subcommands().for_each(|subcommand| self.collect(subcommand));
    }

    /// A name that takes a value in one command and none in another counts as taking none.
    fn note(&mut self, spelling: String, valued: bool) {
        self.valued.entry(spelling).and_modify(|all| *all &= valued).or_insert(valued);
    }

    fn rewrite(&self, argument: &str) -> Option<String> {
        let name = argument.strip_prefix('-').filter(|name| !name.starts_with('-') && name.len() > 1)?;
        let bare = name.split_once('=').map_or(name, |(bare, _)| bare);
        self.long.contains(bare).then(|| format!("--{name}"))
    }

    fn takes_value(&self, argument: &str) -> bool {
        self.valued.get(argument).copied().unwrap_or(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spelt(line: &str) -> String {
        let arguments = line.split(' ').map(OsString::from).collect();
        let spelt = as_two(arguments, &super::super::grammar());
        spelt.iter().map(|argument| argument.to_str().unwrap()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn long_flags_with_one_dash_get_two() {
        assert_eq!(spelt("pvr app update -patch mycroft"), "pvr app update --patch mycroft");
        assert_eq!(spelt("pvr checkout -hl"), "pvr checkout --hl");
        assert_eq!(spelt("pvr app add -from=nginx:1 nginx"), "pvr app add --from=nginx:1 nginx");
    }

    #[test]
    fn short_flags_values_and_what_follows_two_dashes_stay() {
        for line in ["umiak -vq status", "umiak commit -m -patch", "umiak add -- -patch", "umiak add -raw-files"] {
            assert_eq!(spelt(line), line);
        }
    }
}
