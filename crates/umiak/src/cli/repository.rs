//! Arguments of the verbs that work on a device directory.

use std::path::PathBuf;

use clap::Args;
use clap::builder::FalseyValueParser;

use super::named::{ANYWHERE, DIRECTORIES};

/// Make this directory a device
///
/// Creates `.pvr/` with an empty state. Objects are kept in a pool that all device directories of a user share, unless
/// --objects names another one.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// The state's format
    #[arg(short, long, value_name = "SPEC", default_value = "pantavisor-service-system@1")]
    pub spec: String,
    /// Directory of the object pool [default: objects in the configuration directory]
    #[arg(short, long, value_name = "DIR", env = "PVR_OBJECTS_DIR", hide_env_values = true)]
    pub objects: Option<PathBuf>,
}

/// Track new files
///
/// Files become part of the device with the next commit. Without a pattern, all files that are not tracked yet; a
/// pattern is a path below this directory in which `*` and `?` stand for anything but a slash. Private keys are refused:
/// whoever has the device's package would have them.
#[derive(Debug, Args)]
#[command(alias = "a")]
pub struct AddArgs {
    /// Which files
    #[arg(value_name = "PATTERN")]
    pub patterns: Vec<String>,
    /// Keep JSON files as they are, byte for byte, instead of as part of the state
    #[arg(short, long, env = "PVR_ADD_RAW", hide_env_values = true, value_parser = FalseyValueParser::new())]
    pub raw: bool,
    /// Take private keys, too
    #[arg(long)]
    pub private_keys: bool,
}

/// Record the tracked files
///
/// Changed files go into the object pool, the state is written anew, files that are gone leave it. Files that are not
/// tracked stay out: `umiak add` them first.
#[derive(Debug, Args)]
#[command(alias = "ci")]
pub struct CommitArgs {
    /// What this is about
    #[arg(short, long, value_name = "TEXT", default_value = "** No commit message **")]
    pub message: String,
    /// Also write a new checkpoint.json, so that the device keeps this revision to fall back to
    #[arg(short, long)]
    pub checkpoint: bool,
}

/// Write the committed files back
///
/// Every file of the state is written as it was committed, and files that were only added are forgotten. Files that are
/// not in the state are left alone.
#[derive(Debug, Args)]
#[command(visible_aliases = ["reset", "co"], alias = "r")]
pub struct CheckoutArgs {
    /// Write JSON files in canonical form
    #[arg(short, long, env = "PVR_CANONICAL_JSON", hide_env_values = true, value_parser = FalseyValueParser::new())]
    pub canonical: bool,
    /// Link files to the object pool instead of copying them, read-only; implies --canonical
    #[arg(long, alias = "hl")]
    pub hardlink: bool,
}

/// Print the state of the files as they are
#[derive(Debug, Args)]
#[command(alias = "j")]
pub struct JsonArgs {
    /// In canonical form: one line, keys sorted, as it is signed and exported
    #[arg(short, long)]
    pub canonical: bool,
}

/// What `get` and `merge` take from.
#[derive(Debug, Args)]
#[command(after_long_help = ANYWHERE)]
pub struct FromArgs {
    /// Directory, package file or address, with #PARTS or without [default: the one used last]
    #[arg(value_name = "DEVICE")]
    pub from: Option<String>,
}

/// Make a device directory from another one, a package or a Pantavisor device
#[derive(Debug, Args)]
#[command(alias = "c", after_long_help = ANYWHERE)]
pub struct CloneArgs {
    /// Directory, package file or address, with #PARTS or without
    #[arg(value_name = "DEVICE")]
    pub from: String,
    /// Directory to make [default: the device's own name]
    #[arg(value_name = "DIR")]
    pub directory: Option<PathBuf>,
    /// Directory of the object pool [default: objects in the configuration directory]
    #[arg(short, long, value_name = "DIR", env = "PVR_OBJECTS_DIR", hide_env_values = true)]
    pub objects: Option<PathBuf>,
    /// Write JSON files in canonical form
    #[arg(short, long, env = "PVR_CANONICAL_JSON", hide_env_values = true, value_parser = FalseyValueParser::new())]
    pub canonical: bool,
}

/// Write a package file
///
/// A tar archive of the committed state and its objects, `json` first; compressed when the name ends in .gz or .tgz.
/// The same state gives the same bytes, whoever exports it and when.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// The file, or `-` for stdout
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Only these parts, `app,_config/app`; a part's signature and configuration are named as parts of their own
    #[arg(short, long, value_name = "PARTS", value_delimiter = ',')]
    pub parts: Vec<String>,
}

/// Read a package file
///
/// The package's state replaces the committed one, as with pvr; with --merge its keys are laid over it instead. Every
/// object is verified before anything changes. The files themselves change with `checkout`.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// The package
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Keep what the package does not have
    #[arg(long)]
    pub merge: bool,
}

/// Put packages together into one directory, as a device has it
///
/// Each device or package is laid over what is there, files that none of them has are deleted, and files are linked to
/// the object pool. `.pv/` gets the links that the boot loader follows.
#[derive(Debug, Args)]
#[command(after_long_help = DIRECTORIES)]
pub struct DeployArgs {
    /// The directory to fill
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
    /// Directories or package files, with #PARTS or without [default: the device directory we are in]
    #[arg(value_name = "DEVICE")]
    pub from: Vec<String>,
    /// Replace JSON documents instead of merging them
    #[arg(short, long)]
    pub nomerge: bool,
    /// Directory of the object pool [default: objects in the configuration directory]
    #[arg(short, long, value_name = "DIR", env = "PVR_OBJECTS_DIR", hide_env_values = true)]
    pub objects: Option<PathBuf>,
}
