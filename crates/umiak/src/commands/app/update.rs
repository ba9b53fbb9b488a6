//! `umiak app update`: follows the image, and says what each way to do that costs.

use umiak_build::{UpdateMode, UpdateRequest};

use super::{report, workshop};
use crate::cli::UpdateArgs;
use crate::context::Context;
use crate::error::Outcome;

/// Updates the app, or works out what that would cost.
pub fn run(context: &Context<'_>, arguments: &UpdateArgs) -> Outcome {
    let repository = context.repository()?;
    let request = UpdateRequest {
        from: arguments.from.clone(),
        base: arguments.base.clone(),
        platform: arguments.source.platform.clone(),
        mode: match (arguments.patch, arguments.newbase) {
            (true, _) => UpdateMode::Patch,
            (_, true) => UpdateMode::NewBase,
            (false, false) => UpdateMode::AsBefore,
        },
        ignore_mtime: arguments.ignore_mtime,
        dry_run: context.talk.dry_run,
    };
    let shop = workshop::Shop::new(context, &repository, &arguments.source)?;
    let done = shop.with(context, |workshop| workshop.update(&arguments.name, &request))?;
    report::tell(context, &done, report::Verb::Updated);
    Ok(())
}
