//! `umiak delta inspect`: what a delta reuses, patches and carries.

use std::path::Path;

use serde_json::{Value, json};
use umiak_build::delta::{DeltaFile, Inspected, InspectedImage, inspect_file};
use umiak_delta::container::Shape;
use umiak_delta::index::Whole;
use umiak_spec::Limits;
use umiak_spec::delta::{Content, Part};
use umiak_ui::{Align, Size, Table};

use super::dearest::{self, Dearest};
use super::{Images, delta_file, options, reference};
use crate::cli::{EffortArg, InspectArgs};
use crate::context::Context;
use crate::error::{Failure, Kind, Outcome};

/// Shows what is in a delta.
pub fn run(context: &Context<'_>, arguments: &InspectArgs) -> Outcome {
    let scratch = &context.environment.temporary_dir;
    let base = arguments.base.as_deref();
    if let Some((delta, kind)) = delta_file(base, &arguments.delta)? {
        if kind != DeltaFile::Ours {
            let text = format!("{} is a delta of another program: it can be applied", arguments.delta);
            return Err(Failure::new(Kind::Usage, text));
        }
        let progress = context.progress();
        let inspected = inspect_file(&delta, base.map(Path::new), scratch, &Limits::default(), &progress)?;
        drop(progress);
        return tell_file(context, &arguments.delta, &inspected);
    }
    let delta = reference(&arguments.delta)?;
    let base = base.map(reference).transpose()?;
    let images = Images::new(context, &arguments.images, scratch, options(EffortArg::Smallest))?;
    let inspected = images.work().inspect_images(&delta, base.as_ref())?;
    drop(images);
    tell_image(context, &arguments.delta, &inspected)
}

fn tell_file(context: &Context<'_>, name: &str, inspected: &Inspected) -> Outcome {
    let printer = context.printer;
    if printer.is_json() {
        let mut value = blob(inspected);
        value["delta"] = name.into();
        if let Some(contents) = &inspected.contents {
            value["dearest"] = Dearest::of([contents.as_slice()]).value();
        }
        return Ok(printer.document(&value)?);
    }
    let mut text = String::new();
    let mut head = Table::new(&[Align::Left, Align::Right, Align::Left]).flush();
    head.row(["delta", &Size(inspected.size).to_string(), name]);
    for base in &inspected.index.bases {
        head.row(["base", &Size(base.size).to_string(), &whole(context, base)]);
    }
    let target = &inspected.index.target;
    head.row(["target", &Size(target.size).to_string(), &whole(context, target)]);
    text.push_str(&head.to_string());
    text.push_str(&format!("\n{}", streams(inspected)));
    if let Some(contents) = &inspected.contents {
        text.push_str(&format!("\n{}", dearest::table(contents)));
        text.push_str(&Dearest::of([contents.as_slice()]).text());
    }
    Ok(printer.data(&text)?)
}

fn whole(context: &Context<'_>, whole: &Whole) -> String {
    format!("{} {}", shape(whole), context.printer.digest(&whole.digest))
}

fn shape(whole: &Whole) -> &'static str {
    match whole.shape {
        Shape::Raw => "file",
        Shape::Tar => "tar",
        Shape::Squashfs => "squashfs",
    }
}

/// What the streams of a blob take.
fn streams(inspected: &Inspected) -> Table {
    let mut table = Table::new(&[Align::Right, Align::Right, Align::Left]).flush();
    table.row(["packed", "plain", "stream"]);
    for stream in &inspected.index.streams {
        let name = format!("{}, {}", stream.id.lane.name(), stream.id.kind.name());
        table.row([&Size(stream.stored).to_string(), &Size(stream.plain).to_string(), &name]);
    }
    table.row([&Size(inspected.overhead).to_string(), "", "index and digests"]);
    table
}

/// A blob as JSON.
fn blob(inspected: &Inspected) -> Value {
    let streams = inspected.index.streams.iter().map(|stream| {
        json!({
            "name": format!("{} {}", stream.id.lane.name(), stream.id.kind.name()),
            "packed": stream.stored,
            "plain": stream.plain,
            "frames": stream.frames.len(),
            "window": stream.codec.window(),
        })
    });
    let whole =
        |whole: &Whole| json!({ "digest": whole.digest.to_string(), "bytes": whole.size, "shape": shape(whole) });
    let mut value = json!({
        "bytes": inspected.size,
        "index_bytes": inspected.overhead,
        "target": whole(&inspected.index.target),
        "bases": inspected.index.bases.iter().map(whole).collect::<Vec<_>>(),
        "streams": streams.collect::<Vec<_>>(),
    });
    if let Some(contents) = &inspected.contents {
        value["contents"] = dearest::value(contents);
    }
    value
}

fn tell_image(context: &Context<'_>, name: &str, image: &InspectedImage) -> Outcome {
    let (printer, manifest) = (context.printer, &image.manifest);
    let contents = image.parts.iter().filter_map(|(_, inspected)| inspected.as_ref()?.contents.as_deref());
    let has_contents = contents.clone().next().is_some();
    let dearest = Dearest::of(contents);
    if printer.is_json() {
        let mut value = json!({
            "delta": name,
            "target": manifest.subject.digest.to_string(),
            "base": manifest.base.map(|base| base.to_string()),
            "base_layers": manifest.base_diff_ids.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "bytes": manifest.size(),
            "full_bytes": manifest.full_size,
            "target_bytes": manifest.expanded_size,
            "reused": manifest.reused.iter().map(|reused| reused.diff_id.to_string()).collect::<Vec<_>>(),
            "parts": image.parts.iter().map(|(part, inspected)| carried(part, inspected.as_ref())).collect::<Vec<_>>(),
        });
        if has_contents {
            value["dearest"] = dearest.value();
        }
        return Ok(printer.document(&value)?);
    }
    let mut text = String::new();
    let mut head = Table::new(&[Align::Left, Align::Right, Align::Left]).flush();
    head.row(["delta", &Size(manifest.size()).to_string(), name]);
    let base = manifest.base.or(manifest.base_config);
    head.row(["base", "", &base.map_or_else(String::new, |base| format!("image {}", printer.digest(&base)))]);
    let full = format!("image {}, {} in full", printer.digest(&manifest.subject.digest), Size(manifest.full_size));
    head.row(["target", &Size(manifest.expanded_size).to_string(), &full]);
    text.push_str(&head.to_string());
    let mut parts = Table::new(&[Align::Right, Align::Left, Align::Left]).flush();
    for reused in &manifest.reused {
        parts.row(["0 B", &printer.digest(&reused.diff_id), "the base has it"]);
    }
    for (part, _) in &image.parts {
        parts.row([&Size(part.blob.size).to_string(), &printer.digest(&part.to), what(part)]);
    }
    text.push_str(&format!("\n{parts}"));
    for (part, inspected) in &image.parts {
        let Some(inspected) = inspected else { continue };
        text.push_str(&format!("\nlayer {}\n{}", printer.digest(&part.to), streams(inspected)));
        if let Some(contents) = &inspected.contents {
            text.push_str(&format!("\n{}", dearest::table(contents)));
        }
    }
    if has_contents {
        text.push_str(&dearest.text());
    }
    Ok(printer.data(&text)?)
}

fn what(part: &Part) -> &'static str {
    match part.content {
        Content::Manifest => "the manifest",
        Content::Config => "the config",
        Content::Names => "names of sources",
        Content::Layer if part.is_delta() => "a layer as a delta",
        Content::Layer => "a layer as it is",
    }
}

fn carried(part: &Part, inspected: Option<&Inspected>) -> Value {
    let mut value = inspected.map_or_else(|| json!({ "bytes": part.blob.size }), blob);
    value["content"] = part.content.word().into();
    value["to"] = part.to.to_string().into();
    value["blob"] = part.blob.digest.to_string().into();
    value["is_delta"] = part.is_delta().into();
    value
}
