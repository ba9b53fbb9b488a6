//! A verb of somebody who is not root: the daemon runs it.

use std::io::Write;

use umiak_ui::Kind;

use crate::context::Context;
use crate::daemon::door;
use crate::error::Failure;

/// Asks the daemon to run the verb of this command line, and says what it says.
///
/// # Errors
/// No daemon listens, or this user may not speak to it.
pub fn ask(context: &Context<'_>, words: &[String]) -> Result<u8, Failure> {
    let socket = &context.settings.daemon.socket;
    let heard = |stream: &str, text: &str| match stream {
        "stdout" => drop(context.printer.data(text)),
        // It went through a printer already, the daemon's child's.
        _ => drop(std::io::stderr().write_all(text.as_bytes())),
    };
    door::ask(socket, words, heard).map_err(|error| {
        let failure =
            Failure::new(Kind::Environment, format!("cannot ask the daemon at {}: {error}", socket.display()));
        match error.kind() {
            std::io::ErrorKind::PermissionDenied => {
                failure.hint(format!("run it as root, or as a member of the group {}", context.settings.daemon.group))
            }
            _ => failure.hint("run it as root: then no daemon is needed"),
        }
    })
}
