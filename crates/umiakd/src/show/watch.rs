//! An update while it runs: one live line, then facts in the past tense.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use umiak_agent::{Happening, Planned, Watcher};
use umiak_spec::{Cancelled, Observer};
use umiak_ui::{Printer, Progress, span};

/// Shows what happens.
pub struct Watch<'a> {
    printer: &'a Printer,
    progress: Progress<'a>,
}

impl<'a> Watch<'a> {
    /// Stops the work once `cancelled` is set.
    #[must_use]
    pub fn new(printer: &'a Printer, cancelled: &'a AtomicBool) -> Self {
        Self { printer, progress: Progress::new(printer, cancelled) }
    }
}

impl Observer for Watch<'_> {
    fn expect(&self, phase: &'static str, bytes: u64) {
        self.progress.expect(phase, bytes);
    }

    fn advance(&self, phase: &'static str, bytes: u64) {
        self.progress.advance(phase, bytes);
    }

    fn note(&self, text: &str) {
        self.progress.note(text);
    }

    fn check(&self) -> Result<(), Cancelled> {
        self.progress.check()
    }
}

impl Watcher for Watch<'_> {
    fn planned(&self, planned: &Planned) {
        let changes = super::changes(&planned.changes);
        self.printer.plan(&changes, &planned.changes);
        if !self.printer.is_json() {
            self.printer.fact(if planned.refusal.is_none() { "Fit" } else { "No fit" }, &super::fit(planned));
        }
    }

    fn happened(&self, happening: &Happening) {
        if self.printer.is_json() {
            return self.printer.happened(happening);
        }
        let time = |milliseconds: &u64| span(Duration::from_millis(*milliseconds));
        let printer = self.printer;
        match happening {
            Happening::Resumed { revision, phase } => {
                printer.fact("Resumed", &format!("revision {}: {phase}", revision.short()));
            }
            Happening::Staged { revision, milliseconds } => {
                printer.fact("Staged", &format!("revision {} in {}", revision.short(), time(milliseconds)));
            }
            Happening::Holding { app } => printer.note(&format!("{app} asks to wait with the switch")),
            Happening::Stopping { app, service } => printer.detail(&format!("stopping {app}/{service}")),
            Happening::Starting { app, service } => printer.detail(&format!("starting {app}/{service}")),
            Happening::Switched(app) => {
                printer.fact("Switched", &format!("{} (stopped {})", app.app, time(&app.milliseconds)));
            }
            Happening::Testing { healthy, services, window } => {
                printer.fact("Testing", &format!("{healthy} of {services} services healthy, {window} s window"));
            }
            Happening::Committed { revision, previous } => {
                let back =
                    previous.as_ref().map(|previous| format!("; previous is {} (umiakd rollback)", previous.short()));
                printer.fact("Committed", &format!("revision {}{}", revision.short(), back.unwrap_or_default()));
            }
            Happening::Failed { revision, why } => {
                printer.fact("Failed", &format!("revision {}: {why}", revision.short()));
            }
            Happening::Returned { revision } => {
                let runs = revision.as_ref().map(|revision| format!("revision {} runs again", revision.short()));
                printer.fact("Returned", runs.as_deref().unwrap_or("nothing runs, as before"));
            }
        }
    }
}
