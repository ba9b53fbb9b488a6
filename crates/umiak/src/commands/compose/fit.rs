//! The planner's answer as people and programs get it.

use serde_json::{Value, json};
use umiak_plan::{Action, Answer, App, Device, Wanted};
use umiak_ui::{Align, PlanView, Size, Table};

use super::carrying::Known;
use crate::context::Context;
use crate::error::{Failure, Kind, Outcome};

/// An answer and what was asked.
pub struct Report<'a> {
    /// Where it is said.
    pub context: &'a Context<'a>,
    /// The device.
    pub device: &'a Device,
    /// The apps that were asked about.
    pub targets: &'a [Known],
    /// All apps, and the deltas.
    pub wanted: &'a Wanted,
    /// What came out.
    pub answer: &'a Answer,
}

impl Report<'_> {
    /// Says it all, with the reasons if they are wanted.
    pub fn tell(&self, explain: bool) -> Outcome {
        let printer = self.context.printer;
        if printer.is_json() {
            return Ok(printer.document(&self.value(explain))?);
        }
        printer.data(&format!("{}{}", self.apps(), self.view().file_systems()))?;
        if explain {
            printer.data(&format!("\n{}", self.view().reasons()))?;
        }
        Ok(())
    }

    /// The last word, and the exit code.
    pub fn verdict(&self, explained: bool) -> Outcome {
        let (device, answer) = (self.device, self.answer);
        let download = format!("{} to fetch", Size(answer.download));
        if answer.fits() {
            let bound =
                if answer.is_exact() { "" } else { "; some figures are bounds: the app has no measures of umiak's" };
            let reclaims = if answer.reclaims { "; what no app uses is removed first" } else { "" };
            let name = &device.name;
            self.context.printer.fact("Fits", &format!("{name}: {download}{reclaims}{bound}"));
            return Ok(());
        }
        let names: Vec<&str> = self.targets.iter().map(|target| target.app.name.as_str()).collect();
        let mut failure =
            Failure::new(Kind::DoesNotFit, format!("{} does not fit on {}", names.join(", "), device.name))
                .because(answer.refusal(device));
        if answer.fits_when_pruned {
            failure = failure.hint("it would fit if what no app uses were removed first: leave out --no-reclaim");
        }
        if !answer.is_exact() {
            failure = failure.hint("some figures are bounds: an app that umiak publishes has exact ones");
        }
        Err(if explained { failure } else { failure.hint("--explain shows what takes the room") })
    }

    fn view(&self) -> PlanView<'_> {
        PlanView { device: self.device, answer: self.answer }
    }

    /// What is fetched of an app in full, if nothing of it were there.
    fn full(app: &App) -> u64 {
        let mut seen = std::collections::BTreeSet::new();
        app.blobs().filter(|blob| seen.insert(blob.digest)).map(|blob| blob.size).sum()
    }

    /// What is on the device now of an app that is asked about.
    fn from(&self, app: &App) -> Option<&App> {
        let stored = self.device.stored.apps.iter().filter(|stored| stored.app.name == app.name);
        stored.map(|stored| &stored.app).next_back()
    }

    fn asked(&self) -> impl Iterator<Item = &App> {
        self.wanted.apps.iter().take(self.targets.len())
    }

    fn apps(&self) -> Table {
        let printer = self.context.printer;
        let mut table = Table::new(&[Align::Left, Align::Left, Align::Left, Align::Left, Align::Right]).flush();
        for app in self.asked() {
            let way = match self.from(app) {
                Some(from) if from.digest == app.digest => "there already".to_owned(),
                Some(from) => format!("{} -> {}", printer.digest(&from.digest), printer.digest(&app.digest)),
                None => printer.digest(&app.digest),
            };
            let services = match app.services.len() {
                1 => "1 service".to_owned(),
                count => format!("{count} services"),
            };
            table.row([&app.name, &way, &services, "in full", &Size(Self::full(app)).to_string()]);
        }
        table
    }

    fn value(&self, explain: bool) -> Value {
        let (device, answer, view) = (self.device, self.answer, self.view());
        let apps = self.asked().zip(self.targets).map(|(app, known)| {
            json!({
                "app": known.place.to_string(),
                "name": app.name,
                "digest": app.digest.to_string(),
                "from": self.from(app).map(|from| from.digest.to_string()),
                "full_bytes": Self::full(app),
            })
        });
        let mut value = json!({
            "device": device.name,
            "platform": device.platform.to_string(),
            "engine": device.engine.word(),
            "keeps": device.keeps.word(),
            "watermark": device.watermark.percent(),
            "fits": answer.fits(),
            "exact": answer.is_exact(),
            "download": answer.download,
            "deltas": answer.steps.iter().filter(|step| step.action == Action::Apply).count(),
            "reclaims": answer.reclaims,
            "fits_when_pruned": answer.fits_when_pruned,
            "apps": apps.collect::<Vec<_>>(),
            "file_systems": view.file_system_values(),
            "shortfalls": view.shortfalls(),
        });
        if explain && let Some(members) = value.as_object_mut() {
            members.insert("ledger".into(), view.ledger());
        }
        value
    }
}
