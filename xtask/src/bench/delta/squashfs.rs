//! A delta between the squashfs images that our writer makes of base and target: what a device that keeps images, and not
//! layers, would download.

use crate::Failure;
use crate::bench::shell::Shell;

const IMAGES: &str = "mkdir device; cd device; $UMIAK init; \
    $UMIAK app add --from oci:$PAIR:base -o \"$FORMAT\" app; cp app/root.squashfs ../base.squashfs; \
    $UMIAK app update --from oci:$PAIR:target --newbase app; cp app/root.squashfs ../target.squashfs";

/// Where a delta saves nothing none is made, and the whole image stands for it.
const DELTA: &str = "$UMIAK delta make base.squashfs target.squashfs -o squashfs.delta; \
    if [ ! -e squashfs.delta ]; then cp target.squashfs squashfs.delta; exit; fi; \
    $UMIAK delta apply base.squashfs squashfs.delta -o again.squashfs; cmp again.squashfs target.squashfs";

/// The size of the delta.
pub fn measure(shell: &Shell) -> Result<u64, Failure> {
    shell.prepare(IMAGES)?;
    shell.prepare(DELTA)?;
    let size = shell.size("squashfs.delta")?;
    shell.prepare("rm -rf device *.squashfs")?;
    Ok(size)
}
