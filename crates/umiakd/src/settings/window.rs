//! When the daemon may fetch and switch by itself: days and hours in UTC.
//!
//! `01:00-05:00`, `Mon-Fri 22:00-04:00`, `Sat,Sun 00:00-24:00`. A window that ends before it begins goes over
//! midnight and belongs to the day on which it begins. No windows: any time. The hours are UTC because a device has no
//! time zone that can be relied on; a clock that was never set (before 2024) is in no window and out of none: the
//! windows are then passed over, since a device whose clock is wrong would otherwise never update.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de};
use umiak_agent::PLAUSIBLE;

const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const DAY_MINUTES: u32 = 24 * 60;
const WEEK_MINUTES: u32 = 7 * DAY_MINUTES;

/// A stretch of time that comes back each week.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// Monday first.
    days: [bool; 7],
    /// Minutes after midnight.
    from: u32,
    /// Minutes, 1 to 24 hours.
    lasts: u32,
}

/// Why a text is no window.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no window; write for example `Mon-Fri 01:00-05:00`")]
pub struct WindowError(String);

impl std::str::FromStr for Window {
    type Err = WindowError;

    fn from_str(text: &str) -> Result<Self, WindowError> {
        parse(text.trim()).ok_or_else(|| WindowError(text.to_owned()))
    }
}

impl<'de> Deserialize<'de> for Window {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

fn parse(text: &str) -> Option<Window> {
    let (days, hours) = match text.rsplit_once(char::is_whitespace) {
        Some((days, hours)) => (read_days(days)?, hours),
        None => ([true; 7], text),
    };
    let (from, to) = hours.split_once('-')?;
    let (from, to) = (minutes(from)?, minutes(to)?);
    if from == DAY_MINUTES || from == to {
        return None;
    }
    let lasts = if to > from { to - from } else { to + DAY_MINUTES - from };
    Some(Window { days, from, lasts })
}

fn read_days(text: &str) -> Option<[bool; 7]> {
    let mut days = [false; 7];
    let named = |name: &str| DAYS.iter().position(|day| day.eq_ignore_ascii_case(name.trim()));
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (named(first)?, named(last)?);
        let count = (last + 7 - first) % 7;
        for step in 0..=count {
            days[(first + step) % 7] = true;
        }
    }
    Some(days)
}

fn minutes(text: &str) -> Option<u32> {
    let (hour, minute) = text.split_once(':')?;
    let two = |digits: &str| (digits.len() == 2).then(|| digits.parse::<u32>().ok()).flatten();
    let (hour, minute) = (two(hour)?, two(minute)?);
    let total = hour * 60 + minute;
    (minute < 60 && total <= DAY_MINUTES).then_some(total)
}

/// How long it is until one of `windows` is open; zero when one is. `now` is the time since 1970.
#[must_use]
pub fn until_open(windows: &[Window], now: Duration) -> Duration {
    if windows.is_empty() || now < Duration::from_secs(PLAUSIBLE) {
        return Duration::ZERO;
    }
    // 1970-01-01 was a Thursday.
    let of_week = (now.as_secs() + 3 * 86_400) % (u64::from(WEEK_MINUTES) * 60);
    let wait = windows.iter().filter_map(|window| window.wait(of_week)).min();
    wait.map_or(Duration::ZERO, Duration::from_secs)
}

impl Window {
    /// How long it stays open.
    #[must_use]
    pub fn lasts(&self) -> Duration {
        Duration::from_secs(u64::from(self.lasts) * 60)
    }

    /// Seconds until it is open, `second` seconds after Monday's midnight.
    fn wait(&self, second: u64) -> Option<u64> {
        let week = u64::from(WEEK_MINUTES) * 60;
        let starts = (0..7u32).filter(|day| self.days[*day as usize]).map(|day| day * DAY_MINUTES + self.from);
        starts
            .map(|start| {
                let since = (second + week - u64::from(start) * 60) % week;
                if since < u64::from(self.lasts) * 60 { 0 } else { week - since }
            })
            .min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(days_after_monday: u64, hour: u64, minute: u64) -> Duration {
        // 2026-11-16 is a Monday.
        Duration::from_secs(1_794_787_200 + days_after_monday * 86_400 + hour * 3600 + minute * 60)
    }

    fn wait(windows: &[&str], now: Duration) -> u64 {
        let windows: Vec<Window> = windows.iter().map(|text| text.parse().unwrap()).collect();
        until_open(&windows, now).as_secs() / 60
    }

    #[test]
    fn a_window_is_open_on_its_days_and_hours() {
        assert_eq!(wait(&[], at(0, 3, 0)), 0);
        assert_eq!(wait(&["01:00-05:00"], at(0, 3, 0)), 0);
        assert_eq!(wait(&["01:00-05:00"], at(0, 5, 0)), 20 * 60);
        assert_eq!(wait(&["Mon-Fri 01:00-05:00"], at(4, 5, 0)), 68 * 60);
        assert_eq!(wait(&["Sat,Sun 00:00-24:00"], at(5, 23, 59)), 0);
        assert_eq!(wait(&["Sat,Sun 00:00-24:00", "Wed 12:00-13:00"], at(2, 11, 30)), 30);
    }

    #[test]
    fn a_window_over_midnight_belongs_to_the_day_on_which_it_begins() {
        assert_eq!(wait(&["Fri 22:00-04:00"], at(5, 3, 59)), 0);
        assert_eq!(wait(&["Fri 22:00-04:00"], at(4, 3, 0)), 19 * 60);
        assert_eq!(wait(&["Sun 22:00-04:00"], at(0, 1, 0)), 0);
        assert_eq!(wait(&["Sat-Mon 22:00-23:00"], at(6, 22, 30)), 0);
    }

    #[test]
    fn a_clock_that_was_never_set_knows_no_windows() {
        assert_eq!(wait(&["Fri 22:00-04:00"], Duration::from_secs(60)), 0);
    }

    #[test]
    fn what_is_no_window_says_how_one_looks() {
        for text in
            ["", "1:00-2:00", "01:00", "01:00-01:00", "24:00-02:00", "Moon 01:00-02:00", "01:00-24:01", "01:60-02:00"]
        {
            let error = text.parse::<Window>().unwrap_err().to_string();
            assert!(error.contains("Mon-Fri 01:00-05:00"), "{text}");
        }
    }
}
