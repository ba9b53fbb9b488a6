//! What an update said, compared with what it took.

use super::super::table::Row;
use super::device::Update;

/// Bytes that a figure may be over, where one percent is less.
const ALLOWED: u64 = 64 << 10;

/// Peak and end, said and taken.
pub fn said(what: &str, update: &Update) -> Vec<Row> {
    let found = &update.said["plan"]["fileSystems"][0];
    let before = i128::from(update.before.bytes);
    let number = |key: &str| found[key].as_i64().map(i128::from);
    let figures = [
        ("peak", number("peak"), i128::from(update.most) - before),
        ("end", number("after"), i128::from(update.last.bytes) - before),
    ];
    let row = |(name, said, took): (&str, Option<i128>, i128)| {
        Some(Row::foretold(format!("{what}: {name}, said and taken"), said?, took, ALLOWED))
    };
    figures.into_iter().filter_map(row).collect()
}

/// The one in the middle; 0 of none.
pub fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::super::super::fit::watch::InUse;
    use super::*;
    use serde_json::Value;

    fn document(peak: i64, after: i64) -> Value {
        serde_json::json!({"plan": {"fileSystems": [{"peak": peak, "after": after}]}})
    }

    fn update(said: Value) -> Update {
        let used = |bytes| InUse { bytes, inodes: 0 };
        let run = super::super::super::measure::Run { wall: 1.0, cpu: 1.0, memory: 1.0 };
        Update {
            said,
            before: used(100),
            most: 1100,
            last: used(600),
            kept: 500,
            setting: run,
            staging: run,
            switching: run,
            stopped: 0.0,
        }
    }

    #[test]
    fn what_was_said_stands_beside_what_was_taken() {
        assert_eq!(said("x", &update(document(1000, 500))).len(), 2);
        assert_eq!(said("x", &update(Value::Null)).len(), 0, "nothing was said");
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
    }
}
