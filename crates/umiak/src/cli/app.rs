//! Arguments of `umiak app …`.

use std::path::PathBuf;

use clap::builder::FalseyValueParser;
use clap::{Args, Subcommand, ValueEnum};

/// What to do with apps.
#[derive(Debug, Subcommand)]
pub enum AppCommand {
    Add(Box<AddArgs>),
    Update(Box<UpdateArgs>),
    Install(InstallArgs),
    /// List the apps
    #[command(visible_alias = "l")]
    Ls,
    /// Show one app
    ///
    /// The app's src.json, with what its files are and weigh on stderr.
    Info(NameArgs),
    /// Remove an app
    ///
    /// Its directory goes; `_config/APP` and `_sigs/APP.json` stay, as with pvr. The committed state changes with the next
    /// commit. An app that others extend is not removed.
    Rm(NameArgs),
}

/// What a source is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SourceType {
    /// A container image
    Docker,
    /// An app of another device directory or package: DEVICE#APP
    Pvr,
    /// A root file system: a directory or a tar archive
    Rootfs,
}

/// Where a container image comes from.
#[derive(Debug, Clone, Args)]
pub struct SourceArgs {
    /// What --from is: `docker` (an image), `pvr` (DEVICE#APP) or `rootfs` (a directory or tar archive)
    #[arg(short = 't', long = "type", value_name = "TYPE", env = "PVR_SOURCE_TYPE", hide_env_values = true)]
    #[arg(hide_possible_values = true)]
    pub source_type: Option<SourceType>,
    #[command(flatten)]
    pub images: ImageArgs,
}

/// Which images are meant, and how registries are reached.
#[derive(Debug, Clone, Args)]
pub struct ImageArgs {
    /// Which of an image's platforms, `linux/arm64` or `linux/arm/v7`
    #[arg(long, value_name = "PLATFORM", env = "PVR_PLATFORM", hide_env_values = true)]
    pub platform: Option<String>,
    /// Where to look for a bare reference, in this order: `remote`, `local` (the Docker daemon)
    #[arg(long, value_name = "LIST", env = "PVR_SOURCE", hide_env_values = true)]
    pub source: Option<String>,
    /// User name for the registry [default: what `docker login` stored]
    #[arg(short, long, value_name = "NAME", env = "PVR_REGISTRY_USERNAME", hide_env_values = true)]
    pub username: Option<String>,
    /// Password for the registry
    #[arg(short, long, value_name = "WORD", env = "PVR_REGISTRY_PASSWORD", hide_env_values = true)]
    pub password: Option<String>,
}

const SOURCES: &str = "\
Sources:
  nginx:1, host:5000/team/app@sha256:…   a registry, then the Docker daemon (--source)
  docker://REF, docker-daemon:REF        only the one or only the other
  oci:DIR[:TAG], oci-archive:FILE        an OCI image layout
  docker-archive:FILE                    what `docker save` wrote
  DIR or FILE.tar with --type rootfs     a root file system

Examples:
  umiak app add --group=data --status-goal=MOUNTED --from=nginx:stable-alpine nginx
  umiak app add --base nginx --from=registry.example/hello:latest hello
  umiak app add --from oci:./layout:1 mycroft";

/// Make an app from a container image
///
/// Writes a directory with root.squashfs, src.json, run.json and lxc.container.conf, ready to be added and committed.
/// With --base the app is an extension: root.ovl.squashfs holds only what its image adds to the base app's.
#[derive(Debug, Args)]
#[command(after_long_help = SOURCES)]
pub struct AddArgs {
    /// The app's name: a directory here
    #[arg(value_name = "APP")]
    pub name: String,
    /// The image
    #[arg(long, value_name = "IMAGE", env = "PVR_FROM", hide_env_values = true)]
    pub from: String,
    #[command(flatten)]
    pub source: SourceArgs,
    /// Extend this app: keep only what the image adds to it
    #[arg(long, value_name = "APP", env = "PVR_APP_ADD_BASE", hide_env_values = true)]
    pub base: Option<String>,
    /// Make the app again from these flags if it is there already
    #[arg(long)]
    pub force: bool,
    /// Ignore files that differ from the base app's in their time alone
    #[arg(long, requires = "base")]
    pub ignore_mtime: bool,
    #[command(flatten)]
    pub runtime: RuntimeArgs,
}

/// How an app runs on the device.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "On the device")]
pub struct RuntimeArgs {
    /// Group that the app belongs to, such as `data`, `root`, `platform`, `app`
    #[arg(long, value_name = "GROUP", env = "PVR_GROUP", hide_env_values = true)]
    pub group: Option<String>,
    /// Run level (older devices; use --group)
    #[arg(long, value_name = "LEVEL", env = "PVR_RUNLEVEL", hide_env_values = true, conflicts_with = "group")]
    pub runlevel: Option<String>,
    /// What a change of the app restarts: `system` or `container`
    #[arg(long, value_name = "POLICY", env = "PVR_RESTART_POLICY", hide_env_values = true)]
    pub restart_policy: Option<String>,
    /// What the device waits for: `MOUNTED`, `STARTED` or `READY`
    #[arg(long, value_name = "GOAL", env = "PVR_STATUS_GOAL", hide_env_values = true)]
    pub status_goal: Option<String>,
    /// Keep a path across restarts: PATH:permanent, PATH:revision or PATH:boot, with @DISK or without [repeat]
    #[arg(long = "volume", value_name = "PATH:MODE")]
    pub volumes: Vec<String>,
    /// Template argument [repeat]
    #[arg(long = "arg", value_name = "NAME=VALUE")]
    pub arguments: Vec<String>,
    /// File with template arguments as a JSON object
    #[arg(long, value_name = "FILE")]
    pub arg_json: Option<PathBuf>,
    /// Override a value of the image's configuration, such as Entrypoint=/bin/sh [repeat]
    #[arg(long = "config", value_name = "NAME=VALUE")]
    pub config: Vec<String>,
    /// File with overrides of the image's configuration as a JSON object
    #[arg(long, value_name = "FILE", env = "PVR_CONFIG_JSON", hide_env_values = true)]
    pub config_json: Option<PathBuf>,
    /// mksquashfs options for compressor and block size [default: -comp xz]
    #[arg(short = 'o', long, value_name = "OPTIONS", env = "PVR_FORMAT_OPTIONS", hide_env_values = true)]
    #[arg(allow_hyphen_values = true)]
    pub format_options: Option<String>,
}

/// Follow the image: as a patch, or as a new base
///
/// Looks up the app's image again. When it changed: --patch keeps root.squashfs and writes what changed since into
/// root.ovl.squashfs; --newbase writes a new root.squashfs and drops the patch. Without either, an app that has a patch
/// gets a new patch and any other app a new base. When nothing changed, nothing is done. With --dry-run both choices
/// are worked out and their costs shown.
///
/// Apps that extend this one are made again when its base changes.
#[derive(Debug, Args)]
pub struct UpdateArgs {
    /// The app
    #[arg(value_name = "APP")]
    pub name: String,
    /// Keep root.squashfs, put the difference into root.ovl.squashfs
    #[arg(long, env = "PVR_APP_UPDATE_PATCH", hide_env_values = true, value_parser = FalseyValueParser::new())]
    pub patch: bool,
    /// Fold everything into a new root.squashfs
    #[arg(long, env = "PVR_APP_UPDATE_PATCH_CLEAN", hide_env_values = true, value_parser = FalseyValueParser::new())]
    #[arg(conflicts_with = "patch")]
    pub newbase: bool,
    /// Leave files out of the patch that differ in their time alone
    #[arg(long)]
    pub ignore_mtime: bool,
    /// Follow this image from now on
    #[arg(long, value_name = "IMAGE", env = "PVR_FROM", hide_env_values = true)]
    pub from: Option<String>,
    /// Extend this app from now on
    #[arg(long, value_name = "APP", env = "PVR_APP_UPDATE_BASE", hide_env_values = true)]
    pub base: Option<String>,
    #[command(flatten)]
    pub source: SourceArgs,
}

/// Make an app's files again from its src.json
///
/// Renders run.json and lxc.container.conf anew; root.squashfs and root.ovl.squashfs only when they are missing or are
/// not those of the images that src.json names.
#[derive(Debug, Args)]
pub struct InstallArgs {
    /// The app
    #[arg(value_name = "APP")]
    pub name: String,
    #[command(flatten)]
    pub source: SourceArgs,
}

/// One app by name.
#[derive(Debug, Args)]
pub struct NameArgs {
    /// The app
    #[arg(value_name = "APP")]
    pub name: String,
}
