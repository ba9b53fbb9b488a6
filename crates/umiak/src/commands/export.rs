//! `umiak export`: the committed state and its objects as one file.

use std::io::BufWriter;
use std::path::Path;

use umiak_pvr::Parts;
use umiak_repository::Repository;
use umiak_repository::package::{ExportReport, Format};
use umiak_ui::Size;

use crate::cli::ExportArgs;
use crate::commands::beside::Beside;
use crate::context::Context;
use crate::error::Outcome;

/// Writes the package to a file or to stdout.
pub fn run(context: &Context<'_>, arguments: &ExportArgs) -> Outcome {
    let repository = context.repository()?;
    let parts = if arguments.parts.is_empty() { Parts::all() } else { Parts::from_list(&arguments.parts) };
    if context.talk.dry_run {
        let state = repository.pristine()?.filter(&parts);
        let (files, objects) = (state.entries().len(), state.objects().len());
        context.would(&format!("write {files} files, {objects} of them objects, to {}", arguments.file.display()));
        return Ok(());
    }
    let progress = context.progress();
    if arguments.file.as_os_str() == "-" {
        repository.export(&parts, context.printer.data_writer(), Format::Tar, &progress)?;
        return Ok(());
    }
    let format = Format::of(&arguments.file);
    let beside = Beside::new(&arguments.file)?;
    let report = repository.export(&parts, BufWriter::new(&beside.file), format, &progress)?;
    drop(progress);
    let length = beside.publish(&arguments.file)?;
    tell(context, &repository, &arguments.file, &report, length);
    Ok(())
}

fn tell(context: &Context<'_>, repository: &Repository, file: &Path, report: &ExportReport, length: u64) {
    let ExportReport { files, objects, bytes } = *report;
    let name = file.display();
    context.printer.fact("Exported", &format!("{name}, {}: {files} files, {} of objects", Size(length), Size(bytes)));
    context.printer.detail(&format!("{objects} objects from {}", repository.pool().directory().display()));
}
