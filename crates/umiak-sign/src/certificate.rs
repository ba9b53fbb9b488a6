//! What is read of a certificate to speak of it: whose it is, and from when to when it is valid.
//!
//! Follows RFC 5280 4.1. Guarantee: nothing here decides whether it is believed; that is `chain`'s.

use crate::der::{CONTEXT_0, Der, GENERALIZED_TIME, INTEGER, OID, SEQUENCE, SET, UTC_TIME};

/// Attribute types of names: 2.5.4.3, the common name; 2.5.4.10, the organization.
const NAMES: [&[u8]; 2] = [&[0x55, 4, 3], &[0x55, 4, 10]];

/// Letters of a name that a message shows.
const SHOWN: usize = 64;

/// A certificate, as far as messages and dates go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Certificate {
    /// Its subject's common name, else its organization, for people; control characters are left out.
    pub subject: String,
    /// Its first moment, in seconds since 1970.
    pub from: u64,
    /// Its last moment.
    pub until: u64,
}

impl Certificate {
    /// Reads one; `None` when it cannot be read.
    pub(crate) fn read(der: &[u8]) -> Option<Self> {
        let mut content = Der::new(der).sequence()?.sequence()?;
        content.value(CONTEXT_0);
        content.value(INTEGER)?;
        content.value(SEQUENCE)?;
        content.value(SEQUENCE)?;
        let mut validity = content.sequence()?;
        let (from, until) = (moment(&mut validity)?, moment(&mut validity)?);
        let subject = name(content.sequence()?).unwrap_or_else(|| "somebody without a name".to_owned());
        Some(Self { subject, from, until })
    }
}

/// The part of a name that people know somebody by.
fn name(name: Der<'_>) -> Option<String> {
    let find = |kind: &[u8]| {
        let mut rest = name;
        while let Some(set) = rest.value(SET) {
            let mut attribute = Der::new(set).sequence()?;
            if attribute.value(OID)? == kind {
                let (_, text) = attribute.any()?;
                let text = String::from_utf8_lossy(text);
                let text: String = text.chars().filter(|letter| !letter.is_control()).take(SHOWN).collect();
                return Some(text).filter(|text| !text.is_empty());
            }
        }
        None
    };
    NAMES.iter().find_map(|kind| find(kind))
}

/// The next moment, in seconds since 1970.
fn moment(validity: &mut Der<'_>) -> Option<u64> {
    let (tag, text) = validity.any()?;
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let (year, rest) = match tag {
        // RFC 5280 4.1.2.5.1: two digits are 1950 to 2049.
        UTC_TIME => {
            let (year, rest) = text.split_at_checked(2)?;
            let year = number(year)?;
            (if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        GENERALIZED_TIME => {
            let (year, rest) = text.split_at_checked(4)?;
            (number(year)?, rest)
        }
        _ => return None,
    };
    let mut fields = [0; 5];
    let mut rest = rest;
    for field in &mut fields {
        let (two, behind) = rest.split_at_checked(2)?;
        (*field, rest) = (number(two)?, behind);
    }
    rest.is_empty().then_some(())?;
    seconds(year, fields)
}

fn number(digits: &str) -> Option<u64> {
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

/// Seconds from 1970 to this moment; `None` before it, or when there is no such moment.
fn seconds(year: u64, [month, day, hour, minute, second]: [u64; 5]) -> Option<u64> {
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let february = if leap(year) { 29 } else { 28 };
    let months = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let at = usize::try_from(month.checked_sub(1)?).ok()?;
    if day == 0 || day > *months.get(at)? || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let leaps = |year: u64| year / 4 - year / 100 + year / 400;
    let years = year.checked_sub(1970)? * 365 + leaps(year - 1) - leaps(1969);
    let days = years + months[..at].iter().sum::<u64>() + day - 1;
    Some(((days * 24 + hour) * 60 + minute) * 60 + second)
}

/// The day of a moment, as `2024-09-14`.
pub(crate) fn day(seconds: u64) -> String {
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let (mut year, mut days) = (1970, seconds / 86_400);
    // Certificates end in the year 9999 at the latest (RFC 5280 4.1.2.5).
    while year < 9999 && days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let mut month = 1;
    for length in [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    format!("{year:04}-{month:02}-{:02}", days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_counted_from_1970() {
        assert_eq!(seconds(1970, [1, 1, 0, 0, 0]), Some(0));
        assert_eq!(seconds(2000, [3, 1, 0, 0, 0]), Some(951_868_800));
        assert_eq!(seconds(2024, [9, 14, 12, 30, 59]), Some(1_726_317_059));
        assert_eq!(seconds(2100, [3, 1, 0, 0, 0]), Some(4_107_542_400));
        for wrong in [[0, 1, 0, 0, 0], [13, 1, 0, 0, 0], [2, 30, 0, 0, 0], [1, 1, 24, 0, 0], [1, 0, 0, 0, 0]] {
            assert_eq!(seconds(2023, wrong), None, "{wrong:?}");
        }
        assert_eq!(seconds(1969, [1, 1, 0, 0, 0]), None);
    }

    #[test]
    fn days_are_said_as_people_write_them() {
        for (at, said) in [
            (0, "1970-01-01"),
            (951_868_799, "2000-02-29"),
            (1_726_317_059, "2024-09-14"),
            (1_735_689_599, "2024-12-31"),
            (4_107_542_400, "2100-03-01"),
        ] {
            assert_eq!(day(at), said);
        }
    }
}
