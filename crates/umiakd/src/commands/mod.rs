//! One module a verb: arguments become calls of the agent, what it gives becomes text.

mod daemon;
mod door;
mod export;
mod input;
mod logs;
mod status;
mod store;
mod support;
mod target;
mod tx;
mod update;

use std::sync::atomic::AtomicBool;

use umiak_agent::Agent;
use umiak_engine::oci::shim;
use umiak_ui::{Kind, Printer, interrupt};

use crate::cli::{Cli, Command, grammar};
use crate::clock::WallClock;
use crate::context::Context;
use crate::device;
use crate::environment::Environment;
use crate::error::Failure;
use crate::settings::{Engine, Settings};

/// Runs a command; gives the exit code.
///
/// # Errors
/// What the verb fails with.
pub fn run(printer: &Printer, environment: &Environment, cli: &Cli) -> Result<u8, Failure> {
    match &cli.command {
        Command::Version => {
            printer.data(concat!("umiakd ", env!("CARGO_PKG_VERSION"), "\n"))?;
            return Ok(0);
        }
        Command::Completion(arguments) => {
            let mut script = Vec::new();
            clap_complete::generate(arguments.shell, &mut grammar(), "umiakd", &mut script);
            printer.data(&String::from_utf8_lossy(&script))?;
            return Ok(0);
        }
        Command::Shim(arguments) => return Ok(shim::run(&arguments.words, &WallClock)),
        _ => {}
    }
    let mut settings = Settings::read(cli.world.config.as_deref())?;
    if let Some(store) = &cli.world.store {
        settings.store = std::path::absolute(store).unwrap_or_else(|_| store.clone());
    }
    let context = Context { printer, environment, settings: &settings, talk: &cli.talk, world: &cli.world };
    let runs = settings.engine != Engine::None;
    if !runs {
        refuse_to_run(&cli.command)?;
    }
    if let Command::Daemon = cli.command {
        return daemon::run(&context).map(|()| 0);
    }
    // A store that is made for elsewhere has no daemon, and belongs to whoever makes it.
    if !environment.root && runs {
        return door::ask(&context, cli);
    }
    let stop = interrupt::listen().map_err(|error| Failure::from_error(&error, Kind::Environment))?;
    let agent = device::agent(&context, stop)?;
    verb(&context, &agent, &cli.command, stop).map(|()| 0)
}

/// Where nothing runs, what would start something is refused before anything is done.
fn refuse_to_run(command: &Command) -> Result<(), Failure> {
    let (verb, hint) = match command {
        Command::Update(update) if !update.stage_only => {
            ("update", "umiakd update --stage-only makes the store ready; the device it goes to switches")
        }
        Command::Rollback(_) => ("rollback", "umiakd target set says which release is to be staged"),
        Command::Daemon | Command::Resume => ("daemon", "it is for the device that the store goes to"),
        _ => return Ok(()),
    };
    let message = format!("{verb} would start services, and nothing runs on this machine: engine = \"none\"");
    Err(Failure::new(Kind::Usage, message).hint(hint))
}

fn verb(context: &Context<'_>, agent: &Agent, command: &Command, stop: &AtomicBool) -> Result<(), Failure> {
    match command {
        Command::Status(_) => status::status(context, agent),
        Command::History(arguments) => status::history(context, agent, arguments),
        Command::Target(command) => target::run(context, agent, command, stop),
        Command::Tx(command) => tx::run(context, agent, command, stop),
        Command::Check(arguments) => update::check(context, agent, arguments, stop),
        Command::Update(arguments) => update::update(context, agent, arguments, stop),
        Command::Rollback(arguments) => update::rollback(context, agent, arguments, stop),
        Command::Resume => update::resume(context, agent, stop),
        Command::Pin(arguments) => store::pin(context, agent, arguments),
        Command::Unpin(arguments) => store::unpin(context, agent, arguments),
        Command::Prune => store::prune(context, agent),
        Command::Fsck(arguments) => store::fsck(context, agent, arguments, stop),
        Command::Logs(arguments) => logs::run(context, agent, arguments, stop),
        Command::Export(arguments) => export::run(context, agent, arguments, stop),
        Command::Support(arguments) => support::run(context, agent, arguments),
        // Answered before there was an agent.
        Command::Daemon | Command::Shim(_) | Command::Version | Command::Completion(_) => Ok(()),
    }
}
