//! What taking from elsewhere would change, for --dry-run: only states are read, no object.

use umiak_pvr::{Reference, State};
use umiak_repository::peek;

use crate::context::Context;
use crate::error::{Failure, Outcome};

/// What laying `sources` over `before`, one after the other, would change.
pub fn transfer(context: &Context<'_>, before: &State, sources: &[Reference], merge: bool) -> Outcome {
    let mut after = before.clone();
    for reference in sources {
        let theirs = peek(reference, &context.progress())?;
        let combined = if merge { after.merge(&theirs) } else { after.overlay(&theirs) };
        after = combined.map_err(umiak_repository::Error::Result)?;
    }
    tell(context, before, &after);
    Ok(())
}

/// What laying `theirs` over `before` would change.
pub fn laid_over(context: &Context<'_>, before: &State, theirs: &State, merge: bool) -> Outcome {
    let combined = if merge { before.merge(theirs) } else { before.overlay(theirs) };
    tell(context, before, &combined.map_err(umiak_repository::Error::Result)?);
    Ok(())
}

/// What putting the package's state in the place of `before` would change.
pub fn replacement(context: &Context<'_>, before: &State, package: &Reference) -> Result<(), Failure> {
    tell(context, before, &peek(package, &context.progress())?);
    Ok(())
}

fn tell(context: &Context<'_>, before: &State, after: &State) {
    let mut counts = [0; 3];
    for (path, entry) in after.entries() {
        let (letter, count) = match before.get(path.as_str()) {
            None => ('A', 0),
            Some(old) if old != entry => ('C', 1),
            Some(_) => continue,
        };
        counts[count] += 1;
        context.printer.detail(&format!("{letter} {path}"));
    }
    for path in before.entries().keys().filter(|path| after.get(path.as_str()).is_none()) {
        counts[2] += 1;
        context.printer.detail(&format!("D {path}"));
    }
    let [added, changed, removed] = counts;
    context.would(&format!("add {added} files, change {changed}, remove {removed}"));
}
