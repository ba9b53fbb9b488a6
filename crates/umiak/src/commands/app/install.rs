//! `umiak app install`: an app's files again, from its src.json.

use super::{report, workshop};
use crate::cli::InstallArgs;
use crate::context::Context;
use crate::error::Outcome;

/// Makes what is missing or stale.
pub fn run(context: &Context<'_>, arguments: &InstallArgs) -> Outcome {
    let repository = context.repository()?;
    if context.talk.dry_run {
        context.would(&format!("make the missing and stale files of app `{}` again", arguments.name));
        return Ok(());
    }
    let shop = workshop::Shop::new(context, &repository, &arguments.source)?;
    let done = shop.with(context, |workshop| workshop.install(&arguments.name))?;
    report::tell(context, &done, report::Verb::Installed);
    Ok(())
}
