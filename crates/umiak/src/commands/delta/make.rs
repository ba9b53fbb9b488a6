//! `umiak delta make`.

use std::path::Path;

use serde_json::{Value, json};
use umiak_build::delta::{Made, Published, make_file};
use umiak_spec::Limits;
use umiak_ui::Size;

use super::{Images, both_files, options, output, reference, scratch_for};
use crate::cli::MakeArgs;
use crate::context::Context;
use crate::error::Outcome;

/// Makes a delta between two files or two images.
pub fn run(context: &Context<'_>, arguments: &MakeArgs) -> Outcome {
    if context.talk.dry_run {
        context.would(&format!("make {} from {} to {}", arguments.output, arguments.base, arguments.target));
        return Ok(());
    }
    let options = options(arguments.effort);
    if let Some((base, target)) = both_files(&arguments.base, &arguments.target, "target")? {
        let out = Path::new(&arguments.output);
        let progress = context.progress();
        let made = make_file(&base, &target, out, &options, &Limits::default(), &progress)?;
        drop(progress);
        tell_file(context, &arguments.output, &made)?;
        return Ok(());
    }
    let place = output(&arguments.output)?;
    let (base, target) = (reference(&arguments.base)?, reference(&arguments.target)?);
    let images = Images::new(context, &arguments.images, &scratch_for(context, &place), options)?;
    let made = images.work().make_images(&base, &target, &place)?;
    drop(images);
    if context.talk.json {
        return Ok(context.printer.document(&value(&arguments.output, &made))?);
    }
    tell(context, &arguments.output, &made);
    Ok(())
}

fn tell_file(context: &Context<'_>, output: &str, made: &Made) -> Outcome {
    let full = made.index.target.size;
    if context.talk.json {
        let value = json!({ "delta": output, "written": made.worth, "bytes": made.size, "target_bytes": full });
        context.printer.document(&value)?;
        return Ok(());
    }
    if !made.worth {
        let text =
            format!("the delta would have {}, no less than the target compressed: none was made", Size(made.size));
        context.printer.note(&text);
        return Ok(());
    }
    context.printer.fact("Made", &format!("{output}, {}: makes {}", Size(made.size), Size(full)));
    context.printer.detail(&format!("target {}", context.printer.digest(&made.index.target.digest)));
    Ok(())
}

/// What became of a delta between images, as JSON.
pub fn value(output: &str, made: &Published) -> Value {
    json!({
        "delta": output,
        "written": made.stored.is_some(),
        "manifest": made.stored.as_ref().map(|stored| stored.digest.to_string()),
        "base": made.manifest.base.map(|base| base.to_string()),
        "target": made.manifest.subject.digest.to_string(),
        "bytes": made.manifest.size(),
        "full_bytes": made.manifest.full_size,
        "target_bytes": made.manifest.expanded_size,
    })
}

/// Says what became of a delta between images.
pub fn tell(context: &Context<'_>, output: &str, made: &Published) {
    let printer = context.printer;
    let Some(stored) = &made.stored else {
        return printer.note(&format!("{output}: no layer gets smaller by a delta: none was made"));
    };
    let (size, full) = (made.manifest.size(), made.manifest.full_size);
    printer.fact("Made", &format!("{output}, {}: stands for {} of layers", Size(size), Size(full)));
    let parts = &made.manifest.parts;
    let deltas = parts.iter().filter(|part| part.is_delta()).count();
    printer.detail(&format!("{deltas} layers as deltas, {} parts of the target reused", made.manifest.reused.len()));
    let subject = made.manifest.subject.digest;
    printer.detail(&format!("delta {}, target {}", printer.digest(&stored.digest), printer.digest(&subject)));
}
