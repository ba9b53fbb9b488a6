//! `umiak image inspect`.

use serde_json::{Value, json};
use umiak_registry::open_watched;
use umiak_spec::{Descriptor, ImageConfig, Platform};
use umiak_ui::{Align, Printer, Size, Table};

use super::sight::{Sight, Single, look};
use super::{fetching, platforms, reference};
use crate::cli::ImageInspectArgs;
use crate::commands::sources::sources;
use crate::context::Context;
use crate::error::{Failure, Kind, Outcome};

/// Shows what an image is made of.
pub fn run(context: &Context<'_>, arguments: &ImageInspectArgs) -> Outcome {
    let place = reference(&arguments.image)?;
    let sources = sources(context, &arguments.images)?;
    let wanted = platforms(&arguments.images)?;
    let progress = context.progress();
    let source = open_watched(&place, &sources, &progress).map_err(fetching)?;
    if arguments.raw && wanted.is_empty() {
        let (_, bytes) = source.top(&progress).map_err(fetching)?;
        drop(progress);
        return Ok(context.printer.data_bytes(&bytes)?);
    }
    let sight = look(source.as_ref(), &place, &sources.limits, &progress).map_err(fetching)?;
    drop(progress);
    let chosen = chosen(&sight, &wanted, &arguments.image)?;
    if arguments.raw {
        let bytes = chosen.first().map(|image| image.bytes.as_slice()).unwrap_or_default();
        return Ok(context.printer.data_bytes(bytes)?);
    }
    if context.printer.is_json() {
        return Ok(context.printer.document(&value(&arguments.image, &sight, &chosen))?);
    }
    Ok(context.printer.data(&text(context.printer, &arguments.image, &sight, &chosen))?)
}

/// All images, or the one for the platform that was asked for.
fn chosen<'s>(sight: &'s Sight, wanted: &[Platform], name: &str) -> Result<Vec<&'s Single>, Failure> {
    if wanted.is_empty() {
        return Ok(sight.images.iter().collect());
    }
    let offered: Vec<(&Single, &Platform)> =
        sight.images.iter().filter_map(|image| Some((image, image.platform.as_ref()?))).collect();
    match Platform::choose(wanted, offered.iter().map(|(_, platform)| *platform)) {
        Some(found) => Ok(vec![offered[found].0]),
        None => {
            let there: Vec<String> = offered.iter().map(|(_, platform)| platform.to_string()).collect();
            let wanted = wanted.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ");
            let text = format!("{name} is not made for {wanted}, only for {}", there.join(", "));
            Err(Failure::new(Kind::Usage, text).hint("pick one with --platform"))
        }
    }
}

/// The members of a config's `config` that say how it runs, in the order in which they are shown.
const SETTINGS: [&str; 11] = [
    "Entrypoint",
    "Cmd",
    "Env",
    "User",
    "WorkingDir",
    "ExposedPorts",
    "Volumes",
    "Labels",
    "StopSignal",
    "Healthcheck",
    "Shell",
];

/// How an image runs: names and values as text, what is not set left out.
pub fn settings(config: &ImageConfig) -> Vec<(String, String)> {
    let document: Value = serde_json::from_str(&config.text).unwrap_or_default();
    let mut found = Vec::new();
    for name in ["created", "author"] {
        found.extend(document[name].as_str().map(|value| (name.to_owned(), value.to_owned())));
    }
    for name in SETTINGS {
        let value = &document["config"][name];
        match value {
            Value::Null => {}
            Value::String(text) if text.is_empty() => {}
            Value::String(text) => found.push((name.to_lowercase(), text.clone())),
            Value::Array(items) if name == "Env" => {
                let text = |item: &Value| item.as_str().map(str::to_owned).unwrap_or_else(|| item.to_string());
                found.extend(items.iter().map(|item| ("env".to_owned(), text(item))));
            }
            Value::Object(members) if name == "Labels" => {
                let text = |item: &Value| item.as_str().map(str::to_owned).unwrap_or_else(|| item.to_string());
                found.extend(members.iter().map(|(key, item)| ("label".to_owned(), format!("{key}={}", text(item)))));
            }
            Value::Object(members) if ["ExposedPorts", "Volumes"].contains(&name) => {
                let names: Vec<&str> = members.keys().map(String::as_str).collect();
                found.push((name.to_lowercase(), names.join(", ")));
            }
            value => found.push((name.to_lowercase(), value.to_string())),
        }
    }
    found
}

fn text(printer: &Printer, name: &str, sight: &Sight, chosen: &[&Single]) -> String {
    let mut table = Table::new(&[Align::Left, Align::Left, Align::Right, Align::Left]).flush();
    let of = |descriptor: &Descriptor| printer.digest(&descriptor.digest);
    table.row(["name", name, &Size(sight.size).to_string(), short(&sight.top.media_type)]);
    table.row(["digest", &of(&sight.top), "", sight.artifact.as_deref().unwrap_or("")]);
    for image in chosen {
        let platform = image.platform.as_ref().map_or_else(String::new, ToString::to_string);
        let count = image.manifest.layers.len();
        let layers = format!("{count} {}", if count == 1 { "layer" } else { "layers" });
        table.row(["image", &of(&image.descriptor), &Size(image.size()).to_string(), &format!("{platform}, {layers}")]);
    }
    let mut text = table.to_string();
    let [image] = chosen else { return text };
    let mut layers = Table::new(&[Align::Left, Align::Left, Align::Right, Align::Left]).flush();
    for (number, layer) in image.manifest.layers.iter().enumerate() {
        let size = Size(layer.size).to_string();
        layers.row([format!("layer {number}").as_str(), &of(layer), &size, short(&layer.media_type)]);
    }
    if !layers.is_empty() {
        text.push_str(&format!("\n{layers}"));
    }
    let mut table = Table::new(&[Align::Left, Align::Left]).flush();
    let settings = image.config.as_ref().map(settings).unwrap_or_default();
    settings.iter().for_each(|(name, value)| table.row([name, value]));
    if !table.is_empty() {
        text.push_str(&format!("\n{table}"));
    }
    text
}

/// A media type without what all of them begin with.
fn short(media_type: &str) -> &str {
    ["application/vnd.oci.", "application/vnd.docker.", "application/"]
        .into_iter()
        .find_map(|prefix| media_type.strip_prefix(prefix))
        .unwrap_or(media_type)
}

fn value(name: &str, sight: &Sight, chosen: &[&Single]) -> Value {
    let blob = |blob: &Descriptor| json!({ "digest": blob.digest.to_string(), "bytes": blob.size, "media_type": blob.media_type });
    let image = |image: &&Single| {
        let text = image.config.as_ref().map_or("", |config| config.text.as_str());
        let diff_ids = image.config.iter().flat_map(|config| &config.diff_ids);
        let mut value = blob(&image.descriptor);
        value["platform"] = image.platform.as_ref().map(ToString::to_string).into();
        value["total_bytes"] = image.size().into();
        value["config"] = blob(&image.manifest.config);
        value["config"]["contents"] = serde_json::from_str(text).unwrap_or_default();
        value["layers"] = image.manifest.layers.iter().map(blob).collect();
        for (layer, diff_id) in value["layers"].as_array_mut().into_iter().flatten().zip(diff_ids) {
            layer["diff_id"] = diff_id.to_string().into();
        }
        value
    };
    let mut value = blob(&sight.top);
    value["name"] = name.into();
    value["total_bytes"] = sight.size.into();
    value["artifact"] = sight.artifact.clone().into();
    value["images"] = chosen.iter().map(image).collect();
    value
}
