//! Arguments of `umiak pkg`.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::app::RuntimeArgs;
use super::compose::RegistryArgs;
use super::delta::EffortArg;
use super::image::bytes;
use super::sig::{SigningArgs, TrustArgs};

/// The verbs of packages.
#[derive(Debug, Subcommand)]
pub enum PkgCommand {
    Init(Box<PkgInitArgs>),
    Build(Box<PkgBuildArgs>),
    Verify(PkgVerifyArgs),
    Ls(PkgLsArgs),
    Diff(PkgDiffArgs),
}

const INIT: &str = "\
Platforms and their directories:
  linux/amd64  amd64      linux/arm/v6  arm32v6    linux/mips     mips
  linux/arm64  arm64v8    linux/arm/v7  arm32v7    linux/riscv64  riscv64

Examples:
  umiak pkg init -p linux/amd64,linux/arm/v7,linux/arm64 registry.example/web:master web --group system
  umiak pkg init -p linux/arm/v6 'registry.example/web:{arch}-1.0' web";

/// Begin to make packages of an image: one source document a platform
///
/// Writes pvpkg/ARCH/APP/src.json for each platform, and pvpkg.json with name and version, as container-ci's
/// pvpkg_install does. Where an image has a tag for each platform, `{arch}` in its name stands for the directory.
#[derive(Debug, Args)]
#[command(after_long_help = INIT)]
pub struct PkgInitArgs {
    /// The image, for all platforms or with `{arch}` in its name
    #[arg(value_name = "IMAGE")]
    pub image: String,
    /// The app, and the packages
    #[arg(value_name = "APP")]
    pub app: String,
    /// The platforms, such as linux/amd64,linux/arm/v7 [default: those in container-ci.conf]
    #[arg(short, long, value_name = "LIST", value_delimiter = ',')]
    pub platform: Vec<String>,
    /// Where to look for a bare reference, in this order: `remote`, `local` (the Docker daemon)
    #[arg(long, value_name = "LIST", env = "PVR_SOURCE", hide_env_values = true)]
    pub source: Option<String>,
    /// Extend this app of the same packages
    #[arg(long, value_name = "APP", env = "PVR_APP_ADD_BASE", hide_env_values = true)]
    pub base: Option<String>,
    /// Replace source documents that say something else
    #[arg(long)]
    pub force: bool,
    #[command(flatten)]
    pub runtime: RuntimeArgs,
}

/// Make the packages of all platforms, signed
///
/// For each pvpkg/ARCH/APP/src.json: the image of that platform, its squashfs, documents and signature in releases/ARCH, and
/// the package releases/NAME-VERSION-BUILD.ARCH.tgz. Files beside src.json go along, as do those in pvpkg/ARCH/_config/APP; private
/// keys among them are refused: whoever has the package would have them.
/// Layers that platforms share are fetched once. What has not changed is not made again, what was changed by hand in
/// releases/ARCH is; the same sources give the same bytes. One platform that fails does not keep the others from being made.
#[derive(Debug, Args)]
pub struct PkgBuildArgs {
    /// Only for these, by directory or platform, such as arm64v8,linux/mips
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub only: Vec<String>,
    /// Platforms at once [default: one a processor]
    #[arg(short, long, value_name = "N")]
    pub jobs: Option<NonZeroUsize>,
    /// Memory that they may take together, by estimate: 512M, 2G [default: half of what is free]
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    pub memory: Option<u64>,
    /// Make deltas, too, from the packages of an earlier release in this directory: NAME-A..B.ARCH.delta
    #[arg(long, value_name = "DIR")]
    pub from: Option<PathBuf>,
    /// How hard deltas are pressed
    #[arg(long, value_name = "EFFORT", default_value = "smallest", requires = "from")]
    pub effort: EffortArg,
    /// Take private keys among the files that go along, too
    #[arg(long)]
    pub private_keys: bool,
    /// Sign nothing, also where PVR_SIG_KEY names a key
    #[arg(long, conflicts_with_all = ["generation", "strict"])]
    pub unsigned: bool,
    /// The number in the signature that goes up from release to release: a number, `git` (commits), `none` [default: git
    /// where there is a repository]
    #[arg(long, value_name = "N")]
    pub generation: Option<String>,
    /// Sign `#spec`, too (_sigs/_spec.json), so that devices in strict mode find all of the package covered
    #[arg(long)]
    pub strict: bool,
    #[command(flatten)]
    pub signing: SigningArgs,
    #[command(flatten)]
    pub words: PkgNameArgs,
    #[command(flatten)]
    pub registry: RegistryArgs,
}

/// What packages are called.
#[derive(Debug, Args)]
#[command(next_help_heading = "The packages' name")]
pub struct PkgNameArgs {
    /// The first word [default: `name` in pvpkg.json]
    #[arg(long = "package-name", value_name = "WORD", env = "PACKAGE_NAME", hide_env_values = true)]
    pub name: Option<String>,
    /// The second word [default: `version` in pvpkg.json]
    #[arg(long = "package-version", value_name = "WORD", env = "PACKAGE_VERSION", hide_env_values = true)]
    pub version: Option<String>,
    /// The third word [default: 0-COUNT-gREVISION, of git]
    #[arg(long = "build-version", value_name = "WORD", env = "BUILD_VERSION", hide_env_values = true)]
    pub build: Option<String>,
}

/// Check a package as a device does that installs it
///
/// Every object is hashed, none may be missing or extra, no name may lead outside, the apps must be for the architecture in
/// the file's name. Signatures must be there and hold, and no certificate's last day be over; what they cover is said. The
/// delta of a package is checked in the same way, as far as it carries the objects.
#[derive(Debug, Args)]
pub struct PkgVerifyArgs {
    /// The packages, or deltas of packages
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// Fail when anything is not covered by a signature
    #[arg(long)]
    pub strict: bool,
    /// Fail when the apps are not for this platform
    #[arg(long, value_name = "PLATFORM")]
    pub platform: Option<String>,
    /// Leave signatures alone, also where PVR_SIG_CACERTS or PVR_SIG_PUBKEY is set
    #[arg(long, conflicts_with = "strict")]
    pub unsigned: bool,
    #[command(flatten)]
    pub trust: TrustArgs,
}

/// List what is in packages
///
/// One line a file: its bytes, its name, and with -v the digest. Packages are read to their end, and refused when they are
/// damaged; signatures are not looked at. Of a package's delta it is what the package holds.
#[derive(Debug, Args)]
pub struct PkgLsArgs {
    /// The packages, or deltas of packages
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
}

/// Show what differs between two packages
///
/// One line a file: `A` for one that only the second has, `C` for one that is otherwise there, `D` for one that only the first
/// has; with bytes before and after. Either may be the delta of a package.
#[derive(Debug, Args)]
pub struct PkgDiffArgs {
    /// The first package
    #[arg(value_name = "BASE")]
    pub base: PathBuf,
    /// The second package
    #[arg(value_name = "TARGET")]
    pub target: PathBuf,
}
