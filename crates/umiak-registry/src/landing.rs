//! Where a blob comes to: what takes its bytes in their order, and may be picked up again.
//!
//! A device keeps blobs in a store of its own, which this crate does not know: it hands over something that takes bytes.
//! Whoever takes them compares the whole with the digest; nothing of that is promised here.

use std::io;

/// Takes the bytes of a blob, from some offset on.
pub trait Landing {
    /// Bytes that are here: the next one is this one.
    fn offset(&self) -> u64;

    /// What the server called the content when the first bytes came: an entity tag.
    fn validator(&self) -> Option<&str> {
        None
    }

    /// Forgets what is here; the next bytes are the blob's first, of content that the server calls `validator`.
    ///
    /// # Errors
    /// What is here cannot be forgotten.
    fn restart(&mut self, validator: Option<&str>) -> io::Result<()>;

    /// Takes the next bytes.
    ///
    /// # Errors
    /// They cannot be kept, or are not wanted any more: the fetch ends with [`crate::Error::Unkept`].
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;
}
