//! `umiak copy`: from any place to any place.

use std::sync::Arc;

use serde_json::{Value, json};
use umiak_registry::{
    Choice, Content, Copied, Copy, DEFAULT_BUDGET, Flow, Stored, content, open_sink_from, open_watched,
};
use umiak_spec::{Descriptor, Digest, ImageReference, Selector};
use umiak_ui::Size;

use super::image::{fetching, platforms, reference};
use super::sources::sources;
use crate::cli::CopyArgs;
use crate::clock::Monotonic;
use crate::context::Context;
use crate::error::{Failure, Kind, Outcome};

/// Copies what DST has not.
pub fn run(context: &Context<'_>, arguments: &CopyArgs) -> Outcome {
    let (from, to) = (reference(&arguments.src)?, reference(&arguments.dst)?);
    let mut reached = sources(context, &arguments.images)?;
    if let Some(rate) = arguments.limit_rate {
        reached.registry.flow = Arc::new(Flow::new(DEFAULT_BUDGET).limited(rate, Arc::new(Monotonic::new())));
    }
    let mut read = reached.clone();
    if host(&from) != host(&to) {
        // A password is for the registry that is written to: the other one's is what `docker login` stored.
        read.registry.credentials = read.registry.credentials.filter(|_| host(&to).is_none());
    }
    if host(&to).is_some() {
        // What passes through is not kept: there is nothing to lose.
        read.registry.window = None;
    }
    let choice = Choice {
        platforms: platforms(&arguments.images)?,
        all_platforms: arguments.all_platforms,
        referrers: arguments.referrers,
    };
    let progress = context.progress();
    let source = open_watched(&from, &read, &progress).map_err(fetching)?;
    let found = content(source.as_ref(), &from, &choice, &read.limits, &progress).map_err(fetching)?;
    let place = place(&from, &to, &found.top.digest)?;
    let would_make = context.talk.dry_run && !is_there(&place);
    if would_make {
        drop(progress);
        let all = found.blobs.clone();
        return tell_plan(context, arguments, &found, &all);
    }
    let sink = open_sink_from(&place, Some(&from), &reached).map_err(fetching)?;
    let jobs = usize::from(arguments.jobs);
    let copy = Copy { source: source.as_ref(), from: &from, sink: sink.as_ref(), parallel: jobs, observer: &progress };
    let missing = copy.missing(&found).map_err(fetching)?;
    if context.talk.dry_run {
        drop(progress);
        return tell_plan(context, arguments, &found, &missing);
    }
    let copied = copy.run(&found, &missing, sink.tag()).map_err(unfinished)?;
    sink.finish(&progress).map_err(unfinished)?;
    drop(progress);
    tell(context, &from, &place, &found, &copied)
}

/// A failure of a copy that had begun: blobs may be there that nothing names yet.
fn unfinished(error: umiak_registry::Error) -> Failure {
    match fetching(error) {
        Failure::Told(mut diagnostic) => {
            diagnostic.outcome = Some("no tag was changed; what was copied so far is not copied again".into());
            Failure::Told(diagnostic)
        }
        gone => gone,
    }
}

fn host(reference: &ImageReference) -> Option<&str> {
    match reference {
        ImageReference::Registry(name) | ImageReference::Bare(name) => Some(&name.host),
        _ => None,
    }
}

/// DST with the tag that is going to be written: its own, or SRC's.
fn place(from: &ImageReference, to: &ImageReference, digest: &Digest) -> Result<ImageReference, Failure> {
    let (tag, wanted) = said(to);
    if let Some(wanted) = wanted.filter(|wanted| wanted != digest) {
        let text = format!("{to} says another digest than {from} has: {digest}");
        return Err(Failure::new(Kind::Usage, text).hint(format!("leave @{wanted} out, or copy what has it")));
    }
    let source = said(from);
    if tag.is_some() || wanted.is_some() {
        return Ok(to.clone());
    }
    // Without either, a registry's image is `latest`, as everywhere.
    let is_registry = matches!(from, ImageReference::Registry(_) | ImageReference::Bare(_));
    let Some(tag) = source.0.or_else(|| (is_registry && source.1.is_none()).then(|| "latest".to_owned())) else {
        return Ok(to.clone());
    };
    let mut place = to.clone();
    match &mut place {
        ImageReference::Layout { selector, .. } | ImageReference::OciArchive { selector, .. } => {
            *selector = Some(Selector::Tag(tag));
        }
        ImageReference::Registry(name) | ImageReference::Bare(name) => name.tag = Some(tag),
        _ => {}
    }
    Ok(place)
}

/// Tag and digest as they were written.
fn said(reference: &ImageReference) -> (Option<String>, Option<Digest>) {
    match reference {
        ImageReference::Layout { selector, .. } | ImageReference::OciArchive { selector, .. } => match selector {
            Some(Selector::Tag(tag)) => (Some(tag.clone()), None),
            Some(Selector::Digest(digest)) => (None, Some(*digest)),
            None => (None, None),
        },
        ImageReference::Registry(name) | ImageReference::Bare(name) => (name.tag.clone(), name.digest),
        _ => (None, None),
    }
}

/// Whether opening the place for writing makes nothing that was not there.
fn is_there(place: &ImageReference) -> bool {
    match place {
        ImageReference::Layout { path, .. } => path.join("index.json").exists(),
        ImageReference::OciArchive { .. } => false,
        _ => true,
    }
}

fn sum<'a>(blobs: impl IntoIterator<Item = &'a Descriptor>) -> (usize, u64) {
    blobs.into_iter().fold((0, 0), |(count, bytes), blob| (count + 1, bytes + blob.size))
}

fn counted((count, bytes): (usize, u64)) -> Value {
    json!({ "blobs": count, "bytes": bytes })
}

fn blobs((count, bytes): (usize, u64)) -> String {
    format!("{count} {} ({})", if count == 1 { "blob" } else { "blobs" }, Size(bytes))
}

fn tell_plan(context: &Context<'_>, arguments: &CopyArgs, found: &Content, missing: &[Descriptor]) -> Outcome {
    let (all, missing) = (sum(&found.blobs), sum(missing));
    let there = (all.0 - missing.0, all.1 - missing.1);
    if context.talk.json {
        let value = json!({
            "source": arguments.src,
            "target": arguments.dst,
            "digest": found.top.digest.to_string(),
            "manifests": found.parts.len(),
            "missing": counted(missing),
            "there": counted(there),
        });
        return Ok(context.printer.document(&value)?);
    }
    let there = if there.0 == 0 { String::new() } else { format!(", {} there already", blobs(there)) };
    context.would(&format!("send {} to {}{there}", blobs(missing), arguments.dst));
    Ok(())
}

fn tell(
    context: &Context<'_>,
    from: &ImageReference,
    place: &ImageReference,
    found: &Content,
    copied: &Copied,
) -> Outcome {
    let [sent, there, mounted] = [Stored::New, Stored::There, Stored::Mounted].map(|fate| copied.sum(fate));
    if context.talk.json {
        let value = json!({
            "source": from.to_string(),
            "target": place.to_string(),
            "digest": found.top.digest.to_string(),
            "media_type": found.top.media_type,
            "manifests": found.parts.len(),
            "sent": counted(sent),
            "there": counted(there),
            "mounted": counted(mounted),
            "lost": copied.lost.iter().map(|blob| blob.digest.to_string()).collect::<Vec<_>>(),
        });
        return Ok(context.printer.document(&value)?);
    }
    let mut parts = vec![format!("{} sent", blobs(sent))];
    parts.extend((there.0 > 0).then(|| format!("{} there already", blobs(there))));
    parts.extend((mounted.0 > 0).then(|| format!("{} taken from the same registry", blobs(mounted))));
    let digest = context.printer.digest(&found.top.digest);
    context.printer.fact("Copied", &format!("{from} -> {place}, {digest}: {}", parts.join(", ")));
    for blob in &copied.lost {
        context.printer.warning(&format!("blob {} is gone from {from}: the copy is without it", blob.digest));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tag_is_the_targets_own_or_the_sources() {
        let digest = Digest::of(b"x");
        let tagged = |from: &str, to: &str| {
            let place = place(&from.parse().unwrap(), &to.parse().unwrap(), &digest);
            place.map(|place| place.to_string())
        };
        for (from, to, wanted) in [
            ("a.example/x:1", "b.example/x:2", "b.example/x:2"),
            ("a.example/x:1", "b.example/x", "b.example/x:1"),
            ("a.example/x", "b.example/x", "b.example/x:latest"),
            ("oci:dir:1", "oci-archive:file", "oci-archive:file:1"),
            ("oci:dir", "oci-archive:file", "oci-archive:file"),
            ("docker-archive:file:x:1", "b.example/x", "b.example/x"),
        ] {
            assert_eq!(tagged(from, to).unwrap(), wanted, "{from} {to}");
        }
        let pinned = format!("b.example/x@{digest}");
        assert_eq!(tagged("a.example/x:1", &pinned).unwrap(), pinned);
        assert_eq!(tagged(&format!("a.example/x@{digest}"), "oci:dir").unwrap(), "oci:dir");
        assert!(tagged("a.example/x:1", &format!("b.example/x@{}", Digest::of(b"y"))).is_err());
    }
}
