//! The planner's answer as people and programs get it.

use serde_json::{Value, json};
use umiak_plan::{Action, Answer, App, Device, Resource, Shortfall, Verdict, Wanted};
use umiak_ui::{Align, Size, Table};

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
        printer.data(&format!("{}{}", self.apps(), self.file_systems()))?;
        if explain {
            printer.data(&format!("\n{}", self.reasons()))?;
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

    fn file_system(&self, index: usize) -> &str {
        self.device.file_systems.get(index).map_or("?", |file_system| file_system.name.as_str())
    }

    fn step(&self, index: usize) -> String {
        self.answer.steps.get(index).map_or_else(String::new, |step| format!("{} {}", step.action.word(), step.what))
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

    fn file_systems(&self) -> Table {
        let columns = [Align::Left, Align::Right, Align::Left, Align::Right, Align::Left, Align::Right, Align::Left];
        let mut table = Table::new(&columns).flush();
        for (file_system, found) in self.device.file_systems.iter().zip(&self.answer.uses) {
            let most = if found.bound { "at most at the peak" } else { "at the peak" };
            table.row([
                file_system.name.as_str(),
                &Size(found.available).to_string(),
                "may be taken,",
                &Size(found.peak).to_string(),
                &format!("{most},"),
                &signed(found.last),
                "afterwards",
            ]);
        }
        table
    }

    fn reasons(&self) -> Table {
        let columns = [Align::Left, Align::Left, Align::Left, Align::Right, Align::Right, Align::Left];
        let mut table = Table::new(&columns).flush();
        for row in self.answer.explain() {
            let taken = |sign: &str, bytes: u64| match bytes {
                0 => String::new(),
                bytes => format!("{sign}{}", Size(bytes)),
            };
            let why = if row.bound { format!("{} (a bound)", row.why) } else { row.why.to_string() };
            table.row([
                row.action.word(),
                &row.what,
                self.file_system(row.file_system),
                &taken("+", row.taken.bytes),
                &taken("-", row.freed.bytes),
                &why,
            ]);
        }
        table
    }

    fn value(&self, explain: bool) -> Value {
        let (device, answer) = (self.device, self.answer);
        let apps = self.asked().zip(self.targets).map(|(app, known)| {
            json!({
                "app": known.place.to_string(),
                "name": app.name,
                "digest": app.digest.to_string(),
                "from": self.from(app).map(|from| from.digest.to_string()),
                "full_bytes": Self::full(app),
            })
        });
        let file_systems = device.file_systems.iter().zip(&answer.uses).enumerate();
        let file_systems = file_systems.map(|(index, (file_system, found))| {
            let reclaimable = answer.reclaimable.get(index).copied().unwrap_or_default();
            json!({
                "name": file_system.name,
                "available": found.available,
                "inodes_available": found.inodes_available,
                "peak": found.peak,
                "peak_step": self.step(found.peak_step),
                "after": signed_number(found.last),
                "inodes_peak": found.inodes_peak,
                "inodes_after": signed_number(found.inodes_last),
                "bound": found.bound,
                "reclaimable": reclaimable.bytes,
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
            "file_systems": file_systems.collect::<Vec<_>>(),
            "shortfalls": self.shortfalls(),
        });
        if explain && let Some(members) = value.as_object_mut() {
            members.insert("ledger".into(), self.ledger());
        }
        value
    }

    fn shortfalls(&self) -> Vec<Value> {
        let Verdict::Shortfall(all) = &self.answer.verdict else { return Vec::new() };
        let shortfall = |short: &Shortfall| {
            json!({
                "file_system": self.file_system(short.file_system),
                "resource": if short.resource == Resource::Bytes { "bytes" } else { "inodes" },
                "needed": short.needed,
                "available": short.available,
                "missing": short.missing(),
                "step": self.step(short.step),
            })
        };
        all.iter().map(shortfall).collect()
    }

    fn ledger(&self) -> Value {
        let row = |row: umiak_plan::Row| {
            json!({
                "action": row.action.word(),
                "what": row.what,
                "file_system": self.file_system(row.file_system),
                "taken": row.taken.bytes,
                "freed": row.freed.bytes,
                "inodes_taken": row.taken.inodes,
                "inodes_freed": row.freed.inodes,
                "bound": row.bound,
                "why": row.why,
            })
        };
        self.answer.explain().into_iter().map(row).collect()
    }
}

/// Bytes that may be below zero.
fn signed(bytes: i128) -> String {
    let sign = if bytes < 0 { "-" } else { "" };
    format!("{sign}{}", Size(u64::try_from(bytes.unsigned_abs()).unwrap_or(u64::MAX)))
}

fn signed_number(number: i128) -> i64 {
    i64::try_from(number).unwrap_or(if number < 0 { i64::MIN } else { i64::MAX })
}
