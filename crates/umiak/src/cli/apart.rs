//! Flags that exclude one another where both are said.
//!
//! Some flags also have their value from a variable, which stays in a shell or a build machine. Who says `--unsigned` means it,
//! whatever `PVR_SIG_KEY` is; who says `--unsigned --key FILE` does not know what he means. clap's own conflicts do not tell
//! the two apart.

use clap::error::{ContextKind, ContextValue};
use clap::parser::ValueSource;
use clap::{ArgMatches, Command, Error, error::ErrorKind};

/// Verbs, a flag of theirs, and flags that it cannot be said with.
const APART: &[(&[&str], &str, &[&str])] =
    &[(&["pkg", "build"], "unsigned", &["key"]), (&["pkg", "verify"], "unsigned", &["cacerts", "pubkey"])];

/// Refuses a command line that says both of two flags.
///
/// # Errors
/// As clap has them for conflicts.
pub fn check(grammar: &Command, matches: &ArgMatches) -> Result<(), Error> {
    for (verbs, flag, others) in APART {
        let verb = verbs.iter().try_fold(matches, |matches, verb| matches.subcommand_matches(verb));
        let said = |flag: &str| verb.is_some_and(|verb| verb.value_source(flag) == Some(ValueSource::CommandLine));
        if let Some(other) = others.iter().find(|other| said(flag) && said(other)) {
            return Err(conflict(grammar.clone(), verbs, flag, other));
        }
    }
    Ok(())
}

fn conflict(mut grammar: Command, verbs: &[&str], flag: &str, other: &str) -> Error {
    // Before it is built a grammar does not know how its flags are shown.
    grammar.build();
    let verb = verbs.iter().try_fold(&grammar, |grammar, verb| grammar.find_subcommand(verb)).unwrap_or(&grammar);
    let shown = |flag: &str| {
        let argument = verb.get_arguments().find(|argument| argument.get_id() == flag);
        ContextValue::String(argument.map_or_else(|| format!("--{flag}"), ToString::to_string))
    };
    let mut error = Error::new(ErrorKind::ArgumentConflict).with_cmd(verb);
    error.insert(ContextKind::InvalidArg, shown(flag));
    error.insert(ContextKind::PriorArg, shown(other));
    error.insert(ContextKind::Usage, ContextValue::StyledStr(verb.clone().render_usage()));
    error
}

#[cfg(test)]
mod tests {
    use super::super::grammar;
    use super::*;

    fn checked(line: &str, variables: &[&str]) -> Result<(), Error> {
        // The value of a variable as clap sees it: a default would not be one that is meant.
        let mut grammar = grammar();
        for variable in variables {
            grammar = grammar.mut_subcommand("pkg", |pkg| {
                let set = |verb: Command| verb.mut_arg(*variable, |argument| argument.env("PATH"));
                pkg.mut_subcommand(if *variable == "key" { "build" } else { "verify" }, set)
            });
        }
        let matches = grammar.clone().try_get_matches_from(line.split(' '))?;
        check(&grammar, &matches)
    }

    #[test]
    fn what_is_said_counts_and_what_is_in_the_shell_gives_way() {
        for (line, variable) in
            [("build --unsigned", "key"), ("verify --unsigned x.tgz", "cacerts"), ("verify --unsigned x.tgz", "pubkey")]
        {
            checked(&format!("umiak pkg {line}"), &[variable]).unwrap();
            let both = format!("umiak pkg {line} --{variable} FILE");
            let error = checked(&both, &[]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ArgumentConflict, "{both}");
            let text = error.to_string();
            assert!(text.contains("--unsigned") && text.contains(&format!("--{variable} <FILE>")), "{text}");
        }
        checked("umiak pkg build --key FILE", &[]).unwrap();
        assert!(checked("umiak pkg build --unsigned --strict", &[]).is_err());
    }
}
