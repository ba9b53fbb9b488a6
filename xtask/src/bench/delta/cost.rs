//! Time and peak memory of `delta make` against bsdiff and of `delta apply` against bspatch, in turn.

use super::Pair;
use super::cache::Cache;
use super::figures::{Figures, Size};
use super::ours::{APPLY, COMPARE, MAKE};
use super::recipes::{self, BSDIFF};
use crate::Failure;
use crate::bench::Options;
use crate::bench::measure::Runs;
use crate::bench::shell::Shell;

/// Makes our delta, as often as its time is wanted and at least once, and adds the figures.
pub fn measure(options: &Options, pair: &Pair, cache: &Cache, figures: &mut Figures) -> Result<(), Failure> {
    let (shell, timed, applied) = (&pair.shell, options.wants("make"), options.wants("apply"));
    eprintln!("{}: ours{}", pair.name, if timed { " and bsdiff, in turn" } else { "" });
    let (mut ours, mut peer) = (Runs::default(), Runs::default());
    for _ in 0..if timed { options.runs } else { 1 } {
        ours.push(shell.measure(MAKE)?);
        if timed {
            shell.prepare("rm -rf peer; mkdir peer")?;
            peer.push(shell.measure(&format!("cd peer; {}", BSDIFF.make))?);
        }
    }
    let made = shell.has("ours/delta");
    if !made {
        eprintln!("{}: a delta saves nothing, so none was made; the target compressed stands for it", pair.name);
        shell.prepare("zstd -q -f -19 -T1 $TARGET -o ours/full")?;
    }
    let bytes = shell.size(if made { "ours/delta" } else { "ours/full" })?;
    figures.note(Size { method: "ours".into(), bytes, delta: true, ours: true });
    figures.make = ours.median().zip(peer.median());
    if timed {
        shell.prepare(&format!("cd peer; {}; cmp again $TARGET; rm again", BSDIFF.apply))?;
        let bytes = shell.size("peer/out")?;
        cache.keep(&BSDIFF, bytes, &shell.directory().join("peer/out"))?;
        recipes::note(&BSDIFF, bytes, figures);
    } else if applied && made {
        a_patch(pair, cache)?;
    }
    if !made {
        return Ok(());
    }
    if !applied {
        shell.prepare(APPLY)?;
        return shell.prepare(COMPARE);
    }
    figures.apply = apply(options, shell)?;
    Ok(())
}

/// bsdiff's patch in `peer/out`.
fn a_patch(pair: &Pair, cache: &Cache) -> Result<(), Failure> {
    let Some(patch) = cache.patch() else { return recipes::make(pair, cache, &BSDIFF).map(|_| ()) };
    let failed = |error| format!("cannot copy {}: {error}", patch.display());
    std::fs::copy(&patch, pair.shell.directory().join("peer/out")).map(|_| ()).map_err(failed)
}

fn apply(options: &Options, shell: &Shell) -> Result<Option<super::figures::Cost>, Failure> {
    let (mut ours, mut peer) = (Runs::default(), Runs::default());
    for _ in 0..options.runs {
        ours.push(shell.measure(APPLY)?);
        shell.prepare(COMPARE)?;
        peer.push(shell.measure(&format!("cd peer; {}", BSDIFF.apply))?);
        shell.prepare("cd peer; cmp again $TARGET; rm again")?;
    }
    Ok(ours.median().zip(peer.median()))
}
