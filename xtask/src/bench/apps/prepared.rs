//! A pair made ready: the base as a device app of ours and as the peer's image, restored before every run.

use std::path::Path;

use crate::Failure;
use crate::bench::FORMAT;
use crate::bench::measure::Run;
use crate::bench::pairs::Layout;
use crate::bench::shell::Shell;

/// The peer's way from layers to a squashfs image.
const PEER_IMAGE: &str = "mkdir root; for layer in $LAYERS; do tar -xzf $layer -C root; done; \
    mksquashfs root out.squashfs $FORMAT -noappend -processors $(nproc) -quiet -no-progress";

/// One pair with its base made on both sides.
pub struct Prepared {
    /// The pair's name.
    pub name: String,
    shell: Shell,
    base_layers: String,
    target_layers: String,
}

impl Prepared {
    /// Makes the base on both sides.
    ///
    /// # Errors
    /// A command failed.
    pub fn new(umiak: &Path, target: &Path, layout: &Layout) -> Result<Self, Failure> {
        let mut shell = Shell::new(target, &format!("pair-{}", layout.name))?;
        // Paths that a device directory keeps stay true: all runs of ours happen in `ours`.
        shell.set("PVR_CONFIG_DIR", shell.directory().join("ours/config"));
        shell.set("UMIAK", umiak);
        shell.set("PAIR", &layout.directory);
        shell.set("FORMAT", FORMAT);
        let layers = |tag| -> Result<String, Failure> {
            Ok(layout.layers(tag)?.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" "))
        };
        let prepared =
            Self { name: layout.name.clone(), base_layers: layers("base")?, target_layers: layers("target")?, shell };
        prepared.peer_image("base")?;
        prepared.shell.prepare("mv peer/out.squashfs base.squashfs")?;
        prepared.shell.prepare(
            "mkdir -p ours/repo; cd ours/repo; $UMIAK init; \
             $UMIAK app add --from oci:$PAIR:base -o \"$FORMAT\" app; cd ../..; mv ours saved",
        )?;
        Ok(prepared)
    }

    /// Where scripts run.
    pub fn shell(&self) -> &Shell {
        &self.shell
    }

    /// An empty device directory in `ours`, nothing cached.
    pub fn empty(&self) -> Result<(), Failure> {
        self.shell.prepare("rm -rf ours; mkdir -p ours/repo; cd ours/repo; $UMIAK init")
    }

    /// The device directory with the base's app in `ours`. `status` is asked once, because a copied directory has new
    /// inodes and a device directory that was only left alone has not.
    pub fn restore(&self) -> Result<(), Failure> {
        self.shell.prepare("rm -rf ours; cp -a saved ours; cd ours/repo; $UMIAK status")
    }

    /// Measures a command of ours in the device directory.
    pub fn ours(&self, script: &str) -> Result<Run, Failure> {
        self.shell.measure(&format!("cd ours/repo; {script}"))
    }

    /// Measures the peer on the layers of a tag; it starts in an empty directory `peer`.
    pub fn peer(&self, tag: &str, script: &str) -> Result<Run, Failure> {
        let layers = if tag == "base" { &self.base_layers } else { &self.target_layers };
        self.shell.prepare("rm -rf peer; mkdir peer")?;
        self.shell.measure(&format!("cd peer; LAYERS='{layers}'; {script}"))
    }

    /// Measures the peer making an image of a tag: `peer/out.squashfs`.
    pub fn peer_image(&self, tag: &str) -> Result<Run, Failure> {
        self.peer(tag, PEER_IMAGE)
    }
}
