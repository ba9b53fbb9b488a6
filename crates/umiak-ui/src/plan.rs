//! A planner's answer as people and programs get it: file systems, reasons, shortfalls. The same words wherever a plan is shown.

use serde_json::{Value, json};
use umiak_plan::{Answer, Device, Resource, Row, Shortfall, Verdict};

use crate::{Align, Size, Table};

/// The answer to a question about a device.
#[derive(Clone, Copy)]
pub struct PlanView<'a> {
    /// The device that was asked about.
    pub device: &'a Device,
    /// What came out.
    pub answer: &'a Answer,
}

impl PlanView<'_> {
    fn file_system(&self, index: usize) -> &str {
        self.device.file_systems.get(index).map_or("?", |file_system| file_system.name.as_str())
    }

    fn step(&self, index: usize) -> String {
        self.answer.steps.get(index).map_or_else(String::new, |step| format!("{} {}", step.action.word(), step.what))
    }

    /// What may be taken of each file system, at the peak and afterwards.
    #[must_use]
    pub fn file_systems(&self) -> Table {
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

    /// Each step that takes or frees something, and why.
    #[must_use]
    pub fn reasons(&self) -> Table {
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

    /// The file systems, for programs.
    #[must_use]
    pub fn file_system_values(&self) -> Vec<Value> {
        let (device, answer) = (self.device, self.answer);
        let file_systems = device.file_systems.iter().zip(&answer.uses).enumerate();
        file_systems
            .map(|(index, (file_system, found))| {
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
            })
            .collect()
    }

    /// What there is too little of, for programs.
    #[must_use]
    pub fn shortfalls(&self) -> Vec<Value> {
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

    /// The reasons, for programs.
    #[must_use]
    pub fn ledger(&self) -> Value {
        let row = |row: Row| {
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
