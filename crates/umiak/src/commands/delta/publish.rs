//! `umiak delta publish`.

use serde_json::json;
use umiak_spec::ImageReference;

use super::{Images, make, options, reference, scratch_for};
use crate::cli::PublishArgs;
use crate::context::Context;
use crate::error::{Failure, Kind, Outcome};

/// Makes the deltas from all bases to the target and stores them beside the target.
pub fn run(context: &Context<'_>, arguments: &PublishArgs) -> Outcome {
    let Some((target, bases)) = arguments.names.split_last() else {
        return Err(Failure::new(Kind::Usage, "name the bases and the target"));
    };
    if context.talk.dry_run {
        context.would(&format!("publish {} deltas to {target}", bases.len()));
        return Ok(());
    }
    let place = reference(target)?;
    if matches!(place, ImageReference::OciArchive { .. } | ImageReference::DockerArchive { .. }) {
        return Err(Failure::new(Kind::Usage, format!("{target} is an archive: nothing can be added to it"))
            .hint("publish to a registry or a layout; `umiak delta make` writes one delta to an archive"));
    }
    let from = bases.iter().map(|base| reference(base)).collect::<Result<Vec<_>, _>>()?;
    let images = Images::new(context, &arguments.images, &scratch_for(context, &place), options(arguments.effort))?;
    let published = images.work().publish_images(&from, &place, arguments.tag.as_deref())?;
    drop(images);
    let published = bases.iter().zip(&published);
    if context.talk.json {
        let deltas: Vec<_> = published.map(|(base, made)| make::value(base, made)).collect();
        return Ok(context.printer.document(&json!({ "target": target, "deltas": deltas }))?);
    }
    published.for_each(|(base, made)| make::tell(context, &format!("{base} -> {target}"), made));
    Ok(())
}
