//! The named limits on input that umiak has not made itself.
//!
//! Every decoder takes a [`Limits`] and returns an error that names the limit it met. The defaults are far above
//! what real images use and far below what would hurt a build machine; a device passes smaller ones.

/// Upper bounds on what an input may claim or contain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one manifest, index, config or state document (default 4 MiB, as registries have it).
    pub document: u64,
    /// Bytes of one file's content in a tree (default 64 GiB).
    pub file: u64,
    /// Bytes of all content and headers of one uncompressed layer or image (default 256 GiB).
    pub expanded: u64,
    /// Uncompressed bytes that one compressed byte may become, counted over a whole layer once it is past
    /// 64 MiB (default 1200: gzip cannot do more than 1032, and zstd's and xz's thousands mean a bomb).
    pub expansion_ratio: u64,
    /// Entries (names) in one layer or tree (default 8 million).
    pub entries: usize,
    /// Bytes of all names, link targets and extended attributes of one layer or tree: what is held in memory (default
    /// 512 MiB).
    pub metadata: u64,
    /// Bytes of one path (default 4096, Linux `PATH_MAX`).
    pub path: usize,
    /// Bytes of one path component (default 255, Linux `NAME_MAX`).
    pub name: usize,
    /// Nested directories (default 1024).
    pub depth: usize,
    /// Bytes of one extended attribute's value (default 64 KiB, Linux `XATTR_SIZE_MAX`).
    pub xattr: usize,
    /// Bytes of one PAX or GNU long-name header (default 1 MiB).
    pub tar_header: u64,
    /// Layers in one image (default 1024).
    pub layers: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            document: 4 << 20,
            file: 64 << 30,
            expanded: 256 << 30,
            expansion_ratio: 1200,
            entries: 8_000_000,
            metadata: 512 << 20,
            path: 4096,
            name: 255,
            depth: 1024,
            xattr: 64 << 10,
            tar_header: 1 << 20,
            layers: 1024,
        }
    }
}
