//! The deltas that an app's metadata tells of: from what, to which service's image, in how many bytes.

use serde_json::{Value, json};
use umiak_build::compose::{App, PlatformImage};
use umiak_spec::Digest;
use umiak_spec::app::measures::{DeltaOf, KnownDelta};
use umiak_ui::{Align, Printer, Size, Table};

/// A delta to an image that the app has.
struct Known<'a> {
    service: &'a str,
    image: &'a PlatformImage,
    delta: &'a KnownDelta,
}

/// By service and platform, smallest first.
fn known(app: &App) -> Vec<Known<'_>> {
    let deltas = app.measures.as_ref().map(|measures| measures.deltas.as_slice()).unwrap_or_default();
    let mut known = Vec::new();
    for service in &app.services {
        for image in app.image(service).map(|image| image.platforms.as_slice()).unwrap_or_default() {
            let target = image.image.manifest.as_ref().map(|manifest| manifest.digest);
            let to = |delta: &&KnownDelta| delta.of == DeltaOf::Image && Some(delta.target) == target;
            let mut of: Vec<_> = deltas.iter().filter(to).collect();
            of.sort_by_key(|delta| (delta.size, delta.base));
            known.extend(of.into_iter().map(|delta| Known { service: &service.name, image, delta }));
        }
    }
    known
}

/// A table, with an empty line before it; nothing when there are none.
pub fn text(app: &App, printer: &Printer) -> String {
    let known = known(app);
    if known.is_empty() {
        return String::new();
    }
    let mut table = Table::new(&[Align::Left, Align::Left, Align::Right, Align::Left]).flush();
    table.row(["delta to", "platform", "fetched", "from"]);
    for Known { service, image, delta } in known {
        let from = format!("image {}", printer.digest(&delta.base));
        table.row([service, &super::show::short(&image.platform), &Size(delta.size).to_string(), &from]);
    }
    format!("\n{table}")
}

/// The same for programs.
pub fn value(app: &App) -> Vec<Value> {
    let text = |digest: &Digest| digest.to_string();
    let value = |Known { service, image, delta }: Known<'_>| {
        json!({
            "service": service,
            "platform": image.platform.to_string(),
            "base": text(&delta.base),
            "target": text(&delta.target),
            "artifact": text(&delta.artifact),
            "fetched": delta.size,
        })
    };
    known(app).into_iter().map(value).collect()
}
