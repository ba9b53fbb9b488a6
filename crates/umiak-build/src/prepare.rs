//! What every app's root gets so that a device can run it: the places where the runtime mounts things.
//!
//! A read-only root cannot be given a missing mount point later. As pvr does, the standard ones are made where an
//! image lacks them, and the emulator binary that cross-builds leave behind is dropped. Unlike pvr, `tmp` and
//! `var/tmp` are made writable for all (sticky), which is what programs expect of them.
//!
//! Extended attributes that cannot be in the device's file systems are left out and told: squashfs has no place for
//! `system.*` (access control lists), and overlayfs takes `trusted.overlay.*` for its own marks.

use std::collections::BTreeMap;

use umiak_tree::{Builder, Inode, InodeId, Kind, Metadata, Tree, TreeError};

/// Directories that a root must have, parents first, with the mode they get when they are missing.
const MOUNT_POINTS: [(&[&[u8]], u16); 8] = [
    (&[b"proc"], 0o755),
    (&[b"sys"], 0o755),
    (&[b"dev"], 0o755),
    (&[b"run"], 0o755),
    (&[b"tmp"], 0o1777),
    (&[b"var"], 0o755),
    (&[b"var", b"tmp"], 0o1777),
    (&[b"var", b"run"], 0o755),
];

/// Left behind in images that were built under emulation; of no use on the device.
const EMULATOR: [&[u8]; 3] = [b"usr", b"bin", b"qemu-arm-static"];

/// The tree with mount points added, the emulator and impossible attributes removed; and what a person should know.
///
/// # Errors
/// [`TreeError`] when the tree would become too large.
pub(crate) fn prepare<C>(tree: Tree<C>) -> Result<(Tree<C>, Vec<String>), TreeError> {
    let impossible = impossible_attributes(&tree);
    let mut tree = tree.into_builder();
    for id in impossible.values().flatten() {
        tree.inode(*id).metadata.xattrs.retain(|name, _| is_possible(name));
    }
    for (path, mode) in MOUNT_POINTS {
        add_directory(&mut tree, path, mode)?;
    }
    let [directories @ .., name] = EMULATOR;
    let parent = directories.iter().try_fold(InodeId::ROOT, |parent, name| tree.child(parent, name));
    if let Some(names) = parent.and_then(|parent| tree.directory(parent)) {
        names.remove(name);
    }
    let told = impossible.iter().map(|(name, inodes)| {
        format!("the extended attribute {name} of {} files is left out: a device's root cannot have it", inodes.len())
    });
    Ok((tree.finish()?, told.collect()))
}

fn is_possible(name: &[u8]) -> bool {
    let known = [&b"user."[..], b"security.", b"trusted."].iter().any(|prefix| name.starts_with(prefix));
    known && !name.starts_with(b"trusted.overlay.")
}

/// Attributes that are left out, with the inodes that have them.
fn impossible_attributes<C>(tree: &Tree<C>) -> BTreeMap<String, Vec<InodeId>> {
    let mut found: BTreeMap<String, Vec<InodeId>> = BTreeMap::new();
    for (id, inode) in tree.inodes() {
        for name in inode.metadata.xattrs.keys().filter(|name| !is_possible(name)) {
            found.entry(String::from_utf8_lossy(name).escape_debug().to_string()).or_default().push(id);
        }
    }
    found
}

/// Adds a directory unless its name is taken, by whatever it is (`/var/run` is often a link), or its parent is none.
fn add_directory<C>(tree: &mut Builder<C>, path: &[&[u8]], mode: u16) -> Result<(), TreeError> {
    let Some((name, parents)) = path.split_last() else { return Ok(()) };
    let parent = parents.iter().try_fold(InodeId::ROOT, |parent, name| tree.child(parent, name));
    let Some(parent) = parent.filter(|parent| tree.get(*parent).kind.is_directory()) else { return Ok(()) };
    if tree.child(parent, name).is_none() {
        let kind = Kind::Directory(umiak_tree::Directory::new());
        let id = tree.add(Inode { metadata: Metadata::root_owned(mode), kind })?;
        if let Some(names) = tree.directory(parent) {
            names.insert((*name).into(), id);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names<C>(tree: &Tree<C>) -> Vec<String> {
        tree.walk().map(|entry| format!("{} {:o}", entry.path, entry.inode.metadata.mode)).collect()
    }

    #[test]
    fn an_empty_root_gets_every_mount_point() {
        let (tree, told) = prepare::<()>(Tree::empty(Metadata::root_owned(0o755))).unwrap();
        assert!(told.is_empty());
        let expected = [
            "/ 755",
            "/dev 755",
            "/proc 755",
            "/run 755",
            "/sys 755",
            "/tmp 1777",
            "/var 755",
            "/var/run 755",
            "/var/tmp 1777",
        ];
        assert_eq!(names(&tree), expected);
    }

    #[test]
    fn what_is_there_stays_and_the_emulator_goes() {
        let mut builder: Builder<()> = Builder::new(Metadata::root_owned(0o700));
        for path in [&[b"tmp".as_slice()][..], &[b"usr"], &[b"usr", b"bin"], &[b"usr", b"bin", b"qemu-arm-static"]] {
            add_directory(&mut builder, path, 0o711).unwrap();
        }
        let link = Inode { metadata: Metadata::root_owned(0o777), kind: Kind::Symlink(b"usr".as_slice().into()) };
        let link = builder.add(link).unwrap();
        builder.directory(InodeId::ROOT).unwrap().insert(b"var".as_slice().into(), link);
        let names = names(&prepare(builder.finish().unwrap()).unwrap().0);
        assert!(names.contains(&"/tmp 711".to_owned()));
        assert!(names.contains(&"/var 777".to_owned()), "a link in the place of a directory stays");
        assert!(!names.iter().any(|name| name.contains("qemu") || name.contains("/var/")));
    }

    #[test]
    fn attributes_that_cannot_be_are_left_out_and_told() {
        let mut root = Metadata::root_owned(0o755);
        for name in [&b"user.kept"[..], b"system.posix_acl_access", b"trusted.overlay.opaque", b"security.capability"] {
            root.xattrs.insert(name.into(), b"x".as_slice().into());
        }
        let (tree, told) = prepare::<()>(Tree::empty(root)).unwrap();
        let kept: Vec<_> = tree.inode(InodeId::ROOT).metadata.xattrs.keys().map(|name| &**name).collect();
        assert_eq!(kept, [&b"security.capability"[..], b"user.kept"]);
        assert_eq!(told.len(), 2);
        assert!(told[0].contains("system.posix_acl_access"), "{told:?}");
    }
}
