//! Bytes as people read them: binary units with at most one decimal.

use std::fmt;

const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/// A number of bytes that prints in binary units: `0 B`, `1023 B`, `1.0 KiB`, `12.3 MiB`, `978 MiB`.
///
/// Three digits at most are shown: one decimal below 100, none from there on. Rounded to the nearest, so the shown
/// number may be up to 5 % off below 2 units and 0.5 % off from 10 on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

impl Size {
    /// Tenths of the unit, rounded, and which unit; `None` below 1 KiB.
    fn scaled(self) -> Option<(u64, usize)> {
        if self.0 < 1024 {
            return None;
        }
        let mut unit = 0;
        while unit + 1 < UNITS.len() && self.tenths(unit) >= 10_240 {
            unit += 1;
        }
        Some((self.tenths(unit), unit))
    }

    fn tenths(self, unit: usize) -> u64 {
        let one = 1u128 << (10 * (unit + 1));
        let tenths = (u128::from(self.0) * 10 + one / 2) / one;
        u64::try_from(tenths).unwrap_or(u64::MAX)
    }

    /// `part` of `whole` in the unit of the whole: `1.9 / 3.1 MiB`.
    #[must_use]
    pub fn of(part: u64, whole: u64) -> String {
        match Self(whole).scaled() {
            None => format!("{part} / {whole} B"),
            Some((tenths, unit)) => format!("{} / {} {}", digits(Self(part).tenths(unit)), digits(tenths), UNITS[unit]),
        }
    }
}

fn digits(tenths: u64) -> String {
    if tenths < 1000 { format!("{}.{}", tenths / 10, tenths % 10) } else { format!("{}", (tenths + 5) / 10) }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.scaled() {
            None => f.pad(&format!("{} B", self.0)),
            Some((tenths, unit)) => f.pad(&format!("{} {}", digits(tenths), UNITS[unit])),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_sizes_print_as_people_expect() {
        let cases: [(u64, &str); 10] = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (1024 * 1024 - 1, "1.0 MiB"),
            (978 << 20, "978 MiB"),
            (99 * 1024, "99.0 KiB"),
            (100 * 1024, "100 KiB"),
            (3 << 30, "3.0 GiB"),
            (u64::MAX, "16.0 EiB"),
        ];
        for (bytes, text) in cases {
            assert_eq!(Size(bytes).to_string(), text);
        }
        assert_eq!(format!("{:>9}|", Size(1024)), "  1.0 KiB|");
        assert_eq!(Size::of(2_000_000, 3_250_586), "1.9 / 3.1 MiB");
        assert_eq!(Size::of(5, 10), "5 / 10 B");
    }

    proptest! {
        #[test]
        fn what_is_shown_is_near_the_bytes(bytes in any::<u64>()) {
            let text = Size(bytes).to_string();
            let (number, unit) = text.split_once(' ').unwrap();
            let scale = UNITS.iter().position(|name| *name == unit).map_or(1.0, |at| (0..=at).map(|_| 1024f64).product());
            let shown = number.parse::<f64>().unwrap() * scale;
            prop_assert!((shown - bytes as f64).abs() <= 0.05 * bytes as f64, "{text} for {bytes}");
            prop_assert!(number.len() <= 4);
        }
    }
}
