//! `umiak compose show`: what is in an app.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use umiak_build::compose::{App, PlatformImage};
use umiak_registry::Layer;
use umiak_spec::app::{AppManifest, Form, LayerMeta};
use umiak_spec::{Digest, Platform};
use umiak_ui::{Align, Size, Table};

use super::carrying::place;
use super::{Apps, offers, wanted};
use crate::cli::ShowArgs;
use crate::context::Context;
use crate::error::{Failure, Kind, Outcome};

/// Shows an app.
pub fn run(context: &Context<'_>, arguments: &ShowArgs) -> Outcome {
    let apps = Apps::new(context, &arguments.registry)?;
    let (work, reference) = (apps.work(), place(&arguments.app)?);
    if arguments.manifest {
        let (_, bytes) = work.manifest(&reference)?;
        drop(apps);
        let line = if bytes.ends_with(b"\n") { "" } else { "\n" };
        return Ok(context.printer.data(&format!("{}{line}", String::from_utf8_lossy(&bytes)))?);
    }
    let app = work.read(&reference, &wanted(&arguments.arch)?)?;
    drop(apps);
    if arguments.compose {
        let Some(text) = app.compose_file() else {
            return Err(Failure::new(Kind::Untrusted, "the bundle has no compose file"));
        };
        return Ok(context.printer.data(text)?);
    }
    let shown = Shown { context, app: &app, name: &arguments.app };
    if context.printer.is_json() {
        return Ok(context.printer.document(&shown.value())?);
    }
    let text = if arguments.layers { shown.layers() } else { shown.text() };
    Ok(context.printer.data(&text)?)
}

/// An app and what it is called.
struct Shown<'a> {
    context: &'a Context<'a>,
    app: &'a App,
    name: &'a str,
}

/// What a device of one platform fetches and keeps.
struct Total {
    platform: Platform,
    layers: usize,
    download: u64,
    usage: Option<u64>,
}

impl Shown<'_> {
    fn text(&self) -> String {
        let (app, printer) = (self.app, self.context.printer);
        let mut head = Table::new(&[Align::Left, Align::Left]).flush();
        head.row(["app", &format!("{} {}", app.name, printer.digest(&app.descriptor.digest))]);
        head.row(["form", &form(&app.manifest)]);
        let files = app.bundle.files.len();
        head.row(["bundle", &format!("{}, {files} files", Size(app.manifest.bundle.size))]);
        let mut services =
            Table::new(&[Align::Left, Align::Left, Align::Right, Align::Right, Align::Right, Align::Left]).flush();
        services.row(["service", "platform", "layers", "fetched", "stored", "image"]);
        for service in &app.services {
            let images = app.image(service).map(|image| image.platforms.as_slice()).unwrap_or_default();
            for image in images {
                let layers = &image.image.layers;
                let fetched = layers.iter().fold(0, |sum: u64, layer| sum.saturating_add(layer.size));
                let stored = self.usage(&image.platform, layers);
                services.row([
                    service.name.as_str(),
                    &short(&image.platform),
                    &layers.len().to_string(),
                    &Size(fetched).to_string(),
                    &size(stored),
                    &self.image(&service.reference),
                ]);
            }
        }
        let mut totals = Table::new(&[Align::Left, Align::Right, Align::Right, Align::Right]).flush();
        totals.row(["all services", "layers", "fetched", "stored"]);
        for total in self.totals() {
            let layers = total.layers.to_string();
            totals.row([&short(&total.platform), &layers, &Size(total.download).to_string(), &size(total.usage)]);
        }
        format!("{head}\n{services}\n{totals}{}", offers::text(app, printer))
    }

    /// Every layer of every architecture.
    fn layers(&self) -> String {
        let printer = self.context.printer;
        let mut table =
            Table::new(&[Align::Left, Align::Left, Align::Right, Align::Right, Align::Right, Align::Left]).flush();
        table.row(["platform", "layer", "fetched", "files", "stored", "services"]);
        let mut users: BTreeMap<(&Platform, usize, Digest), (u64, BTreeSet<&str>)> = BTreeMap::new();
        let mut order: BTreeMap<(&Platform, Digest), usize> = BTreeMap::new();
        for (service, image) in self.images() {
            for layer in &image.image.layers {
                let next = order.len();
                let at = *order.entry((&image.platform, layer.digest)).or_insert(next);
                let entry = users.entry((&image.platform, at, layer.digest)).or_default();
                entry.0 = layer.size;
                entry.1.insert(service);
            }
        }
        for ((platform, _, digest), (fetched, services)) in &users {
            let meta = self.meta(platform, digest);
            let services: Vec<&str> = services.iter().copied().collect();
            table.row([
                &short(platform),
                &printer.digest(digest),
                &Size(*fetched).to_string(),
                &size(meta.map(|meta| meta.size)),
                &size(meta.map(|meta| meta.usage)),
                &services.join(", "),
            ]);
        }
        table.to_string()
    }

    fn images(&self) -> impl Iterator<Item = (&str, &PlatformImage)> {
        let of = |service| self.app.image(service).map(|image| image.platforms.as_slice()).unwrap_or_default();
        self.app
            .services
            .iter()
            .flat_map(move |service| of(service).iter().map(move |image| (service.name.as_str(), image)))
    }

    /// Of each platform on which all services run, the layers of all of them, each once.
    fn totals(&self) -> Vec<Total> {
        // What no platform has in common is shown by service, and has no total.
        let platforms = self.app.platforms(&[]).unwrap_or_default();
        let total = |platform: Platform| {
            let images = self.app.services.iter().filter_map(|service| self.app.image_on(service, &platform));
            let layers: BTreeMap<Digest, Layer> =
                images.flat_map(|image| &image.image.layers).map(|layer| (layer.digest, layer.clone())).collect();
            let layers: Vec<Layer> = layers.into_values().collect();
            let download = layers.iter().fold(0, |sum: u64, layer| sum.saturating_add(layer.size));
            Total { usage: self.usage(&platform, &layers), layers: layers.len(), download, platform }
        };
        platforms.into_iter().map(|platform| total(platform.platform)).collect()
    }

    fn meta(&self, platform: &Platform, digest: &Digest) -> Option<&LayerMeta> {
        self.app.layers_meta.as_ref()?.layer(&platform.architecture, digest)
    }

    /// What layers take in the engine's store, when it is known of all of them.
    fn usage(&self, platform: &Platform, layers: &[Layer]) -> Option<u64> {
        let usage = |layer: &Layer| self.meta(platform, &layer.digest).map(|meta| meta.usage);
        layers.iter().map(usage).try_fold(0u64, |sum, usage| Some(sum.saturating_add(usage?)))
    }

    /// An image without what is the same in all of them.
    fn image(&self, reference: &str) -> String {
        match reference.rsplit_once('@').map(|(name, digest)| (name, digest.parse::<Digest>())) {
            Some((name, Ok(digest))) => format!("{name}@{}", self.context.printer.digest(&digest)),
            _ => reference.to_owned(),
        }
    }

    fn value(&self) -> Value {
        let (app, manifest) = (self.app, &self.app.manifest);
        let services = app.services.iter().map(|service| {
            let images = app.image(service).map(|image| image.platforms.as_slice()).unwrap_or_default();
            json!({
                "name": service.name,
                "image": service.reference,
                "platforms": images.iter().map(|image| self.platform(image)).collect::<Vec<_>>(),
            })
        });
        let totals = self.totals().into_iter().map(|total| {
            json!({
                "platform": total.platform.to_string(),
                "layers": total.layers,
                "fetched": total.download,
                "stored": total.usage,
            })
        });
        let files = app.bundle.files.iter().map(
            |file| json!({ "name": file.name, "size": file.size, "digest": file.digest.to_string(), "link": file.link }),
        );
        json!({
            "app": self.name,
            "name": app.name,
            "digest": app.descriptor.digest.to_string(),
            "form": word(manifest.form),
            "layers_indexes": manifest.layers_indexes.iter().map(|entry| &entry.architecture).collect::<Vec<_>>(),
            "layers_meta": manifest.layers_meta.as_ref().map(|meta| meta.digest.to_string()),
            "measures": manifest.measures.as_ref().map(|measures| measures.digest.to_string()),
            "bundle": {
                "digest": manifest.bundle.digest.to_string(),
                "size": manifest.bundle.size,
                "files": files.collect::<Vec<_>>(),
            },
            "services": services.collect::<Vec<_>>(),
            "deltas": offers::value(app),
            "platforms": totals.collect::<Vec<_>>(),
        })
    }

    fn platform(&self, image: &PlatformImage) -> Value {
        let layer = |layer: &Layer| {
            let meta = self.meta(&image.platform, &layer.digest);
            json!({
                "digest": layer.digest.to_string(),
                "diff_id": layer.diff_id.map(|diff_id| diff_id.to_string()),
                "media_type": layer.media_type,
                "fetched": layer.size,
                "files": meta.map(|meta| meta.size),
                "stored": meta.map(|meta| meta.usage),
            })
        };
        json!({
            "platform": image.platform.to_string(),
            "manifest": image.image.manifest.as_ref().map(|manifest| manifest.digest.to_string()),
            "config": Digest::of(image.image.config.text.as_bytes()).to_string(),
            "layers": image.image.layers.iter().map(layer).collect::<Vec<_>>(),
        })
    }
}

/// What kind of app it is, for people.
fn form(manifest: &AppManifest) -> String {
    let optional = [
        (manifest.layers_meta.is_some(), "layers metadata"),
        (manifest.measures.is_some(), "umiak's measures"),
        (!manifest.layers_indexes.is_empty(), "layers indexes"),
    ];
    let with: Vec<&str> = optional.into_iter().filter_map(|(there, name)| there.then_some(name)).collect();
    let with = if with.is_empty() { "no layers metadata".to_owned() } else { with.join(", ") };
    format!("{}; {with}", word(manifest.form))
}

fn word(form: Form) -> &'static str {
    match form {
        Form::Legacy => "legacy",
        Form::Artifact => "artifact",
    }
}

/// A platform as tables have it.
pub fn short(platform: &Platform) -> String {
    let text = platform.to_string();
    text.strip_prefix("linux/").unwrap_or(&text).to_owned()
}

fn size(bytes: Option<u64>) -> String {
    bytes.map_or_else(|| "-".to_owned(), |bytes| Size(bytes).to_string())
}
