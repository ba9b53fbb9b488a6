//! `umiakd daemon`.

use std::cell::Cell;
use std::io::ErrorKind;

use umiak_ui::{Kind, interrupt};

use crate::clock;
use crate::context::Context;
use crate::daemon::{Daemon, ServiceManager, Wake, bell};
use crate::error::Failure;

/// Runs until SIGTERM or Ctrl-C.
///
/// # Errors
/// Signals cannot be handled, or the socket cannot be opened.
pub fn run(context: &Context<'_>) -> Result<(), Failure> {
    let environment = context.environment;
    let (rings, woken) = bell();
    let on_signal = rings.clone();
    interrupt::listen_and(move || {
        let _ = on_signal.send(Wake::Stop);
    })
    .map_err(|error| Failure::from_error(&error, Kind::Environment))?;
    let daemon = Daemon {
        settings: context.settings,
        printer: context.printer,
        program: environment.program.clone(),
        before: before(context),
        manager: ServiceManager::new(environment.notify.as_deref(), environment.watchdog.as_deref()),
        now: clock::since_1970,
        woken,
        heard: Cell::new(None),
    };
    daemon.run(&rings).map_err(|error| {
        let socket = context.settings.daemon.socket.display();
        let failure = Failure::new(Kind::Environment, format!("cannot listen on {socket}: {error}"));
        match error.kind() {
            ErrorKind::PermissionDenied => failure.hint("the daemon is for root"),
            ErrorKind::AddrInUse => {
                failure.hint("one daemon is enough: `systemctl status umiakd` shows the one that runs")
            }
            _ => failure.hint("[daemon] socket = \"…\" in the configuration names another place"),
        }
    })
}

/// The words that make a child's configuration the daemon's.
fn before(context: &Context<'_>) -> Vec<String> {
    let named = [("--config", &context.world.config), ("--store", &context.world.store)];
    let paths = named.into_iter().filter_map(|(option, path)| Some((option, path.as_ref()?)));
    paths
        .flat_map(|(option, path)| {
            let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
            [option.to_owned(), path.to_string_lossy().into_owned()]
        })
        .collect()
}
