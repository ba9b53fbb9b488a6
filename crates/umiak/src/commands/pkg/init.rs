//! `umiak pkg init`: the source documents of a project.

use std::fs;
use std::path::Path;

use serde_json::json;
use umiak_release::{CONF, Draft, Project, conf_platforms};
use umiak_spec::Platform;

use crate::cli::PkgInitArgs;
use crate::commands::app::document;
use crate::context::Context;
use crate::error::{Failure, Kind, Outcome};

/// Writes them, here.
pub fn run(context: &Context<'_>, arguments: &PkgInitArgs) -> Outcome {
    let here = context.here()?;
    let mut document = document::of(&arguments.runtime, None, arguments.source.as_deref(), context.environment)?;
    document.set_base(arguments.base.as_deref());
    let draft = Draft {
        app: arguments.app.trim_matches('/'),
        image: &arguments.image,
        document: &document,
        platforms: &platforms(&here, &arguments.platform)?,
        force: arguments.force,
        dry_run: context.talk.dry_run,
    };
    let report = umiak_release::init(&Project::at(&here), &draft)?;
    let shown = |path: &Path| path.strip_prefix(&here).unwrap_or(path).display().to_string();
    let (written, kept): (Vec<_>, Vec<_>) =
        (report.written.iter().map(|path| shown(path)).collect(), report.kept.iter().map(|path| shown(path)).collect());
    if context.printer.is_json() {
        return Ok(context.printer.document(&json!({ "written": written, "kept": kept }))?);
    }
    for path in &written {
        if context.talk.dry_run { context.would(&format!("write {path}")) } else { context.printer.fact("Wrote", path) }
    }
    if written.is_empty() {
        context.printer.note("all of it is there already");
    } else if !context.talk.dry_run {
        context.printer.hint("`umiak pkg build` makes the packages");
    }
    Ok(())
}

/// The platforms that are named, or those of the project's configuration.
fn platforms(here: &Path, named: &[String]) -> Result<Vec<Platform>, Failure> {
    let parse = |text: &String| {
        text.trim().parse::<Platform>().map_err(|error| Failure::from_error(&error, Kind::Usage, Vec::new()))
    };
    if !named.is_empty() {
        return named.iter().map(parse).collect();
    }
    let path = here.join(CONF);
    if !path.exists() {
        return Ok(Vec::new());
    }
    let text = fs::read_to_string(&path).map_err(|error| Failure::of_io("read", &path, &error))?;
    Ok(conf_platforms(&text)?.unwrap_or_default())
}
