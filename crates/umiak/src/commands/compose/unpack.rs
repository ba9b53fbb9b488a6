//! `umiak compose unpack`.

use serde_json::json;
use umiak_build::BuildError;
use umiak_build::compose::carry::{OVERRIDE, Unpacked, Wanted, loaded_name, unpack};
use umiak_spec::{ImageReference, Platform, Selector};
use umiak_ui::Size;

use super::Apps;
use super::carrying::{Known, beside, bundle, images, known, known_at, platforms};
use crate::cli::{EffortArg, UnpackArgs};
use crate::commands::delta::options;
use crate::context::Context;
use crate::error::{Failure, Outcome};

/// Unpacks a bundle.
pub fn run(context: &Context<'_>, arguments: &UnpackArgs) -> Outcome {
    let platform = platforms(&arguments.platform)?.pop().unwrap_or_else(Platform::host);
    let only = std::slice::from_ref(&platform);
    let apps = Apps::new(context, &arguments.registry)?;
    let app = known_at(&apps, bundle(&arguments.bundle), only)?;
    let bases = arguments.from.iter().map(|base| known(&apps, base, only)).collect::<Result<Vec<_>, _>>()?;
    let (scratch, options) = (beside(&arguments.output), options(EffortArg::Smallest));
    let mut work = images(&apps, &scratch, &options);
    work.platforms = only;
    let mut wanted = Vec::new();
    for service in &app.app.services {
        wanted.push(image(&work, &app, &bases, service, &platform)?);
    }
    let wanted = merged(wanted);
    if context.talk.dry_run {
        drop(apps);
        context.would(&format!("unpack {} to {}", app.app.name, arguments.output.display()));
        return Ok(());
    }
    let unpacked = unpack(&work, &app.app.name, &app.app.archive, &wanted, &arguments.output)?;
    drop(apps);
    tell(context, arguments, &app, &unpacked)
}

/// The image of a service, in the bundle and in releases that are there.
fn image(
    work: &umiak_build::delta::Work<'_>,
    app: &Known,
    bases: &[Known],
    service: &umiak_build::compose::Service,
    platform: &Platform,
) -> Result<Wanted, Failure> {
    let manifest = app.app.image_on(service, platform).and_then(|image| image.image.manifest.as_ref());
    let Some(manifest) = manifest else {
        let offered = app.app.image(service).map(|image| image.offered.as_slice()).unwrap_or_default();
        return Err(BuildError::from(umiak_build::compose::ComposeError::NotMadeFor {
            image: service.reference.clone(),
            service: service.name.clone(),
            wanted: platform.to_string(),
            offered: offered.iter().map(ToString::to_string).collect(),
        })
        .into());
    };
    let repository = service.reference.split_once('@').map_or(service.reference.as_str(), |(name, _)| name);
    let path = match &app.place {
        ImageReference::OciArchive { path, .. } => path.clone(),
        _ => Default::default(),
    };
    let mut found = Vec::new();
    for base in bases {
        let same = base.app.services.iter().find(|known| known.name == service.name);
        if let Some(same) = same {
            found.push(work.place(&same.reference, &base.place)?);
        }
    }
    Ok(Wanted {
        services: vec![service.name.clone()],
        name: loaded_name(repository, &manifest.digest),
        image: ImageReference::OciArchive { path, selector: Some(Selector::Digest(manifest.digest)) },
        bases: found,
    })
}

/// Services with the same image want it once.
fn merged(wanted: Vec<Wanted>) -> Vec<Wanted> {
    let mut merged: Vec<Wanted> = Vec::new();
    for image in wanted {
        match merged.iter_mut().find(|known| known.name == image.name) {
            Some(known) => {
                known.services.extend(image.services);
                known.bases.extend(image.bases);
            }
            None => merged.push(image),
        }
    }
    merged
}

fn tell(context: &Context<'_>, arguments: &UnpackArgs, app: &Known, unpacked: &Unpacked) -> Outcome {
    let (printer, output) = (context.printer, arguments.output.display());
    let name = &app.app.name;
    if printer.is_json() {
        return Ok(printer.document(&json!({
            "directory": output.to_string(),
            "app": name,
            "digest": app.app.descriptor.digest.to_string(),
            "images": unpacked.images,
            "rebuilt": unpacked.rebuilt,
            "images_bytes": unpacked.images_size,
            "compose_file": unpacked.compose_file,
        }))?);
    }
    let text = format!(
        "{output}/{name}, and {} images in {output}/images.tar, {}",
        unpacked.images,
        Size(unpacked.images_size)
    );
    printer.fact("Unpacked", &text);
    if unpacked.rebuilt > 0 {
        printer.detail(&format!("{} of them made from deltas, verified", unpacked.rebuilt));
    }
    let file = &unpacked.compose_file;
    let up = if file == OVERRIDE { String::new() } else { format!("-f docker-compose.yml -f {file} ") };
    printer.hint(&format!("docker load -i {output}/images.tar && cd {output}/{name} && docker compose {up}up -d"));
    Ok(())
}
