//! `umiak post`: the committed state becomes a Pantavisor device's new revision.

use std::fs::{self, File};
use std::io::{self, Read};
use std::time::Duration;

use serde_json::json;
use umiak_pantavisor::{
    Address, Device, Error, LONGEST_MESSAGE, Objects, Posting, Progress as Step, Revision, Sent, Status, Survey,
};
use umiak_pvr::Value;
use umiak_pvr::json::Object;
use umiak_repository::{Pool, Repository};
use umiak_spec::Digest;
use umiak_ui::{Align, Size, Table};

use super::elsewhere;
use crate::cli::PostArgs;
use crate::clock;
use crate::context::Context;
use crate::error::{Failure, Kind, Outcome};

/// What a failure leaves behind once something was sent.
const SENT: &str = "the device runs what it ran; objects that arrived need not be sent again";

/// The pool as a device is given from.
struct Pooled<'a>(&'a Pool);

impl Objects for Pooled<'_> {
    fn length(&self, digest: &Digest) -> io::Result<u64> {
        fs::metadata(self.0.path(digest)).map(|metadata| metadata.len())
    }

    fn open(&self, digest: &Digest) -> io::Result<Box<dyn Read + '_>> {
        Ok(Box::new(File::open(self.0.path(digest))?))
    }
}

/// Sends what is missing, makes the revision, watches it.
pub fn run(context: &Context<'_>, arguments: &PostArgs) -> Outcome {
    let repository = context.repository()?;
    let address = address(&repository, arguments)?;
    let state = repository.pristine()?;
    let committed = repository.commit_message()?;
    let message = message(&address, arguments, committed.as_deref())?;
    let posting = Posting {
        state: &state,
        objects: &Pooled(repository.pool()),
        message: message.as_deref(),
        force: arguments.force,
        envelope: envelope(arguments.envelope.as_deref())?,
    };
    check(&address, arguments, &posting)?;
    let device = Device::connect(&address, &elsewhere::patient(context, arguments.busy)?, &context.progress())?;
    let mut survey = device.survey(&posting, &context.progress())?;
    if survey.running && !arguments.force && own_name(arguments).is_none() {
        return unchanged(context, &device);
    }
    plan(context, &device, &survey);
    if context.talk.dry_run {
        return dry_run(context, &device, &survey);
    }
    if arguments.gc && !survey.fits() {
        let reclaimed = device.collect(&context.progress()).map_err(unfinished)?;
        context.printer.fact("Cleared", &format!("{} on the device", Size(reclaimed)));
        survey = device.survey(&posting, &context.progress())?;
    }
    let sent = if survey.fits() { send(context, &device, &posting, &survey) } else { Err(no_room(&device, &survey)) }?;
    let revision = start(context, &device, arguments, &posting)?;
    repository.remember_post(device.place(), &context.progress())?;
    let end = watch(context, &device, arguments, revision.as_deref())?;
    tell(context, &device, &survey, sent, revision.as_deref(), end.as_ref())
}

/// The device that is named, or the one that is meant without.
fn address(repository: &Repository, arguments: &PostArgs) -> Result<Address, Failure> {
    let known = || repository.last_target().or_else(|| repository.last_source());
    let address_of = |text: &str| Ok::<_, Failure>(Address::find(text)?);
    let found = match &arguments.device {
        Some(text) => address_of(text)?,
        // What was taken from last may have been a directory.
        None => match known().map(address_of).transpose()?.flatten() {
            Some((address, _)) => Some((address, umiak_pvr::Parts::all())),
            None => Address::here().map(|address| (address, umiak_pvr::Parts::all())),
        },
    };
    match (found, &arguments.device) {
        (Some((address, parts)), _) if parts.is_all() => Ok(address),
        (Some(_), _) => Err(Failure::new(Kind::Usage, "a device is given its whole state, not parts of it")
            .hint("`umiak get DEVICE`, take the parts, commit, then post")),
        (None, Some(text)) => Err(Failure::new(Kind::Usage, format!("`{text}` is no address of a Pantavisor device"))
            .hint("such as 10.0.0.7, http://10.0.0.7:12368 or unix:/run/pantavisor/pv/pv-ctrl")),
        (None, None) => {
            Err(Failure::new(Kind::Usage, "there is no device to post to").hint("name one: umiak post 10.0.0.7"))
        }
    }
}

/// What the revision is about.
fn message(address: &Address, arguments: &PostArgs, committed: Option<&str>) -> Result<Option<String>, Failure> {
    let short = matches!(address, Address::Control(_));
    match (&arguments.message, committed) {
        (Some(text), _) if short && text.len() > LONGEST_MESSAGE => {
            let told = format!("the message has {} bytes; a control socket takes {LONGEST_MESSAGE}", text.len());
            Err(Failure::new(Kind::Usage, told).hint("make it shorter"))
        }
        (Some(text), _) => Ok(Some(text.clone())),
        (None, Some(text)) if short => Ok(Some(beginning(text, LONGEST_MESSAGE).to_owned())),
        (None, committed) => Ok(committed.map(str::to_owned)),
    }
}

/// As much of a text as `most` bytes hold.
fn beginning(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or(0)]
}

fn envelope(text: Option<&str>) -> Result<Object, Failure> {
    let Some(text) = text else { return Ok(Object::new()) };
    match Value::parse(text.as_bytes(), 1 << 20) {
        Ok(Value::Object(members)) => Ok(members),
        _ => Err(Failure::new(Kind::Usage, "the envelope is not a JSON object").hint("such as -e '{\"meta\":{}}'")),
    }
}

/// The name that the revision is to have; `-1` is pvr's word for any.
fn own_name(arguments: &PostArgs) -> Option<&str> {
    arguments.rev.as_deref().filter(|name| *name != "-1")
}

/// Refuses what the way to the device does not have, before anything is asked of it.
fn check(address: &Address, arguments: &PostArgs, posting: &Posting<'_>) -> Outcome {
    let remote = matches!(address, Address::Remote(_));
    let told = if remote && arguments.no_run {
        "a device runs what it is given at its web address: --no-run is for control sockets"
    } else if remote && arguments.gc {
        "a device cannot be told to make room at its web address: --gc is for control sockets"
    } else if !remote && !posting.envelope.is_empty() {
        "a control socket takes no envelope"
    } else {
        if let (false, Some(name)) = (remote, own_name(arguments)) {
            Revision::new(name)?;
        }
        return Ok(());
    };
    Err(Failure::new(Kind::Usage, told).hint("leave it out, or name the device the other way"))
}

fn objects(count: usize) -> String {
    format!("{count} {}", if count == 1 { "object" } else { "objects" })
}

/// There is nothing to do.
fn unchanged(context: &Context<'_>, device: &Device) -> Outcome {
    if context.printer.is_json() {
        context.printer.document(&json!({ "device": device.place(), "revision": null, "sent": 0, "running": true }))?;
    } else {
        context.printer.note(&format!("{} runs this already", device.place()));
    }
    Ok(())
}

/// What is going to be sent.
fn plan(context: &Context<'_>, device: &Device, survey: &Survey) {
    let (missing, bytes) = (survey.missing.len(), survey.bytes());
    let total: u64 = survey.objects.values().sum();
    let most = if device.is_control() { "" } else { "at most " };
    let mut table = Table::new(&[Align::Left, Align::Left]);
    table.row(["Device", device.place()]);
    table.row(["Revision", &format!("{}, {}", objects(survey.objects.len()), Size(total))]);
    table.row(["Sends", &format!("{most}{}, {}", objects(missing), Size(bytes))]);
    if let Some(room) = survey.room {
        let verdict = if survey.fits() { "it fits" } else { "it does not fit" };
        table.row(["Room", &format!("{} free, {} needed: {verdict}", Size(room.free), Size(survey.needed()))]);
    }
    let value = json!({
        "device": device.place(),
        "objects": survey.objects.len(),
        "object_bytes": total,
        "missing": missing,
        "missing_bytes": bytes,
        "free_bytes": survey.room.map(|room| room.free),
        "needed_bytes": survey.needed(),
        "fits": survey.fits(),
    });
    context.printer.plan(&table, &value);
}

fn dry_run(context: &Context<'_>, device: &Device, survey: &Survey) -> Outcome {
    if !survey.fits() {
        return Err(no_room(device, survey));
    }
    let most = if device.is_control() { "" } else { "at most " };
    let (count, bytes) = (objects(survey.missing.len()), Size(survey.bytes()));
    context.would(&format!("send {most}{count}, {bytes}, to {}, and make it a new revision", device.place()));
    Ok(())
}

fn no_room(device: &Device, survey: &Survey) -> Failure {
    let free = survey.room.map_or(0, |room| room.free);
    Error::DoesNotFit { place: device.place().to_owned(), needed: survey.needed(), free }.into()
}

fn send(context: &Context<'_>, device: &Device, posting: &Posting<'_>, survey: &Survey) -> Result<Sent, Failure> {
    let progress = context.progress();
    let sent = device.send(posting, survey, &progress).map_err(unfinished)?;
    drop(progress);
    if sent.objects > 0 {
        let there = survey.objects.len().saturating_sub(sent.objects);
        let text = format!("{}, {}; {there} on the device already", objects(sent.objects), Size(sent.bytes));
        context.printer.fact("Sent", &text);
    }
    Ok(sent)
}

fn start(
    context: &Context<'_>,
    device: &Device,
    arguments: &PostArgs,
    posting: &Posting<'_>,
) -> Result<Option<String>, Failure> {
    // Not the moment of SOURCE_DATE_EPOCH: a name is for once.
    let now = clock::now(None);
    let name = own_name(arguments);
    let revision = device.start(posting, name, now, !arguments.no_run, &context.progress()).map_err(unfinished)?;
    let text = revision.as_deref().unwrap_or("the device did not say its name");
    context.printer.fact("Posted", &format!("revision {text}"));
    Ok(revision)
}

/// Says how the device gets on; gives what it said in the end.
fn watch(
    context: &Context<'_>,
    device: &Device,
    arguments: &PostArgs,
    revision: Option<&str>,
) -> Result<Option<Step>, Failure> {
    let (Some(revision), false, 1..) = (revision, arguments.no_run, arguments.wait) else { return Ok(None) };
    let tell = &mut |step: &Step| {
        let fetched = step.fetched.map(|(done, total)| format!("  {}", Size::of(done, total))).unwrap_or_default();
        let line = format!("{:<11} {:>3} %  {}{fetched}", step.status, step.percent, step.message);
        if context.printer.is_json() {
            context.printer.happened(&step_value(revision, step));
        } else {
            context.printer.note(line.trim_end());
        }
    };
    let patience = Duration::from_secs(arguments.wait);
    Ok(Some(device.watch(revision, patience, tell, &context.progress()).map_err(ended)?))
}

fn step_value(revision: &str, step: &Step) -> serde_json::Value {
    json!({
        "revision": revision,
        "status": step.status.to_string(),
        "percent": step.percent,
        "message": step.message,
        "fetched_bytes": step.fetched.map(|(done, _)| done),
        "total_bytes": step.fetched.map(|(_, total)| total),
    })
}

/// The last word; with --json, a document.
fn tell(
    context: &Context<'_>,
    device: &Device,
    survey: &Survey,
    sent: Sent,
    revision: Option<&str>,
    end: Option<&Step>,
) -> Outcome {
    if let (Some(end), Some(revision)) = (end, revision) {
        let later = match end.status {
            Status::Done => "comes back to it after a restart",
            _ => "makes it the one to come back to when it restarts",
        };
        context.printer.fact("Running", &format!("revision {revision}; the device {later}"));
    }
    if context.printer.is_json() {
        let value = json!({
            "device": device.place(),
            "revision": revision,
            "objects": survey.objects.len(),
            "sent": sent.objects,
            "sent_bytes": sent.bytes,
            "running": end.is_some(),
            "status": end.map(|end| end.status.to_string()),
            "message": end.map(|end| end.message.as_str()),
        });
        context.printer.document(&value)?;
    }
    Ok(())
}

/// A failure after something was sent.
fn unfinished(error: Error) -> Failure {
    let outcome = match error {
        Error::Unknown { .. } | Error::DoesNotFit { .. } => None,
        _ => Some(SENT.to_owned()),
    };
    with_outcome(error, outcome)
}

/// A revision that does not run, or of which nothing is known.
fn ended(error: Error) -> Failure {
    let outcome = match &error {
        Error::Failed { status: Status::Error, .. } => Some("the device goes back to the revision before".to_owned()),
        Error::Failed { .. } => Some("the device runs what it ran".to_owned()),
        _ => None,
    };
    let log: Vec<_> = match &error {
        Error::Failed { log: Some(log), .. } => log.lines().take(20).map(str::to_owned).collect(),
        _ => Vec::new(),
    };
    with_outcome(error, outcome).because(log)
}

fn with_outcome(error: Error, outcome: Option<String>) -> Failure {
    match Failure::from(error) {
        Failure::Told(mut told) => {
            told.outcome = outcome;
            Failure::Told(told)
        }
        gone => gone,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_two_characters() {
        for (text, most, cut) in [("", 3, ""), ("abc", 3, "abc"), ("abcd", 3, "abc"), ("aéé", 2, "a"), ("éé", 1, "")]
        {
            assert_eq!(beginning(text, most), cut);
        }
    }
}
