//! `umiakd export`.
#![allow(clippy::disallowed_methods, reason = "the file is for a person: nothing of the device depends on it")]

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::sync::atomic::AtomicBool;

use umiak_agent::{Agent, Format};
use umiak_registry::open_sink;
use umiak_spec::ImageReference;
use umiak_ui::{Kind, Size};

use crate::cli::ExportArgs;
use crate::context::Context;
use crate::device;
use crate::error::Failure;
use crate::show::Watch;

/// Writes an image out of the store.
pub fn run(context: &Context<'_>, agent: &Agent, arguments: &ExportArgs, stop: &AtomicBool) -> Result<(), Failure> {
    if let Some(file) = arguments.output.strip_prefix("pvr:") {
        return package(context, agent, arguments, Path::new(file), stop);
    }
    let named = arguments.output.contains(':');
    let output = if named { arguments.output.clone() } else { format!("oci:{}", arguments.output) };
    let output: ImageReference = output.parse().map_err(|error| Failure::from_error(&error, Kind::Usage))?;
    if context.talk.dry_run {
        context.printer.fact("Would", &format!("export {} to {output}", arguments.image));
        return Ok(());
    }
    let watch = Watch::new(context.printer, stop);
    let sink = open_sink(&output, &device::reach(context.settings)?)?;
    let manifest = agent.export(&arguments.image, sink, "latest", &watch)?;
    context.printer.fact("Exported", &format!("{} to {}: {}", arguments.image, output, manifest.digest));
    Ok(())
}

/// Writes the package beside the place, and then in it.
fn package(
    context: &Context<'_>,
    agent: &Agent,
    arguments: &ExportArgs,
    file: &Path,
    stop: &AtomicBool,
) -> Result<(), Failure> {
    let mut beside = file.as_os_str().to_owned();
    beside.push(".new");
    let beside = Path::new(&beside);
    let failed = |error| Failure::of_io("write", file, &error);
    let watch = Watch::new(context.printer, stop);
    let mut output = BufWriter::new(File::create(beside).map_err(failed)?);
    let report = match agent.export_package(&arguments.image, &mut output, Format::of(file), &watch) {
        Ok(report) => report,
        Err(error) => {
            let _ = fs::remove_file(beside);
            return Err(error.into());
        }
    };
    output.flush().and_then(|()| output.get_ref().sync_all()).map_err(failed)?;
    fs::rename(beside, file).map_err(failed)?;
    let text = format!("{} to {}: {} files, {}", arguments.image, file.display(), report.files, Size(report.bytes));
    context.printer.fact("Exported", &text);
    Ok(())
}
