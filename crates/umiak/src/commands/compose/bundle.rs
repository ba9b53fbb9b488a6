//! `umiak compose bundle`.

use serde_json::json;
use umiak_build::compose::carry::{Carried, CarriedImage, Layers, OVERRIDE, Written, write};
use umiak_spec::{Limits, Platform};
use umiak_ui::{Align, Size, Table};

use super::Apps;
use super::carrying::{Known, beside, images, known, platforms, release};
use crate::cli::BundleArgs;
use crate::commands::delta::options;
use crate::context::Context;
use crate::error::{Failure, Outcome};

/// Writes the app to one file.
pub fn run(context: &Context<'_>, arguments: &BundleArgs) -> Outcome {
    let only = platforms(&arguments.platform)?;
    let apps = Apps::new(context, &arguments.registry)?;
    let app = known(&apps, &arguments.app, &only)?;
    let made_for = made_for(&app, &only)?;
    let bases =
        arguments.from.iter().map(|base| release(&apps, base, &app.place, &made_for)).collect::<Result<Vec<_>, _>>()?;
    if context.talk.dry_run {
        drop(apps);
        let names: Vec<_> = made_for.iter().map(ToString::to_string).collect();
        context.would(&format!("write {} for {}", arguments.output.display(), names.join(", ")));
        return Ok(());
    }
    let (scratch, options) = (beside(&arguments.output), options(arguments.effort));
    let work = images(&apps, &scratch, &options);
    let bases: Vec<_> = bases.iter().map(Known::read).collect();
    let carried = work.gather(app.read(), &made_for, &bases)?;
    let written = write(&carried, &arguments.output, &Limits::default(), &apps.progress)?;
    drop(apps);
    tell(context, arguments, &carried, &written)
}

/// The platforms that are carried: those asked for, else all that the app is made for.
fn made_for(app: &Known, only: &[Platform]) -> Result<Vec<Platform>, Failure> {
    let wanted = only.iter().map(|platform| platform.to_string().parse()).collect::<Result<Vec<_>, _>>();
    let wanted = wanted.map_err(umiak_build::BuildError::Platform)?;
    let platforms = app.app.platforms(&wanted).map_err(umiak_build::BuildError::from)?;
    if only.is_empty() {
        return Ok(platforms.into_iter().map(|platform| platform.platform).collect());
    }
    Ok(only.to_vec())
}

fn tell(context: &Context<'_>, arguments: &BundleArgs, carried: &Carried, written: &Written) -> Outcome {
    let printer = context.printer;
    let file = arguments.output.display();
    if printer.is_json() {
        let image = |image: &CarriedImage| {
            json!({
                "services": image.services,
                "platform": image.platform.to_string(),
                "manifest": image.manifest().map(|manifest| manifest.digest.to_string()),
                "loaded_name": image.loaded_name(),
                "carried": carried_as(image),
                "bytes": bytes(image),
            })
        };
        let files = written.overrides.iter();
        return Ok(printer.document(&json!({
            "bundle": file.to_string(),
            "bytes": written.size,
            "app": carried.name,
            "digest": carried.manifest.blob.digest.to_string(),
            "loadable": carried.is_loadable(),
            "compose_files": files.map(|(_, name)| name).collect::<Vec<_>>(),
            "images": carried.images.iter().map(image).collect::<Vec<_>>(),
        }))?);
    }
    let mut table = Table::new(&[Align::Left, Align::Left, Align::Left, Align::Right]);
    for image in &carried.images {
        let platform = image.platform.to_string();
        table.row([&image.services.join(", "), &platform, carried_as(image), &Size(bytes(image)).to_string()]);
    }
    printer.plan(&table, &serde_json::Value::Null);
    printer.fact("Bundled", &format!("{} {} in {file}, {}", carried.name, carried.tag, Size(written.size)));
    if !carried.is_loadable() {
        printer.note("it carries deltas: `docker load` cannot read it");
        printer.hint(&format!("on the device: umiakd target set {file} && umiakd update"));
        printer.hint(&format!("on a device with Docker alone: umiak compose unpack {file} -o {}", carried.name));
        return Ok(());
    }
    let directory = format!("apps/{}", carried.name);
    printer.hint(&format!("on the device: docker load -i {file} && tar xf {file} apps"));
    for (platform, name) in &written.overrides {
        let up = if name == OVERRIDE { String::new() } else { format!("-f docker-compose.yml -f {name} ") };
        let on = if written.overrides.len() > 1 { format!("on {platform}: ") } else { String::new() };
        printer.hint(&format!("{on}cd {directory} && docker compose {up}up -d"));
    }
    Ok(())
}

fn carried_as(image: &CarriedImage) -> &'static str {
    match image.drafts() {
        [] => "full",
        drafts if drafts.iter().all(|draft| draft.manifest.parts.is_empty()) => "unchanged",
        _ => "delta",
    }
}

/// What of it is in the file because of it: shared layers count for each.
fn bytes(image: &CarriedImage) -> u64 {
    match &image.layers {
        Layers::Full(layers) => layers.iter().map(|layer| layer.blob.size).sum(),
        Layers::Deltas(drafts) => drafts.iter().map(|draft| draft.manifest.size()).sum(),
    }
}
