//! The grammar of `umiakd tx`.

use clap::{Args, Subcommand};

/// Put several packages together, and take parts out
///
/// What came of it becomes the target when it is committed, and is installed by the next update: one commit is one revision,
/// planned, tested and taken back as a whole. A transaction survives power cuts; nothing that runs is touched by it.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  umiakd tx begin
  umiakd tx add /media/usb/maps-1.4.2-0-g7ab223a.arm64v8.tgz
  umiakd tx remove web
  umiakd tx commit && umiakd update")]
pub enum TxCommand {
    Begin(TxBeginArgs),
    Add(TxAddArgs),
    Remove(TxRemoveArgs),
    /// Show the state that was put together so far
    ///
    /// The state is canonical JSON on stdout, as it would be installed.
    Show,
    /// Make what was put together the target
    ///
    /// Other apps of the target stay. Refused, and the transaction stays open, where an object is nowhere to be had or the
    /// policy does not accept the whole.
    Commit,
    /// Forget what was put together
    Abort,
}

/// Begin with the current revision, another one, or nothing
#[derive(Debug, Args)]
pub struct TxBeginArgs {
    /// `current`, `empty`, or the digits that a revision begins with
    #[arg(default_value = "current")]
    pub base: String,
}

/// Add a package: what it brings of a container replaces that container
///
/// The package is verified from the first byte to the last before it counts: that it is whole, that the policy accepts it, that
/// it is for this device. A file has to stay where it is until the next update is staged. What comes through standard
/// input may come as slowly as it likes: it is laid aside, updates go on meanwhile, and it is kept in the store once it is
/// whole.
#[derive(Debug, Args)]
pub struct TxAddArgs {
    /// The package; `-`: standard input
    #[arg(value_name = "PACKAGE")]
    pub package: String,
}

/// Take a part out: a container with its configuration and its signature
///
/// With a container goes what its signature speaks for and no other signature is over.
#[derive(Debug, Args)]
pub struct TxRemoveArgs {
    /// NAME of a container; `_sigs/NAME.json`: a signature and what it speaks for; `_config/NAME`: a configuration
    #[arg(value_name = "PART")]
    pub part: String,
}
