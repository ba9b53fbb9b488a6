//! The command line of the device: what it should run, and what was done about it.
//!
//! Nothing is done here: arguments become values.
#![allow(rustdoc::broken_intra_doc_links, reason = "comments on arguments are help pages: `[repeat]` is no link")]

mod tx;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use umiak_ui::TalkArgs;
use umiak_ui::program::{self, EXIT_CODES, Parsed};

pub use tx::{TxAddArgs, TxBeginArgs, TxCommand, TxRemoveArgs};

const ABOUT: &str = "umiakd keeps a device running what it should run.";

const LONG_ABOUT: &str = "\
umiakd keeps a device running what it should run.

The target says which apps. An update asks whether they fit, fetches the least there is to fetch, stages beside what runs, switches, \
tests, and commits or goes back. Whatever is cut off goes on where it stopped; what runs stays until the next is ready.";

/// The page of `umiakd --help`, in the order in which commands are met.
const TEMPLATE: &str = "\
{about}

{usage-heading} {usage}

What it should run:
  target set      Say what this device should run
  target show     Show what was said
  check           Show what an update would do, and whether it fits
  update          Fetch, stage, switch, test, commit or go back

Several packages, as one:
  tx begin        Begin with what runs, another revision, or nothing
  tx add          Add a package: from a file, or as it comes
  tx remove       Take a part out
  tx show         Show what was put together so far
  tx commit       Make it what this device should run
  tx abort        Forget it

What it runs:
  status          Show apps, revisions, health and space
  history         Show what was done, and why
  logs            Show what services print

Ways back:
  rollback        Go back to another revision
  pin             Keep a revision whatever is pruned
  unpin           Let it go again

The store:
  prune           Remove what nothing needs
  fsck            Verify everything that is stored; --repair mends it
  export          Write an image that is stored as an OCI layout
  support         Write everything that helps to help into one file

More:
  daemon          Do all of it by itself
  completion      Print a completion script for a shell
  version         Print what this is
  help            Explain a command

{options}{after-help}
";

/// Everything on the command line.
#[derive(Debug, Parser)]
#[command(name = "umiakd", version, about = ABOUT, long_about = LONG_ABOUT, after_help = EXIT_CODES)]
#[command(help_template = TEMPLATE, max_term_width = 100, arg_required_else_help = true)]
pub struct Cli {
    #[command(flatten)]
    pub talk: TalkArgs,
    #[command(flatten)]
    pub world: WorldArgs,
    #[command(subcommand)]
    pub command: Command,
}

/// Where things are.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Options (in front of the command)")]
pub struct WorldArgs {
    /// The configuration [default: /etc/umiak/umiakd.toml, where it is there]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The store, whatever the configuration says
    #[arg(long, value_name = "DIR")]
    pub store: Option<PathBuf>,
    /// Started by the daemon: say nothing where nothing happens
    #[arg(long, hide = true)]
    pub by_daemon: bool,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Command {
    Status(StatusArgs),
    /// Say what this device should run, and show it
    #[command(subcommand)]
    Target(TargetCommand),
    #[command(subcommand)]
    Tx(TxCommand),
    Check(CheckArgs),
    Update(UpdateArgs),
    Rollback(RollbackArgs),
    Pin(RevisionArgs),
    /// Let a pinned revision go again
    ///
    /// It stays until something is pruned.
    Unpin(RevisionArgs),
    /// Show what was done, and why
    ///
    /// The last entry is the latest. Times are the device's clock's, which may have been wrong.
    History(HistoryArgs),
    Logs(LogsArgs),
    /// Remove what nothing needs
    ///
    /// Kept are the current, the previous, staged and pinned revisions, and as many more as the configuration says. With
    /// --dry-run what would go is listed.
    Prune,
    Fsck(FsckArgs),
    Export(ExportArgs),
    Support(SupportArgs),
    /// Do all of it by itself
    ///
    /// Brings up what should run, looks at the target from time to time, and listens on a socket for the same verbs. Made
    /// for systemd (Type=notify); containers go on when it ends.
    Daemon,
    /// Bring up the current revision and go on with what was cut off
    #[command(hide = true)]
    Resume,
    #[command(hide = true)]
    Shim(ShimArgs),
    Completion(CompletionArgs),
    /// Print what this is
    Version,
}

/// Show apps, revisions, health and space
///
/// The first line is one sentence on how the device is. Needs no network and changes nothing.
#[derive(Debug, Args)]
pub struct StatusArgs {}

/// What a device should run.
#[derive(Debug, Subcommand)]
pub enum TargetCommand {
    Set(TargetSetArgs),
    /// Show what was said
    Show,
}

/// Say what this device should run
///
/// A target is one or more references of apps or images in a registry (`registry.example/team/shop:stable`), a file.json that
/// lists them, or a bundle of `umiak compose bundle`. All apps together: what is not named is removed by the next update. A
/// tag is followed: each update looks at it again.
///
/// Packages alone (package.tgz), or deltas of packages (package.delta) where what they start from is here, are merged into
/// the current revision: what a package brings of a container replaces that container, everything else stays. They are
/// verified now, from the first byte to the last. With --replace they are all that is to run.
///
/// Nothing is fetched and nothing switched now.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  umiakd target set registry.example/team/shop:stable registry.example/team/web:1.0.9
  umiakd target set /media/usb/shop-1.5.0.tar && umiakd update
  umiakd target set /media/usb/maps-1.4.2-0-g7ab223a.arm64v8.tgz && umiakd update")]
pub struct TargetSetArgs {
    /// References, or one file, or packages and their deltas
    #[arg(required = true, value_name = "TARGET")]
    pub targets: Vec<String>,
    /// A package is all that is to run: nothing is merged
    #[arg(long)]
    pub replace: bool,
}

/// Show what an update would do, and whether it fits
///
/// Looks at the target's source and changes nothing. Exit code 3 when it does not fit.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Each step, why it was chosen, and what it takes on each file system
    #[arg(long)]
    pub explain: bool,
}

/// Fetch, stage, switch, test, commit or go back
///
/// Refused before the first byte when it does not fit. Cut off anywhere, the same command goes on. Exit code 6 when the new
/// revision was not well and the device runs what it ran before.
#[derive(Debug, Args)]
pub struct UpdateArgs {
    /// Stop when the revision is staged: the next update switches
    #[arg(long)]
    pub stage_only: bool,
    /// Switch at once, although an app asks to wait
    #[arg(long)]
    pub now: bool,
    /// Try a revision again that failed before
    #[arg(long)]
    pub again: bool,
    /// Kept for scripts: nothing is ever asked
    #[arg(short, long)]
    pub yes: bool,
}

/// Go back to another revision
///
/// To the previous one, or to one that is still stored (`umiakd status` lists them). Nothing is fetched. The target stays as it is, and the
/// revision that was left is not tried again until the target changes.
#[derive(Debug, Args)]
pub struct RollbackArgs {
    /// The revision, or as many of its digits as tell it apart
    pub revision: Option<String>,
}

/// Keep a revision whatever is pruned
#[derive(Debug, Args)]
pub struct RevisionArgs {
    /// The revision, or as many of its digits as tell it apart
    pub revision: String,
}

/// How much history.
#[derive(Debug, Args)]
pub struct HistoryArgs {
    /// The last N entries only
    #[arg(short = 'n', long, value_name = "N")]
    pub last: Option<usize>,
}

/// Show what services print
#[derive(Debug, Args)]
pub struct LogsArgs {
    /// The app; all of them without it
    pub app: Option<String>,
    /// The service; all of the app's without it
    pub service: Option<String>,
    /// Go on as more is printed
    #[arg(short, long)]
    pub follow: bool,
    /// The last N lines of each
    #[arg(short = 'n', long, value_name = "N", default_value_t = 100)]
    pub tail: usize,
}

/// Verify everything that is stored; --repair mends it
///
/// Every byte is read and compared with its digest. Exit code 4 when something is damaged and stays so.
#[derive(Debug, Args)]
pub struct FsckArgs {
    /// Repair what can be: from other copies on the device, from the engine, by a delta, from the registry
    #[arg(long)]
    pub repair: bool,
}

/// Write an image that is stored as an OCI layout, or an app that came in a package as one
///
/// Layers are uncompressed; diff IDs and image ID are the image's own. A package is the one that the app came in, bit for
/// bit of its state and objects.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// APP, APP/SERVICE, or an image ID (the digest of its config) or its first digits; of a package APP or its digest
    pub image: String,
    /// Where to: oci:DIR, oci-archive:FILE, or a directory; a package: pvr:FILE (gzip for .tgz and .gz)
    pub output: String,
}

/// Write everything that helps to help into one file
///
/// Status, history, plan, configuration without secrets, records, logs' ends and the kernel's view of mounts: a tar.gz.
#[derive(Debug, Args)]
pub struct SupportArgs {
    /// The file
    #[arg(short, long, value_name = "FILE", default_value = "umiak-support.tar.gz")]
    pub output: PathBuf,
}

/// Watch over one service: what the OCI engine starts
#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub struct ShimArgs {
    /// For the engine to know
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub words: Vec<OsString>,
}

/// Print a completion script for a shell
#[derive(Debug, Args)]
pub struct CompletionArgs {
    /// The shell
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}

/// The whole grammar.
#[must_use]
pub fn grammar() -> clap::Command {
    Cli::command()
}

/// Reads a command line; `arguments` begins with the program's name.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Parsed<Box<Cli>> {
    program::parse(grammar(), arguments, |matches| Cli::from_arg_matches(matches).map(Box::new))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_is_sound() {
        grammar().debug_assert();
    }

    #[test]
    fn the_first_page_names_every_visible_command() {
        for command in Cli::command().get_subcommands().filter(|command| !command.is_hide_set()) {
            let name = command.get_name();
            let found = TEMPLATE.contains(&format!("\n  {name} "));
            assert!(found, "{name} is not on the first page");
        }
    }
}
