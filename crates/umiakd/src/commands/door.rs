//! A verb of somebody who is not root: the daemon runs it.

use std::io::{ErrorKind, Write};
use std::path::Path;

use umiak_ui::Kind;

use crate::cli::{Cli, Command, TargetCommand, TxCommand};
use crate::context::Context;
use crate::daemon::door;
use crate::error::Failure;

/// Asks the daemon to run the verb of this command line, and says what it says.
///
/// # Errors
/// No daemon listens, or this user may not speak to it.
pub fn ask(context: &Context<'_>, cli: &Cli) -> Result<u8, Failure> {
    if cli.world.store.is_some() {
        return Err(Failure::new(Kind::Usage, "--store is for root: the daemon has its own store")
            .hint("run it as root, or leave --store out"));
    }
    if matches!(&cli.command, Command::Tx(TxCommand::Add(arguments)) if arguments.package == "-") {
        return Err(Failure::new(Kind::Usage, "standard input does not reach the daemon")
            .hint("name the file, or run it as root: then no daemon is needed"));
    }
    let socket = &context.settings.daemon.socket;
    let heard = |stream: &str, text: &str| match stream {
        "stdout" => drop(context.printer.data(text)),
        // It went through a printer already, the daemon's child's.
        _ => drop(std::io::stderr().write_all(text.as_bytes())),
    };
    door::ask(socket, &words(cli, &context.environment.words), heard).map_err(|error| {
        let failure =
            Failure::new(Kind::Environment, format!("cannot ask the daemon at {}: {error}", socket.display()));
        match error.kind() {
            ErrorKind::PermissionDenied => {
                failure.hint(format!("run it as root, or as a member of the group {}", context.settings.daemon.group))
            }
            ErrorKind::UnexpectedEof => failure.outcome("what was begun goes on when the daemon starts again"),
            _ => failure.hint("run it as root: then no daemon is needed"),
        }
    })
}

/// The words for the daemon, which has its own configuration and stands in another directory.
fn words(cli: &Cli, words: &[String]) -> Vec<String> {
    let files = match &cli.command {
        Command::Target(TargetCommand::Set(arguments)) => &arguments.targets[..],
        Command::Tx(TxCommand::Add(arguments)) => std::slice::from_ref(&arguments.package),
        _ => &[],
    };
    let mut rest = words.iter();
    let mut all = Vec::new();
    while let Some(word) = rest.next() {
        if word == "--config" {
            rest.next();
        } else if files.contains(word) && Path::new(word).exists() {
            all.push(std::path::absolute(word).map_or_else(|_| word.clone(), |path| path.display().to_string()));
        } else if !word.starts_with("--config=") {
            all.push(word.clone());
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use umiak_ui::program::Parsed;

    use crate::cli::parse;

    #[test]
    fn the_daemon_hears_whole_paths_and_of_no_other_configuration() {
        let spoken = |line: &str| {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            let Parsed::Run(cli) = parse(std::iter::once("umiakd").chain(line.split(' ')).map(Into::into)) else {
                panic!("{line}")
            };
            super::words(&cli, &words).join(" ")
        };
        let here = std::env::current_dir().unwrap();
        assert_eq!(spoken("--config x --json status"), "--json status");
        assert_eq!(spoken("--config=x status -v"), "status -v");
        assert_eq!(spoken("tx add Cargo.toml"), format!("tx add {}/Cargo.toml", here.display()));
        assert_eq!(spoken("target set Cargo.toml shop:1"), format!("target set {}/Cargo.toml shop:1", here.display()));
    }
}
