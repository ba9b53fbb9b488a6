//! For how long a service does not run: seen from outside, by its process.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::Failure;

/// Between two looks.
const MOMENT: Duration = Duration::from_millis(2);

/// Looks for a process that has a word on its command line.
pub struct Gap {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Length>,
}

/// The longest time between two sights of a process, in seconds. A look takes time itself, and much of it on a machine
/// that has other work.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Length {
    /// From the end of a look to the beginning of the next that saw one.
    pub least: f64,
    /// From the beginning of a look to the end of the next.
    pub most: f64,
}

impl Gap {
    /// Watches from now on, when a process with `word` runs.
    pub fn watch(word: String) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let (mut longest, mut known) = (Length::default(), None);
            let mut last = (Instant::now(), Instant::now());
            loop {
                let begun = Instant::now();
                known = running(&word, known.as_deref());
                if known.is_some() {
                    let ended = Instant::now();
                    longest.least = longest.least.max(begun.saturating_duration_since(last.1).as_secs_f64());
                    longest.most = longest.most.max(ended.saturating_duration_since(last.0).as_secs_f64());
                    last = (begun, ended);
                }
                if stopped.load(Ordering::Relaxed) {
                    return longest;
                }
                std::thread::sleep(MOMENT);
            }
        });
        Self { stop, thread }
    }

    /// The longest.
    ///
    /// # Errors
    /// The watch ended.
    pub fn longest(self) -> Result<Length, Failure> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| "the watch ended".to_owned())
    }
}

/// The number of a process with the word; the known one is looked at first.
fn running(word: &str, known: Option<&str>) -> Option<String> {
    let has = |number: &str| {
        let line = fs::read(format!("/proc/{number}/cmdline")).unwrap_or_default();
        // The service itself: those that carry its description have more in front.
        line.starts_with(b"/bin/sh\0") && String::from_utf8_lossy(&line).contains(word)
    };
    if let Some(known) = known.filter(|number| has(number)) {
        return Some(known.to_owned());
    }
    let names = fs::read_dir("/proc").into_iter().flatten().flatten().map(|entry| entry.file_name());
    names
        .filter_map(|name| name.into_string().ok())
        .find(|name| name.starts_with(|c: char| c.is_ascii_digit()) && has(name))
}

/// Waits until a process with the word runs.
///
/// # Errors
/// None does within half a minute.
pub fn until_runs(word: &str) -> Result<(), Failure> {
    let deadline = Instant::now() + Duration::from_secs(30);
    while running(word, None).is_none() {
        if Instant::now() > deadline {
            return Err(format!("no process has {word} on its command line"));
        }
        std::thread::sleep(MOMENT);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_runs_all_the_time_has_no_gap_to_speak_of() {
        let word = format!("umiak-gap-{}", std::process::id());
        let mut child = std::process::Command::new("/bin/sh");
        child.args(["-c", &format!(": {word}; read line")]);
        let mut child = child.stdin(std::process::Stdio::piped()).spawn().unwrap();
        until_runs(&word).unwrap();
        let gap = Gap::watch(word);
        assert!(gap.longest().unwrap().least < 1.0);
        drop(child.stdin.take());
        child.wait().unwrap();
    }
}
