//! Arguments of `umiak copy` and `umiak image …`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::app::ImageArgs;

/// The verbs of images.
#[derive(Debug, Subcommand)]
pub enum ImageCommand {
    Ls(LsArgs),
    Inspect(ImageInspectArgs),
    Diff(ImageDiffArgs),
    Measure(ImageMeasureArgs),
}

const PLACES: &str = "\
Places:
  docker://NAME[:TAG], NAME[:TAG][@DIGEST]   a registry
  oci:DIR[:TAG], oci-archive:FILE[:TAG]      an OCI image layout
  docker-archive:FILE, docker-daemon:NAME    what `docker save` wrote, the Docker daemon (as SRC only)

Examples:
  umiak copy registry.example/team/shop:1.5.0 mirror.example/team/shop --all-platforms --referrers
  umiak copy registry.example/team/shop:1.5.0 oci-archive:shop.tar --platform linux/arm64
  umiak copy --limit-rate 500K oci-archive:shop.tar registry.example/team/shop:1.5.0";

/// Copy an image or artifact between registries, layouts and archives
///
/// Only what DST has not is sent; within one registry, nothing is. Bytes are never changed, so digests are equal on both
/// sides. Of an image for several platforms one is copied (--platform), or all of it (--all-platforms). Between registries
/// blobs pass through without a copy here. The tag is written last: a copy that is cut off changes nothing that anybody
/// sees, and copying again sends what is missing. Without a tag in DST, SRC's tag is used.
#[derive(Debug, Args)]
#[command(after_long_help = PLACES)]
pub struct CopyArgs {
    /// What to copy
    pub src: String,
    /// Where to
    pub dst: String,
    /// Copy all platforms: the whole index, whatever --platform says
    #[arg(long)]
    pub all_platforms: bool,
    /// Copy what refers to it, too: signatures, deltas, lists of contents
    #[arg(long)]
    pub referrers: bool,
    /// Of a Compose App, copy its services' images, too, before it: into the same layout or archive, or into DST's registry
    /// under their own repositories' names
    #[arg(long)]
    pub with_images: bool,
    /// Blobs at once
    #[arg(short, long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=32))]
    pub jobs: u8,
    /// Bytes a second, all connections together, each way: 500K, 2M
    #[arg(long, value_name = "RATE", value_parser = rate)]
    pub limit_rate: Option<u64>,
    #[command(flatten)]
    pub images: ImageArgs,
}

/// List the tags of a repository or layout
///
/// With digest, bytes of all layers and configs, and platforms; for an artifact with what it is.
#[derive(Debug, Args)]
pub struct LsArgs {
    /// A repository in a registry, oci:DIR or oci-archive:FILE
    pub repository: String,
    #[command(flatten)]
    pub images: ImageArgs,
}

/// Show what an image or artifact is made of
///
/// The platforms of an index; of one platform (--platform) the config and the layers.
#[derive(Debug, Args)]
pub struct ImageInspectArgs {
    /// The image
    pub image: String,
    /// Print the manifest or index as it is, byte for byte
    #[arg(long, conflicts_with = "json")]
    pub raw: bool,
    #[command(flatten)]
    pub images: ImageArgs,
}

/// Show what differs between two images
///
/// Layers that both have and those that only one has; files with their sizes; settings of the config. Layers are fetched
/// and kept as for an app.
#[derive(Debug, Args)]
pub struct ImageDiffArgs {
    /// What it was
    pub base: String,
    /// What it is
    pub target: String,
    #[command(flatten)]
    pub images: ImageArgs,
}

const MEASURES: &str = "\
Examples:
  umiak image measure registry.example/team/web:1.5 oci:./proxy -o amd64.json
  umiak image measure --merge amd64=amd64.json arm64=arm64.json -o layers_meta.json
  umiak image measure --format umiak --all-platforms registry.example/team/web:1.5
  umiak image measure --attach registry.example/team/web:1.5";

/// Say how much space the layers of images take on a device
///
/// From the layers alone: no Docker, no root. Each layer is read once; what was measured before is not fetched again. The
/// usage of a layer is what `du` says of it in Docker's store (overlay2) on ext4, with the file from which Docker makes it
/// again. For one platform the document is what a build for one architecture hands to the publisher, for several, what
/// the publisher takes; --merge makes the one of the others. As `umiak` it has counts for several file systems. Measures that
/// are attached tell umiakd exactly what an image takes that belongs to no app; each architecture's build attaches its own.
#[derive(Debug, Args)]
#[command(after_long_help = MEASURES)]
pub struct ImageMeasureArgs {
    /// Images; with --merge ARCHITECTURE=FILE
    #[arg(required = true, value_name = "IMAGE")]
    pub images: Vec<String>,
    /// Where the document goes [default: stdout]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Bytes of a block of the device's ext4: 1024, 2048 or 4096
    #[arg(long, value_name = "N", default_value_t = 4096, conflicts_with = "merge")]
    pub fs_block_size: u64,
    /// What the document is
    #[arg(long, value_name = "FORMAT", default_value = "foundries")]
    pub format: MeasureFormat,
    /// Measure all platforms that the images are made for
    #[arg(long, conflicts_with_all = ["platform", "merge"])]
    pub all_platforms: bool,
    /// Make each layer as umiakd keeps it, to know what it takes on a device (with --format umiak)
    #[arg(long, conflicts_with = "merge")]
    pub device: bool,
    /// Attach the measures to the images, where devices look for them, in place of printing them
    #[arg(long, conflicts_with_all = ["merge", "output", "format"])]
    pub attach: bool,
    /// Put documents together that were made before
    #[arg(long)]
    pub merge: bool,
    #[command(flatten)]
    pub sources: ImageArgs,
}

/// What `umiak image measure` writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum MeasureFormat {
    /// The layers metadata of Compose Apps: size and usage of each layer
    Foundries,
    /// umiak's own: what each layer is made of
    Umiak,
}

/// Reads bytes a second, as [`bytes`].
fn rate(text: &str) -> Result<u64, String> {
    bytes(text).map_err(|_| format!("`{text}` is no rate: say bytes a second, such as 500K or 2M"))
}

/// Reads bytes: a number, with `K`, `M` or `G` for the binary units or without.
pub(super) fn bytes(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is no size: say bytes, such as 500K or 2M");
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let shift = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        _ => return Err(wrong()),
    };
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    number.checked_mul(1 << shift).filter(|bytes| *bytes > 0).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::rate;

    #[test]
    fn rates_have_binary_units() {
        for (text, bytes) in [("1", 1), ("500K", 512_000), ("2m", 2 << 20), ("1GiB", 1 << 30), ("7b", 7)] {
            assert_eq!(rate(text), Ok(bytes), "{text}");
        }
        for wrong in ["", "K", "0", "-1", "1.5M", "1T", "500 K", "99999999999G", "1é"] {
            assert!(rate(wrong).is_err(), "{wrong}");
        }
    }
}
