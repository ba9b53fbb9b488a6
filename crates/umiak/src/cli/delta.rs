//! Arguments of `umiak delta`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::app::ImageArgs;

/// The verbs of deltas.
#[derive(Debug, Subcommand)]
pub enum DeltaCommand {
    Make(MakeArgs),
    Apply(ApplyArgs),
    Inspect(InspectArgs),
    Publish(PublishArgs),
}

/// Make the delta that leads from one image or file to another
///
/// BASE and TARGET are two files (tars and squashfs images are compared file by file) or two images: a layout
/// (oci:DIR:TAG), an archive (oci-archive:FILE, docker-archive:FILE) or an image of a registry (docker://NAME). The delta
/// is applied once before it is written. One that would be larger than the compressed target is not written.
#[derive(Debug, Args)]
pub struct MakeArgs {
    /// What devices have
    pub base: String,
    /// What they shall have
    pub target: String,
    /// Where the delta goes: a file; for images also oci:DIR:TAG or docker://NAME
    #[arg(short, long, value_name = "DELTA")]
    pub output: String,
    /// How hard it is pressed
    #[arg(long, value_name = "EFFORT", default_value = "smallest")]
    pub effort: EffortArg,
    #[command(flatten)]
    pub images: ImageArgs,
}

/// How hard deltas are pressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum EffortArg {
    /// As few bytes as can be
    Smallest,
    /// Some percent more bytes, sooner made and applied
    Fast,
}

/// Make the target from the base and the delta, bit for bit
///
/// What is made is verified before it gets its name: a file's digest; an image's manifest, config and the diff ID of every
/// layer. Rebuilt layers are stored uncompressed. Other programs' deltas are applied, too: librsync streams, tar-diff
/// blobs (BASE is a directory), oci-delta artifacts and balena's delta images.
#[derive(Debug, Args)]
pub struct ApplyArgs {
    /// What is there
    pub base: String,
    /// The delta
    pub delta: String,
    /// Where the target goes: a file; for images also oci:DIR:TAG or docker://NAME
    #[arg(short, long, value_name = "TARGET")]
    pub output: String,
    /// What else is here: an image, an archive, a squashfs image or a directory. Where BASE is not what the delta starts from,
    /// its files are looked for in all of them [repeat]
    #[arg(long, value_name = "WHAT")]
    pub also: Vec<String>,
    #[command(flatten)]
    pub images: ImageArgs,
}

/// Show what a delta reuses, patches and carries
///
/// Per layer and stream; with the base also the files that cost most.
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// The delta
    pub delta: String,
    /// What it starts from: names the files and what each costs
    #[arg(long)]
    pub base: Option<String>,
    #[command(flatten)]
    pub images: ImageArgs,
}

/// Push deltas to a registry, beside the target
///
/// For each BASE, the delta to TARGET is made and stored as an artifact whose subject is TARGET, in TARGET's own
/// repository or layout. Devices find it there as a referrer, or by the tag that stands in where a registry knows no referrers.
#[derive(Debug, Args)]
pub struct PublishArgs {
    /// What devices may have, and last what they shall have
    #[arg(value_name = "BASE.. TARGET", num_args = 2.., required = true)]
    pub names: Vec<String>,
    /// How hard they are pressed
    #[arg(long, value_name = "EFFORT", default_value = "smallest")]
    pub effort: EffortArg,
    /// Tag each artifact, too: `{}` is replaced by twelve digits of the base's digest
    #[arg(long, value_name = "TAG")]
    pub tag: Option<String>,
    #[command(flatten)]
    pub images: ImageArgs,
}

/// The file that a plain argument names: `None` for a reference with a transport.
#[must_use]
pub fn plain_file(argument: &str) -> Option<PathBuf> {
    let path = PathBuf::from(argument);
    path.is_file().then_some(path)
}
