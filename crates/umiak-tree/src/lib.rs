//! The in-memory file tree that every codec reads into and writes from.
//!
//! ```text
//! Tree<C>
//!   inodes: [ root, .. ]                      one per inode; a hard link is a second name for the same InodeId
//!   Inode { metadata, kind }
//!   Kind::Directory(name -> InodeId)          names sorted by bytes
//!   Kind::File(C)                             C says where the content is: in a layer, in an image, in memory
//! ```
//!
//! What a content is (`C`) belongs to the codec that made the tree; this crate only asks it for size and digest
//! ([`Content`]). File contents are never held here.

mod inode;
mod path;
mod tree;

pub use inode::{Content, Device, Directory, Inode, Kind, Metadata, Name, OPAQUE_XATTR, Timestamp, Xattrs};
pub use path::{PathError, TreePath};
pub use tree::{Builder, InodeId, Tree, TreeError, Walk, WalkEntry};
