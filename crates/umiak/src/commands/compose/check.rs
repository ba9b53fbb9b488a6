//! `umiak compose check`.

use std::collections::BTreeSet;
use std::fs;

use umiak_plan::{Device, Policy, Profile, Stored, StoredApp, Wanted, plan};
use umiak_spec::Platform;

use super::Apps;
use super::carrying::{Known, known, release};
use super::fit::Report;
use crate::cli::CheckArgs;
use crate::context::Context;
use crate::error::{Failure, Kind, Outcome};

/// Bytes of a profile that are read: more are refused.
const PROFILE: u64 = 1 << 20;

/// Asks the planner.
pub fn run(context: &Context<'_>, arguments: &CheckArgs) -> Outcome {
    let Profile { mut device, stored } = profile(arguments)?;
    let platform = [device.platform.clone()];
    let apps = Apps::new(context, &arguments.registry)?;
    let targets = arguments.apps.iter().map(|name| known(&apps, name, &platform)).collect::<Result<Vec<_>, _>>()?;
    one_of_each(&targets)?;
    let mut there = Vec::new();
    for entry in &stored {
        there.push((known(&apps, &entry.reference, &platform)?, entry.running, entry.pinned));
    }
    for name in &arguments.from {
        let known = match &targets[..] {
            [only] => release(&apps, name, &only.place, &platform)?,
            _ => known(&apps, name, &platform)?,
        };
        there.push((known, true, false));
    }
    drop(apps);
    put(&mut device, &there)?;
    let wanted = wanted(&targets, &device, arguments, &there)?;
    let answer = plan(&device, &wanted);
    let report = Report { context, device: &device, targets: &targets, wanted: &wanted, answer: &answer };
    report.tell(arguments.explain)?;
    report.verdict(arguments.explain)
}

fn profile(arguments: &CheckArgs) -> Result<Profile, Failure> {
    let path = &arguments.device;
    let failed = |error| Failure::of_io("read", path, &error);
    if fs::metadata(path).map_err(failed)?.len() > PROFILE {
        return Err(Failure::new(Kind::Usage, format!("{} is too long for a device profile", path.display())));
    }
    let bytes = fs::read(path).map_err(failed)?;
    Profile::parse(&bytes).map_err(|error| {
        let message = format!("{} is no device profile", path.display());
        Failure::new(Kind::Usage, message)
            .because(vec![error.to_string()])
            .hint("docs/formats/device-profile.md says what it has; `umiak compose check --help` has a small one")
    })
}

/// An update has one release of each app.
fn one_of_each(targets: &[Known]) -> Outcome {
    let mut names = BTreeSet::new();
    match targets.iter().find(|target| !names.insert(&target.app.name)) {
        Some(twice) => Err(Failure::new(Kind::Usage, format!("{} is named twice", twice.app.name))
            .hint("a device has one release of an app at a time; what is there already is named with --from")),
        None => Ok(()),
    }
}

/// Puts onto the device what is there.
fn put(device: &mut Device, there: &[(Known, bool, bool)]) -> Outcome {
    let mut apps: Vec<StoredApp> = Vec::new();
    for (known, running, pinned) in there {
        let app = known.app.for_plan(&device.platform)?;
        match apps.iter_mut().find(|stored| stored.app.digest == app.digest && stored.app.name == app.name) {
            Some(same) => {
                same.running |= running;
                same.pinned |= pinned;
            }
            None => apps.push(StoredApp { app, running: *running, pinned: *pinned }),
        }
    }
    device.stored = Stored::of(apps, device.keeps, device.engine);
    Ok(())
}

/// The apps that are to be on the device: those asked for, and those that run there and are not replaced by one.
fn wanted(
    targets: &[Known],
    device: &Device,
    arguments: &CheckArgs,
    there: &[(Known, bool, bool)],
) -> Result<Wanted, Failure> {
    let platform: &Platform = &device.platform;
    let mut apps = targets.iter().map(|target| target.app.for_plan(platform)).collect::<Result<Vec<_>, _>>()?;
    let mut names: BTreeSet<String> = apps.iter().map(|app| app.name.clone()).collect();
    for stored in device.stored.apps.iter().filter(|stored| stored.running) {
        if names.insert(stored.app.name.clone()) {
            apps.push(stored.app.clone());
        }
    }
    let bases: Vec<_> = there.iter().map(|(known, _, _)| &known.app).collect();
    let mut deltas = Vec::new();
    for target in targets {
        deltas.extend(target.app.deltas_for_plan(platform, &bases)?);
    }
    let policy = Policy { reclaim: !arguments.no_reclaim, prune_after: arguments.prune };
    Ok(Wanted { apps, deltas, policy, ..Wanted::default() })
}
