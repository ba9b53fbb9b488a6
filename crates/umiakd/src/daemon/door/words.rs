//! What goes through the door: requests, which of them are allowed, answers.
//!
//! A request is read by the grammar of the command line itself, so that there are not two opinions on what its words mean.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::iter::once;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use umiak_ui::program::Parsed;
use umiak_ui::usage_diagnostic;

use crate::cli::{self, Command, TargetCommand, TxCommand};

/// The longest request, in bytes.
const LONGEST: usize = 64 << 10;

/// How long a caller may take to say all of what he wants.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a caller asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The words of a command line behind the program's name.
    pub verb: Vec<String>,
}

/// What a caller is told, line by line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Answer {
    /// A line, or a piece of a long one.
    Said {
        /// `stdout` or `stderr`.
        stream: String,
        /// With its line feed, where it has one.
        text: String,
    },
    /// The end.
    Ended {
        /// The verb's exit code.
        exit: u8,
    },
}

/// What a verb is to the door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// It only looks: who hangs up has seen enough.
    Looks,
    /// It changes something: it goes on to its end.
    Changes,
}

/// Reads a request. The error is for the caller.
pub fn read_request(caller: &UnixStream) -> Result<(Request, Manner), String> {
    let line = read_line(caller).map_err(|error| format!("no request came: {error}"))?;
    let request: Request = serde_json::from_slice(&line).map_err(|error| format!("not a request: {error}"))?;
    let manner = manner(&request.verb)?;
    Ok((request, manner))
}

/// A line, with its line feed where it has one; a caller who takes too long, or says too much, is cut off.
fn read_line(mut caller: &UnixStream) -> io::Result<Vec<u8>> {
    let end = Instant::now() + PATIENCE;
    let (mut line, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        caller.set_read_timeout(Some(left))?;
        let length = caller.read(&mut piece)?;
        line.extend_from_slice(&piece[..length]);
        if length == 0 || piece[..length].contains(&b'\n') || line.len() > LONGEST {
            line.truncate(LONGEST);
            return Ok(line);
        }
    }
}

/// What the words of a command line are to the door.
///
/// # Errors
/// They are not understood; or they are not for callers: verbs that write files where the caller says or are for the
/// system, and options that name another configuration or store than the daemon's.
fn manner(words: &[String]) -> Result<Manner, String> {
    let cli = match cli::parse(once("umiakd").chain(words.iter().map(String::as_str)).map(Into::into)) {
        Parsed::Page(_) => return Ok(Manner::Looks),
        Parsed::Wrong(error) => return Err(usage_diagnostic(&error).message),
        Parsed::Run(cli) => cli,
    };
    let world = &cli.world;
    let manner = match &cli.command {
        _ if world.config.is_some() || world.store.is_some() || world.by_daemon => None,
        Command::Status(_)
        | Command::Check(_)
        | Command::History(_)
        | Command::Logs(_)
        | Command::Target(TargetCommand::Show)
        | Command::Tx(TxCommand::Show)
        | Command::Version => Some(Manner::Looks),
        Command::Tx(TxCommand::Add(arguments)) if arguments.package == "-" => None,
        Command::Target(TargetCommand::Set(_))
        | Command::Tx(_)
        | Command::Update(_)
        | Command::Rollback(_)
        | Command::Pin(_)
        | Command::Unpin(_)
        | Command::Prune
        | Command::Fsck(_) => Some(if cli.talk.dry_run { Manner::Looks } else { Manner::Changes }),
        Command::Export(_)
        | Command::Support(_)
        | Command::Daemon
        | Command::Resume
        | Command::Shim(_)
        | Command::Completion(_) => None,
    };
    manner.ok_or_else(|| format!("`{}` does not go through the socket: it is for root", words.join(" ")))
}

/// Whether the caller took it.
pub fn tell(mut caller: &UnixStream, answer: &Answer) -> bool {
    let Ok(mut line) = serde_json::to_vec(answer) else { return false };
    line.push(b'\n');
    caller.write_all(&line).is_ok()
}

/// Tells the caller why nothing is done for him.
pub fn refuse(caller: &UnixStream, why: &str) {
    tell(caller, &Answer::Said { stream: "stderr".into(), text: format!("error: {why}\n") });
    tell(caller, &Answer::Ended { exit: umiak_ui::USAGE });
}

/// Asks the daemon behind `path` to run `verb`, with everything it says to `heard`. Gives the exit code.
///
/// # Errors
/// No daemon listens there, or it went away before the end.
pub fn ask(path: &Path, verb: &[String], mut heard: impl FnMut(&str, &str)) -> io::Result<u8> {
    let mut stream = UnixStream::connect(path)?;
    let mut request = serde_json::to_vec(&Request { verb: verb.to_vec() })?;
    request.push(b'\n');
    stream.write_all(&request)?;
    for line in BufReader::new(stream).lines() {
        match serde_json::from_str(&line?)? {
            Answer::Said { stream, text } => heard(&stream, &text),
            Answer::Ended { exit } => return Ok(exit),
        }
    }
    Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the daemon went away"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_line_means_is_what_the_command_line_says() {
        let manner = |line: &str| manner(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        for line in
            ["status", "--json status", "target show", "update --dry-run", "help update", "fsck --help", "tx show"]
        {
            assert_eq!(manner(line), Ok(Manner::Looks), "{line}");
        }
        for line in ["update", "-v update --now", "target set a b", "fsck", "prune --json", "tx add a", "tx commit"] {
            assert_eq!(manner(line), Ok(Manner::Changes), "{line}");
        }
        for line in
            ["daemon", "shim x", "resume", "support", "tx add -", "--config /tmp/x status", "--by-daemon update"]
        {
            assert_eq!(manner(line), Err(format!("`{line}` does not go through the socket: it is for root")));
        }
        assert_eq!(manner("updat").unwrap_err(), "there is no command `updat`");
        assert_eq!(manner("status --store=/tmp").unwrap_err(), "`--store` is not expected here");
    }
}
