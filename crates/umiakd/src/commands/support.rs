//! `umiakd support`: one file with everything that helps to help.
#![allow(clippy::disallowed_methods, reason = "the file is for a person: nothing of the device depends on it")]

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::process::Command;

use flate2::Compression;
use flate2::write::GzEncoder;
use umiak_agent::{Agent, Piece};
use umiak_layer::LayerWriter;
use umiak_spec::Limits;
use umiak_tree::{Metadata, TreePath};

use crate::cli::SupportArgs;
use crate::context::Context;
use crate::error::Failure;

/// Directory of everything in the archive.
const DIRECTORY: &str = "umiak-support";

/// The kernel's view, as far as it helps: files that are read whole.
const KERNEL: [&str; 5] =
    ["/proc/version", "/proc/meminfo", "/proc/filesystems", "/proc/self/mountinfo", "/proc/uptime"];

/// The most of one piece, in bytes.
const LONGEST: usize = 4 << 20;

/// Writes the file.
pub fn run(context: &Context<'_>, agent: &Agent, arguments: &SupportArgs) -> Result<(), Failure> {
    let mut pieces = agent.support();
    pieces.push(piece("umiakd.txt", format!("umiakd {}\n{:#?}\n", env!("CARGO_PKG_VERSION"), context.settings)));
    pieces.extend(KERNEL.iter().map(|path| {
        let text = fs::read_to_string(path).unwrap_or_else(|error| format!("cannot be had: {error}\n"));
        piece(&format!("{}.txt", path.trim_start_matches('/').replace('/', "-")), text)
    }));
    pieces.push(piece("journal.txt", service_journal()));
    if context.talk.dry_run {
        let names: Vec<_> = pieces.iter().map(|piece| piece.name.as_str()).collect();
        context.printer.fact("Would", &format!("write {}: {}", arguments.output.display(), names.join(", ")));
        return Ok(());
    }
    write(&arguments.output, &pieces).map_err(|error| Failure::of_io("write", &arguments.output, &error))?;
    context.printer.fact("Wrote", &format!("{}: {} files", arguments.output.display(), pieces.len()));
    context.printer.note("it names apps, registries and addresses, and shows no credentials and no contents of apps");
    Ok(())
}

fn piece(name: &str, text: String) -> Piece {
    Piece { name: name.to_owned(), bytes: text.into_bytes() }
}

/// The last lines of the daemon's log, where systemd keeps it.
fn service_journal() -> String {
    let output =
        Command::new("journalctl").args(["--unit=umiakd", "--lines=500", "--no-pager", "--output=short-iso"]).output();
    match output {
        Ok(output) => String::from_utf8_lossy(&output.stdout).into_owned(),
        Err(error) => format!("cannot be had: {error}\n"),
    }
}

fn write(path: &Path, pieces: &[Piece]) -> io::Result<()> {
    let gzip = GzEncoder::new(File::create(path)?, Compression::default());
    let mut archive = LayerWriter::new(gzip);
    for piece in pieces {
        let bytes = &piece.bytes[piece.bytes.len().saturating_sub(LONGEST)..];
        let name = TreePath::from_archive(format!("{DIRECTORY}/{}", piece.name).as_bytes(), &Limits::default());
        let name = name.map_err(io::Error::other)?;
        archive
            .file(&name, &Metadata::root_owned(0o644), bytes.len() as u64, &mut &bytes[..])
            .map_err(io::Error::other)?;
    }
    archive.finish().map_err(io::Error::other)?.finish()?.flush()
}
