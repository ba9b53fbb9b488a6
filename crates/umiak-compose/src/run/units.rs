//! Sizes, times, numbers and truth values as compose files write them.

use std::time::Duration;

/// Bytes: `64m`, `1.5 GiB`, `1024`, `10kb`. Units are powers of 1024 whatever they are called, as Docker has it.
pub(super) fn size(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let digits = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, unit) = (&text[..digits], text[digits..].trim_start());
    let shift = match unit.strip_suffix("ib").or(unit.strip_suffix('b')).unwrap_or(unit) {
        "" if unit == "ib" => return None,
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        "p" => 50,
        _ => return None,
    };
    // Engines and kernels have them as signed numbers.
    scaled(number, 1 << shift).filter(|size| i64::try_from(*size).is_ok())
}

/// A time: `1m30s`, `1.5h`, `500ms`; units ns, us, ms, s, m, h, d, w. `0` needs none.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    let (mut total, mut parts) = (0_u64, 0);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
        let unit = rest[digits..].find(|c: char| c.is_ascii_digit() || c == '.').map_or(rest.len(), |end| digits + end);
        let nanos = match &rest[digits..unit] {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            "d" => 86_400_000_000_000,
            "w" => 604_800_000_000_000,
            _ => return None,
        };
        total = total.checked_add(scaled(&rest[..digits], nanos)?)?;
        rest = &rest[unit..];
        parts += 1;
    }
    (parts > 0).then(|| Duration::from_nanos(total))
}

/// Processors, as billionths of one: `0.5`, `2`.
pub(super) fn cpus(text: &str) -> Option<u64> {
    scaled(text.trim(), 1_000_000_000)
}

/// Truth values of YAML 1.1 and 1.2.
pub(super) fn truth(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "y" | "1" => Some(true),
        "false" | "no" | "off" | "n" | "0" => Some(false),
        _ => None,
    }
}

/// File permissions: octal with a `0` or `0o` in front, or, written without, octal too, as people mean them.
pub(super) fn permissions(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("0o").unwrap_or(text);
    u32::from_str_radix(digits, 8).ok().filter(|mode| *mode <= 0o7777)
}

/// A decimal number times `unit`, cut off to a whole one.
fn scaled(number: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !digits(whole) || !digits(fraction) || fraction.len() > 18 {
        return None;
    }
    let whole = if whole.is_empty() { 0 } else { whole.parse::<u64>().ok()? }.checked_mul(unit)?;
    let part = if fraction.is_empty() {
        0
    } else {
        // At most 18 digits, so that both factors and their product are within 128 bits.
        let scale = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
        u64::try_from(u128::from(fraction.parse::<u64>().ok()?) * u128::from(unit) / scale).ok()?
    };
    whole.checked_add(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        for (text, bytes) in [
            ("1024", 1024),
            ("64m", 64 << 20),
            ("64M", 64 << 20),
            ("10kb", 10 << 10),
            ("1.5 GiB", 3 << 29),
            ("300b", 300),
            ("0", 0),
        ] {
            assert_eq!(size(text), Some(bytes), "{text}");
        }
        for wrong in ["", "m", "-1", "64x", "1.2.3", "64ib", "99999999999999999999", "9999999999g"] {
            assert_eq!(size(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn times_are_read() {
        for (text, millis) in
            [("1m30s", 90_000), ("500ms", 500), ("1.5h", 5_400_000), ("0", 0), ("0s", 0), ("2d", 172_800_000)]
        {
            assert_eq!(duration(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for wrong in ["", "10", "-1s", "1y", "s", "1s2", "99999999999999999999s"] {
            assert_eq!(duration(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn numbers_are_read() {
        assert_eq!(cpus("0.5"), Some(500_000_000));
        assert_eq!(cpus(".25"), Some(250_000_000));
        assert_eq!(cpus("2"), Some(2_000_000_000));
        assert_eq!(cpus("."), None);
        assert_eq!(permissions("0440"), Some(0o440));
        assert_eq!(permissions("1777"), Some(0o1777));
        assert_eq!(permissions("0o755"), Some(0o755));
        assert_eq!(permissions("89"), None);
        assert_eq!(truth("Yes"), Some(true));
        assert_eq!(truth("maybe"), None);
    }
}
