//! What of a tree squashfs cannot hold, found before any content is read.

use std::collections::BTreeSet;

use umiak_tree::{Device, Inode, Kind, Tree, TreePath};

use super::xattrs::split_name;
use crate::Error;
use crate::layout::{NAME_BYTES, SYMLINK_BYTES};

/// Checks that squashfs can hold `tree`: names, link targets, device numbers, owners, extended attributes.
///
/// [`crate::ImageWriter::finish`] checks as well; a caller that asks here first learns it before the long part.
///
/// # Errors
/// [`Error::Xattr`] for an attribute outside `user.`, `trusted.` and `security.`, which the caller may drop;
/// [`Error::Inode`] and [`Error::TooMany`] for the rest.
pub fn check<C>(tree: &Tree<C>) -> Result<(), Error> {
    let mut owners = BTreeSet::new();
    for entry in tree.walk() {
        let problem = |reason| Err(Error::Inode { path: entry.path.clone(), reason });
        if entry.path.split().is_some_and(|(_, name)| name.len() > NAME_BYTES) {
            return problem("its name is longer than 256 bytes");
        }
        if let Some(reason) = kind_problem(&entry.inode.kind) {
            return problem(reason);
        }
        attributes(&entry.path, entry.inode)?;
        owners.extend([entry.inode.metadata.uid, entry.inode.metadata.gid]);
    }
    if owners.len() > usize::from(u16::MAX) {
        return Err(Error::TooMany { what: "different owners and groups", limit: u64::from(u16::MAX) });
    }
    Ok(())
}

fn kind_problem<C>(kind: &Kind<C>) -> Option<&'static str> {
    let beyond = |device: &Device| device.major > 0xfff || device.minor > 0xf_ffff;
    match kind {
        Kind::Symlink(target) if target.len() > SYMLINK_BYTES => Some("its target is longer than 65535 bytes"),
        Kind::Symlink(target) if target.is_empty() => Some("its target is empty"),
        Kind::CharDevice(device) | Kind::BlockDevice(device) if beyond(device) => {
            Some("its device number needs more than 12 bits of major and 20 of minor")
        }
        _ => None,
    }
}

fn attributes<C>(path: &TreePath, inode: &Inode<C>) -> Result<(), Error> {
    for (name, value) in &inode.metadata.xattrs {
        let reason = if split_name(name).is_none() {
            "only names in user., trusted. and security. of at most 255 bytes can be stored"
        } else if value.len() > MOST_VALUE {
            "its value is longer than 64 KiB"
        } else {
            continue;
        };
        let attribute = String::from_utf8_lossy(name).escape_debug().to_string();
        return Err(Error::Xattr { path: path.clone(), attribute, reason });
    }
    Ok(())
}

/// Linux' `XATTR_SIZE_MAX`.
const MOST_VALUE: usize = 64 << 10;
