//! `umiak compose publish`.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use umiak_build::BuildError;
use umiak_build::compose::{Draft, Format, PinnedImages, Published, PublishedDelta, Request, Work};
use umiak_spec::app::LayersMeta;
use umiak_spec::{Digest, Limits};
use umiak_ui::{Align, Size, Table};

use super::{Apps, deltas, project, reference, wanted};
use crate::cli::{ComposePublishArgs, FormatArg};
use crate::commands::beside::Beside;
use crate::context::Context;
use crate::error::{Failure, Kind, Outcome};

/// Publishes the project in this directory.
pub fn run(context: &Context<'_>, arguments: &ComposePublishArgs) -> Outcome {
    deltas::check(arguments)?;
    let app = reference(&arguments.app)?;
    let wanted = wanted(&arguments.arch)?;
    let apps = Apps::new(context, &arguments.registry)?;
    let project = project::folder(context, &arguments.files, &apps.progress)?;
    let work = apps.work();
    let work = Work { device: !arguments.no_device, ..work };
    let mut draft = work.draft(Request {
        app: &app,
        project: &project,
        format: format(arguments.format),
        wanted: &wanted,
        pinned: pinned(arguments.pinned_images.as_deref())?,
        layers_meta: arguments.layers_meta.as_deref().map(layers_meta).transpose()?,
    })?;
    plan(context, arguments, &draft);
    if context.talk.dry_run {
        drop(apps);
        context.would(&format!("publish {} for {}", arguments.app, platforms(&draft)));
        return if context.printer.is_json() { Ok(()) } else { Ok(context.printer.data(&draft.packed.compose)?) };
    }
    let deltas = deltas::publish(context, &apps, arguments, &mut draft)?;
    let published = work.publish(&draft)?;
    drop(apps);
    deltas::tell(context, &deltas);
    if let Some(file) = &arguments.digest_file {
        Beside::write(file, published.descriptor.digest.to_string().as_bytes())?;
    }
    tell(context, arguments, &draft, &published, &deltas)
}

fn format(format: FormatArg) -> Format {
    match format {
        FormatArg::Umiak => Format::Umiak,
        FormatArg::Foundries => Format::Foundries,
        FormatArg::FoundriesLegacy => Format::FoundriesLegacy,
    }
}

/// Bytes of a file that somebody else wrote.
fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let failed = |error| Failure::of_io("read", path, &error);
    let size = fs::metadata(path).map_err(failed)?.len();
    if size > Limits::default().document {
        return Err(Failure::new(Kind::Usage, format!("{} is too large: {}", path.display(), Size(size))));
    }
    fs::read(path).map_err(failed)
}

fn pinned(path: Option<&Path>) -> Result<PinnedImages, Failure> {
    let Some(path) = path else { return Ok(PinnedImages::default()) };
    let bytes = read(path)?;
    Ok(PinnedImages::parse(&String::from_utf8_lossy(&bytes)).map_err(BuildError::from)?)
}

fn layers_meta(path: &Path) -> Result<LayersMeta, Failure> {
    LayersMeta::parse(&read(path)?, &Limits::default()).map_err(|error| {
        Failure::from_error(&error, Kind::Usage, vec!["`umiak image measure --merge` writes such a file".into()])
    })
}

/// What is going to be published.
fn plan(context: &Context<'_>, arguments: &ComposePublishArgs, draft: &Draft) {
    for note in &draft.packed.notes {
        context.printer.warning(note);
    }
    let mut table = Table::new(&[Align::Left, Align::Left, Align::Left, Align::Right]);
    let mut services = Vec::new();
    for service in &draft.services {
        let (name, digest) = split(&service.reference);
        let shown = digest.map_or_else(String::new, |digest| context.printer.digest(&digest));
        let layers = draft
            .images
            .get(service.image)
            .map_or(0, |image| image.platforms.iter().map(|image| image.image.layers.len()).max().unwrap_or(0));
        table.row([service.name.as_str(), name, &shown, &format!("{layers} layers")]);
        services.push(json!({ "name": service.name, "image": service.reference }));
    }
    let value = json!({
        "app": arguments.app,
        "services": services,
        "platforms": draft.platforms.iter().map(|platform| platform.platform.to_string()).collect::<Vec<_>>(),
        "bundle_bytes": draft.packed.blob.size,
        "layer_bytes": draft.layers_size(),
    });
    context.printer.plan(&table, &value);
    let bundle = Size(draft.packed.blob.size);
    context.printer.detail(&format!("bundle of {bundle}; layers of {}", Size(draft.layers_size())));
}

fn split(reference: &str) -> (&str, Option<Digest>) {
    match reference.rsplit_once('@') {
        Some((name, digest)) => (name, digest.parse().ok()),
        None => (reference, None),
    }
}

fn platforms(draft: &Draft) -> String {
    let name = |platform: &umiak_spec::Platform| platform.to_string().trim_start_matches("linux/").to_owned();
    draft.platforms.iter().map(|platform| name(&platform.platform)).collect::<Vec<_>>().join(", ")
}

fn tell(
    context: &Context<'_>,
    arguments: &ComposePublishArgs,
    draft: &Draft,
    published: &Published,
    made: &[PublishedDelta],
) -> Outcome {
    let digest = published.descriptor.digest;
    if context.printer.is_json() {
        return Ok(context.printer.document(&value(arguments, draft, published, made))?);
    }
    let (services, bundle) = (draft.services.len(), Size(draft.packed.blob.size));
    context.printer.fact(
        "Published",
        &format!("{} for {}: {services} services, bundle of {bundle}", arguments.app, platforms(draft)),
    );
    Ok(context.printer.data(&format!("{}@{digest}\n", without_tag(&arguments.app, &draft.tag)))?)
}

/// What devices are told: the app without its tag.
fn without_tag<'a>(app: &'a str, tag: &str) -> &'a str {
    app.strip_suffix(tag).and_then(|app| app.strip_suffix(':')).unwrap_or(app)
}

fn value(arguments: &ComposePublishArgs, draft: &Draft, published: &Published, made: &[PublishedDelta]) -> Value {
    let name = without_tag(&arguments.app, &draft.tag);
    json!({
        "app": arguments.app,
        "uri": format!("{name}@{}", published.descriptor.digest),
        "digest": published.descriptor.digest.to_string(),
        "platforms": draft.platforms.iter().map(|platform| platform.platform.to_string()).collect::<Vec<_>>(),
        "services": draft.services.iter().map(|service| json!({ "name": service.name, "image": service.reference })).collect::<Vec<_>>(),
        "bundle": published.manifest.bundle.digest.to_string(),
        "layers_meta": published.manifest.layers_meta.as_ref().map(|meta| meta.digest.to_string()),
        "measures": published.manifest.measures.as_ref().map(|measures| measures.digest.to_string()),
        "deltas": deltas::value(made),
    })
}
