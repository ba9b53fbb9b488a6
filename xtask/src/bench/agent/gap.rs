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
    thread: JoinHandle<Duration>,
}

impl Gap {
    /// Watches from now on, when a process with `word` runs.
    pub fn watch(word: String) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let (mut longest, mut last, mut known) = (Duration::ZERO, Instant::now(), None);
            while !stopped.load(Ordering::Relaxed) {
                let begun = Instant::now();
                known = running(&word, known.as_deref());
                if known.is_some() {
                    longest = longest.max(begun.saturating_duration_since(last));
                    last = Instant::now();
                }
                std::thread::sleep(MOMENT);
            }
            longest
        });
        Self { stop, thread }
    }

    /// The longest time in seconds between two sights of one.
    ///
    /// # Errors
    /// The watch ended.
    pub fn longest(self) -> Result<f64, Failure> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map(|time| time.as_secs_f64()).map_err(|_| "the watch ended".to_owned())
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
        assert!(gap.longest().unwrap() < 1.0);
        drop(child.stdin.take());
        child.wait().unwrap();
    }
}
