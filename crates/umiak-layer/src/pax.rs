//! PAX extended headers (POSIX.1-2001): records of `LENGTH KEY=VALUE\n` that replace what the ustar header has no room
//! for, among them the `SCHILY.xattr.` and `LIBARCHIVE.xattr.` extended attributes and the sparse maps of GNU tar.
//!
//! Values may hold any bytes. Records that nobody here needs (times other than mtime, names of users, comments) are
//! skipped. An empty value takes back what a global header said.

use umiak_tree::{Timestamp, Xattrs};

use crate::base64;

/// What extended headers say about the next member; `None` where they say nothing.
#[derive(Debug, Clone, Default)]
pub struct Extended {
    /// `path`.
    pub path: Option<Vec<u8>>,
    /// `linkpath`.
    pub link: Option<Vec<u8>>,
    /// `size`: stored bytes.
    pub size: Option<u64>,
    /// `uid`.
    pub uid: Option<u64>,
    /// `gid`.
    pub gid: Option<u64>,
    /// `mtime`.
    pub mtime: Option<Timestamp>,
    /// `SCHILY.devmajor`.
    pub major: Option<u64>,
    /// `SCHILY.devminor`.
    pub minor: Option<u64>,
    /// Extended attributes; `SCHILY.xattr.` goes before `LIBARCHIVE.xattr.`.
    pub xattrs: Xattrs,
    libarchive: Xattrs,
    /// GNU sparse files.
    pub sparse: Sparse,
}

/// The `GNU.sparse.*` records.
#[derive(Debug, Clone, Default)]
pub struct Sparse {
    /// `major` and `minor` are 1 and 0: the map stands before the stored bytes.
    pub major: Option<u64>,
    /// The name of the file; `path` then is one that other programs may use.
    pub name: Option<Vec<u8>>,
    /// Length with holes (`size` or `realsize`).
    pub size: Option<u64>,
    /// Offsets and lengths of formats 0.0 and 0.1, alternating.
    pub map: Vec<u64>,
    /// Whether there is a map of format 0.0 or 0.1, possibly empty.
    pub has_map: bool,
}

/// The records of `bytes` on top of what `self` says already.
///
/// # Errors
/// What is wrong with them, for a message.
pub fn read(extended: &mut Extended, mut bytes: &[u8]) -> Result<(), &'static str> {
    while !bytes.is_empty() {
        let record = record(bytes)?;
        set(extended, record.key, record.value)?;
        bytes = record.rest;
    }
    Ok(())
}

/// One record, and what follows it.
pub struct Record<'a> {
    pub key: &'a [u8],
    pub value: &'a [u8],
    pub rest: &'a [u8],
}

/// The first record of `bytes`.
///
/// # Errors
/// What is wrong with it, for a message.
pub fn record(bytes: &[u8]) -> Result<Record<'_>, &'static str> {
    let space = bytes.iter().take(20).position(|byte| *byte == b' ').ok_or("a record without length")?;
    let length = decimal(&bytes[..space]).ok_or("a length that is no number")?;
    let length = usize::try_from(length).map_err(|_| "a record longer than its header")?;
    if length <= space + 1 || length > bytes.len() {
        return Err("a record longer than its header");
    }
    let (record, rest) = bytes.split_at(length);
    let record = record[space + 1..].strip_suffix(b"\n").ok_or("a record without its newline")?;
    let equals = record.iter().position(|byte| *byte == b'=').ok_or("a record without `=`")?;
    Ok(Record { key: &record[..equals], value: &record[equals + 1..], rest })
}

fn set(extended: &mut Extended, key: &[u8], value: &[u8]) -> Result<(), &'static str> {
    if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
        return set_xattr(&mut extended.xattrs, name, value.to_vec());
    }
    if let Some(name) = key.strip_prefix(b"LIBARCHIVE.xattr.") {
        let value = base64::decode(value).ok_or("an attribute that is no base64")?;
        return set_xattr(&mut extended.libarchive, &percent_decoded(name), value);
    }
    let bytes = || (!value.is_empty()).then(|| value.to_vec());
    let number = |reason| if value.is_empty() { Ok(None) } else { decimal(value).map(Some).ok_or(reason) };
    match key {
        b"path" => extended.path = bytes(),
        b"linkpath" => extended.link = bytes(),
        b"size" => extended.size = number("a size that is no number")?,
        b"uid" => extended.uid = number("a uid that is no number")?,
        b"gid" => extended.gid = number("a gid that is no number")?,
        b"SCHILY.devmajor" => extended.major = number("a device that is no number")?,
        b"SCHILY.devminor" => extended.minor = number("a device that is no number")?,
        b"mtime" if value.is_empty() => extended.mtime = None,
        b"mtime" => extended.mtime = Some(timestamp(value).ok_or("an mtime that is no number")?),
        _ => {
            if let Some(key) = key.strip_prefix(b"GNU.sparse.") {
                set_sparse(&mut extended.sparse, key, value)?;
            }
        }
    }
    Ok(())
}

fn set_xattr(xattrs: &mut Xattrs, name: &[u8], value: Vec<u8>) -> Result<(), &'static str> {
    if name.is_empty() || name.contains(&0) || name.len() > 255 {
        return Err("an extended attribute without a valid name");
    }
    xattrs.insert(name.into(), value.into());
    Ok(())
}

fn set_sparse(sparse: &mut Sparse, key: &[u8], value: &[u8]) -> Result<(), &'static str> {
    let number = || decimal(value).ok_or("a sparse map that is no list of numbers");
    match key {
        b"major" => sparse.major = Some(number()?),
        b"name" => sparse.name = Some(value.to_vec()),
        b"size" | b"realsize" => sparse.size = Some(number()?),
        b"numblocks" => sparse.has_map = true,
        b"offset" | b"numbytes" => {
            // Format 0.0 repeats the pair for every extent.
            if (key == b"offset") != sparse.map.len().is_multiple_of(2) {
                return Err("a sparse map with an offset or a length alone");
            }
            sparse.map.push(number()?);
            sparse.has_map = true;
        }
        b"map" => {
            sparse.has_map = true;
            let list = value.split(|byte| *byte == b',').filter(|text| !text.is_empty());
            sparse.map = list.map(decimal).collect::<Option<_>>().ok_or("a sparse map that is no list of numbers")?;
        }
        _ => {}
    }
    Ok(())
}

impl Extended {
    /// All extended attributes.
    pub fn into_xattrs(self) -> Xattrs {
        let mut xattrs = self.libarchive;
        xattrs.extend(self.xattrs);
        xattrs
    }
}

/// Digits only; `None` for anything else and what 64 bits do not hold.
pub fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |value, digit| match digit {
        b'0'..=b'9' => value.checked_mul(10)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    })
}

/// `[-]SECONDS[.FRACTION]`; digits beyond nanoseconds are cut towards the past.
fn timestamp(text: &[u8]) -> Option<Timestamp> {
    let (negative, text) = text.strip_prefix(b"-").map_or((false, text), |rest| (true, rest));
    let mut parts = text.splitn(2, |byte| *byte == b'.');
    let seconds = i64::try_from(decimal(parts.next()?)?).ok()?;
    let fraction = parts.next().unwrap_or_default();
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let mut nanoseconds =
        (0..9).fold(0_u32, |value, place| value * 10 + fraction.get(place).map_or(0, |digit| u32::from(digit - b'0')));
    if !negative {
        return Some(Timestamp { seconds, nanoseconds });
    }
    // Round towards the past: any digit cut off counts as one nanosecond more before the second.
    nanoseconds += u32::from(fraction.iter().skip(9).any(|digit| *digit != b'0'));
    Some(match nanoseconds {
        0 => Timestamp { seconds: -seconds, nanoseconds: 0 },
        nanoseconds => Timestamp { seconds: -seconds - 1, nanoseconds: 1_000_000_000 - nanoseconds },
    })
}

fn percent_decoded(text: &[u8]) -> Vec<u8> {
    let hex = |byte: u8| char::from(byte).to_digit(16);
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first == b'%'
            && let [high, low, after @ ..] = after
            && let (Some(high), Some(low)) = (hex(*high), hex(*low))
            && let Ok(byte) = u8::try_from(high * 16 + low)
        {
            bytes.push(byte);
            rest = after;
        } else {
            bytes.push(*first);
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(key: &str, value: &[u8]) -> Vec<u8> {
        let content = key.len() + value.len() + 3;
        let length = (1..).map(|digits| content + digits).find(|all| all.to_string().len() == all - content);
        [format!("{} {key}=", length.unwrap()).as_bytes(), value, b"\n"].concat()
    }

    fn parsed(records: &[(&str, &[u8])]) -> Result<Extended, &'static str> {
        let bytes: Vec<u8> = records.iter().flat_map(|(key, value)| record(key, value)).collect();
        let mut extended = Extended::default();
        read(&mut extended, &bytes).map(|()| extended)
    }

    #[test]
    fn values_may_hold_newlines_and_nul() {
        let extended = parsed(&[("path", b"a\nb"), ("SCHILY.xattr.user.x", b"1\0=\n2"), ("comment", b"x")]).unwrap();
        assert_eq!(extended.path.as_deref(), Some(&b"a\nb"[..]));
        assert_eq!(extended.into_xattrs()[&b"user.x"[..]].as_ref(), b"1\0=\n2");
    }

    #[test]
    fn times_before_1970_round_to_the_past() {
        for (text, seconds, nanoseconds) in [
            ("1.5", 1, 500_000_000),
            ("1", 1, 0),
            ("0.123456789999", 0, 123_456_789),
            ("-1", -1, 0),
            ("-1.25", -2, 750_000_000),
            ("-0.0000000001", -1, 999_999_999),
        ] {
            assert_eq!(timestamp(text.as_bytes()), Some(Timestamp { seconds, nanoseconds }), "{text}");
        }
        for text in ["", "-", "1.x", "x", "--1", "99999999999999999999"] {
            assert_eq!(timestamp(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn libarchive_attributes_are_decoded_and_give_way() {
        let extended =
            parsed(&[("LIBARCHIVE.xattr.user.a%20b", b"AAEC/w"), ("LIBARCHIVE.xattr.user.x", b"AA==")]).unwrap();
        let xattrs = extended.into_xattrs();
        assert_eq!(xattrs[&b"user.a b"[..]].as_ref(), [0, 1, 2, 255]);
        let both = parsed(&[("SCHILY.xattr.user.x", b"s"), ("LIBARCHIVE.xattr.user.x", b"AA==")]).unwrap();
        assert_eq!(both.into_xattrs()[&b"user.x"[..]].as_ref(), b"s");
    }

    #[test]
    fn broken_records_are_errors() {
        for bytes in [&b"5"[..], b"99 path=x\n", b"3 \n", b"9 path=xx", b"x path=x\n", b"8 pathx\n", b"12 size=+123\n"]
        {
            assert!(read(&mut Extended::default(), bytes).is_err(), "{bytes:?}");
        }
        assert!(parsed(&[("GNU.sparse.numbytes", b"1")]).is_err());
    }
}
