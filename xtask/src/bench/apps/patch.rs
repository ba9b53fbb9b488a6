//! `--patch` for a pair, against what people do by hand: unsquashfs of the base, `tar -x` of the layers, an rsync that
//! keeps what differs, whiteouts for what is gone, and mksquashfs of that.

use super::{Bench, Prepared};
use crate::Failure;
use crate::bench::measure::Runs;
use crate::bench::table::Row;

const WALL_BAR: f64 = 0.25;

const OURS: &str = "$UMIAK app update --from oci:$PAIR:target --patch app";

/// A name is gone when it is below and not in the target; below a directory that is gone nothing more is said.
const PEER: &str = "unsquashfs -quiet -no-progress -d lower ../base.squashfs; \
    mkdir root; for layer in $LAYERS; do tar -xzf $layer -C root; done; \
    rsync -aHX --checksum --compare-dest=$PWD/lower/ root/ upper/; \
    LC_ALL=C comm -23 <(cd lower; find . | LC_ALL=C sort) <(cd root; find . | LC_ALL=C sort) > gone; \
    while read -r path; do \
        if [ -d \"upper/${path%/*}\" ] && [ ! -c \"upper/${path%/*}\" ]; then mknod \"upper/$path\" c 0 0; fi; \
    done < gone; \
    mksquashfs upper out.squashfs $FORMAT -noappend -processors $(nproc) -quiet -no-progress";

/// Adds the row of one pair.
pub fn measure(bench: &mut Bench<'_>, pair: &Prepared) -> Result<(), Failure> {
    let (mut ours, mut peer) = (Runs::default(), Runs::default());
    let mut sizes = (0, 0);
    for _ in 0..bench.options.runs {
        pair.restore()?;
        ours.push(bench.ours(pair.ours(OURS)?));
        sizes.0 = pair.shell().size("ours/repo/app/root.ovl.squashfs")?;
        peer.push(pair.peer("target", PEER)?);
        sizes.1 = pair.shell().size("peer/out.squashfs")?;
    }
    if let (Some(ours), Some(peer)) = (ours.median(), peer.median()) {
        bench.row(Row::times(format!("{}: --patch, wall", pair.name), ours, peer, WALL_BAR));
        eprintln!("  the patches have {} and {} bytes", sizes.0, sizes.1);
    }
    Ok(())
}
