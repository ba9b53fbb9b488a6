//! `umiak delta apply`.

use std::path::{Path, PathBuf};

use serde_json::json;
use umiak_build::delta::{Also, DeltaFile, Rebuilt, apply_file, apply_foreign_file};
use umiak_spec::{ImageReference, Limits};
use umiak_ui::Size;

use super::{Images, delta_file, is_missing, options, output, reference, scratch_for};
use crate::cli::{ApplyArgs, EffortArg, plain_file};
use crate::context::Context;
use crate::error::{Failure, Kind, Outcome};

/// Makes the target of a delta.
pub fn run(context: &Context<'_>, arguments: &ApplyArgs) -> Outcome {
    if context.talk.dry_run {
        context.would(&format!("make {} from {} and {}", arguments.output, arguments.base, arguments.delta));
        return Ok(());
    }
    if let Some(delta) = delta_file(Some(&arguments.base), &arguments.delta)? {
        if !arguments.also.is_empty() {
            let text = "a delta between files starts from one file: --also is for deltas between images";
            return Err(Failure::new(Kind::Usage, text));
        }
        return file(context, arguments, delta);
    }
    let place = output(&arguments.output)?;
    let (base, delta) = (reference(&arguments.base)?, reference(&arguments.delta)?);
    let images = Images::new(context, &arguments.images, &scratch_for(context, &place), options(EffortArg::Smallest))?;
    let also = arguments.also.iter().map(|what| also(what)).collect::<Result<Vec<_>, _>>()?;
    let made = images.work().apply_images(&base, &delta, &place, &also)?;
    drop(images);
    tell(context, &arguments.output, &made)
}

/// What may have files of the base: a directory, a file, or whatever a reference names.
fn also(what: &str) -> Result<Also, Failure> {
    let path = Path::new(what);
    if path.is_dir() {
        return Ok(Also::Image(ImageReference::RootFs { path: path.to_owned() }));
    }
    match plain_file(what) {
        Some(file) => Ok(Also::File(file)),
        None if is_missing(what) => Err(Failure::new(Kind::Usage, format!("there is no file {what}"))),
        None => Ok(Also::Image(reference(what)?)),
    }
}

/// Makes a file. Other programs' deltas do not say what comes out.
fn file(context: &Context<'_>, arguments: &ApplyArgs, (delta, kind): (PathBuf, DeltaFile)) -> Outcome {
    let (base, out, limits) = (Path::new(&arguments.base), Path::new(&arguments.output), Limits::default());
    let progress = context.progress();
    let (size, digest, verified) = match kind {
        DeltaFile::Foreign(format) => {
            let (size, digest) = apply_foreign_file(base, (&delta, format), out, &limits, &progress)?;
            (size, digest, false)
        }
        DeltaFile::Ours | DeltaFile::Archive | DeltaFile::Unknown => {
            let whole = apply_file(base, &delta, out, &limits, &progress)?;
            (whole.size, whole.digest, true)
        }
    };
    drop(progress);
    let printer = context.printer;
    if context.talk.json {
        let value = json!({
            "target": arguments.output, "bytes": size, "digest": digest.to_string(), "verified": verified,
        });
        return Ok(printer.document(&value)?);
    }
    let what = if verified { "verified".to_owned() } else { format!("{}, not verified", printer.digest(&digest)) };
    printer.fact("Applied", &format!("{}, {}, {what}", arguments.output, Size(size)));
    if !verified {
        printer.hint("such deltas say nothing of their target: compare the digest with one that you trust");
    }
    Ok(())
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
