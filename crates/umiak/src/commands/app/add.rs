//! `umiak app add`: a new app from a container image, a root file system or another device.

use umiak_build::AddRequest;
use umiak_pvr::app::SourceKind;

use super::{document, report, workshop};
use crate::cli::{AppAddArgs, SourceType};
use crate::context::Context;
use crate::error::{Failure, Kind, Outcome};

/// Makes the app and says what it weighs.
pub fn run(context: &Context<'_>, arguments: &AppAddArgs) -> Outcome {
    let repository = context.repository()?;
    let kind = match arguments.source.source_type {
        None | Some(SourceType::Docker) => SourceKind::Docker,
        Some(SourceType::Rootfs) => SourceKind::Rootfs,
        Some(SourceType::Pvr) => return Err(of_another_device(arguments)),
    };
    let mut request = AddRequest {
        name: arguments.name.clone(),
        from: arguments.from.clone(),
        kind,
        base: arguments.base.clone(),
        document: document::document(arguments, context.environment)?,
        force: arguments.force,
        ignore_mtime: arguments.ignore_mtime,
    };
    if context.talk.dry_run {
        context.would(&format!("make app `{}` from {}", request.name, request.from));
        return Ok(());
    }
    let shop = workshop::Shop::new(context, &repository, &arguments.source)?;
    request.from = shop.from(&arguments.from, kind)?;
    let done = shop.with(context, |workshop| workshop.add(&request))?;
    report::tell(context, &done, report::Verb::Added);
    context.printer.hint("`umiak add` and `umiak commit` record it");
    Ok(())
}

/// Apps of another device come with `get`, which knows parts, signatures and configuration.
fn of_another_device(arguments: &AppAddArgs) -> Failure {
    let from = arguments.from.split('#').next().unwrap_or_default();
    let name = &arguments.name;
    Failure::new(Kind::Usage, "apps of another device are not added but taken")
        .hint(format!("umiak get '{from}#{name},_config/{name}' && umiak checkout"))
}
