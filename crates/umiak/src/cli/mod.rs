//! The command line: verbs, flags and environment variables are pvr's, help and words are ours.
//!
//! A script written for pvr runs with umiak under the name `pvr`: same verbs and aliases (where pvr's own are not
//! ambiguous), same flags in front of and behind the verb, long flags with one dash or two. Verbs that need an account at
//! the hub, or a network to search, are known and answered ([`later`]). Nothing is done here: arguments become values.
#![allow(rustdoc::broken_intra_doc_links, reason = "comments on arguments are help pages: `[repeat]` is no link")]

mod apart;
mod app;
mod carry;
mod compose;
mod delta;
mod device;
mod image;
pub mod later;
mod named;
mod one_dash;
mod pkg;
mod repository;
mod sig;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::FalseyValueParser;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use umiak_ui::TalkArgs;
use umiak_ui::program::{self, EXIT_CODES, Parsed};

pub use app::{
    AddArgs as AppAddArgs, AppCommand, ImageArgs, InstallArgs, RuntimeArgs, SourceArgs, SourceType, UpdateArgs,
};
pub use carry::{BundleArgs, CheckArgs, UnpackArgs};
pub use compose::{ComposeCommand, FormatArg, PublishArgs as ComposePublishArgs, RegistryArgs, ShowArgs};
pub use delta::{ApplyArgs, DeltaCommand, EffortArg, InspectArgs, MakeArgs, PublishArgs, plain_file};
pub use device::PostArgs;
pub use image::{CopyArgs, ImageCommand, ImageDiffArgs, ImageInspectArgs, ImageMeasureArgs, LsArgs, MeasureFormat};
pub use pkg::{PkgBuildArgs, PkgCommand, PkgDiffArgs, PkgInitArgs, PkgLsArgs, PkgVerifyArgs};
pub use repository::{
    AddArgs, CheckoutArgs, CloneArgs, CommitArgs, DeployArgs, ExportArgs, FromArgs, ImportArgs, InitArgs, JsonArgs,
};
pub use sig::{
    ExportArg, KeysCommand, KeysExportArgs, KeysNewArgs, KindArg, SigAddArgs, SigArgs, SigCommand, SigLsArgs,
    SigUpdateArgs, SigVerifyArgs, SigningArgs, TrustArgs,
};

const ABOUT: &str = "umiak carries container apps to Linux edge devices.";

const LONG_ABOUT: &str = "\
umiak carries container apps to Linux edge devices.

A device is a directory: one JSON document says which files belong to it, and every app is a subdirectory with a \
squashfs image made from a container image. When the container image changes, a patch holds only what changed.";

/// The page of `umiak --help`: commands in the order in which they are met, not in that of the alphabet.
const TEMPLATE: &str = "\
{about}

{usage-heading} {usage}

Apps:
  app add         Make an app from a container image
  app update      Follow the image: as a patch, or as a new base
  app install     Make an app's files again from its src.json
  app ls          List the apps
  app info        Show one app
  app rm          Remove an app

Device directory:
  init            Make this directory a device
  status          Show what differs from the last commit
  diff            Show the same as a JSON merge patch
  add             Track new files
  commit          Record the tracked files
  checkout        Write the committed files back (also: reset, co)
  json            Print the state of the files as they are

To and from elsewhere:
  clone           Make a device directory from another one, a package or a Pantavisor device
  get             Take files of another device, replacing ours
  merge           Take files of another device, merging JSON
  post            Give a Pantavisor device the committed state, and watch it run
  export          Write a package file
  import          Read a package file
  deploy          Put packages together into one directory, as a device has it

Signatures:
  sig add         Sign an app, or any part of the state
  sig ls          Show what is signed, as pvr's JSON
  sig update      Sign again what was signed
  sig verify      Verify every signature, and say what is covered
  keys new        Make a signing key, an authority, and the key's certificate from it
  keys export     Print what devices need to know of a key

Packages for every platform:
  pkg init        Begin to make packages of an image: one source document a platform
  pkg build       Make the packages of all platforms, signed
  pkg verify      Check a package as a device does that installs it
  pkg ls          List what is in packages
  pkg diff        Show what differs between two packages

Deltas:
  delta make      Make the delta that leads from one image or file to another
  delta apply     Make the target from the base and the delta, bit for bit
  delta inspect   Show what a delta reuses, patches and carries
  delta publish   Push deltas to a registry, beside the target

Images:
  copy            Copy an image or artifact between registries, layouts and archives
  image ls        List the tags of a repository or layout
  image inspect   Show what an image or artifact is made of
  image diff      Show what differs between two images
  image measure   Say how much space the layers of images take on a device

Compose Apps:
  compose publish Publish a compose project as an app, its images pinned and measured
  compose show    Show what is in an app, per service and architecture
  compose check   Tell whether apps fit on a device, before the first byte is fetched
  compose bundle  Write an app with all its images to one file, for a device without network
  compose unpack  Unpack a bundle: the project's directory, and an archive for docker load

More:
  demo            Show all of it in a temporary directory, without network
  completion      Print a completion script for a shell
  version         Print what this is
  help            Explain a command

{options}{after-help}
";

/// Everything on the command line.
#[derive(Debug, Parser)]
#[command(name = "umiak", version, about = ABOUT, long_about = LONG_ABOUT, after_help = EXIT_CODES)]
#[command(help_template = TEMPLATE, max_term_width = 100, arg_required_else_help = true)]
pub struct Cli {
    #[command(flatten)]
    pub talk: TalkArgs,
    #[command(flatten)]
    pub world: WorldArgs,
    #[command(subcommand)]
    pub command: Command,
}

/// Where things are; in front of the verb, as with pvr.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Options (in front of the command)")]
pub struct WorldArgs {
    /// Where credentials, the object pool and caches are [default: ~/.pvr]
    #[arg(short, long, value_name = "DIR", env = "PVR_CONFIG_DIR", hide_env_values = true)]
    pub config_dir: Option<PathBuf>,
    /// Proxy for registries and devices: `system` (as the environment says), `no`, or a URL
    #[arg(long, value_name = "PROXY", env = "PVR_HTTP_PROXY", hide_env_values = true, default_value = "system")]
    pub http_proxy: String,
    /// Accept registries and devices without a valid certificate, and registries over plain HTTP
    #[arg(short, long, env = "PVR_INSECURE", hide_env_values = true, value_parser = FalseyValueParser::new())]
    pub insecure: bool,
    /// Say each step, as -v does
    #[arg(short, long, env = "PVR_DEBUG", hide_env_values = true, value_parser = FalseyValueParser::new())]
    pub debug: bool,
    /// Token for devices and hubs that ask for one, in `clone`, `get`, `merge` and `post`
    #[arg(short, long, value_name = "TOKEN", env = "PVR_ACCESSTOKEN", hide_env_values = true)]
    pub access_token: Option<String>,
    /// The hub; kept for the commands that will need it
    #[arg(short, long, value_name = "URL", env = "PVR_BASEURL", hide_env_values = true, hide = true)]
    pub baseurl: Option<String>,
    /// The hub's repositories; kept for the commands that will need it
    #[arg(short, long, value_name = "URL", env = "PVR_REPO_BASEURL", hide_env_values = true, hide = true)]
    pub repo_baseurl: Option<String>,
    /// Accepted for pvr's scripts: umiak never replaces itself
    #[arg(long, env = "PVR_DISABLE_SELF_UPGRADE", hide_env_values = true, hide = true)]
    #[arg(value_parser = FalseyValueParser::new())]
    pub disable_self_upgrade: bool,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make, update, list and remove apps
    #[command(subcommand, visible_alias = "ap")]
    App(AppCommand),
    Init(InitArgs),
    /// Show what differs from the last commit
    ///
    /// One line per file: `A` added, `C` changed, `D` removed, `?` not tracked. Files whose size, times and inode are
    /// those of the last look are not read again.
    Status,
    /// Show what differs from the last commit as a JSON merge patch
    ///
    /// The patch of RFC 7386 that `commit` would apply: changed values, and `null` for what is gone.
    Diff,
    Add(AddArgs),
    Commit(CommitArgs),
    Checkout(CheckoutArgs),
    Json(JsonArgs),
    Clone(CloneArgs),
    /// Take files of another device, replacing ours
    ///
    /// Every key of the other state replaces the key of this one; keys that only this one has stay. Objects are verified
    /// before anything changes. The files themselves change with `checkout`.
    Get(FromArgs),
    /// Take files of another device, merging JSON
    ///
    /// As `get`, but JSON documents are merged member by member, as RFC 7386 has it.
    #[command(alias = "m")]
    Merge(FromArgs),
    Post(PostArgs),
    Export(ExportArgs),
    Import(ImportArgs),
    Deploy(DeployArgs),
    Sig(SigArgs),
    /// Make and export signing keys
    #[command(subcommand)]
    Keys(KeysCommand),
    /// List, show, compare and measure container images
    #[command(subcommand)]
    Image(ImageCommand),
    Copy(CopyArgs),
    /// Make, apply, inspect and publish binary deltas
    #[command(subcommand)]
    Delta(DeltaCommand),
    /// Publish, show, check and carry Compose Apps
    #[command(subcommand)]
    Compose(ComposeCommand),
    /// Make packages for every platform, verify them, look into them
    #[command(subcommand)]
    Pkg(PkgCommand),
    Demo(DemoArgs),
    #[command(hide = true)]
    Kiosk(KioskArgs),
    Completion(CompletionArgs),
    /// Print what this is
    Version,
}

/// Show all of it in a temporary directory, without network
///
/// Builds two releases of a small container image on this machine, makes an app of the first, updates it to the second
/// as a patch, adds an app that extends it, exports a package, imports it elsewhere and compares what a device would see
/// with the second release, file by file. Then a device gets both releases as a compose app: it refuses what does not fit,
/// updates by a delta, and goes on after the power was cut. As root, where crun or runc is, containers run there, and a bad
/// release is taken back.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Keep what was made in this directory, which must be empty or absent
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
}

/// Be the demo's application: what runs in the containers of its images
#[derive(Debug, Args)]
pub struct KioskArgs {
    /// Say whether it would open, and end
    #[arg(long)]
    pub probe: bool,
}

/// Print a completion script for a shell
///
/// For bash: `umiak completion bash > ~/.local/share/bash-completion/completions/umiak`.
#[derive(Debug, Args)]
pub struct CompletionArgs {
    /// The shell
    pub shell: Shell,
}

/// A shell with a completion script.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// What a command line asks for.
pub enum Asked {
    /// A command to run.
    Command(Box<Cli>),
    /// A verb of pvr's that umiak answers with advice.
    Later(TalkArgs, &'static later::Verb),
}

/// The whole grammar, the verbs that come later included.
#[must_use]
pub fn grammar() -> clap::Command {
    later::VERBS.iter().fold(Cli::command(), |grammar, verb| grammar.subcommand(verb.grammar()))
}

/// Reads a command line; `arguments` begins with the program's name.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Parsed<Asked> {
    let grammar = grammar();
    let arguments = one_dash::as_two(arguments.into_iter().collect(), &grammar);
    program::parse(grammar.clone(), arguments, |matches| match matches.subcommand_name().and_then(later::named) {
        Some(verb) => Ok(Asked::Later(TalkArgs::from_arg_matches(matches)?, verb)),
        None => {
            apart::check(&grammar, matches)?;
            Ok(Asked::Command(Box::new(Cli::from_arg_matches(matches)?)))
        }
    })
}

#[cfg(test)]
mod tests {
    use umiak_ui::{Diagnostic, usage_diagnostic};

    use super::*;

    #[test]
    fn the_grammar_is_sound() {
        grammar().debug_assert();
    }

    #[test]
    fn the_first_page_names_every_visible_command() {
        let visible: Vec<_> = Cli::command()
            .get_subcommands()
            .filter(|command| {
                !["app", "delta", "image", "compose", "pkg", "sig", "keys"].contains(&command.get_name())
                    && !command.is_hide_set()
            })
            .map(|command| command.get_name().to_owned())
            .collect();
        assert!(visible.len() > 15);
        for name in visible {
            assert!(TEMPLATE.contains(&format!("\n  {name} ")), "{name} is not on the first page");
        }
        for command in AppCommand::augment_subcommands(clap::Command::new("app")).get_subcommands() {
            assert!(TEMPLATE.contains(&format!("\n  app {} ", command.get_name())));
        }
        for command in ImageCommand::augment_subcommands(clap::Command::new("image")).get_subcommands() {
            assert!(TEMPLATE.contains(&format!("\n  image {} ", command.get_name())));
        }
        for command in ComposeCommand::augment_subcommands(clap::Command::new("compose")).get_subcommands() {
            assert!(TEMPLATE.contains(&format!("\n  compose {} ", command.get_name())));
        }
        for command in SigCommand::augment_subcommands(clap::Command::new("sig")).get_subcommands() {
            assert!(TEMPLATE.contains(&format!("\n  sig {} ", command.get_name())));
        }
        for command in KeysCommand::augment_subcommands(clap::Command::new("keys")).get_subcommands() {
            assert!(TEMPLATE.contains(&format!("\n  keys {} ", command.get_name())));
        }
        for command in PkgCommand::augment_subcommands(clap::Command::new("pkg")).get_subcommands() {
            assert!(TEMPLATE.contains(&format!("\n  pkg {} ", command.get_name())));
        }
        for command in DeltaCommand::augment_subcommands(clap::Command::new("delta")).get_subcommands() {
            assert!(TEMPLATE.contains(&format!("\n  delta {} ", command.get_name())));
        }
    }

    fn told(line: &str) -> Diagnostic {
        match parse(line.split(' ').map(OsString::from)) {
            Parsed::Wrong(error) => usage_diagnostic(&error),
            _ => panic!("`{line}` was understood"),
        }
    }

    #[test]
    fn a_wrong_word_brings_the_one_that_was_meant() {
        let diagnostic = told("umiak comit");
        assert_eq!(diagnostic.message, "there is no command `comit`");
        assert_eq!(diagnostic.hints[0], "did you mean `commit`?");
        assert_eq!(diagnostic.exit, 2);
        assert_eq!(told("umiak app add --fro x y").hints[0], "did you mean `--from`?");
    }

    #[test]
    fn a_missing_argument_is_named_with_the_usage() {
        let diagnostic = told("umiak app add nginx");
        assert_eq!(diagnostic.message, "missing: --from <IMAGE>");
        assert!(diagnostic.hints[0].starts_with("usage is umiak app add"), "{:?}", diagnostic.hints);
    }

    #[test]
    fn other_complaints_keep_the_parser_s_words_on_one_line() {
        let diagnostic = told("umiak app update --patch --newbase x");
        assert!(diagnostic.message.contains("cannot be used with"), "{}", diagnostic.message);
        assert!(!diagnostic.message.contains('\n'));
    }
}
