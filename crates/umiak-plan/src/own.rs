//! What a device writes for itself when it is updated, beside what comes: documents, directories, the first of its logs.
//!
//! What is there already and does not grow is not among it. What services write, and what an image puts into a volume that
//! is new, is not known here.

use crate::contents::Directory;
use crate::cost::Cost;
use crate::fs::FileSystem;
use crate::layout;

/// A document that is written anew; it is there twice, itself and its copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Record {
    /// Its bytes now; `None` where it is not there yet.
    pub before: Option<u64>,
    /// Its bytes afterwards, at most.
    pub after: u64,
}

/// All that a device writes for itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Own {
    /// Written before anything comes.
    pub begun: Vec<Record>,
    /// Written once all is here.
    pub named: Vec<Record>,
    /// Bytes of blobs that are made here before anything comes, each by itself.
    pub blobs: Vec<u64>,
    /// Bytes of files that are made for services.
    pub files: Vec<u64>,
    /// Directories that are made for services and projects.
    pub directories: u64,
}

impl Record {
    /// What the document takes more than now.
    fn grows(self, file_system: &FileSystem) -> Cost {
        let after = layout::record(file_system, self.after);
        match self.before {
            None => after,
            Some(before) => {
                let before = layout::record(file_system, before);
                Cost { bound: after.bound, ..Cost::at_most(after.most.saturating_sub(before.least), 0) }
            }
        }
    }
}

impl Own {
    /// What is written before anything comes.
    pub(crate) fn first(&self, file_system: &FileSystem) -> Cost {
        let blobs: Cost = self.blobs.iter().map(|bytes| file_system.file(*bytes)).sum();
        blobs + grow(file_system, &self.begun)
    }

    /// What is written of the revision once all is here.
    pub(crate) fn last(&self, file_system: &FileSystem) -> Cost {
        grow(file_system, &self.named)
    }

    /// The most that lies beside a document while it is put in place.
    pub(crate) fn beside(&self, file_system: &FileSystem) -> Cost {
        let longest = self.begun.iter().chain(&self.named).map(|record| record.after).max();
        layout::record(file_system, longest.unwrap_or(0))
    }

    /// What is made for services and projects.
    pub(crate) fn kept(&self, file_system: &FileSystem) -> Cost {
        let files: Cost = self.files.iter().map(|bytes| file_system.file(*bytes)).sum();
        files + file_system.directories(Directory { entries: 4, name_bytes: 80 }, self.directories)
    }
}

fn grow(file_system: &FileSystem, records: &[Record]) -> Cost {
    records.iter().map(|record| record.grows(file_system)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::Kind;

    fn ext4() -> FileSystem {
        FileSystem {
            name: "/".into(),
            kind: Kind::Ext4,
            block_size: 4096,
            blocks: 1 << 20,
            free: 1 << 20,
            reserved: 0,
            inodes_free: None,
            inode_size: 256,
            groups: 0,
        }
    }

    #[test]
    fn a_document_that_is_there_takes_what_it_grows_by() {
        let grows = |before, after| Record { before, after }.grows(&ext4());
        assert_eq!((grows(None, 100).most, grows(None, 100).inodes), (8192, 2));
        assert_eq!(grows(Some(100), 2000), Cost::at_most(0, 0));
        assert_eq!(grows(Some(3000), 5000).most, 8192, "a block more, and one of the copy");
        assert_eq!(grows(Some(5000), 100).most, 0);
    }

    #[test]
    fn directories_and_files_are_counted_in_blocks() {
        let own = Own { files: vec![1, 5000], directories: 3, blobs: vec![150], ..Own::default() };
        assert_eq!((own.kept(&ext4()).most, own.kept(&ext4()).inodes), (6 * 4096, 5));
        assert_eq!(own.first(&ext4()), Cost::exactly(4096, 1));
        assert_eq!(Own::default().kept(&ext4()) + Own::default().first(&ext4()), Cost::NOTHING);
    }
}
