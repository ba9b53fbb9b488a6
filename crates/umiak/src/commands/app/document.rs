//! From the flags of `app add` to the source document (`src.json`) that the app is rendered from.

use std::fs;
use std::path::Path;

use umiak_pvr::Value;
use umiak_pvr::app::{SourceDocument, parse_volume};
use umiak_spec::Limits;

use crate::cli::{AppAddArgs, RuntimeArgs};
use crate::commands::sources::DEFAULT_SOURCE;
use crate::environment::Environment;
use crate::error::{Failure, Kind};

/// The document of a new app.
///
/// # Errors
/// A usage failure for values that cannot be read, an environment failure for files that cannot.
pub fn document(arguments: &AppAddArgs, environment: &Environment) -> Result<SourceDocument, Failure> {
    let images = &arguments.source.images;
    of(&arguments.runtime, images.platform.as_deref(), images.source.as_deref(), environment)
}

/// The document of an app that runs like this, of an image for `platform` that is looked for in these places.
///
/// # Errors
/// As [`document`].
pub fn of(
    runtime: &RuntimeArgs,
    platform: Option<&str>,
    places: Option<&str>,
    environment: &Environment,
) -> Result<SourceDocument, Failure> {
    let mut document = SourceDocument::new();
    document.set_docker_platform(platform);
    document.set_docker_source(Some(places.unwrap_or(DEFAULT_SOURCE)));
    set_arguments(&mut document, runtime, environment)?;
    set_config(&mut document, runtime)?;
    for volume in non_empty(&runtime.volumes, &environment.volumes) {
        let (path, mode) =
            parse_volume(volume).map_err(|error| Failure::from_error(&error, Kind::Usage, Vec::new()))?;
        document.set_persistence(&path, &mode);
    }
    document.set_format_options(runtime.format_options.as_deref());
    Ok(document)
}

fn set_arguments(
    document: &mut SourceDocument,
    runtime: &RuntimeArgs,
    environment: &Environment,
) -> Result<(), Failure> {
    if let Some(path) = &runtime.arg_json {
        for (name, value) in members(path)? {
            document.set_arg(&name, value);
        }
    }
    for argument in non_empty(&runtime.arguments, &environment.template_arguments) {
        let (name, value) = argument.split_once('=').unwrap_or((argument, ""));
        document.set_arg(name, Value::from(value));
    }
    let named = [
        ("PV_GROUP", &runtime.group),
        ("PV_RUNLEVEL", &runtime.runlevel),
        ("PV_RESTART_POLICY", &runtime.restart_policy),
        ("PV_STATUS_GOAL", &runtime.status_goal),
    ];
    for (name, value) in named {
        if let Some(value) = value.as_deref().filter(|value| !value.is_empty()) {
            document.set_arg(name, Value::from(value));
        }
    }
    Ok(())
}

fn set_config(document: &mut SourceDocument, runtime: &RuntimeArgs) -> Result<(), Failure> {
    if let Some(path) = &runtime.config_json {
        for (name, value) in members(path)? {
            document.set_config(&name, value);
        }
    }
    for setting in &runtime.config {
        let (name, value) = setting.split_once('=').ok_or_else(|| {
            Failure::new(Kind::Usage, format!("`--config {setting}` has no value"))
                .hint("write NAME=VALUE, such as --config Entrypoint=/bin/sh or --config 'Cmd=[\"-c\",\"date\"]'")
        })?;
        document.set_config(name, config_value(value)?);
    }
    Ok(())
}

/// A list or an object when it looks like one, else a string.
fn config_value(text: &str) -> Result<Value, Failure> {
    if text.starts_with(['[', '{']) {
        return Value::parse(text.as_bytes(), Limits::default().document).map_err(|error| {
            Failure::from_error(&error, Kind::Usage, vec!["a value that begins with [ or { is JSON".into()])
        });
    }
    Ok(Value::from(text))
}

/// The members of the JSON object in a file.
fn members(path: &Path) -> Result<Vec<(String, Value)>, Failure> {
    let unreadable =
        |error: std::io::Error| Failure::new(Kind::Environment, format!("cannot read {}: {error}", path.display()));
    let wrong = |what: String| Failure::new(Kind::Usage, format!("{} {what}", path.display()));
    let bytes = fs::read(path).map_err(unreadable)?;
    match Value::parse(&bytes, Limits::default().document) {
        Ok(Value::Object(members)) => Ok(members.into_iter().collect()),
        Ok(other) => Err(wrong(format!("holds {}, not a JSON object", other.kind()))),
        Err(error) => Err(wrong(format!("is not JSON: {error}"))),
    }
}

/// Flags, or else what the environment has of the same.
fn non_empty<'a>(flags: &'a [String], environment: &'a [String]) -> &'a [String] {
    if flags.is_empty() { environment } else { flags }
}
