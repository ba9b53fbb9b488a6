//! Progress of one command: one total in bytes over all its phases, with rate and time left.
//!
//! On a terminal one live line appears after 250 ms; off a terminal there is a plain line after two seconds and then
//! every five; in JSON form one `progress` object a second, the first after 250 ms. Counting is a few atomic additions: libraries may call it
//! from any thread and as often as they like.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use serde_json::json;
use umiak_spec::{Cancelled, Observer};

use crate::span::span;
use crate::{Printer, Size, Verbosity};

const APPEARS: Duration = Duration::from_millis(250);
/// A log has no use for a line about work that is over before anyone reads it.
const PLAIN_APPEARS: Duration = Duration::from_secs(2);
const REDRAW: Duration = Duration::from_millis(100);
const JSON_LINE: Duration = Duration::from_secs(1);
const PLAIN_LINE: Duration = Duration::from_secs(5);
/// The rate is that of the last few seconds: a link that became slow shows.
const WINDOW: Duration = Duration::from_secs(4);
const BAR: u64 = 20;

type Clock = Box<dyn Fn() -> Duration + Send + Sync>;

/// Counts bytes of all phases and shows them through a [`Printer`]; the [`Observer`] of a command.
pub struct Progress<'a> {
    printer: &'a Printer,
    cancelled: &'a AtomicBool,
    clock: Clock,
    expected: AtomicU64,
    done: AtomicU64,
    shown: Mutex<Shown>,
}

struct Shown {
    /// When the next line is due.
    due: Duration,
    /// Moments and totals within [`WINDOW`].
    samples: VecDeque<(Duration, u64)>,
}

impl<'a> Progress<'a> {
    /// Starts now; stops the work with [`Cancelled`] once `cancelled` is set.
    #[must_use]
    pub fn new(printer: &'a Printer, cancelled: &'a AtomicBool) -> Self {
        let start = Instant::now();
        Self::with_clock(printer, cancelled, Box::new(move || start.elapsed()))
    }

    fn with_clock(printer: &'a Printer, cancelled: &'a AtomicBool, clock: Clock) -> Self {
        let setup = printer.setup();
        let due = if setup.json || setup.width.is_some() { APPEARS } else { PLAIN_APPEARS };
        let shown = Mutex::new(Shown { due, samples: VecDeque::new() });
        Self { printer, cancelled, clock, expected: AtomicU64::new(0), done: AtomicU64::new(0), shown }
    }

    /// Time since the start.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        (self.clock)()
    }

    /// Shows where things are if a line is due. A thread that finds another one drawing goes on with its work.
    fn tick(&self, phase: &'static str) {
        let setup = self.printer.setup();
        if setup.verbosity == Verbosity::Quiet {
            return;
        }
        let mut shown = match self.shown.try_lock() {
            Ok(shown) => shown,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        let now = self.elapsed();
        if now < shown.due {
            return;
        }
        let pause = match (setup.json, setup.width) {
            (true, _) => JSON_LINE,
            (false, Some(_)) => REDRAW,
            (false, None) => PLAIN_LINE,
        };
        shown.due = now + pause;
        let done = self.done.load(Ordering::Relaxed);
        let expected = self.expected.load(Ordering::Relaxed);
        let rate = shown.rate(now, done);
        let state = State { phase, done, expected, rate };
        match (setup.json, setup.width) {
            (true, _) => self.printer.event("progress", &state.json()),
            (false, Some(width)) => self.printer.live(&state.live(width)),
            (false, None) => self.printer.talk_line(&state.plain()),
        }
    }
}

impl Shown {
    /// Bytes per second over the window; `None` until there is enough time to tell.
    fn rate(&mut self, now: Duration, done: u64) -> Option<u64> {
        if self.samples.is_empty() {
            self.samples.push_back((Duration::ZERO, 0));
        }
        self.samples.push_back((now, done));
        while self.samples.len() > 2 && now.saturating_sub(self.samples[1].0) >= WINDOW {
            self.samples.pop_front();
        }
        let (since, before) = *self.samples.front()?;
        let milliseconds = u64::try_from((now - since).as_millis()).ok()?;
        done.saturating_sub(before).saturating_mul(1000).checked_div(milliseconds)
    }
}

/// One moment of the work.
struct State {
    phase: &'static str,
    done: u64,
    expected: u64,
    rate: Option<u64>,
}

impl State {
    /// Whole seconds until the end at the present rate.
    fn left(&self) -> Option<Duration> {
        let rest = self.expected.checked_sub(self.done).filter(|rest| *rest > 0)?;
        let rate = self.rate.filter(|rate| *rate > 0)?;
        Some(Duration::from_secs(rest.div_ceil(rate)))
    }

    /// Done, total, rate and time left, as far as they are known, separated by `gap`.
    fn figures(&self, gap: &str) -> String {
        let total = self.expected >= self.done && self.expected > 0;
        let mut figures = vec![if total { Size::of(self.done, self.expected) } else { Size(self.done).to_string() }];
        figures.extend(self.rate.map(|rate| format!("{}/s", Size(rate))));
        figures.extend(
            self.left().map(|left| format!("{} left", span(left.max(Duration::from_secs(1))).replace(".0", ""))),
        );
        figures.join(gap)
    }

    fn live(&self, width: usize) -> String {
        let bar = match self.expected {
            0 => String::new(),
            expected if expected < self.done => String::new(),
            expected => {
                let filled = u128::from(self.done) * u128::from(BAR) / u128::from(expected);
                (0..u128::from(BAR)).map(|at| if at < filled { '#' } else { '-' }).chain("  ".chars()).collect()
            }
        };
        let full = format!(" {:<9} {bar}{}", self.phase, self.figures("   "));
        // A line that wraps cannot be taken back: cut it one short of the edge.
        full.chars().take(width.saturating_sub(1)).collect()
    }

    fn plain(&self) -> String {
        format!(" {:<9} {}", self.phase, self.figures(", "))
    }

    fn json(&self) -> serde_json::Value {
        json!({
            "phase": self.phase,
            "done": self.done,
            "expected": self.expected,
            "bytes_per_second": self.rate,
            "seconds_left": self.left().map(|left| left.as_secs()),
        })
    }
}

impl Observer for Progress<'_> {
    fn expect(&self, phase: &'static str, bytes: u64) {
        self.expected.fetch_add(bytes, Ordering::Relaxed);
        self.tick(phase);
    }

    fn advance(&self, phase: &'static str, bytes: u64) {
        self.done.fetch_add(bytes, Ordering::Relaxed);
        self.tick(phase);
    }

    fn note(&self, text: &str) {
        self.printer.note(text);
    }

    fn check(&self) -> Result<(), Cancelled> {
        if self.cancelled.load(Ordering::Relaxed) { Err(Cancelled) } else { Ok(()) }
    }
}

impl Drop for Progress<'_> {
    fn drop(&mut self) {
        drop(self.shown.lock().unwrap_or_else(PoisonError::into_inner));
        self.printer.end_live();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::Setup;
    use crate::printer::tests::{Heard, printer};

    /// Runs 100 steps of 1 MiB, `step` apart, and gives back what was said.
    fn run(setup: Setup, step: Duration) -> Heard {
        let (printer, _, talk) = printer(setup);
        let never = AtomicBool::new(false);
        let time = Arc::new(AtomicU64::new(0));
        let clock = Arc::clone(&time);
        let progress = Progress::with_clock(
            &printer,
            &never,
            Box::new(move || Duration::from_millis(clock.load(Ordering::Relaxed))),
        );
        progress.expect("Fetching", 100 << 20);
        for _ in 0..100 {
            time.fetch_add(u64::try_from(step.as_millis()).unwrap(), Ordering::Relaxed);
            progress.advance("Fetching", 1 << 20);
        }
        talk
    }

    #[test]
    fn work_shorter_than_a_quarter_second_says_nothing() {
        for width in [None, Some(80)] {
            let heard = run(Setup { width, ..Setup::default() }, Duration::from_millis(2));
            assert_eq!(heard.text(), "");
        }
    }

    #[test]
    fn off_a_terminal_lines_are_plain_and_five_seconds_apart() {
        let heard = run(Setup::default(), Duration::from_millis(100));
        assert_eq!(
            heard.text(),
            " Fetching  20.0 / 100 MiB, 10.0 MiB/s, 8 s left\n Fetching  70.0 / 100 MiB, 10.0 MiB/s, 3 s left\n"
        );
    }

    #[test]
    fn on_a_terminal_one_line_is_redrawn_within_the_width_and_taken_away() {
        for width in [12, 40, 80] {
            let heard = run(Setup { width: Some(width), ..Setup::default() }, Duration::from_millis(100)).text();
            assert!(!heard.contains('\n'));
            assert!(heard.ends_with("\r\x1b[K"));
            assert!(heard.split("\r\x1b[K").all(|line| line.chars().count() < width));
        }
        let heard = run(Setup { width: Some(80), ..Setup::default() }, Duration::from_millis(100)).text();
        assert!(heard.contains(" Fetching  ##########----------  50.0 / 100 MiB   10.0 MiB/s   5 s left"), "{heard}");
    }

    #[test]
    fn json_lines_carry_the_numbers_once_a_second() {
        let heard = run(Setup { json: true, ..Setup::default() }, Duration::from_millis(100)).text();
        let lines: Vec<serde_json::Value> = heard.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 10);
        assert_eq!(lines[0]["type"], "progress");
        assert_eq!(lines[0]["done"], 3 << 20);
        assert_eq!(lines[0]["expected"], 100 << 20);
        assert_eq!(lines[0]["bytes_per_second"], 10 << 20);
    }

    #[test]
    fn the_rate_follows_a_link_that_became_slow() {
        let mut shown = Shown { due: Duration::ZERO, samples: VecDeque::new() };
        for second in 1..=10 {
            shown.rate(Duration::from_secs(second), second * 1000);
        }
        let slow = (11..=16).map(|second| shown.rate(Duration::from_secs(second), 10_000 + (second - 10) * 10)).last();
        assert_eq!(slow.flatten(), Some(10));
    }

    #[test]
    fn a_set_flag_cancels_and_quiet_is_quiet() {
        let (printer, _, talk) = printer(Setup { verbosity: Verbosity::Quiet, width: Some(80), ..Setup::default() });
        let flag = AtomicBool::new(false);
        let progress = Progress::with_clock(&printer, &flag, Box::new(|| Duration::from_secs(60)));
        progress.advance("Fetching", 5);
        assert!(progress.check().is_ok());
        flag.store(true, Ordering::Relaxed);
        assert!(progress.check().is_err());
        drop(progress);
        assert_eq!(talk.text(), "");
    }

    #[test]
    fn more_done_than_expected_shows_no_total() {
        let state = State { phase: "Reading", done: 2048, expected: 1024, rate: None };
        assert_eq!(state.live(80), " Reading   2.0 KiB");
    }
}
