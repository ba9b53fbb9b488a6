//! How long a server asks to wait: the header `Retry-After`, RFC 9110 10.2.3.
//!
//! Guarantee: no clock of ours is asked. A date is measured from the server's own `Date`, so that neither clock has to be
//! right; without one it says nothing.

use std::time::Duration;

use crate::transport::Answer;
use crate::upload::header;

/// What the answer asks for.
pub(crate) fn retry_after(answer: &Answer) -> Option<Duration> {
    wait(header(answer, "Retry-After")?, header(answer, "Date"))
}

fn wait(after: &str, date: Option<&str>) -> Option<Duration> {
    let seconds = match after.trim().parse() {
        Ok(seconds) => seconds,
        Err(_) => moment(after)?.saturating_sub(moment(date?)?),
    };
    Some(Duration::from_secs(seconds))
}

/// Seconds from the first day of the year 0 to a date such as `Sun, 06 Nov 1994 08:49:37 GMT`, the only form that servers may write.
fn moment(text: &str) -> Option<u64> {
    let (_, rest) = text.trim().split_once(", ")?;
    let mut words = rest.strip_suffix(" GMT")?.split(' ');
    let day = number(words.next()?, 31)?;
    let month = words.next()?;
    let month = MONTHS.iter().position(|known| *known == month)?;
    let year = number(words.next()?, 9999)?;
    let mut time = words.next()?.split(':');
    let (hour, minute, second) = (number(time.next()?, 23)?, number(time.next()?, 59)?, number(time.next()?, 60)?);
    if words.next().is_some() || time.next().is_some() {
        return None;
    }
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let leap_days = year / 4 - year / 100 + year / 400 - u64::from(leap(year) && month < 2);
    let days = year * 365 + leap_days + DAYS_BEFORE[month] + day;
    Some(((days * 24 + hour) * 60 + minute) * 60 + second)
}

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const DAYS_BEFORE: [u64; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];

fn number(text: &str, most: u64) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| digits && *number <= most)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(after: &str, date: &str) -> Option<u64> {
        wait(after, Some(date)).map(|time| time.as_secs())
    }

    #[test]
    fn dates_are_measured_from_the_servers_own() {
        assert_eq!(wait(" 7 ", None), Some(Duration::from_secs(7)));
        let now = "Sun, 06 Nov 1994 08:49:37 GMT";
        assert_eq!(seconds("Sun, 06 Nov 1994 08:50:07 GMT", now), Some(30));
        assert_eq!(seconds("Mon, 07 Nov 1994 00:00:00 GMT", now), Some(15 * 3600 + 10 * 60 + 23));
        assert_eq!(seconds("Sun, 06 Nov 1994 08:49:00 GMT", now), Some(0), "past");
        assert_eq!(wait("Sun, 06 Nov 1994 08:50:07 GMT", None), None);
    }

    #[test]
    fn years_and_leap_days_are_counted() {
        let days = |later: &str, earlier: &str| seconds(later, earlier).unwrap() / 86_400;
        let at = |day: &str| format!("Mon, {day} 00:00:00 GMT");
        assert_eq!(days(&at("01 Mar 2024"), &at("28 Feb 2024")), 2);
        assert_eq!(days(&at("01 Mar 2023"), &at("28 Feb 2023")), 1);
        assert_eq!(days(&at("01 Jan 2025"), &at("31 Dec 2024")), 1);
        assert_eq!(days(&at("01 Jan 2001"), &at("01 Jan 2000")), 366);
        assert_eq!(days(&at("01 Jan 2101"), &at("01 Jan 2100")), 365);
    }

    #[test]
    fn what_is_no_date_says_nothing() {
        let now = "Sun, 06 Nov 1994 08:49:37 GMT";
        for wrong in [
            "",
            "soon",
            "-1",
            "Sun, 06 Nov 1994 08:49:37 CET",
            "Sun, 06 Nix 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 8:49 GMT",
            "Sun, 06 Nov 99999999999999999999 08:49:37 GMT",
            "Sun, +6 Nov 1994 08:49:37 GMT",
        ] {
            assert_eq!(seconds(wrong, now), None, "{wrong}");
        }
    }
}
