//! umiak's deltas: made, applied, compared.

use super::Pair;
use super::figures::{Figures, Size};
use crate::Failure;
use crate::bench::shell::Shell;

/// Makes `ours/delta`.
pub const MAKE: &str = "rm -f ours/delta; $UMIAK delta make $BASE $TARGET -o ours/delta";

/// Makes `ours/again` of it.
pub const APPLY: &str = "rm -f ours/again; $UMIAK delta apply $BASE ours/delta -o ours/again";

/// Whether that is the target.
pub const COMPARE: &str = "cmp ours/again $TARGET; rm ours/again";

/// Adds size and times of the quick way, when there is one.
pub fn fast(pair: &Pair, figures: &mut Figures) -> Result<(), Failure> {
    let shell = &pair.shell;
    if shell.prepare("$UMIAK delta make --help | grep -q -e --effort").is_err() {
        return Ok(());
    }
    eprintln!("{}: ours, --effort fast", pair.name);
    let make = shell.measure("$UMIAK delta make --effort fast $BASE $TARGET -o ours/fast")?;
    if !shell.has("ours/fast") {
        return Ok(());
    }
    let apply = shell.measure("$UMIAK delta apply $BASE ours/fast -o ours/again")?;
    shell.prepare(COMPARE)?;
    let bytes = shell.size("ours/fast")?;
    figures.note(Size { method: "ours, --effort fast".into(), bytes, delta: true, ours: true });
    figures.fast = Some((make, apply));
    Ok(())
}

/// The size of a delta from the target to itself.
pub fn identical(shell: &Shell) -> Result<u64, Failure> {
    shell.prepare(
        "rm -f ours/same; $UMIAK delta make $TARGET $TARGET -o ours/same; \
         $UMIAK delta apply $TARGET ours/same -o ours/again",
    )?;
    shell.prepare(COMPARE)?;
    shell.size("ours/same")
}
