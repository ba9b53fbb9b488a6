//! Whether services were started since the machine was: a note in the directory that a reboot empties.
//!
//! An engine that keeps containers over a reboot shows those that ended with the machine like those that ended by
//! themselves. Until everything was started once, both are started.

#![allow(clippy::disallowed_methods)]

use std::fs;

use crate::agent::Agent;

const NOTE: &str = "started";

/// Whether nothing was started yet in this start of the machine.
pub(crate) fn is_first(agent: &Agent) -> bool {
    fs::read_to_string(agent.run.join(NOTE)).map_or(true, |boot| boot != agent.clock.boot().0)
}

/// Everything that should run was started. Where this cannot be noted it is started once more, which costs little.
pub(crate) fn note(agent: &Agent) {
    if is_first(agent) {
        let _ = fs::create_dir_all(&agent.run)
            .and_then(|()| fs::write(agent.run.join(NOTE), agent.clock.boot().0.as_bytes()));
    }
}
