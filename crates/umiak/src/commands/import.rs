//! `umiak import`: a package's state becomes the committed one.

use std::fs::File;

use umiak_pvr::{Parts, Reference};
use umiak_repository::package::ImportMode;
use umiak_spec::Limits;

use super::{get, preview};
use crate::cli::ImportArgs;
use crate::context::Context;
use crate::error::{Failure, Outcome};

/// Reads the package.
pub fn run(context: &Context<'_>, arguments: &ImportArgs) -> Outcome {
    let repository = context.repository()?;
    let mode = if arguments.merge { ImportMode::Overlay } else { ImportMode::Replace };
    if context.talk.dry_run {
        let reference = Reference { path: arguments.file.display().to_string(), parts: Parts::all() };
        return match mode {
            ImportMode::Replace => preview::replacement(context, &repository.pristine()?, &reference),
            _ => preview::transfer(context, &repository.pristine()?, &[reference], false),
        };
    }
    let mut file = File::open(&arguments.file).map_err(|error| Failure::of_io("open", &arguments.file, &error))?;
    let progress = context.progress();
    let report = repository.import(&mut file, &arguments.file, mode, &Limits::default(), &progress)?;
    drop(progress);
    for name in &report.ignored {
        context.printer.warning(&format!("the package has an entry `{name}` that means nothing; it was passed over"));
    }
    if !report.extra.is_empty() {
        let count = report.extra.len();
        context
            .printer
            .warning(&format!("the package has {count} objects that its state does not name; they were not taken"));
    }
    get::tell(context, &report.transfer);
    Ok(())
}
