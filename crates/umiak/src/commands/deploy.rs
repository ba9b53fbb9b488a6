//! `umiak deploy`: devices and packages laid over one another in a directory, as a device has it.

use umiak_pvr::{Reference, State};
use umiak_repository::{DeployOptions, Repository};
use umiak_ui::Size;

use super::{checkout, preview};
use crate::cli::DeployArgs;
use crate::context::Context;
use crate::error::{Failure, Outcome};

/// Fills the directory.
pub fn run(context: &Context<'_>, arguments: &DeployArgs) -> Outcome {
    let sources = sources(context, &arguments.from)?;
    if context.talk.dry_run {
        let before = match Repository::open(&arguments.directory) {
            Ok(repository) => repository.pristine()?,
            Err(_) => State::default(),
        };
        return preview::transfer(context, &before, &sources, !arguments.nomerge);
    }
    let options =
        DeployOptions { replace_documents: arguments.nomerge, objects: context.objects(arguments.objects.as_deref()) };
    let (_, report) = umiak_repository::deploy(&arguments.directory, &sources, &options, &context.progress())?;
    checkout::tell(context, &report.files);
    if report.stored.objects > 0 {
        context.printer.detail(&format!("{} new in the object pool", Size(report.stored.bytes)));
    }
    for (name, file) in &report.boot_links {
        context.printer.detail(&format!(".pv/{name} is {file}"));
    }
    context.printer.fact("Deployed", &format!("to {}", arguments.directory.display()));
    Ok(())
}

/// What is named, or the device directory we are in.
fn sources(context: &Context<'_>, named: &[String]) -> Result<Vec<Reference>, Failure> {
    if named.is_empty() {
        let path = context.repository()?.root().display().to_string();
        return Ok(vec![Reference { path, parts: umiak_pvr::Parts::all() }]);
    }
    Ok(named.iter().map(|text| Reference::parse(text)).collect::<Result<_, _>>()?)
}
