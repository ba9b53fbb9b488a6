//! Arguments of `umiak compose`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::app::ImageArgs;
use super::carry::{BundleArgs, CheckArgs, UnpackArgs};

/// The verbs of Compose Apps.
#[derive(Debug, Subcommand)]
pub enum ComposeCommand {
    Publish(PublishArgs),
    Show(ShowArgs),
    Check(CheckArgs),
    Bundle(BundleArgs),
    Unpack(UnpackArgs),
}

/// How registries are reached.
#[derive(Debug, Clone, Args)]
pub struct RegistryArgs {
    /// User name for the registry [default: what `docker login` stored]
    #[arg(short, long, value_name = "NAME", env = "PVR_REGISTRY_USERNAME", hide_env_values = true)]
    pub username: Option<String>,
    /// Password for the registry
    #[arg(short, long, value_name = "WORD", env = "PVR_REGISTRY_PASSWORD", hide_env_values = true)]
    pub password: Option<String>,
}

impl RegistryArgs {
    /// The same for commands that look at images.
    #[must_use]
    pub fn images(&self) -> ImageArgs {
        let (username, password) = (self.username.clone(), self.password.clone());
        ImageArgs { platform: None, source: None, username, password }
    }
}

const PUBLISH: &str = "\
Formats:
  umiak              one that every registry takes and existing devices read; layers measured for umiak, too
  foundries          the same without umiak's measures, as composectl publishes it
  foundries-legacy   with layers indexes, as compose-publish does; registries from distribution 2.8 on refuse it

Examples:
  umiak compose publish registry.example/team/shop:1.5.0
  umiak compose publish registry.example/team/shop:1.5.0 --arch amd64,arm64 --digest-file shop.digest";

/// Publish a compose project as an app, its images pinned and measured
///
/// Reads the compose file here, asks for each image once and pins it by digest; keeps comments, anchors and order. The
/// project becomes an archive, the same whoever makes it; `.composeappignores` says what stays out. Every layer is
/// measured, so that a device can tell before the first byte whether the app fits. The tag is written last.
#[derive(Debug, Args)]
#[command(after_long_help = PUBLISH)]
pub struct PublishArgs {
    /// Where the app goes: REGISTRY/NAME:TAG, or oci:DIR:TAG
    #[arg(value_name = "APP")]
    pub app: String,
    /// The compose file; several are merged, as Compose does it [default: compose.yaml, docker-compose.yml, …]
    #[arg(short, long = "file", value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Only for these architectures, such as `amd64,arm64` or `arm/v7` [default: all that every service has]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub arch: Vec<String>,
    /// Whose readers the app is for
    #[arg(long, value_name = "FORMAT", default_value = "umiak", hide_possible_values = true)]
    pub format: FormatArg,
    /// Digests that are known: a file with one NAME@sha256:… a line, for images that are named without a digest
    #[arg(long, value_name = "FILE")]
    pub pinned_images: Option<PathBuf>,
    /// Layers metadata that was measured before (`umiak image measure`): no layer is fetched
    #[arg(short, long, value_name = "FILE")]
    pub layers_meta: Option<PathBuf>,
    /// Leave out what each layer takes in the store of a device, which costs compressing it: devices then know only a bound
    #[arg(long)]
    pub no_device: bool,
    /// Make and publish the deltas from this release, too; a tag alone is one of APP [repeat]
    #[arg(long, value_name = "APP")]
    pub delta_from: Vec<String>,
    /// Write the app's digest to this file
    #[arg(short, long, value_name = "FILE")]
    pub digest_file: Option<PathBuf>,
    #[command(flatten)]
    pub registry: RegistryArgs,
}

/// Whose readers an app is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FormatArg {
    /// Every registry takes it, existing devices read it
    Umiak,
    /// As composectl publishes it
    Foundries,
    /// As compose-publish does
    FoundriesLegacy,
}

/// Show what is in an app, per service and architecture
///
/// Sizes are what is fetched, and what the layers take in the engine's store where the app has layers metadata. Apps that
/// others published are shown alike.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// The app: REGISTRY/NAME:TAG or @sha256:…, oci:DIR:TAG, a bundle's file
    #[arg(value_name = "APP")]
    pub app: String,
    /// Print the manifest as it is
    #[arg(long, conflicts_with_all = ["layers", "compose"])]
    pub manifest: bool,
    /// Print the compose file as it is
    #[arg(long, conflicts_with = "layers")]
    pub compose: bool,
    /// Show every layer
    #[arg(long)]
    pub layers: bool,
    /// Only these architectures, such as `amd64,arm64` or `arm/v7`
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub arch: Vec<String>,
    #[command(flatten)]
    pub registry: RegistryArgs,
}
