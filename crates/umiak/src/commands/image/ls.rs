//! `umiak image ls`.

use serde_json::json;
use umiak_registry::{Context as Sources, in_parallel, open_watched};
use umiak_spec::{ImageReference, Observer, Selector};
use umiak_ui::{Align, Size, Table};

use super::sight::{Sight, look};
use super::{fetching, reference};
use crate::cli::LsArgs;
use crate::commands::sources::sources;
use crate::context::Context;
use crate::error::{Failure, Kind, Outcome};

/// Tags looked at together.
const AT_ONCE: usize = 4;

/// Lists the tags with what they name.
pub fn run(context: &Context<'_>, arguments: &LsArgs) -> Outcome {
    let place = reference(&arguments.repository)?;
    let sources = sources(context, &arguments.images)?;
    let progress = context.progress();
    let source = open_watched(&place, &sources, &progress).map_err(fetching)?;
    let mut tags = source.tags(&progress).map_err(fetching)?;
    if let Some(only) = tag_of(&place) {
        tags.retain(|tag| *tag == only);
    }
    tags.sort_by_key(|tag| natural(tag));
    let tagged = |tag: &str| place.tagged(tag).ok_or_else(|| Failure::new(Kind::Usage, format!("{place} has no tags")));
    let seen = in_parallel(&tags, AT_ONCE, |_, tag| seen(&tagged(tag)?, &sources, &progress))?;
    drop(progress);
    if context.printer.is_json() {
        let list: Vec<_> = tags.iter().zip(&seen).map(|(tag, sight)| value(tag, sight)).collect();
        return Ok(context.printer.document(&list)?);
    }
    let mut table = Table::new(&[Align::Left, Align::Left, Align::Right, Align::Left]).flush();
    for (tag, sight) in tags.iter().zip(&seen) {
        let size = Size(sight.size).to_string();
        table.row([tag.as_str(), &context.printer.digest(&sight.top.digest), &size, &what(sight)]);
    }
    Ok(context.printer.data(&table.to_string())?)
}

fn seen(reference: &ImageReference, sources: &Sources, observer: &dyn Observer) -> Result<Sight, Failure> {
    let source = open_watched(reference, sources, observer).map_err(fetching)?;
    look(source.as_ref(), reference, &sources.limits, observer).map_err(fetching)
}

fn tag_of(reference: &ImageReference) -> Option<String> {
    match reference {
        ImageReference::Layout { selector: Some(Selector::Tag(tag)), .. }
        | ImageReference::OciArchive { selector: Some(Selector::Tag(tag)), .. } => Some(tag.clone()),
        ImageReference::Registry(name) | ImageReference::Bare(name) => name.tag.clone(),
        _ => None,
    }
}

/// Numbers in tags count as numbers: 1.10.0 is behind 1.9.0.
fn natural(tag: &str) -> Vec<(u64, String)> {
    let pieces = tag.split_inclusive(|letter: char| !letter.is_ascii_digit());
    pieces
        .map(|piece| {
            let digits = piece.trim_end_matches(|letter: char| !letter.is_ascii_digit());
            (digits.parse().unwrap_or(u64::MAX), piece[digits.len()..].to_owned())
        })
        .collect()
}

/// Platforms, or what artifact it is.
fn what(sight: &Sight) -> String {
    let platforms = sight.images.iter().filter_map(|image| image.platform.as_ref());
    let platforms: Vec<String> = platforms.map(ToString::to_string).collect();
    if platforms.is_empty() { sight.artifact.clone().unwrap_or_default() } else { platforms.join(", ") }
}

fn value(tag: &str, sight: &Sight) -> serde_json::Value {
    let platforms = sight.images.iter().filter_map(|image| image.platform.as_ref());
    json!({
        "tag": tag,
        "digest": sight.top.digest.to_string(),
        "media_type": sight.top.media_type,
        "bytes": sight.size,
        "platforms": platforms.map(ToString::to_string).collect::<Vec<_>>(),
        "artifact": sight.artifact,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_in_the_order_of_their_numbers() {
        let mut tags = ["latest", "1.10.0", "1.9.0", "1.9", "2", "v2", "v10", "1.9.0-rc1"];
        tags.sort_by_key(|tag| natural(tag));
        assert_eq!(tags, ["1.9", "1.9.0", "1.9.0-rc1", "1.10.0", "2", "latest", "v2", "v10"]);
    }
}
