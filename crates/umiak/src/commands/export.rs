//! `umiak export`: the committed state and its objects as one file.
#![allow(clippy::disallowed_methods, reason = "the package is written beside, synced and renamed here")]

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use umiak_pvr::Parts;
use umiak_repository::Repository;
use umiak_repository::package::{ExportReport, Format};
use umiak_ui::Size;

use crate::cli::ExportArgs;
use crate::context::Context;
use crate::error::{Failure, Kind, Outcome};

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

/// The package while it is being written: beside its place, gone unless it is published.
struct Beside {
    path: PathBuf,
    file: File,
}

impl Beside {
    fn new(place: &Path) -> Result<Self, Failure> {
        if place.is_dir() {
            return Err(Failure::new(Kind::Usage, format!("{} is a directory", place.display())).hint("name a file"));
        }
        let mut name = place.file_name().unwrap_or_default().to_owned();
        name.push(format!(".new-{}", std::process::id()));
        let path = place.with_file_name(name);
        let file = File::create(&path).map_err(|error| Failure::of_io("create", &path, &error))?;
        Ok(Self { path, file })
    }

    /// Makes the package durable, then visible; gives its length.
    fn publish(&self, place: &Path) -> Result<u64, Failure> {
        let failed = |error| Failure::of_io("write", place, &error);
        self.file.sync_all().map_err(failed)?;
        let length = self.file.metadata().map_err(failed)?.len();
        fs::rename(&self.path, place).map_err(failed)?;
        Ok(length)
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        // After a rename there is nothing of this name, and nobody minds.
        let _ = fs::remove_file(&self.path);
    }
}
