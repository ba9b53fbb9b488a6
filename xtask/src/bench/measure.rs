//! Wall time, CPU time and peak memory of a shell script, all its processes together.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::Failure;

/// What one run took.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Run {
    /// Seconds from start to end.
    pub wall: f64,
    /// CPU seconds, user and system.
    pub cpu: f64,
    /// Peak resident memory of the largest process, in MiB.
    pub memory: f64,
}

/// Runs `script` with bash in `directory` under GNU time.
///
/// # Errors
/// The script fails; its output is in the message.
pub fn run(script: &str, directory: &Path) -> Result<Run, Failure> {
    let report = directory.join(".measured");
    let mut command = Command::new("/usr/bin/time");
    command.args(["-q", "-f", "%e %U %S %M", "-o"]).arg(&report).args(["bash", "-euc", script]);
    let output = command.current_dir(directory).stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("cannot start /usr/bin/time (package `time`): {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(format!("a measured script failed: {}\n{script}\n{said}", output.status));
    }
    let text = std::fs::read_to_string(&report).map_err(|error| format!("cannot read the times: {error}"))?;
    parse(&text).ok_or_else(|| format!("cannot understand the times `{text}`"))
}

fn parse(text: &str) -> Option<Run> {
    let numbers: Vec<f64> = text.split_whitespace().map(str::parse).collect::<Result<_, _>>().ok()?;
    let [wall, user, system, kib] = numbers[..] else { return None };
    Some(Run { wall, cpu: user + system, memory: kib / 1024.0 })
}

/// The run in the middle by wall time, with the largest memory of all.
pub fn median(mut runs: Vec<Run>) -> Option<Run> {
    runs.sort_by(|one, other| one.wall.total_cmp(&other.wall));
    let memory = runs.iter().map(|run| run.memory).fold(0.0, f64::max);
    runs.get(runs.len() / 2).map(|run| Run { memory, ..*run })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_one_with_the_largest_memory() {
        let run = |wall, memory| Run { wall, cpu: wall, memory };
        let found = median(vec![run(9.0, 1.0), run(1.0, 7.0), run(2.0, 3.0)]).unwrap();
        assert_eq!((found.wall, found.memory), (2.0, 7.0));
        assert_eq!(median(vec![]), None);
        assert_eq!(parse("1.50 1.00 0.25 2048\n"), Some(Run { wall: 1.5, cpu: 1.25, memory: 2.0 }));
    }
}
