//! Bounds on what a compose project may consist of.

/// Upper bounds on the files of one project. What is beyond them is an error that names the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ComposeLimits {
    /// Bytes of one compose file, and of the one that is published (default 1 MiB, as composectl has it).
    pub document: u64,
    /// Bytes of one file of variables (default 1 MiB).
    pub variables: u64,
    /// Nested lists and maps, aliases followed (default 64).
    pub depth: usize,
    /// Nodes of one file as written (default 100 000).
    pub nodes: usize,
    /// Anchors in one file (default 1000).
    pub anchors: usize,
    /// Nodes of one file when aliases and merge keys are followed, and of the project (default 200 000).
    pub expanded: usize,
    /// Bytes of all texts when aliases and merge keys are followed (default 16 MiB).
    pub expanded_text: usize,
    /// Files of the project: compose files, included and extended ones (default 100).
    pub files: usize,
    /// Nested includes, and services that extend one another (default 32).
    pub chain: usize,
}

impl Default for ComposeLimits {
    fn default() -> Self {
        Self {
            document: 1 << 20,
            variables: 1 << 20,
            depth: 64,
            nodes: 100_000,
            anchors: 1000,
            expanded: 200_000,
            expanded_text: 16 << 20,
            files: 100,
            chain: 32,
        }
    }
}
