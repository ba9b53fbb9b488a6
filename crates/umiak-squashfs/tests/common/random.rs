//! Random trees, grown step by step.

#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test fails by panicking")]

use proptest::prelude::*;
use umiak_tree::{Builder, Device, Inode, InodeId, Kind, Metadata, Timestamp};

/// One step of making a tree: at most three names deep from few names, so that collisions are common.
#[derive(Debug, Clone)]
pub struct Step {
    path: Vec<u8>,
    kind: u8,
    size: usize,
    seed: u64,
    metadata: (u16, u32, i64, u8),
}

pub fn steps() -> impl Strategy<Value = Vec<Step>> {
    let path = proptest::collection::vec(0..6_u8, 1..4);
    let size = prop_oneof![0..40_usize, 4000..4200_usize, 0..30_000_usize];
    let metadata = (0..=0o7777_u16, prop_oneof![0..3_u32, any::<u32>()], any::<i64>(), 0..5_u8);
    let step = (path, 0..12_u8, size, 0..6_u64, metadata);
    let step = step.prop_map(|(path, kind, size, seed, metadata)| Step { path, kind, size, seed, metadata });
    proptest::collection::vec(step, 0..60)
}

fn content(step: &Step) -> Vec<u8> {
    match step.seed {
        0 => vec![0; step.size],
        1 => [super::text(1, 4096), vec![0; step.size]].concat(),
        2 => super::noise(2, step.size),
        seed => super::text(seed, step.size),
    }
}

pub fn grow(steps: &[Step]) -> super::MemoryTree {
    let mut builder: Builder<Vec<u8>> = Builder::new(Metadata::root_owned(0o750));
    let mut last_file = None;
    for step in steps {
        let (mode, owner, seconds, attributes) = step.metadata;
        let mut metadata = Metadata { mode, uid: owner, gid: owner / 2, ..Metadata::root_owned(0) };
        metadata.mtime = Timestamp { seconds: seconds >> 30, nanoseconds: 5 };
        for number in 0..attributes {
            let prefix = ["user", "trusted", "security"][usize::from(number) % 3];
            let value = super::text(step.seed, step.size % 50);
            metadata.xattrs.insert(format!("{prefix}.n{number}").into_bytes().into(), value.into());
        }
        let device = Device { major: owner & 0xfff, minor: owner >> 12 };
        let kind = match step.kind {
            0 | 1 => Kind::Directory(umiak_tree::Directory::new()),
            2 => Kind::Symlink(super::text(step.seed, 1 + step.size % 300).into()),
            3 => Kind::CharDevice(device),
            4 => Kind::BlockDevice(device),
            5 => Kind::Fifo,
            6 => Kind::Socket,
            _ => Kind::File(content(step)),
        };
        let mut directory = InodeId::ROOT;
        let (name, parents) = step.path.split_last().unwrap();
        for parent in parents {
            if let Some(child) = builder.child(directory, &[b'd', b'0' + parent])
                && builder.directory(child).is_some()
            {
                directory = child;
            }
        }
        let name = match step.kind {
            0 | 1 => vec![b'd', b'0' + name],
            _ => vec![b'f', b'0' + name, b'.', b'0' + step.kind],
        };
        if builder.child(directory, &name).is_some() {
            continue;
        }
        let id = match (step.kind, last_file) {
            (7, Some(file)) => file,
            _ => builder.add(Inode { metadata, kind }).unwrap(),
        };
        if step.kind >= 2 {
            last_file = Some(id);
        }
        builder.directory(directory).unwrap().insert(name.into(), id);
    }
    builder.finish().unwrap()
}
