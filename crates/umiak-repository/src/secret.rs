//! Private keys among the files of a device directory, told by what they say of themselves.
//!
//! Guarantee: every form of PEM that calls itself a private key is found, wherever in the file it begins. What this does not do:
//! look into large files, or know keys that are written otherwise.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::Path;

use crate::error::{Error, IoContext};

/// Bytes of a file that may be a key.
const MAX_KEY: u64 = 256 << 10;

const BEGIN: &[u8] = b"-----BEGIN ";
const DASHES: &[u8] = b"-----";
/// What a label calls it; `PGP PRIVATE KEY BLOCK` goes on behind it.
const NAMED: &[u8] = b"PRIVATE KEY";
/// Bytes of a label, such as `ENCRYPTED PRIVATE KEY`.
const MAX_LABEL: usize = 64;

/// Whether a file has a private key in it. One that is gone has none, nor has one of more than 256 KiB.
///
/// # Errors
/// [`Error::Io`].
pub fn has_key(path: &Path) -> Result<bool, Error> {
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        other => other.at("open", path)?,
    };
    if file.metadata().at("read", path)?.len() > MAX_KEY {
        return Ok(false);
    }
    let mut bytes = Vec::new();
    file.take(MAX_KEY).read_to_end(&mut bytes).at("read", path)?;
    Ok(says_so(&bytes))
}

fn says_so(bytes: &[u8]) -> bool {
    let begins = bytes.windows(BEGIN.len()).enumerate().filter(|(_, found)| *found == BEGIN);
    begins.map(|(at, _)| &bytes[at + BEGIN.len()..]).any(|rest| {
        let rest = &rest[..rest.len().min(MAX_LABEL)];
        let end = rest.windows(DASHES.len()).position(|found| found == DASHES);
        end.is_some_and(|end| rest[..end].windows(NAMED.len()).any(|named| named == NAMED))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_keys_say_that_they_are() {
        for kind in ["", "RSA ", "EC ", "ENCRYPTED ", "OPENSSH "] {
            let text = format!("of the release\n-----BEGIN {kind}PRIVATE KEY-----\nAAAA\n");
            assert!(says_so(text.as_bytes()), "{kind}");
        }
        assert!(says_so(b"-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nAAAA\n"));
        let behind = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----";
        assert!(says_so(behind.as_bytes()));
        for text in [
            "",
            "-----BEGIN PUBLIC KEY-----",
            "-----BEGIN PGP PUBLIC KEY BLOCK-----",
            "-----BEGIN PRIVATE KEY",
            "BEGIN PRIVATE KEY-----",
            "-----BEGIN ",
        ] {
            assert!(!says_so(text.as_bytes()), "{text}");
        }
    }
}
