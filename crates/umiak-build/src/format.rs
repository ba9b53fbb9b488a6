//! `format_options` of src.json: the mksquashfs words that pvr passes on, read for our own writer.
//!
//! Guarantees: every word is understood or refused by name; nothing is ignored that would change the image. The
//! default is pvr's, `-comp xz`. Words that only ask for what our writer always does (`-noappend`, `-all-time`,
//! `-no-progress` and the like) are accepted.

use umiak_squashfs::{Compressor, ImageOptions};

/// Why a text is not a list of format options.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// A word that umiak has no equal for.
    #[error("format option `{0}` is not one that umiak's squashfs writer has")]
    Unknown(String),
    /// An option without its value, or with one out of range.
    #[error("format option `{option}` cannot have the value `{value}`: {expected}")]
    Value {
        /// The option.
        option: String,
        /// What stood behind it.
        value: String,
        /// What may stand there.
        expected: &'static str,
    },
}

/// The format that an app asks for when it says nothing.
pub const DEFAULT_FORMAT: &str = "-comp xz";

/// Options that take no value and change nothing about what our writer makes anyway.
const ALREADY_SO: [&str; 8] =
    ["-noappend", "-no-progress", "-quiet", "-info", "-no-recovery", "-exports", "-duplicate-checking", "-xattrs"];

/// Reads mksquashfs words over the defaults of `options`.
///
/// # Errors
/// [`FormatError`] for the first word that is unknown or has a value out of range.
pub fn parse(words: &str, mut options: ImageOptions) -> Result<ImageOptions, FormatError> {
    let mut words = words.split_ascii_whitespace();
    while let Some(word) = words.next() {
        match word {
            "-comp" => options.compressor = compressor(word, words.next())?,
            "-b" => options.block_size = block_size(word, words.next())?,
            "-Xcompression-level" => options.level = Some(number(word, words.next(), 1..=22)?),
            "-processors" => drop(number(word, words.next(), 1..=1024)?),
            "-no-exports" => options.exportable = false,
            word if ALREADY_SO.contains(&word) => {}
            other => return Err(FormatError::Unknown(other.to_owned())),
        }
    }
    Ok(options)
}

fn bad(option: &str, value: Option<&str>, expected: &'static str) -> FormatError {
    FormatError::Value { option: option.to_owned(), value: value.unwrap_or("").to_owned(), expected }
}

fn compressor(option: &str, value: Option<&str>) -> Result<Compressor, FormatError> {
    match value {
        Some("xz") => Ok(Compressor::Xz),
        Some("zstd") => Ok(Compressor::Zstd),
        Some("gzip") => Ok(Compressor::Gzip),
        Some("lz4") => Ok(Compressor::Lz4),
        other => Err(bad(option, other, "one of xz, zstd, gzip, lz4")),
    }
}

fn block_size(option: &str, value: Option<&str>) -> Result<u32, FormatError> {
    let expected = "a power of two from 4K to 1M";
    let text = value.ok_or_else(|| bad(option, value, expected))?;
    let (digits, unit) = match text.strip_suffix(['K', 'k']) {
        Some(digits) => (digits, 1 << 10),
        None => match text.strip_suffix(['M', 'm']) {
            Some(digits) => (digits, 1 << 20),
            None => (text, 1),
        },
    };
    let size = digits.parse::<u32>().ok().and_then(|count| count.checked_mul(unit));
    size.filter(|size| size.is_power_of_two() && (4 << 10..=1 << 20).contains(size))
        .ok_or_else(|| bad(option, value, expected))
}

fn number(option: &str, value: Option<&str>, range: std::ops::RangeInclusive<i32>) -> Result<i32, FormatError> {
    value
        .and_then(|text| text.parse().ok())
        .filter(|number| range.contains(number))
        .ok_or_else(|| bad(option, value, "a whole number in the compressor's range"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_pvr_users_write() {
        let options = parse("-comp zstd  -b 256K -Xcompression-level 19 -noappend", ImageOptions::default()).unwrap();
        assert_eq!((options.compressor, options.block_size, options.level), (Compressor::Zstd, 256 << 10, Some(19)));
        assert_eq!(parse(DEFAULT_FORMAT, ImageOptions::default()).unwrap().compressor, Compressor::Xz);
    }

    #[test]
    fn refuses_by_name() {
        let error = |words| parse(words, ImageOptions::default()).unwrap_err().to_string();
        assert!(error("-comp lzma").contains("lzma"));
        assert!(error("-b 3000").contains("power of two"));
        assert!(error("-comp").contains("-comp"));
        assert!(error("-Xbcj x86").contains("-Xbcj"));
    }
}
