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
//! What is done with trees: [`Stack`] makes one of OCI layers, [`changeset`] makes the overlayfs upper tree that turns a
//! base into a target, [`apply`] is what a mount of the two shows, [`patch()`] keeps a layer above the one that it replaces, [`difference`] names where two trees differ.
//!
//! What a content is (`C`) belongs to the codec that made the tree; this crate only asks it for size and digest
//! ([`Content`]). File contents are never held here.

mod compare;
mod inode;
mod merge;
mod overlay;
mod patch;
mod path;
mod report;
mod stack;
mod tree;
mod way;

pub use compare::difference;
pub use inode::{Content, Device, Directory, Inode, Kind, Metadata, Name, OPAQUE_XATTR, Timestamp, Xattrs};
pub use merge::apply;
pub use overlay::{Changeset, OverlayError, OverlayOptions, Side, changeset};
pub use patch::{PatchError, patch};
pub use path::{PathError, TreePath};
pub use report::{Change, ChangeReport, Changed, Tally};
pub use stack::{Stack, StackError};
pub use tree::{Builder, InodeId, Tree, TreeError, Walk, WalkEntry};
