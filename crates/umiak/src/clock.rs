//! The time of day as documents have it. The only clock of the program besides those of `umiak-ui`.

use std::time::{SystemTime, UNIX_EPOCH};

use umiak_ui::rfc3339;

/// Now, or the moment of `SOURCE_DATE_EPOCH`, in seconds since 1970.
#[must_use]
pub fn now(fixed: Option<u64>) -> u64 {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    fixed.unwrap_or_else(now)
}

/// The same as RFC 3339 has it, in UTC and whole seconds.
#[must_use]
pub fn rfc3339_now(fixed: Option<u64>) -> String {
    rfc3339(now(fixed))
}
