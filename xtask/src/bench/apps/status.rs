//! `umiak status` in a device directory of 20 000 files: the first run, which reads them all, and the second.
//!
//! Before every first run all files get another modification time, so that nothing that is known of them holds.

use super::Bench;
use crate::Failure;
use crate::bench::measure::Runs;
use crate::bench::noise::noise;
use crate::bench::shell::Shell;
use crate::bench::table::Row;

const BAR: f64 = 0.1;
const DIRECTORIES: u64 = 200;
const FILES_EACH: u64 = 100;
const FILE_BYTES: u64 = 16 * 1024;

const STATUS: &str = "cd repo; $UMIAK status > /dev/null";

/// Times in the past, and a pause: a careful reader does not trust what changed a moment ago.
const TOUCH: &str = "find repo/files -type f -exec touch -d \"2025-01-01 + $RUN hours\" {} +; sleep 2.5";

/// Adds the row.
pub fn measure(bench: &mut Bench<'_>) -> Result<(), Failure> {
    let mut shell = Shell::new(&bench.target, "status")?;
    shell.set("PVR_CONFIG_DIR", shell.directory().join("config"));
    shell.set("UMIAK", &bench.umiak);
    fill(&shell)?;
    shell.prepare("cd repo; $UMIAK init; $UMIAK add .; $UMIAK commit")?;
    let (mut first, mut second) = (Runs::default(), Runs::default());
    for run in 0..bench.options.runs {
        shell.prepare(&format!("RUN={run}; {TOUCH}"))?;
        first.push(bench.ours(shell.measure(STATUS)?));
        second.push(bench.ours(shell.measure(STATUS)?));
    }
    if let (Some(first), Some(second)) = (first.median(), second.median()) {
        let kib = FILE_BYTES / 1024;
        let measure = format!("umiak status of 20 000 files of {kib} KiB: the second run; the first is the peer");
        bench.row(Row::times(measure, second, first, BAR));
    }
    Ok(())
}

fn fill(shell: &Shell) -> Result<(), Failure> {
    for directory in 0..DIRECTORIES {
        let path = shell.directory().join(format!("repo/files/{directory:03}"));
        let failed = |error| format!("cannot fill {}: {error}", path.display());
        std::fs::create_dir_all(&path).map_err(failed)?;
        for file in 0..FILES_EACH {
            let bytes = noise(directory * FILES_EACH + file, FILE_BYTES);
            std::fs::write(path.join(format!("{file:02}.bin")), bytes).map_err(failed)?;
        }
    }
    Ok(())
}
