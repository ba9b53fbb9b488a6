//! The content list: the SHA-256 of every file in one squashfs image, kept beside the caches.
//!
//! ```text
//! "umiakcl1"                       8 bytes, magic and version
//! image                           32 bytes, SHA-256 of the squashfs file
//! count                            8 bytes, little endian
//! count x { size 8 LE, digest 32 } one per regular file inode, in the tree's inode order
//! checksum                        32 bytes, SHA-256 of everything before it
//! ```
//!
//! Knowing the digests spares decompressing the base when a patch or a new base is made. A list is only used for an
//! image with the same SHA-256 and the same file sizes; a damaged one counts as absent. It can be deleted at any
//! time.

use umiak_spec::Digest;

const MAGIC: &[u8; 8] = b"umiakcl1";
const RECORD: usize = 8 + 32;
const HEADER: usize = 8 + 32 + 8;

/// Size and digest of one file's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record {
    /// Bytes.
    pub size: u64,
    /// SHA-256 of them.
    pub digest: Digest,
}

/// The bytes of the list of `image`.
pub(crate) fn encode(image: Digest, records: &[Record]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER + records.len() * RECORD + 32);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(image.as_bytes());
    bytes.extend_from_slice(&(records.len() as u64).to_le_bytes());
    for record in records {
        bytes.extend_from_slice(&record.size.to_le_bytes());
        bytes.extend_from_slice(record.digest.as_bytes());
    }
    bytes.extend_from_slice(Digest::of(&bytes).as_bytes());
    bytes
}

/// The records of a list for `image`, or `None` when the bytes are not a whole, undamaged list for it.
pub(crate) fn decode(bytes: &[u8], image: Digest) -> Option<Vec<Record>> {
    let (body, checksum) = bytes.split_at_checked(bytes.len().checked_sub(32)?)?;
    if Digest::of(body).as_bytes() != checksum {
        return None;
    }
    let (header, records) = body.split_at_checked(HEADER)?;
    let count = u64::from_le_bytes(header[40..].try_into().ok()?);
    let fits = header.starts_with(MAGIC)
        && header[8..40] == *image.as_bytes()
        && records.len() % RECORD == 0
        && (records.len() / RECORD) as u64 == count;
    fits.then(|| records.chunks_exact(RECORD).filter_map(record).collect())
}

fn record(bytes: &[u8]) -> Option<Record> {
    let (size, digest) = bytes.split_at(8);
    Some(Record {
        size: u64::from_le_bytes(size.try_into().ok()?),
        digest: Digest::from_bytes(digest.try_into().ok()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_back_whole_or_not_at_all() {
        let image = Digest::of(b"image");
        let records = [Record { size: 0, digest: Digest::of(b"") }, Record { size: 7, digest: Digest::of(b"content") }];
        let bytes = encode(image, &records);
        assert_eq!(decode(&bytes, image).unwrap(), records);
        assert_eq!(decode(&bytes, Digest::of(b"other")), None);
        for cut in 0..bytes.len() {
            assert_eq!(decode(&bytes[..cut], image), None, "cut at {cut}");
            let mut flipped = bytes.clone();
            flipped[cut] ^= 0x40;
            assert_eq!(decode(&flipped, image), None, "flipped at {cut}");
        }
    }
}
