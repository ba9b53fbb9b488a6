//! Points in time as logs have them: `2026-01-31T12:00:00.123456789Z` (RFC 3339, in UTC).

use std::time::{Duration, SystemTime};

const DAY: u64 = 86_400;

/// Writes; what is before 1970 is written as 1970.
pub(crate) fn write(time: SystemTime) -> String {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let (days, second) = (since.as_secs() / DAY, since.as_secs() % DAY);
    let (year, month, day) = date(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:09}Z", since.subsec_nanos())
}

/// Reads what [`write()`] writes.
pub(crate) fn parse(text: &str) -> Option<SystemTime> {
    let text = text.strip_suffix('Z')?;
    let (date, time) = text.split_once('T')?;
    let mut date = date.split('-').map(|part| part.parse::<u64>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let (clock, nanos) = time.split_once('.')?;
    let mut clock = clock.split(':').map(|part| part.parse::<u64>().ok());
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    let good = (1970..=9999).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    if !good || hour > 23 || minute > 59 || second > 60 || nanos.len() != 9 {
        return None;
    }
    let seconds = days(year, month, day) * DAY + hour * 3600 + minute * 60 + second;
    Some(SystemTime::UNIX_EPOCH + Duration::new(seconds, nanos.parse().ok()?))
}

/// The date of a day since 1970-01-01. Years are taken to begin in March, so that the odd day is their last.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day_of_year - (153 * shifted + 2) / 5 + 1)
}

fn days(year: u64, month: u64, day: u64) -> u64 {
    let year = year - u64::from(month <= 2);
    let (era, year_of_era) = (year / 400, year % 400);
    let shifted = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * shifted + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_survive() {
        let at = |seconds, nanos| SystemTime::UNIX_EPOCH + Duration::new(seconds, nanos);
        for (time, text) in [
            (at(0, 0), "1970-01-01T00:00:00.000000000Z"),
            (at(951_782_400, 7), "2000-02-29T00:00:00.000000007Z"),
            (at(1_700_000_000, 123_456_789), "2023-11-14T22:13:20.123456789Z"),
            (at(4_107_542_399, 0), "2100-02-28T23:59:59.000000000Z"),
        ] {
            assert_eq!(write(time), text);
            assert_eq!(parse(text), Some(time));
        }
        for wrong in
            ["", "Z", "1969-01-01T00:00:00.000000000Z", "2023-13-01T00:00:00.000000000Z", "2023-01-01T00:00:00Z"]
        {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
        for day in (0..60_000).step_by(7) {
            let (year, month, day_of_month) = date(day);
            assert_eq!(days(year, month, day_of_month), day);
        }
    }
}
