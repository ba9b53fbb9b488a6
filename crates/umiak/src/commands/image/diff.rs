//! `umiak image diff`.

use std::num::NonZeroUsize;

use serde_json::{Value, json};
use umiak_build::{Comparison, Having, ImageDiff};
use umiak_spec::{ImageConfig, Limits};
use umiak_tree::{Change, Changed};
use umiak_ui::{Align, Printer, Size, Table};

use super::inspect::settings;
use super::{platforms, reference};
use crate::cli::ImageDiffArgs;
use crate::commands::sources::sources;
use crate::context::Context;
use crate::error::Outcome;

/// Shows what differs between two images.
pub fn run(context: &Context<'_>, arguments: &ImageDiffArgs) -> Outcome {
    let (base, target) = (reference(&arguments.base)?, reference(&arguments.target)?);
    let (sources, platforms) = (sources(context, &arguments.images)?, platforms(&arguments.images)?);
    let progress = context.progress();
    let comparison = Comparison {
        sources: &sources,
        platforms: &platforms,
        cache: &context.environment.cache_dir,
        threads: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
        limits: Limits::default(),
        observer: &progress,
    };
    let diff = comparison.images(&base, &target)?;
    drop(progress);
    if context.printer.is_json() {
        return Ok(context.printer.document(&value(&diff))?);
    }
    Ok(context.printer.data(&text(context.printer, &diff))?)
}

const fn sign(having: Having) -> &'static str {
    match having {
        Having::Base => "-",
        Having::Both | Having::Repacked => "=",
        Having::Target => "+",
    }
}

const fn letter(change: Change) -> &'static str {
    match change {
        Change::Added => "A",
        Change::Content => "C",
        Change::Metadata => "M",
        Change::Mtime => "T",
        Change::Links => "L",
        Change::Removed => "D",
    }
}

/// Settings that only one of two configs has; `created` differs always and says nothing.
fn configs(base: &ImageConfig, target: &ImageConfig) -> Vec<(&'static str, String, String)> {
    let (was, is) = (settings(base), settings(target));
    let only = |here: &[(String, String)], there: &[(String, String)], sign| {
        let own = here.iter().filter(|setting| !there.contains(setting) && setting.0 != "created");
        own.map(|(name, value)| (sign, name.clone(), value.clone())).collect::<Vec<_>>()
    };
    let mut found = only(&was, &is, "-");
    found.extend(only(&is, &was, "+"));
    found.sort_by(|one, other| one.1.cmp(&other.1));
    found
}

fn text(printer: &Printer, diff: &ImageDiff) -> String {
    let mut layers = Table::new(&[Align::Left, Align::Left, Align::Right, Align::Left]).flush();
    for (having, layer) in &diff.layers {
        let note = if *having == Having::Repacked { "the same, compressed otherwise" } else { "" };
        let size = Size(layer.size).to_string();
        layers.row([sign(*having), &format!("layer {}", printer.digest(&layer.digest)), &size, note]);
    }
    let mut text = layers.to_string();
    let mut files = Table::new(&[Align::Left, Align::Right, Align::Left]).flush();
    for Changed { path, change, bytes } in diff.files.changes.iter().filter(|changed| is_shown(printer, changed)) {
        files.row([letter(*change), &Size(*bytes).to_string(), &path.to_string()]);
    }
    if !files.is_empty() {
        text.push_str(&format!("\n{files}"));
    }
    let mut changed = Table::new(&[Align::Left, Align::Left, Align::Left]).flush();
    configs(&diff.base.config, &diff.target.config)
        .iter()
        .for_each(|(sign, name, value)| changed.row([*sign, name, value]));
    if !changed.is_empty() {
        text.push_str(&format!("\n{changed}"));
    }
    text
}

/// Times alone are shown when everything is.
fn is_shown(printer: &Printer, changed: &Changed) -> bool {
    printer.is_verbose() || changed.change != Change::Mtime
}

fn value(diff: &ImageDiff) -> Value {
    let word = |having: Having| match having {
        Having::Base => "base",
        Having::Both => "both",
        Having::Repacked => "repacked",
        Having::Target => "target",
    };
    let layers = diff.layers.iter().map(|(having, layer)| {
        let diff_id = layer.diff_id.map(|diff_id| diff_id.to_string());
        json!({ "in": word(*having), "digest": layer.digest.to_string(), "bytes": layer.size, "diff_id": diff_id })
    });
    let change = |change: Change| match change {
        Change::Added => "added",
        Change::Content => "content",
        Change::Metadata => "metadata",
        Change::Mtime => "mtime",
        Change::Links => "links",
        Change::Removed => "removed",
    };
    let files = diff.files.changes.iter().map(
        |changed| json!({ "path": changed.path.to_string(), "change": change(changed.change), "bytes": changed.bytes }),
    );
    let configs = configs(&diff.base.config, &diff.target.config);
    let only = |sign: &str| {
        let own = configs.iter().filter(|setting| setting.0 == sign);
        own.map(|(_, name, value)| json!({ "name": name, "value": value })).collect::<Vec<_>>()
    };
    json!({
        "base": diff.base.reference,
        "target": diff.target.reference,
        "layers": layers.collect::<Vec<_>>(),
        "files": files.collect::<Vec<_>>(),
        "config": { "base": only("-"), "target": only("+") },
    })
}
