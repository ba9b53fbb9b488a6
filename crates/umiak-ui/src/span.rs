//! Times as people read them: in the two largest units.

use std::time::Duration;

/// A duration as people read it: `0.4 s`, `9.2 s`, `75 s`, `3 min 20 s`, `2 h 5 min`.
#[must_use]
pub fn span(duration: Duration) -> String {
    let tenths = (duration.as_millis() + 50) / 100;
    let seconds = (tenths + 5) / 10;
    match seconds {
        _ if tenths < 100 => format!("{}.{} s", tenths / 10, tenths % 10),
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_times_print_as_people_expect() {
        let cases =
            [(40, "0.0 s"), (9_240, "9.2 s"), (75_000, "75 s"), (200_000, "3 min 20 s"), (7_500_000, "2 h 5 min")];
        for (milliseconds, text) in cases {
            assert_eq!(span(Duration::from_millis(milliseconds)), text);
        }
    }
}
