//! How much memory packages may take that are made at the same time, when nobody says.

use std::fs;

/// What there is taken to be where the system does not say.
const UNKNOWN: u64 = 1 << 30;

/// Half of the memory that is free, in bytes.
#[must_use]
pub fn half() -> u64 {
    fs::read_to_string("/proc/meminfo").ok().and_then(|text| available(&text)).unwrap_or(UNKNOWN) / 2
}

/// What the system's account says is available.
fn available(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_s_account_is_read() {
        assert_eq!(available("MemTotal: 100 kB\nMemAvailable:     64 kB\n"), Some(64 << 10));
        assert_eq!(available("MemTotal: 100 kB\n"), None);
        assert!(half() > 0);
    }
}
