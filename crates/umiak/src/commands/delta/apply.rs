//! `umiak delta apply`.

use std::path::Path;

use serde_json::json;
use umiak_build::delta::{Rebuilt, apply_file};
use umiak_spec::Limits;
use umiak_ui::Size;

use super::{Images, delta_file, options, output, reference, scratch_for};
use crate::cli::{ApplyArgs, EffortArg};
use crate::context::Context;
use crate::error::Outcome;

/// Makes the target of a delta.
pub fn run(context: &Context<'_>, arguments: &ApplyArgs) -> Outcome {
    if context.talk.dry_run {
        context.would(&format!("make {} from {} and {}", arguments.output, arguments.base, arguments.delta));
        return Ok(());
    }
    if let Some(delta) = delta_file(Some(&arguments.base), &arguments.delta)? {
        let progress = context.progress();
        let (base, out) = (Path::new(&arguments.base), Path::new(&arguments.output));
        let size = apply_file(base, &delta, out, &Limits::default(), &progress)?;
        drop(progress);
        if context.talk.json {
            context.printer.document(&json!({ "target": arguments.output, "bytes": size }))?;
            return Ok(());
        }
        context.printer.fact("Applied", &format!("{}, {}, verified", arguments.output, Size(size)));
        return Ok(());
    }
    let place = output(&arguments.output)?;
    let (base, delta) = (reference(&arguments.base)?, reference(&arguments.delta)?);
    let images = Images::new(context, &arguments.images, &scratch_for(context, &place), options(EffortArg::Smallest))?;
    let made = images.work().apply_images(&base, &delta, &place)?;
    drop(images);
    tell(context, &arguments.output, &made)
}

fn tell(context: &Context<'_>, output: &str, made: &Rebuilt) -> Outcome {
    if context.talk.json {
        let value = json!({
            "target": output,
            "manifest": made.manifest.to_string(),
            "image_id": made.config.to_string(),
            "layers": made.layers,
            "rebuilt": made.rebuilt,
            "bytes": made.expanded,
        });
        context.printer.document(&value)?;
        return Ok(());
    }
    let printer = context.printer;
    let text =
        format!("{output}: image {}, {} layers, {}", printer.digest(&made.config), made.layers, Size(made.expanded));
    printer.fact("Applied", &format!("{text}, verified"));
    if made.rebuilt > 0 {
        let text = format!(
            "{} layers are stored uncompressed: the manifest is {}",
            made.rebuilt,
            printer.digest(&made.manifest)
        );
        printer.detail(&text);
    }
    Ok(())
}
