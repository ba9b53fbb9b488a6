//! The law of the fit check, on made-up images: what an update takes on the disk is what its plan said, at the peak and in
//! the end. Never more; and where the plan says that its figures are no bounds, less by 1 % or 64 KiB at most.
//!
//! The disk counts: before every single operation the files of the store are looked at. With deltas and without, kept whole
//! and as patches, with room for everything at once and with so little that layers have to come one by one.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may panic and write files")]

mod common;
mod device;
#[path = "device/living.rs"]
mod living;
#[path = "device/releases.rs"]
mod releases;
#[path = "device/taken.rs"]
mod taken;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use common::committed;
use living::Device;
use taken::{BLOCK, taken};
use umiak_agent::sources::Sources;
use umiak_agent::{Agent, AgentError, Outcome, Planned, Silently, UpdateOptions, Watcher};
use umiak_plan::{Action, Form, Way};
use umiak_spec::{Cancelled, Observer};
use umiak_store::{Hooked, RealDisk, Store};

/// So much less than the plan says may be taken, where it is more than 1 %.
const SLACK: u64 = 64 << 10;

/// Use of the store since the plan was made.
#[derive(Default)]
struct Course {
    before: u64,
    peak: u64,
    with_reserve: u64,
    counting: bool,
    plan: Option<Planned>,
}

#[derive(Clone, Default)]
struct Count(Arc<Mutex<Course>>);

impl Count {
    fn look(&self, root: &Path) {
        let mut course = self.0.lock().unwrap();
        if course.counting {
            let (bytes, reserve) = taken(root);
            course.peak = course.peak.max(bytes.saturating_sub(course.before));
            course.with_reserve = course.with_reserve.max((bytes + reserve).saturating_sub(course.before));
        }
    }
}

/// Begins to count when the plan is made.
struct Planning<'a>(&'a Count, &'a Path);

impl Observer for Planning<'_> {
    fn expect(&self, _: &'static str, _: u64) {}
    fn advance(&self, _: &'static str, _: u64) {}
    fn note(&self, _: &str) {}
    fn check(&self) -> Result<(), Cancelled> {
        Ok(())
    }
}

impl Watcher for Planning<'_> {
    fn happened(&self, _: &umiak_agent::Happening) {}

    fn planned(&self, planned: &Planned) {
        let (before, _) = taken(self.1);
        *self.0.0.lock().unwrap() = Course { before, counting: true, plan: Some(planned.clone()), ..Course::default() };
    }
}

/// A device that counts, on which updates may take so many bytes.
struct Counted {
    device: Device,
    count: Count,
    room: Arc<AtomicU64>,
}

impl Counted {
    fn new() -> Self {
        Self { device: Device::new(), count: Count::default(), room: Arc::new(AtomicU64::new(1 << 30)) }
    }

    fn set(&self, tag: &str) -> Agent {
        let (count, root) = (self.count.clone(), self.device.root.clone());
        let disk = Hooked::new(Arc::new(RealDisk), move |_| {
            count.look(&root);
            Ok(())
        });
        let room = self.room.clone();
        let survey = Box::new(move |_: &Store| Ok(device::with_room(room.load(Ordering::SeqCst))));
        let agent = self.device.agent_with(Arc::new(disk), Sources { survey, ..device::sources() });
        self.device.set(&agent, tag);
        agent
    }
}

/// What was seen over all scenarios: that the law was tried on everything.
#[derive(Default, Debug)]
struct Seen {
    one_by_one: usize,
    deltas: usize,
    patches: usize,
    whole: usize,
    full: usize,
    exact: usize,
}

fn law(seed: u64, seen: &mut Seen) {
    let counted = Counted::new();
    let releases = counted.device.site.publish(seed);
    let agent = counted.set("1");
    assert!(committed(&agent.update(&UpdateOptions::default(), &Silently).unwrap()));
    let agent = counted.set("2");
    let planned = agent.check(&Silently).unwrap().planned.expect("something is missing");
    let peak = planned.answer.uses[0].peak;
    if seed % 3 == 1 && !releases.lost {
        // Too little for everything at once, where that is possible.
        for room in [peak / 2, peak * 3 / 4, peak * 7 / 8, peak - BLOCK, peak] {
            counted.room.store(room.next_multiple_of(BLOCK), Ordering::SeqCst);
            if agent.check(&Silently).unwrap().planned.unwrap().refusal.is_none() {
                break;
            }
        }
    }
    let watcher = Planning(&counted.count, &counted.device.root);
    let stage = UpdateOptions { stage_only: true, ..UpdateOptions::default() };
    // Where deltas turn out to be lost it is planned again, with as little room as will do.
    let rooms: Vec<u64> =
        if releases.lost { (8..24).map(|part| releases.bytes * part / 16).collect() } else { vec![0] };
    let mut outcome = None;
    for room in rooms {
        if room > 0 {
            counted.room.store(room.next_multiple_of(BLOCK), Ordering::SeqCst);
        }
        match agent.update(&stage, &watcher) {
            Err(AgentError::DoesNotFit(_)) if room > 0 => counted.count.0.lock().unwrap().counting = false,
            done => {
                outcome = Some(done.unwrap());
                break;
            }
        }
    }
    assert!(matches!(outcome, Some(Outcome::Staged { .. })), "seed {seed}: {outcome:?}");
    let (last, reserve) = taken(&counted.device.root);
    assert_eq!(reserve, 0, "what was held is given back");

    let course = counted.count.0.lock().unwrap();
    let plan = course.plan.as_ref().unwrap();
    let (answer, found) = (&plan.answer, &plan.answer.uses[0]);
    let final_use = i128::from(last) - i128::from(course.before);
    let context = format!(
        "seed {seed}, {releases:?}: planned {} and {} in the end, seen {} ({} with what is held) and {final_use}\n{:#?}",
        found.peak,
        found.last,
        course.peak,
        course.with_reserve,
        answer.explain(),
    );
    assert!(course.peak <= found.peak, "more at the peak: {context}");
    assert!(course.with_reserve <= found.peak + BLOCK, "more is held: {context}");
    assert!(final_use <= found.last, "more in the end: {context}");
    if !found.bound {
        seen.exact += 1;
        let slack = |planned: u64| SLACK.max(planned / 100);
        assert!(found.peak - course.peak <= slack(found.peak), "less at the peak: {context}");
        let over = u64::try_from(found.last - final_use).unwrap();
        assert!(over <= slack(u64::try_from(found.last.max(0)).unwrap()), "less in the end: {context}");
    }
    let verify = answer.steps.iter().position(|step| step.action == Action::Verify);
    let fetch = answer.steps.iter().rposition(|step| step.action == Action::Fetch);
    seen.one_by_one += usize::from(verify.is_none_or(|verify| fetch > Some(verify)) && fetch > Some(0));
    for choice in &answer.choices {
        match choice.way {
            Way::Here | Way::Blob => continue,
            Way::Delta { .. } => seen.deltas += 1,
            Way::Full => seen.full += 1,
        }
        match choice.form {
            Form::Whole => seen.whole += 1,
            Form::Patch { .. } => seen.patches += 1,
        }
    }
}

#[test]
fn what_an_update_takes_is_what_its_plan_said() {
    let mut seen = Seen::default();
    for seed in 1..=16 {
        law(seed, &mut seen);
    }
    println!("{seen:?}");
    assert!(seen.one_by_one > 0 && seen.deltas > 0 && seen.patches > 0 && seen.whole > 0 && seen.full > 0, "{seen:?}");
    assert!(seen.exact > 0, "{seen:?}");
}
