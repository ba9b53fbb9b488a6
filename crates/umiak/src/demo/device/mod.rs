//! The demo's last chapter: a device gets what was published before.
//!
//! The app's two releases, and a third that cannot work, come to a machine of little space: what does not fit is refused,
//! the power goes in the middle, a delta is fetched, the bad release is taken back, what nothing needs is pruned. Every
//! line is one of `umiakd`, run as a process of its own. Where no containers can run, releases are staged and no more, and
//! the chapter says so at its beginning.

mod figures;
mod machine;

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use umiak_ui::Size;

pub use figures::Figures;

use super::teller::{Teller, stopped_at};
use super::{deltas, failed};
use crate::error::{Failure, Kind, Outcome};
use figures::{figure, stored, taken};
use machine::{Machine, Said};

/// The device's directory.
const PLACE: &str = "edge";

/// Programs that run containers, in the places where root has them.
const PROGRAMS: [&str; 4] = ["/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin"];

/// Bytes of disk that empty directories take at most.
const FEW: u64 = 64 << 10;

/// How long services may take to be well again after a release was taken back, and how often that is looked at.
const SETTLING: Duration = Duration::from_secs(15);
const LOOK: Duration = Duration::from_millis(200);

/// Exit codes that the chapter expects.
const DONE: i32 = 0;
const DOES_NOT_FIT: i32 = 3;
const ROLLED_BACK: i32 = 6;

/// Tells the chapter. `proof` is what came of running the app before: where that worked, containers run here.
pub fn tell(teller: &Teller<'_>, proof: &Value) -> Result<Figures, Failure> {
    let mut chapter = Chapter::begin(teller, proof)?;
    chapter.refusal()?;
    chapter.first_release()?;
    chapter.second_release()?;
    if chapter.runtime.is_some() {
        chapter.bad_release()?;
    }
    chapter.tidy()?;
    chapter.machine.shut_down();
    Ok(chapter.figures)
}

struct Chapter<'a> {
    teller: &'a Teller<'a>,
    machine: Machine,
    /// What runs containers here.
    runtime: Option<PathBuf>,
    figures: Figures,
}

impl<'a> Chapter<'a> {
    fn begin(teller: &'a Teller<'a>, proof: &Value) -> Result<Self, Failure> {
        teller.heading("A device of little space: what was published is fetched, staged, switched to, tested");
        let place = teller.root.join(PLACE);
        let runtime = proof["by"].as_str().and_then(program);
        let machine =
            Machine::new(&place, teller.root, &teller.program, runtime.is_some()).map_err(failed("make", &place))?;
        let mut chapter = Self { teller, machine, runtime, figures: Figures::default() };
        if let Err(error) = chapter.machine.on() {
            chapter.leave_out(&error.to_string())?;
        } else if chapter.runtime.is_none() {
            let why = proof["left_out"].as_str().or(proof["failed"].as_str());
            chapter.leave_out(why.unwrap_or("neither crun nor runc is here"))?;
        }
        Ok(chapter)
    }

    /// Goes on without containers.
    fn leave_out(&mut self, why: &str) -> Outcome {
        let place = self.teller.root.join(PLACE);
        self.runtime = None;
        self.machine =
            Machine::new(&place, self.teller.root, &self.teller.program, false).map_err(failed("make", &place))?;
        let text = format!("running containers, and taking back a bad release: {why}. Releases are staged and no more");
        self.teller.context.printer.fact("Left out", &text);
        self.figures.left_out = Some(why.to_owned());
        Ok(())
    }

    /// More than the device lets umiak have.
    fn refusal(&mut self) -> Outcome {
        self.configure(None)?;
        self.done(&["target", "set", "oci:shop:1.4.2"])?;
        let update = self.update();
        let plan = self.plan()?;
        let peak = figure(&plan, "peak");
        self.figures.first = plan["download"].as_u64().unwrap_or_default();
        self.figures.first_disk = [figure(&plan, "after"), 0];
        self.configure(Some(whole_mib(peak / 2)))?;
        self.expect(&update, DOES_NOT_FIT)?;
        let fetched = taken(&self.machine.store().join("layers")) + taken(&self.machine.store().join("ingest"));
        if fetched > FEW {
            return Err(Failure::new(Kind::Untrusted, "the device fetched what does not fit"));
        }
        self.fact("Refused", "before the first byte of a layer was fetched: there is none on the disk");
        // What stays free by the watermark, and room for the releases to come.
        self.configure(Some(whole_mib(peak + peak / 3 + (12 << 20))))
    }

    /// Cut off in the middle of fetching.
    fn first_release(&mut self) -> Outcome {
        let before = stored(&self.machine.store());
        let update = self.update();
        let half = before + self.figures.first_disk[0] / 2;
        let store = self.machine.store();
        let cut = self.cut(&update, &move |_| stored(&store) > half)?;
        self.figures.kept = stored(&self.machine.store()).saturating_sub(before);
        let kept = Size(self.figures.kept);
        self.power_on(cut, &format!("in the middle of it: there is {kept} on the disk, and nothing else"))?;
        self.expect(&update, DONE)?;
        self.figures.first_disk[1] = stored(&self.machine.store()).saturating_sub(before);
        if self.runtime.is_some() {
            self.done(&["logs", "--tail=1"])?;
        }
        Ok(())
    }

    /// By a delta; where containers run, cut off between the two releases.
    fn second_release(&mut self) -> Outcome {
        self.done(&["target", "set", "oci:shop:1.5.0"])?;
        self.done(&["check"])?;
        let plan = self.plan()?;
        let update = self.update();
        let before = stored(&self.machine.store());
        self.figures.update = plan["download"].as_u64().unwrap_or_default();
        self.figures.full = plan["changes"][0]["full"].as_u64().unwrap_or_default();
        self.figures.update_disk = [figure(&plan, "after"), 0];
        if self.runtime.is_some() {
            let cut = self.cut(&update, &|said| said.contains("Switched"))?;
            self.power_on(cut, "while the next release is tested: it ran, and nobody trusts it yet")?;
        }
        self.expect(&update, DONE)?;
        self.figures.update_disk[1] = stored(&self.machine.store()).saturating_sub(before);
        if self.runtime.is_some() {
            self.done(&["logs", "--tail=1"])?;
        }
        Ok(())
    }

    /// It is published, fetched, tried and taken back.
    fn bad_release(&mut self) -> Outcome {
        self.teller.heading("A release that cannot work is tried, and taken back");
        self.teller.umiak("", &["copy", "oci:images:kiosk-3", "oci:shop:kiosk-3"])?;
        self.teller.umiak("shop-3", &["compose", "publish", "oci:../shop:1.6.0", "--delta-from=1.5.0"])?;
        self.done(&["target", "set", "oci:shop:1.6.0"])?;
        let update = self.update();
        let said = self.expect(&update, ROLLED_BACK)?;
        self.figures.stopped = said
            .text
            .split_once("(stopped ")
            .and_then(|(_, rest)| rest.split_once(')'))
            .map(|(time, _)| time.to_owned());
        let status = self.settled()?;
        self.done(&["status"])?;
        if status["apps"][0]["reference"].as_str().is_none_or(|reference| !reference.ends_with("1.5.0")) {
            return Err(Failure::new(Kind::Untrusted, format!("the device does not run 1.5.0 again: {status}")));
        }
        Ok(())
    }

    /// What nothing needs goes; what stays is verified, and compared with what was published.
    fn tidy(&mut self) -> Outcome {
        self.teller.heading("What nothing needs any more is pruned; what stays is what was published");
        let before = stored(&self.machine.store());
        self.done(&["prune"])?;
        self.figures.pruned = before.saturating_sub(stored(&self.machine.store()));
        self.done(&["fsck"])?;
        let images = self.teller.root.join("images");
        let config = deltas::config(&images, "kiosk-2")?;
        self.done(&["export", config.get(..12).unwrap_or_default(), "oci:edge/exported"])?;
        let exported = self.teller.root.join(PLACE).join("exported/blobs/sha256");
        let blobs = deltas::contents(&images, "kiosk-2")?;
        for digest in &blobs {
            let hex = digest.trim_start_matches("sha256:");
            if !exported.join(hex).exists() {
                return Err(Failure::new(Kind::Untrusted, format!("the device's kiosk-2 has no {digest}")));
            }
        }
        self.fact("Verified", "the device's kiosk-2 is what was published: its config and each layer, bit for bit");
        Ok(())
    }

    /// The verb that brings the device to its target, as far as it goes here.
    fn update(&self) -> Vec<&'static str> {
        if self.runtime.is_some() { vec!["update"] } else { vec!["update", "--stage-only"] }
    }

    /// Writes the configuration; shows what the device's keeper decided.
    fn configure(&self, limit: Option<u64>) -> Outcome {
        let place = self.teller.root.join(PLACE);
        let limited = limit.map_or(String::new(), |limit| format!("limit = \"{limit} MiB\"\n"));
        let engine = self.runtime.as_ref().map_or("engine = \"none\"\n".to_owned(), |runtime| {
            format!("engine = \"oci\"\nruntime = \"{}\"\n", runtime.display())
        });
        let text = format!(
            "store = \"{}\"\n{engine}[space]\n{limited}prune = false\n[testing]\nwindow = \"1 s\"\npatience = \"30 s\"\n\
             [daemon]\nsocket = \"{}\"\n",
            place.join("data").display(),
            self.machine.run().join("umiakd.sock").display(),
        );
        let path = place.join("umiakd.toml");
        fs::write(&path, text).map_err(failed("write", &path))?;
        if let Some(limit) = limit {
            self.fact("Set", &format!("umiakd.toml: space.limit = {limit} MiB, the most that the store may take"));
        }
        Ok(())
    }

    /// What the device says of itself as soon as its app is well, or when it was not for a while.
    fn settled(&self) -> Result<Value, Failure> {
        let begun = Instant::now();
        loop {
            let status = self.machine.ask(&["status"]).map_err(failed("ask", Path::new("umiakd")))?;
            if status["apps"][0]["condition"] == "healthy" || begun.elapsed() > SETTLING {
                return Ok(status);
            }
            thread::sleep(LOOK);
        }
    }

    fn plan(&self) -> Result<Value, Failure> {
        let checked = self.machine.ask(&["check"]).map_err(failed("ask", Path::new("umiakd")))?;
        Ok(checked["plan"].clone())
    }

    /// After a cut, or what would have been one.
    fn power_on(&mut self, cut: bool, when: &str) -> Outcome {
        if cut {
            self.figures.cuts += 1;
            self.fact("Power cut", when);
        } else {
            self.fact("No cut", "it was done before the power could go");
        }
        self.machine.on().map_err(failed("switch on", Path::new(PLACE)))
    }

    fn done(&mut self, arguments: &[&str]) -> Outcome {
        self.expect(arguments, DONE).map(drop)
    }

    /// Shows and runs one command of the device, which must end with `code`.
    fn expect(&mut self, arguments: &[&str], code: i32) -> Result<Said, Failure> {
        let said = self.umiakd(arguments, &|_| false)?;
        if said.code == Some(code) { Ok(said) } else { Err(self.stopped(arguments, &said)) }
    }

    /// The same, until the power goes; gives whether it went.
    fn cut(&mut self, arguments: &[&str], when: &dyn Fn(&str) -> bool) -> Result<bool, Failure> {
        let said = self.umiakd(arguments, when)?;
        // A machine may be so fast that there is no middle.
        match said.code {
            None => Ok(true),
            Some(DONE) => Ok(false),
            Some(_) => Err(self.stopped(arguments, &said)),
        }
    }

    fn umiakd(&mut self, arguments: &[&str], cut: &dyn Fn(&str) -> bool) -> Result<Said, Failure> {
        let printer = self.teller.context.printer;
        let silent = self.teller.is_silent();
        printer.note(&format!("$ umiakd {}", arguments.join(" ")));
        let colour = if printer.setup().colour { "--color=always" } else { "--color=never" };
        let mut told = |line: &str| {
            if !silent {
                printer.page(&format!("{line}\n"));
            }
        };
        let said = self.machine.umiakd(&[&[colour], arguments].concat(), &mut told, cut);
        said.map_err(failed("run", Path::new("umiakd")))
    }

    /// The demo's end; what was not shown is.
    fn stopped(&self, arguments: &[&str], said: &Said) -> Failure {
        if self.teller.is_silent() {
            self.teller.context.printer.warning(&said.text);
        }
        stopped_at(&format!("umiakd {}", arguments.join(" ")), said.code)
    }

    fn fact(&self, word: &str, text: &str) {
        self.teller.context.printer.fact(word, text);
    }
}

fn whole_mib(bytes: u64) -> u64 {
    bytes.div_ceil(1 << 20)
}

/// Where a runtime is.
fn program(name: &str) -> Option<PathBuf> {
    // What was only mounted was not run.
    let names = ["crun", "runc"].into_iter().filter(|known| *known == name);
    names.flat_map(|name| PROGRAMS.map(|place| Path::new(place).join(name))).find(|path| path.is_file())
}
