//! Starting, stopping and removing: the shim is told, its lock says when it is done.

use std::io::Read;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Pid;
use umiak_mount::table::Table;
use umiak_mount::{signals, unmount};

use super::place::{self, Instance, Key, Place, short_revision};
use super::runtime::own_environment;
use super::shim::{Orders, Phase, STARTED, Seen, locked};
use super::{Oci, network, sorted_names};
use crate::error::At;
use crate::{EngineError, durable};

/// Between two looks at a lock.
const LOOK: Duration = Duration::from_millis(3);

/// What a shim may take besides the grace and the runtime's patience: for killing, for writing down.
const MARGIN: Duration = Duration::from_secs(30);

/// Bytes of what a shim says of a start.
const SAID_MAX: u64 = 4096;

/// Starts the shim of an instance, and with it the service.
pub(super) fn start(engine: &Oci, instance: &Instance) -> Result<(), EngineError> {
    let directory = instance.directory();
    let not_ready = || EngineError::NotReady { app: instance.key.app.clone(), service: instance.key.service.clone() };
    let orders = Orders::read(&directory).map_err(|_| not_ready())?;
    let place: Place = place::read(&instance.file("place.json")).ok_or_else(not_ready)?;
    if place.boot != place::boot_id() || Table::read()?.at(&instance.root()).is_none() {
        return Err(not_ready());
    }
    if locked(&directory).is_some() {
        match Seen::read(&directory).map(|seen| seen.phase) {
            // It is on its way down: then it is started again.
            Some(Phase::Stopping | Phase::Ended | Phase::Failed) => wait_until_free(instance, &orders)?,
            _ => return Ok(()),
        }
    }
    clean(engine, instance)?;
    {
        let _lock = engine.lock()?;
        network::plug(engine.directories(), instance)?;
    }
    let (program, arguments) =
        orders.runtime.shim.split_first().ok_or_else(|| EngineError::Absent("shim".to_owned()))?;
    let mut command = Command::new(program);
    command.args(arguments).arg(&directory).current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    own_environment(&mut command);
    let mut launcher = command.spawn().at("start", Path::new(program))?;
    let out = launcher.stdout.take();
    let launched = launcher.wait().at("start", Path::new(program))?;
    let said = out.map(|out| listen(out, orders.runtime.patience + MARGIN)).unwrap_or_default();
    match said {
        Some(said) if said == STARTED => Ok(()),
        Some(said) if !said.is_empty() => Err(orders.runtime.failed("start the service", said)),
        Some(_) if !launched.success() => Err(EngineError::Absent(format!("shim ({program})"))),
        Some(_) => Err(orders.runtime.failed("start the service", "its shim ended without a word".to_owned())),
        None => Err(orders.runtime.hangs("start the service")),
    }
}

/// What is said until the pipe's end; none: no end in time.
fn listen(mut pipe: impl Read + AsFd, patience: Duration) -> Option<String> {
    let end = Instant::now() + patience;
    let mut said = Vec::new();
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let wait = Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() };
        let ready = poll(&mut [PollFd::new(&pipe, PollFlags::IN)], Some(&wait));
        if left.is_zero() && ready.is_ok_and(|ready| ready == 0) {
            return None;
        }
        let mut bytes = [0u8; 512];
        match pipe.read(&mut bytes) {
            Ok(0) | Err(_) => return Some(String::from_utf8_lossy(&said).into_owned()),
            Ok(length) if (said.len() as u64) < SAID_MAX => said.extend_from_slice(&bytes[..length]),
            Ok(_) => {}
        }
    }
}

/// Takes away what a shim that was killed left of its container.
fn clean(engine: &Oci, instance: &Instance) -> Result<(), EngineError> {
    let directory = instance.directory();
    if Seen::read(&directory).is_some_and(|seen| !seen.clean) {
        engine.runtime.delete(&instance.container(), &directory.join("runtime.log"))?;
    }
    durable::remove_file(&directory.join("state.json"))
}

/// Stops the service of an instance.
pub(super) fn stop(engine: &Oci, instance: &Instance) -> Result<(), EngineError> {
    let directory = instance.directory();
    let Ok(orders) = Orders::read(&directory) else { return Ok(()) };
    if locked(&directory).is_none() {
        let Some(mut seen) = Seen::read(&directory) else { return Ok(()) };
        if !seen.clean {
            engine.runtime.delete(&instance.container(), &directory.join("runtime.log"))?;
            let code = seen.code.unwrap_or(128 + signals::KILL);
            seen = Seen { phase: Phase::Ended, pid: None, code: Some(code), stopped: true, clean: true, ..seen };
            durable::document(&directory.join("state.json"), &serde_json::to_vec(&seen).unwrap_or_default())?;
        }
        return Ok(());
    }
    wait_until_free(instance, &orders)
}

/// Tells the shim of an instance to stop, and does not wait. The number was read under the lock that the shim holds.
pub(super) fn tell_to_stop(instance: &Instance) {
    if let Some(pid) = locked(&instance.directory()).and_then(Pid::from_raw) {
        // Whoever waits for it tells it again.
        let _ = signals::send(pid, signals::TERM);
    }
}

/// Tells the shim to stop and waits until it is gone.
fn wait_until_free(instance: &Instance, orders: &Orders) -> Result<(), EngineError> {
    let directory = instance.directory();
    let end = Instant::now() + orders.stop_grace + orders.runtime.patience + MARGIN;
    let mut told = None;
    while let Some(pid) = locked(&directory) {
        // The number was read under the lock that this very process holds.
        if let Some(pid) = Pid::from_raw(pid).filter(|pid| told != Some(*pid)) {
            let _ = signals::send(pid, signals::TERM);
            told = Some(pid);
        }
        if Instant::now() >= end {
            let seen = Seen::read(&directory).unwrap_or_default();
            let Key { app, service, .. } = instance.key.clone();
            return Err(EngineError::Immortal { app, service, pid: seen.pid.unwrap_or_default() });
        }
        thread::sleep(LOOK);
    }
    match Seen::read(&directory) {
        Some(Seen { phase: Phase::Failed, pid: Some(pid), .. }) => {
            let Key { app, service, .. } = instance.key.clone();
            Err(EngineError::Immortal { app, service, pid })
        }
        _ => Ok(()),
    }
}

/// Unmounts the root of a service that does not run: the images under it are then held by nobody.
pub(super) fn release(engine: &Oci, app: &str, revision: &str, service: &str) -> Result<(), EngineError> {
    place::check_name(app)?;
    let instance = instance(engine, app, revision, service)?;
    let _lock = engine.lock()?;
    if locked(&instance.directory()).is_none() {
        unmount(&instance.root())?;
    }
    Ok(())
}

/// Takes a revision of an app away.
pub(super) fn remove(engine: &Oci, app: &str, revision: &str) -> Result<(), EngineError> {
    place::check_name(app)?;
    let short = short_revision(revision)?;
    let directory = place::revision_directory(engine.directories(), app, &short);
    for service in sorted_names(&directory) {
        stop(engine, &instance(engine, app, revision, &service)?)?;
    }
    let _lock = engine.lock()?;
    for service in sorted_names(&directory) {
        unmount(&instance(engine, app, revision, &service)?.root())?;
    }
    network::remove(engine.directories(), app, revision)?;
    // Anything else that is mounted there was not put there by us and is not removed with what is in it.
    if let Some(mount) = Table::read()?.below(&directory).next() {
        let why = format!("something is mounted at {}", mount.point.display());
        return Err(EngineError::Service { service: app.to_owned(), why });
    }
    durable::remove_tree(&directory)?;
    directory.parent().into_iter().for_each(durable::remove_empty);
    network::refresh(engine.directories(), app)?;
    durable::remove_tree(&place::kept_for_revision(engine.directories(), app, &short))
}

pub(super) fn instance(engine: &Oci, app: &str, revision: &str, service: &str) -> Result<Instance, EngineError> {
    let key = Key { app: app.to_owned(), revision: revision.to_owned(), service: service.to_owned() };
    Instance::new(engine.directories(), key)
}

/// Removes what is kept of an app.
pub(super) fn purge(engine: &Oci, app: &str) -> Result<(), EngineError> {
    place::check_name(app)?;
    let _lock = engine.lock()?;
    let directories = engine.directories();
    if !sorted_names(&directories.run.join("services").join(app)).is_empty() {
        return Err(EngineError::Deployed(app.to_owned()));
    }
    durable::remove_tree(&directories.volumes.join(app))?;
    durable::remove_tree(&directories.logs.join(app))?;
    durable::remove_tree(&directories.run.join("volumes").join(app))
}

/// The number of a signal by name (`SIGTERM`, `term`), by number, or from a real-time one (`RTMIN+3`, `RTMAX-1`).
pub(super) fn signal_number(text: &str) -> Option<i32> {
    const NAMES: [&str; 31] = [
        "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM",
        "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF",
        "WINCH", "IO", "PWR", "SYS",
    ];
    // As the C library counts them for its programs.
    const RTMIN: i32 = 34;
    let text = text.trim().to_ascii_uppercase();
    let valid = |number: &i32| (1..=signals::MAX).contains(number);
    if let Ok(number) = text.parse::<i32>() {
        return Some(number).filter(valid);
    }
    let name = text.strip_prefix("SIG").unwrap_or(&text);
    if let Some(at) = NAMES.iter().position(|known| *known == name) {
        return i32::try_from(at + 1).ok();
    }
    let offset = |text: &str| if text.is_empty() { Some(0) } else { text.parse::<i32>().ok() };
    let real_time = match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
        (Some(rest), _) => offset(rest).filter(|offset| *offset >= 0).map(|offset| RTMIN.saturating_add(offset)),
        (_, Some(rest)) => offset(rest).filter(|offset| *offset <= 0).map(|o| signals::MAX.saturating_add(o)),
        _ => None,
    };
    real_time.filter(valid).filter(|number| *number >= RTMIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_many_names() {
        for (text, number) in [
            ("SIGTERM", 15),
            ("term", 15),
            ("9", 9),
            ("SIGRTMIN+3", 37),
            ("RTMIN", 34),
            ("SIGRTMAX-1", 63),
            ("SIGSYS", 31),
        ] {
            assert_eq!(signal_number(text), Some(number), "{text}");
        }
        for wrong in ["", "0", "65", "-1", "SIGNOPE", "RTMIN+31", "RTMAX-40", "RTMIN-1", "RTMAX+1"] {
            assert_eq!(signal_number(wrong), None, "{wrong}");
        }
    }
}
