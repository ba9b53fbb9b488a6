//! The deltas of `umiak compose publish --delta-from`.

use serde_json::{Value, json};
use umiak_build::compose::carry::Read;
use umiak_build::compose::{Draft, PublishedDelta};
use umiak_spec::Platform;
use umiak_ui::Size;

use super::Apps;
use super::carrying::{Known, images, release};
use crate::cli::{ComposePublishArgs, EffortArg, FormatArg};
use crate::commands::delta::options;
use crate::context::Context;
use crate::error::{Failure, Kind, Outcome};

/// Fails for what has no place for deltas.
pub fn check(arguments: &ComposePublishArgs) -> Outcome {
    if arguments.delta_from.is_empty() || arguments.format == FormatArg::Umiak && arguments.layers_meta.is_none() {
        return Ok(());
    }
    let message = "the deltas would be named in umiak's measures, and this app is published without";
    Err(Failure::new(Kind::Usage, message).hint("leave out --format and --layers-meta"))
}

/// Makes and stores the deltas from earlier releases, and names them in the draft.
pub fn publish(
    context: &Context<'_>,
    apps: &Apps<'_>,
    arguments: &ComposePublishArgs,
    draft: &mut Draft,
) -> Result<Vec<PublishedDelta>, Failure> {
    if arguments.delta_from.is_empty() {
        return Ok(Vec::new());
    }
    let platforms: Vec<Platform> = draft.platforms.iter().map(|platform| platform.platform.clone()).collect();
    let bases = arguments.delta_from.iter().map(|base| release(apps, base, &draft.app, &platforms));
    let bases = bases.collect::<Result<Vec<_>, _>>()?;
    let bases: Vec<Read<'_>> = bases.iter().map(Known::read).collect();
    let options = options(EffortArg::Smallest);
    Ok(images(apps, &context.environment.temporary_dir, &options).publish_deltas(draft, &bases)?)
}

/// Says what became of them.
pub fn tell(context: &Context<'_>, deltas: &[PublishedDelta]) {
    for delta in deltas {
        let (service, platform, full) = (&delta.service, &delta.platform, Size(delta.full_size));
        match &delta.known {
            Some(known) => {
                let text = format!("{service}, {platform}: {} stand for {full} of layers", Size(known.size));
                context.printer.fact("Delta", &text);
            }
            None => {
                let text = format!("{service}, {platform}: no layer gets smaller by a delta: none was made");
                context.printer.note(&text);
            }
        }
    }
}

/// The same for programs.
pub fn value(deltas: &[PublishedDelta]) -> Value {
    let delta = |delta: &PublishedDelta| {
        json!({
            "service": delta.service,
            "platform": delta.platform.to_string(),
            "full_bytes": delta.full_size,
            "bytes": delta.known.map(|known| known.size),
            "base": delta.known.map(|known| known.base.to_string()),
            "target": delta.known.map(|known| known.target.to_string()),
            "artifact": delta.known.map(|known| known.artifact.to_string()),
        })
    };
    deltas.iter().map(delta).collect()
}
