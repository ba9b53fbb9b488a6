//! Reading what a test runner prints: which tests passed, which failed.

/// What the lines of one runner said.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Sum of the `passed` numbers.
    pub passed: usize,
    /// Sum of the `failed` numbers.
    pub failed: usize,
    /// Names of failed tests.
    pub failed_names: Vec<String>,
}

impl Count {
    /// Reads one line: `test NAME ... FAILED` or `test result: ok. 3 passed; 0 failed; ..`.
    pub fn line(&mut self, line: &str) {
        let line = line.trim();
        if let Some(rest) = line.strip_prefix("test result: ") {
            for part in rest.split([';', '.']) {
                match part.trim().split_once(' ') {
                    Some((number, "passed")) => self.passed += number.parse().unwrap_or(0),
                    Some((number, "failed")) => self.failed += number.parse().unwrap_or(0),
                    _ => {}
                }
            }
        } else if let Some(name) = line.strip_prefix("test ").and_then(|rest| rest.strip_suffix(" ... FAILED")) {
            self.failed_names.push(name.trim_end_matches(" - should panic").to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_the_runner_prints() {
        let mut count = Count::default();
        count.line("test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 3 filtered out; finished in 0.1s");
        count.line("test writer::keeps_order ... FAILED");
        count.line("test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out");
        count.line("test other ... ok");
        assert_eq!(count, Count { passed: 13, failed: 2, failed_names: vec!["writer::keeps_order".into()] });
    }
}
