//! JSON numbers as decimal text, never as floating point: 123456789012345678901234567890 stays what it is.

use std::fmt;

/// Decimal digits that the canonical form of one number may have. A double needs 309; an exponent of a billion would
/// be a bomb.
const MAX_DIGITS: usize = 4096;

/// A JSON number: the text it was read from. Equality is that of the values.
#[derive(Clone)]
pub struct Number(Box<str>);

impl Number {
    /// A number from its JSON text; `None` when `text` is not a JSON number, or is one whose canonical form would have
    /// more than 4096 digits.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let scan = Decimal::scan(text)?;
        let length = scan.integral_length().unwrap_or(0).max(scan.digits.len());
        (length <= MAX_DIGITS).then(|| Self(text.into()))
    }

    /// The text it was read from.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The canonical text: integral values as plain digits, others as `d.dddE<exponent>`.
    #[must_use]
    pub fn canonical(&self) -> String {
        match Decimal::scan(&self.0) {
            Some(decimal) => decimal.canonical(),
            None => self.0.to_string(), // not reached: `new` scanned the same text
        }
    }
}

/// `sign` 0.`digits` * 10^`point`, digits without leading and trailing zeros; zero has no digits.
struct Decimal {
    negative: bool,
    digits: String,
    point: i64,
}

impl Decimal {
    fn scan(text: &str) -> Option<Self> {
        let (negative, unsigned) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
            Some(at) => (&unsigned[..at], exponent(&unsigned[at + 1..])?),
            None => (unsigned, 0),
        };
        let (whole, fraction) = match mantissa.split_once('.') {
            Some((whole, fraction)) if all_digits(fraction) => (whole, fraction),
            Some(_) => return None,
            None => (mantissa, ""),
        };
        if !all_digits(whole) || (whole.len() > 1 && whole.starts_with('0')) {
            return None;
        }
        let all = [whole, fraction].concat();
        let digits = all.trim_start_matches('0');
        let point = i64::try_from(whole.len()).ok()? - i64::try_from(all.len() - digits.len()).ok()?;
        let digits = digits.trim_end_matches('0');
        if digits.is_empty() {
            return Some(Self { negative: false, digits: String::new(), point: 0 });
        }
        Some(Self { negative, digits: digits.to_owned(), point: point.checked_add(exponent)? })
    }

    /// How many digits an integral value prints as; `None` when it is not integral.
    fn integral_length(&self) -> Option<usize> {
        let point = usize::try_from(self.point).ok()?;
        (point >= self.digits.len()).then_some(point)
    }

    fn canonical(&self) -> String {
        let sign = if self.negative { "-" } else { "" };
        if self.digits.is_empty() {
            return "0".to_owned();
        }
        if let Some(length) = self.integral_length() {
            return format!("{sign}{:0<length$}", self.digits);
        }
        let (first, rest) = self.digits.split_at(1);
        let rest = if rest.is_empty() { "0" } else { rest };
        format!("{sign}{first}.{rest}E{}", self.point - 1)
    }
}

fn all_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// An exponent's value. One too long for its type is far beyond every limit, unless the digits are zero: refused too.
fn exponent(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if !all_digits(digits) {
        return None;
    }
    let value: i64 = digits.parse::<i32>().ok()?.into();
    Some(if text.starts_with('-') { -value } else { value })
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0 || self.canonical() == other.canonical()
    }
}

impl Eq for Number {}

impl From<i64> for Number {
    fn from(value: i64) -> Self {
        Self(value.to_string().into())
    }
}

impl fmt::Debug for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_text_is_the_reference_s() {
        for (text, canonical) in [
            ("1.0", "1"),
            ("-0.0", "0"),
            ("-0", "0"),
            ("0.0", "0"),
            ("0e5", "0"),
            ("1e3", "1000"),
            ("1e21", "1000000000000000000000"),
            ("1.10", "1.1E0"),
            ("1.5", "1.5E0"),
            ("0.1", "1.0E-1"),
            ("0.00001", "1.0E-5"),
            ("-12.34", "-1.234E1"),
            ("12345.678", "1.2345678E4"),
            ("12.50e1", "125"),
            ("-1500E-2", "-15"),
            ("9007199254740993", "9007199254740993"),
            ("123456789012345678901234567890", "123456789012345678901234567890"),
        ] {
            assert_eq!(Number::new(text).unwrap().canonical(), canonical, "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_number_and_what_would_explode() {
        let bombs = ["1e4097", "1e999999999", "1e99999999999999999999"];
        for text in ["", "-", "01", "1.", ".5", "1e", "1e+", "+1", "0x1", "1 ", "NaN", "--1"].into_iter().chain(bombs) {
            assert!(Number::new(text).is_none(), "{text}");
        }
        assert!(Number::new("1e-999999").is_some(), "a small number prints short");
    }

    #[test]
    fn equal_values_are_equal_whatever_their_text() {
        assert_eq!(Number::new("1.50"), Number::new("15e-1"));
        assert_ne!(Number::new("9007199254740993"), Number::new("9007199254740992"));
    }
}
