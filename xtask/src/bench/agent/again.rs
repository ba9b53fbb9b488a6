//! What is fetched twice after a cut: connections cut and the program killed at several bytes, whole images and updates.

use super::super::registry::line::Line;
use super::super::table::Row;
use super::device::Device;
use crate::Failure;

/// Bytes that may come twice.
const BAR: u64 = 1 << 20;

/// Cuts and kills that are tried; the worst counts.
const TRIES: u64 = 4;

/// What happens at a byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    /// Nothing.
    No,
    /// All connections are cut.
    Cut,
    /// The program is killed.
    Kill,
}

/// Rows for a device that `prepared` makes ready each time and that is to be brought to `app`.
///
/// # Errors
/// It does not come there although nothing stops it any more.
pub fn rows(
    what: &str,
    line: &Line,
    app: &str,
    prepared: &dyn Fn() -> Result<Device, Failure>,
) -> Result<Vec<Row>, Failure> {
    let fetch = |stop, at| fetch(line, app, &prepared()?, stop, at);
    let whole = fetch(Stop::No, 0)?;
    let mut rows = Vec::new();
    for (stop, how) in [(Stop::Cut, "all connections cut"), (Stop::Kill, "killed")] {
        let mut worst = 0;
        for number in 0..TRIES {
            // Spread, and at no round place; the same in every run of the bench.
            let at = whole * (2 * number + 1) / (2 * TRIES) + 4567;
            worst = worst.max(fetch(stop, at.min(whole))?.saturating_sub(whole));
        }
        rows.push(Row::size(format!("{what}: fetched twice, {how} at some byte, worst of {TRIES}"), worst, BAR));
    }
    Ok(rows)
}

/// Bytes that come until the release is staged.
fn fetch(line: &Line, app: &str, device: &Device, stop: Stop, at: u64) -> Result<u64, Failure> {
    let before = line.passed();
    device.aim(app)?;
    let done = match stop {
        Stop::No => device.stage().map(drop),
        Stop::Cut => {
            line.cut_after((before + at).saturating_sub(line.passed()));
            device.stage().map(drop)
        }
        Stop::Kill => match device.killed(|| line.passed() - before >= at)? {
            true => Err("killed".into()),
            false => Ok(()),
        },
    };
    line.heal();
    done.or_else(|_| device.stage().map(drop))?;
    Ok(line.passed() - before)
}
