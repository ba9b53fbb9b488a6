//! Arguments of the verbs that talk to a Pantavisor device.

use clap::Args;

use super::named::ADDRESSES;

/// Give a Pantavisor device the committed state as its new revision, and watch it run
///
/// Only objects that the device does not have are sent; what is cut off is gone on with by the same command. On a control
/// socket, space is compared before the first byte. The device tests the revision and goes back by itself when it
/// does not run: then the exit code is 6.
#[derive(Debug, Args)]
#[command(alias = "push", after_long_help = ADDRESSES)]
pub struct PostArgs {
    /// The device [default: the one posted to or taken from last; on a device, its own control socket]
    #[arg(value_name = "DEVICE")]
    pub device: Option<String>,
    /// What this is about [default: the last commit's message]
    #[arg(short = 'm', long = "commit-msg", visible_alias = "message", value_name = "TEXT")]
    pub message: Option<String>,
    /// Further members of what is posted, a JSON object
    #[arg(short, long, value_name = "JSON")]
    pub envelope: Option<String>,
    /// The revision's name: locals/NAME on a control socket, the next number elsewhere [default: a new one]
    #[arg(long, value_name = "REVISION", allow_hyphen_values = true)]
    pub rev: Option<String>,
    /// Send every object, also those that the device has: it compares them, and mends what is damaged
    #[arg(short, long)]
    pub force: bool,
    /// Where space is short, let the device delete the revisions that it does not need
    #[arg(long)]
    pub gc: bool,
    /// Put the revision there and do not run it; control sockets only
    #[arg(long)]
    pub no_run: bool,
    /// Seconds to watch the device; 0 for not at all
    #[arg(long, value_name = "SECONDS", default_value_t = 900)]
    pub wait: u64,
    /// Seconds to come back to a device that is busy with something else
    #[arg(long, value_name = "SECONDS", default_value_t = 900)]
    pub busy: u64,
}
