//! `umiakd export`.

use std::sync::atomic::AtomicBool;

use umiak_agent::Agent;
use umiak_registry::open_sink;
use umiak_spec::ImageReference;
use umiak_ui::Kind;

use crate::cli::ExportArgs;
use crate::context::Context;
use crate::device;
use crate::error::Failure;
use crate::show::Watch;

/// Writes an image out of the store.
pub fn run(context: &Context<'_>, agent: &Agent, arguments: &ExportArgs, stop: &AtomicBool) -> Result<(), Failure> {
    let named = arguments.output.contains(':');
    let output = if named { arguments.output.clone() } else { format!("oci:{}", arguments.output) };
    let output: ImageReference = output.parse().map_err(|error| Failure::from_error(&error, Kind::Usage))?;
    let watch = Watch::new(context.printer, stop);
    let sink = open_sink(&output, &device::reach(context.settings)?)?;
    let manifest = agent.export(&arguments.image, sink, "latest", &watch)?;
    context.printer.fact("Exported", &format!("{} to {}: {}", arguments.image, output, manifest.digest));
    Ok(())
}
