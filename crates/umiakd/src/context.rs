//! What every command gets: the printer, the configuration, the flags that are everybody's.

use umiak_ui::{Printer, TalkArgs};

use crate::cli::WorldArgs;
use crate::environment::Environment;
use crate::settings::Settings;

/// The surroundings of one command.
pub struct Context<'a> {
    /// Where everything is said.
    pub printer: &'a Printer,
    /// What the environment says.
    pub environment: &'a Environment,
    /// What was decided for this device.
    pub settings: &'a Settings,
    /// How to talk, and whether to change anything.
    pub talk: &'a TalkArgs,
    /// Where things are.
    pub world: &'a WorldArgs,
}
