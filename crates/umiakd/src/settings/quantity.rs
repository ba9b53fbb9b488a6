//! Sizes, rates and times as people write them in the configuration.
//!
//! `500 MiB`, `64KiB`, `1.5 GiB`, `4096`: bytes, in binary units (`kB`, `MB` and `GB` are decimal). `90 s`, `5 min`,
//! `1 h`, `2 d`: times. A number without a unit is bytes, or seconds. Nothing is guessed: what is not understood is an
//! error that shows an example.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

/// A number of bytes, or bytes a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

/// A time that passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub Duration);

/// Why a text is no quantity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// Not a number of bytes.
    #[error("`{0}` is no size; write for example `500 MiB`")]
    Bytes(String),
    /// Not a time.
    #[error("`{0}` is no time; write for example `5 min`")]
    Time(String),
}

/// Units of size in bytes, in the spelling that is compared (lower case).
const SIZES: [(&str, u64); 12] = [
    ("", 1),
    ("b", 1),
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("k", 1 << 10),
    ("m", 1 << 20),
    ("g", 1 << 30),
    ("kb", 1000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("tib", 1 << 40),
];

/// Units of time in milliseconds.
const TIMES: [(&str, u64); 11] = [
    ("", 1000),
    ("ms", 1),
    ("s", 1000),
    ("sec", 1000),
    ("m", 60_000),
    ("min", 60_000),
    ("h", 3_600_000),
    ("hour", 3_600_000),
    ("hours", 3_600_000),
    ("d", 86_400_000),
    ("days", 86_400_000),
];

impl std::str::FromStr for Bytes {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let rate = text.trim().trim_end_matches("/s").trim_end();
        amount(rate, &SIZES).map(Self).ok_or_else(|| QuantityError::Bytes(text.to_owned()))
    }
}

impl std::str::FromStr for Time {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let time = amount(text.trim(), &TIMES).map(|milliseconds| Self(Duration::from_millis(milliseconds)));
        time.ok_or_else(|| QuantityError::Time(text.to_owned()))
    }
}

/// A number with at most three decimals, and a unit.
fn amount(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let split = text.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let unit = unit.trim_start().to_ascii_lowercase();
    let (_, scale) = units.iter().find(|(name, _)| *name == unit)?;
    let (whole, decimals) = number.split_once('.').unwrap_or((number, ""));
    let decimals = if number.contains('.') { decimals } else { "0" };
    if decimals.is_empty() || decimals.len() > 3 {
        return None;
    }
    let whole: u64 = whole.parse().ok()?;
    let thousandths = format!("{decimals:0<3}").parse::<u64>().ok()?;
    whole.checked_mul(*scale)?.checked_add(thousandths.checked_mul(*scale)? / 1000)
}

/// A text or a whole number.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Number(u64),
    Text(String),
}

impl Written {
    fn text(self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text,
        }
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Written::deserialize(deserializer)?.text().parse().map_err(de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Written::deserialize(deserializer)?.text().parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        let cases = [
            ("4096", 4096),
            ("500 MiB", 500 << 20),
            ("64KiB", 64 << 10),
            ("1.5 GiB", 3 << 29),
            ("200 KiB/s", 200 << 10),
            ("10 MB", 10_000_000),
            ("0", 0),
        ];
        for (text, bytes) in cases {
            assert_eq!(text.parse(), Ok(Bytes(bytes)), "{text}");
        }
        for text in ["", "MiB", "-1", "1,5 MiB", "1. MiB", "1.2345 MiB", "12 parsecs", "99999999999999 GiB", "1 2"] {
            assert!(text.parse::<Bytes>().is_err(), "{text}");
        }
    }

    #[test]
    fn times_are_read_as_people_write_them() {
        let cases = [("90", 90_000), ("90 s", 90_000), ("5 min", 300_000), ("1.5h", 5_400_000), ("250 ms", 250)];
        for (text, milliseconds) in cases {
            assert_eq!(text.parse(), Ok(Time(Duration::from_millis(milliseconds))), "{text}");
        }
        assert_eq!("soon".parse::<Time>().unwrap_err().to_string(), "`soon` is no time; write for example `5 min`");
    }
}
