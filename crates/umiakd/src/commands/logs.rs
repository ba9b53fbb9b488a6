//! `umiakd logs`.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::UNIX_EPOCH;

use serde_json::json;
use umiak_agent::Agent;
use umiak_engine::{Line, LogQuery, LogSink, Stream};
use umiak_ui::{Kind, Printer, printable, rfc3339};

use crate::cli::LogsArgs;
use crate::context::Context;
use crate::error::Failure;

/// Shows what services print.
pub fn run(context: &Context<'_>, agent: &Agent, arguments: &LogsArgs, stop: &AtomicBool) -> Result<(), Failure> {
    let apps = match &arguments.app {
        Some(app) => vec![app.clone()],
        None => agent.apps()?,
    };
    if arguments.follow && apps.len() != 1 {
        return Err(Failure::new(Kind::Usage, "following takes one app").hint("umiakd logs --follow APP"));
    }
    let query = LogQuery { tail: Some(arguments.tail), since: None, follow: arguments.follow };
    for app in &apps {
        let mut sink = Sink { printer: context.printer, app, stop, said: false, revisions: BTreeMap::new() };
        agent.logs(app, arguments.service.as_deref(), &query, &mut sink)?;
        if arguments.app.is_some() && !sink.said && !is_known(agent, app, arguments.service.as_deref())? {
            let what = arguments.service.as_ref().map_or_else(|| app.clone(), |service| format!("{app}/{service}"));
            return Err(Failure::new(Kind::Usage, format!("there is no {what} on this device, and no log of it"))
                .hint("umiakd status lists apps and services"));
        }
    }
    if apps.is_empty() {
        context.printer.note("nothing runs yet");
    }
    Ok(())
}

/// Whether such a service runs, or should. What ran here before has a log, or is forgotten.
fn is_known(agent: &Agent, app: &str, service: Option<&str>) -> Result<bool, Failure> {
    let apps = agent.status()?.apps;
    let services = apps.iter().filter(|one| one.name == app).flat_map(|one| &one.services);
    Ok(services.map(|one| one.name.as_str()).any(|name| service.is_none_or(|service| service == name)))
}

/// Prints lines until somebody stops it or nobody reads any more.
struct Sink<'a> {
    printer: &'a Printer,
    app: &'a str,
    stop: &'a AtomicBool,
    /// Whether there was a line.
    said: bool,
    /// The revision of the last line of each service.
    revisions: BTreeMap<String, String>,
}

impl Sink<'_> {
    /// A line before those of a revision, for people: in JSON each line has it.
    fn heading(&mut self, line: &Line) -> String {
        let Some(revision) = line.revision.as_ref().filter(|_| !self.printer.is_json()) else { return String::new() };
        let last = self.revisions.insert(line.service.clone(), revision.clone());
        if last.as_ref() == Some(revision) {
            return String::new();
        }
        format!("{} {}/{}  -- revision {revision} --\n", self.at(line), self.app, line.service)
    }

    fn at(&self, line: &Line) -> String {
        rfc3339(line.at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs())
    }
}

impl LogSink for Sink<'_> {
    fn line(&mut self, line: &Line) -> ControlFlow<()> {
        self.said = true;
        let text = String::from_utf8_lossy(&line.text);
        let shown = if self.printer.is_json() {
            let stream = match line.stream {
                Stream::Out => "stdout",
                Stream::Err => "stderr",
                Stream::Note => "note",
            };
            let at = line.at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            let (app, service, revision) = (self.app, &line.service, &line.revision);
            let object = json!({
                "at": at, "app": app, "service": service, "revision": revision, "stream": stream, "text": text
            });
            format!("{object}\n")
        } else {
            let mark = if line.stream == Stream::Note { "* " } else { "" };
            let heading = self.heading(line);
            format!("{heading}{} {}/{}  {mark}{}\n", self.at(line), self.app, line.service, printable(&text))
        };
        match self.printer.data(&shown) {
            Ok(()) => self.idle(),
            Err(_) => ControlFlow::Break(()),
        }
    }

    fn idle(&mut self) -> ControlFlow<()> {
        if self.stop.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}
