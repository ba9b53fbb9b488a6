//! What every app's root gets so that a device can run it: the places where the runtime mounts things.
//!
//! A read-only root cannot be given a missing mount point later. As pvr does, the standard ones are made where an
//! image lacks them, and the emulator binary that cross-builds leave behind is dropped. Unlike pvr, `tmp` and
//! `var/tmp` are made writable for all (sticky), which is what programs expect of them.

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

/// The tree with mount points added and the emulator removed.
///
/// # Errors
/// [`TreeError`] when the tree would become too large.
pub(crate) fn prepare<C>(tree: Tree<C>) -> Result<Tree<C>, TreeError> {
    let mut tree = tree.into_builder();
    for (path, mode) in MOUNT_POINTS {
        add_directory(&mut tree, path, mode)?;
    }
    let [directories @ .., name] = EMULATOR;
    let parent = directories.iter().try_fold(InodeId::ROOT, |parent, name| tree.child(parent, name));
    if let Some(names) = parent.and_then(|parent| tree.directory(parent)) {
        names.remove(name);
    }
    tree.finish()
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
        let tree: Tree<()> = prepare(Tree::empty(Metadata::root_owned(0o755))).unwrap();
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
        let names = names(&prepare(builder.finish().unwrap()).unwrap());
        assert!(names.contains(&"/tmp 711".to_owned()));
        assert!(names.contains(&"/var 777".to_owned()), "a link in the place of a directory stays");
        assert!(!names.iter().any(|name| name.contains("qemu") || name.contains("/var/")));
    }
}
