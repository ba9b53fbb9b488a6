//! Tars as the bench needs them: plain entries, in memory.

/// A tar that grows.
#[derive(Default)]
pub struct Tar(Vec<u8>);

impl Tar {
    /// A directory.
    pub fn directory(&mut self, name: &str) {
        self.header(name, b'5', 0o755, 0);
    }

    /// A file.
    pub fn file(&mut self, name: &str, content: &[u8]) {
        self.header(name, b'0', 0o644, content.len());
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
    }

    /// The whole archive.
    pub fn finish(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }

    fn header(&mut self, name: &str, kind: u8, mode: u32, size: usize) {
        let mut header = [0_u8; 512];
        let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &name.as_bytes()[..name.len().min(100)]);
        put(100, format!("{mode:07o}\0").as_bytes());
        put(108, b"0000000\x000000000\0");
        put(124, format!("{size:011o}\0").as_bytes());
        put(136, b"00000000000\0        ");
        put(156, &[kind]);
        put(257, b"ustar\x0000");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.0.extend_from_slice(&header);
    }
}
