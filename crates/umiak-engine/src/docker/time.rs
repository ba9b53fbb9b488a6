//! Points in time as Docker writes them (RFC 3339 in UTC, with any number of digits behind the second), and the age of a
//! process by the kernel's clock, which does not jump.

use std::time::{Duration, SystemTime};

/// None for what is before 1970, as the year 1 that stands for never, or no time at all.
pub(super) fn parse(text: &str) -> Option<SystemTime> {
    let (date, rest) = text.split_once('T')?;
    let rest = rest.strip_suffix('Z').or_else(|| rest.strip_suffix("+00:00"))?;
    let (clock, fraction) = rest.split_once('.').unwrap_or((rest, "0"));
    let number =
        |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u64>().ok()).flatten();
    let three = |text: &str, by: char| {
        let mut parts = text.split(by).map(number);
        Some([parts.next()??, parts.next()??, parts.next()??]).filter(|_| parts.next().is_none())
    };
    let ([year, month, day], [hour, minute, second]) = (three(date, '-')?, three(clock, ':')?);
    let good = (1970..=9999).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    if !good || hour > 23 || minute > 59 || second > 60 || fraction.len() > 9 {
        return None;
    }
    let nanos = u32::try_from(number(&format!("{fraction:0<9}"))?).ok()?;
    let seconds = days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    SystemTime::UNIX_EPOCH.checked_add(Duration::new(seconds, nanos))
}

/// Days since 1970-01-01. Years are taken to begin in March, so that the odd day is their last.
fn days(year: u64, month: u64, day: u64) -> u64 {
    let year = year - u64::from(month <= 2);
    let (era, of_era) = (year / 400, year % 400);
    let of_year = (153 * if month > 2 { month - 3 } else { month + 9 } + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Seconds and nanoseconds since 1970, as the daemon takes them in queries.
pub(super) fn seconds(time: SystemTime) -> String {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    format!("{}.{:09}", since.as_secs(), since.subsec_nanos())
}

/// How long a process runs; none if there is no such process here, or it is not that container's.
pub(super) fn age_of_process(pid: i32, container: &str) -> Option<Duration> {
    if pid <= 0 || container.is_empty() {
        return None;
    }
    let read = |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}")).ok();
    if !read("cgroup")?.contains(container) {
        return None;
    }
    let stat = read("stat")?;
    // Behind the name, which may have anything in it, follow the fields from the third on; the 22nd is the start.
    let start: u64 = stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(19)?.parse().ok()?;
    let ticks = rustix::param::clock_ticks_per_second();
    let up = std::fs::read_to_string("/proc/uptime").ok()?;
    let up: f64 = up.split_ascii_whitespace().next()?.parse().ok()?;
    let up = Duration::try_from_secs_f64(up).ok()?;
    Some(up.saturating_sub(Duration::from_millis(start.checked_mul(1000)? / ticks.max(1))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_docker_are_read() {
        let at = |text: &str| parse(text).map(seconds);
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", Some("0.000000000")),
            ("2023-11-14T22:13:20.5Z", Some("1700000000.500000000")),
            ("2000-02-29T00:00:00.000000007Z", Some("951782400.000000007")),
            ("0001-01-01T00:00:00Z", None),
            ("2023-11-14T22:13:20+02:00", None),
            ("2023-11-14", None),
            ("2023-11-14T22:13:20.-1Z", None),
        ] {
            assert_eq!(at(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn a_process_of_another_has_no_age_here() {
        let own = i32::try_from(std::process::id()).unwrap();
        assert_eq!(age_of_process(own, "0123456789abcdef"), None);
        assert_eq!(age_of_process(0, "x"), None);
    }
}
