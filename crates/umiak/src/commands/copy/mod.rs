//! `umiak copy`: from any place to any place.

mod job;
mod place;

use std::sync::Arc;

use serde_json::{Value, json};
use umiak_registry::{Choice, DEFAULT_BUDGET, Flow, Sink, Stored};
use umiak_spec::{Descriptor, ImageReference, Observer};
use umiak_ui::{Monotonic, Size};

use self::job::{Done, Job};
use self::place::{host, place};
use super::image::{fetching, platforms, reference};
use super::sources::sources;
use crate::cli::CopyArgs;
use crate::context::Context;
use crate::error::{Failure, Outcome};

/// Copies what DST has not.
pub fn run(context: &Context<'_>, arguments: &CopyArgs) -> Outcome {
    let (from, to) = (reference(&arguments.src)?, reference(&arguments.dst)?);
    let mut reached = sources(context, &arguments.images)?;
    if let Some(rate) = arguments.limit_rate {
        reached.registry.flow = Arc::new(Flow::new(DEFAULT_BUDGET).limited(rate, Arc::new(Monotonic::new())));
    }
    let mut read = reached.clone();
    if host(&to).is_some() {
        // What passes through is not kept: there is nothing to lose.
        read.registry.window = None;
    }
    if host(&to).is_some_and(|to| host(&from) != Some(to)) {
        // A password is for the registry that is written to: the other one's is what `docker login` stored.
        read.registry.credentials = None;
    }
    let choice = Choice {
        platforms: platforms(&arguments.images)?,
        all_platforms: arguments.all_platforms,
        referrers: arguments.referrers,
    };
    let progress = context.progress();
    let main = Job::find(&read, from.clone(), &choice, |found| place(&from, &to, &found.top.digest), &progress)?;
    let mut jobs = match arguments.with_images {
        true => Job::services(&read, &from, &main.place, arguments.referrers, &progress)?,
        false => Vec::new(),
    };
    // The app comes last: whoever sees its tag finds its images.
    jobs.push(main);
    let at_once = usize::from(arguments.jobs);
    let dry = context.talk.dry_run;
    let done = work(&jobs, dry, at_once, &progress, |job| job.sink(&reached))?;
    drop(progress);
    match (context.talk.json, dry) {
        (true, _) => Ok(context.printer.document(&value(arguments, &done))?),
        (false, true) => {
            plan(context, arguments, &done);
            Ok(())
        }
        (false, false) => {
            done.iter().for_each(|done| tell(context, done));
            Ok(())
        }
    }
}

/// Copies each; in a dry run, finds out what is missing.
fn work<'j>(
    jobs: &'j [Job],
    dry: bool,
    at_once: usize,
    observer: &dyn Observer,
    open: impl Fn(&Job) -> Result<Box<dyn Sink>, Failure>,
) -> Result<Vec<Done<'j>>, Failure> {
    // A layout or an archive is one place for all of them, and the app's tag is its.
    let Some(last) = jobs.last() else { return Ok(Vec::new()) };
    let shared = if host(&last.place).is_some() || dry && !is_there(&last.place) { None } else { Some(open(last)?) };
    let mut done = Vec::new();
    for (number, job) in jobs.iter().enumerate() {
        if dry && !is_there(&job.place) {
            done.push(Done { job, missing: job.content.blobs.clone(), copied: None });
            continue;
        }
        let own = if shared.is_none() { Some(open(job)?) } else { None };
        let Some(sink) = own.as_deref().or(shared.as_deref()) else { continue };
        let copy = job.copy(sink, at_once, observer);
        let missing = copy.missing(&job.content).map_err(fetching)?;
        let tag = sink.tag().filter(|_| number + 1 == jobs.len());
        let run = || copy.run(&job.content, &missing, tag).map_err(unfinished);
        let copied = if dry { None } else { Some(run()?) };
        done.push(Done { job, missing, copied });
    }
    if let Some(sink) = shared.filter(|_| !dry) {
        sink.finish(observer).map_err(unfinished)?;
    }
    Ok(done)
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

/// What is missing and what is there, of all jobs together.
fn sums(done: &[Done<'_>]) -> [(usize, u64); 2] {
    let missing = sum(done.iter().flat_map(|done| &done.missing));
    let all = sum(done.iter().flat_map(|done| &done.job.content.blobs));
    [missing, (all.0 - missing.0, all.1 - missing.1)]
}

fn plan(context: &Context<'_>, arguments: &CopyArgs, done: &[Done<'_>]) {
    let [missing, there] = sums(done);
    let there = if there.0 == 0 { String::new() } else { format!(", {} there already", blobs(there)) };
    context.would(&format!("send {} to {}{there}", blobs(missing), arguments.dst));
}

fn tell(context: &Context<'_>, done: &Done<'_>) {
    let (Some(copied), Job { from, place, content, .. }) = (&done.copied, done.job) else { return };
    let [sent, there, mounted] = [Stored::New, Stored::There, Stored::Mounted].map(|fate| copied.sum(fate));
    let mut parts = vec![format!("{} sent", blobs(sent))];
    parts.extend((there.0 > 0).then(|| format!("{} there already", blobs(there))));
    parts.extend((mounted.0 > 0).then(|| format!("{} taken from the same registry", blobs(mounted))));
    let digest = context.printer.digest(&content.top.digest);
    context.printer.fact("Copied", &format!("{from} -> {place}, {digest}: {}", parts.join(", ")));
    for blob in &copied.lost {
        context.printer.warning(&format!("blob {} is gone from {from}: the copy is without it", blob.digest));
    }
}

fn value(arguments: &CopyArgs, done: &[Done<'_>]) -> Value {
    let one = |done: &Done<'_>| {
        let Job { from, place, content, .. } = done.job;
        let mut value = json!({
            "source": from.to_string(),
            "target": place.to_string(),
            "digest": content.top.digest.to_string(),
            "media_type": content.top.media_type,
            "manifests": content.parts.len(),
        });
        match &done.copied {
            Some(copied) => {
                value["sent"] = counted(copied.sum(Stored::New));
                value["there"] = counted(copied.sum(Stored::There));
                value["mounted"] = counted(copied.sum(Stored::Mounted));
                value["lost"] = copied.lost.iter().map(|blob| blob.digest.to_string()).collect();
            }
            None => {
                let [missing, there] = sums(std::slice::from_ref(done));
                (value["missing"], value["there"]) = (counted(missing), counted(there));
            }
        }
        value
    };
    let Some((last, images)) = done.split_last() else { return Value::Null };
    let mut value = one(last);
    if arguments.with_images {
        value["images"] = images.iter().map(one).collect();
    }
    value
}
