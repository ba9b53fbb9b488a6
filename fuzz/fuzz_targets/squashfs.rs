//! Any bytes as a squashfs image: a tree whose files can be read, or an error.
#![no_main]

use std::io::Read;

use libfuzzer_sys::fuzz_target;
use umiak_spec::Limits;
use umiak_squashfs::Image;
use umiak_tree::Kind;

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits { file: 1 << 20, expanded: 4 << 20, entries: 10_000, ..Limits::default() };
    let Ok(image) = Image::open(bytes.to_vec(), &limits) else { return };
    let Ok(tree) = image.tree() else { return };
    for (_, inode) in tree.inodes() {
        if let Kind::File(content) = &inode.kind {
            let mut plain = Vec::new();
            if image.reader(content).take(1 << 20).read_to_end(&mut plain).is_ok() {
                assert!(plain.len() as u64 <= content.size());
            }
        }
    }
});
