//! Arguments of `umiak compose check`, `bundle` and `unpack`: whether an app fits, and carrying it without a network.

use std::path::PathBuf;

use clap::Args;

use super::EffortArg;
use super::compose::RegistryArgs;

const CHECK: &str = "\
The device profile is JSON; docs/formats/device-profile.md has all of it:
  {\"name\": \"edge-small\", \"platform\": \"linux/arm64\", \"watermark\": 80,
   \"file-systems\": [{\"name\": \"/\", \"kind\": \"ext4\", \"size\": \"1 GiB\", \"free\": \"300 MiB\"}],
   \"stored\": [\"registry.example/team/shop:1.4.2\"]}

Exit codes: 0 it fits, 3 it does not.";

/// Tell whether apps fit on a device, before the first byte is fetched
///
/// Says what is fetched, and for each file system how much the update takes at its peak and afterwards, step by step
/// with --explain. All apps that are named are one update; layers that they share count once. Where an app has no
/// measures, figures are bounds, and said to be.
#[derive(Debug, Args)]
#[command(after_long_help = CHECK)]
pub struct CheckArgs {
    /// The apps: REGISTRY/NAME:TAG, oci:DIR:TAG, a bundle's file
    #[arg(value_name = "APP", required = true)]
    pub apps: Vec<String>,
    /// The device profile
    #[arg(long, value_name = "FILE")]
    pub device: PathBuf,
    /// An app that is on the device and runs, beside those of the profile; a tag alone is a release of APP [repeat]
    #[arg(long, value_name = "APP")]
    pub from: Vec<String>,
    /// Show what is taken and freed where, and why
    #[arg(long)]
    pub explain: bool,
    /// Count on nothing that no app uses being removed first
    #[arg(long)]
    pub no_reclaim: bool,
    /// Remove afterwards what the update replaced
    #[arg(long)]
    pub prune: bool,
    #[command(flatten)]
    pub registry: RegistryArgs,
}

/// Write an app with all its images to one file, for a device without network
///
/// The file is a tar archive: an OCI image layout, loadable by `docker load`, with the project's directory in apps/. A
/// compose file in there names the images as they are after loading, so that `docker compose up` asks no registry.
///
/// With --from, layers are left out where deltas from what the device has are smaller. `docker load` cannot read that
/// file: `umiak compose unpack` on the device makes what it can read.
#[derive(Debug, Args)]
pub struct BundleArgs {
    /// The app: REGISTRY/NAME:TAG, oci:DIR:TAG
    #[arg(value_name = "APP")]
    pub app: String,
    /// The file
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// An earlier release that the device has, or may have; a tag alone is one of APP [repeat]
    #[arg(long, value_name = "APP")]
    pub from: Vec<String>,
    /// For this platform only [repeat] [default: all that the app is made for]
    #[arg(long, value_name = "PLATFORM")]
    pub platform: Vec<String>,
    /// How hard deltas are pressed
    #[arg(long, value_name = "EFFORT", default_value = "smallest")]
    pub effort: EffortArg,
    #[command(flatten)]
    pub registry: RegistryArgs,
}

/// Unpack a bundle: the project's directory, and an archive for `docker load`
///
/// Of a bundle with deltas the images are made again, from the releases that --from names, or from what the Docker daemon
/// has. Every layer is verified.
#[derive(Debug, Args)]
pub struct UnpackArgs {
    /// The bundle's file
    #[arg(value_name = "FILE")]
    pub bundle: PathBuf,
    /// The directory that is made
    #[arg(short, long, value_name = "DIR")]
    pub output: PathBuf,
    /// A release that is there: REGISTRY/NAME:TAG, oci:DIR:TAG, a bundle's file [repeat] [default: the Docker daemon]
    #[arg(long, value_name = "APP")]
    pub from: Vec<String>,
    /// For this platform [default: this machine's]
    #[arg(long, value_name = "PLATFORM")]
    pub platform: Option<String>,
    #[command(flatten)]
    pub registry: RegistryArgs,
}
