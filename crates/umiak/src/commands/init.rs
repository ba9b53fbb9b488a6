//! `umiak init`.

use umiak_repository::{InitOptions, Repository};

use crate::cli::InitArgs;
use crate::context::Context;
use crate::error::Outcome;

/// Makes the current directory a device.
pub fn run(context: &Context<'_>, arguments: &InitArgs) -> Outcome {
    let here = context.here()?;
    let objects = context.objects(arguments.objects.as_deref());
    if context.talk.dry_run {
        Repository::open(&here).map_or(Ok(()), |_| Err(umiak_repository::Error::AlreadyARepository(here.clone())))?;
        context.would(&format!("make {} a device directory", here.display()));
        return Ok(());
    }
    let repository = Repository::init(&here, &InitOptions { spec: arguments.spec.clone(), objects })?;
    let pool = repository.pool().directory().display();
    context.printer.fact("Made", &format!("{} a device directory, objects in {pool}", here.display()));
    Ok(())
}
