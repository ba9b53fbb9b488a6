//! What one measured run took, and the median of several.

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

impl Run {
    /// Reads what GNU time wrote for `%U %S %M`; its own wall time has too few digits for short runs.
    pub fn parse(wall: f64, text: &str) -> Option<Self> {
        let numbers: Vec<f64> = text.split_whitespace().map(str::parse).collect::<Result<_, _>>().ok()?;
        let [user, system, kib] = numbers[..] else { return None };
        Some(Self { wall, cpu: user + system, memory: kib / 1024.0 })
    }
}

/// The runs of one thing. There is a median once there is a run.
#[derive(Debug, Default)]
pub struct Runs(Vec<Run>);

impl Runs {
    /// Adds a run.
    pub fn push(&mut self, run: Run) {
        self.0.push(run);
    }

    /// The run in the middle by wall time, with the largest memory of all.
    pub fn median(mut self) -> Option<Run> {
        self.0.sort_by(|one, other| one.wall.total_cmp(&other.wall));
        let memory = self.0.iter().map(|run| run.memory).fold(0.0, f64::max);
        self.0.get(self.0.len() / 2).map(|run| Run { memory, ..*run })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_one_with_the_largest_memory() {
        let run = |wall, memory| Run { wall, cpu: wall, memory };
        let found = Runs(vec![run(9.0, 1.0), run(1.0, 7.0), run(2.0, 3.0)]).median().unwrap();
        assert_eq!((found.wall, found.memory), (2.0, 7.0));
        assert_eq!(Runs::default().median(), None);
        assert_eq!(Run::parse(1.5, "1.00 0.25 2048\n"), Some(Run { wall: 1.5, cpu: 1.25, memory: 2.0 }));
        assert_eq!(Run::parse(1.5, "Command exited"), None);
    }
}
