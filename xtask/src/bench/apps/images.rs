//! An image to `root.squashfs`, from nothing and as a new base after an update; time and size against one peer:
//! `tar -x` of the layers and `mksquashfs` with the same compressor, block size and all cores.

use super::{Bench, Prepared};
use crate::Failure;
use crate::bench::measure::Runs;
use crate::bench::table::Row;

const WALL_BAR: f64 = 1.0;
const SIZE_BAR: f64 = 1.02;
const NEW_BASE_BAR: f64 = 0.35;

const IMAGE: &str = "$UMIAK app add --from oci:$PAIR:target -o \"$FORMAT\" app";
const NEW_BASE: &str = "$UMIAK app update --from oci:$PAIR:target --newbase app";

/// Adds the rows of one pair.
pub fn measure(bench: &mut Bench<'_>, pair: &Prepared) -> Result<(), Failure> {
    let (mut image, mut new_base, mut peer) = (Runs::default(), Runs::default(), Runs::default());
    let mut sizes = (0, 0);
    for _ in 0..bench.options.runs {
        pair.empty()?;
        image.push(bench.ours(pair.ours(IMAGE)?));
        sizes.0 = pair.shell().size("ours/repo/app/root.squashfs")?;
        peer.push(pair.peer_image("target")?);
        sizes.1 = pair.shell().size("peer/out.squashfs")?;
        pair.restore()?;
        new_base.push(bench.ours(pair.ours(NEW_BASE)?));
    }
    let (Some(image), Some(new_base), Some(peer)) = (image.median(), new_base.median(), peer.median()) else {
        return Ok(());
    };
    let name = &pair.name;
    bench.row(Row::times(format!("{name}: image to root.squashfs, wall"), image, peer, WALL_BAR));
    bench.row(Row::sizes(format!("{name}: root.squashfs, size"), sizes.0, sizes.1, SIZE_BAR));
    bench.row(Row::times(format!("{name}: --newbase after an update, wall"), new_base, peer, NEW_BASE_BAR));
    Ok(())
}
