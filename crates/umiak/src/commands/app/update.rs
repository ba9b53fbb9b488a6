//! `umiak app update`: follows the image, and says what each way to do that costs.

use umiak_build::{UpdateMode, UpdateRequest};
use umiak_pvr::app::SourceKind;

use super::{report, workshop};
use crate::cli::{SourceType, UpdateArgs};
use crate::context::Context;
use crate::error::Outcome;

/// Updates the app, or works out what that would cost.
pub fn run(context: &Context<'_>, arguments: &UpdateArgs) -> Outcome {
    let repository = context.repository()?;
    let mut request = UpdateRequest {
        from: None,
        base: arguments.base.clone(),
        platform: arguments.source.images.platform.clone(),
        mode: match (arguments.patch, arguments.newbase) {
            (true, _) => UpdateMode::Patch,
            (_, true) => UpdateMode::NewBase,
            (false, false) => UpdateMode::AsBefore,
        },
        ignore_mtime: arguments.ignore_mtime,
        dry_run: context.talk.dry_run,
    };
    let shop = workshop::Shop::new(context, &repository, &arguments.source)?;
    let kind = match arguments.source.source_type {
        Some(SourceType::Rootfs) => SourceKind::Rootfs,
        _ => SourceKind::Docker,
    };
    request.from = arguments.from.as_deref().map(|from| shop.from(from, kind)).transpose()?;
    let done = shop.with(context, |workshop| workshop.update(&arguments.name, &request))?;
    report::tell(context, &done, report::Verb::Updated);
    Ok(())
}
