//! Deltas of packages made of real package files: the same bytes each time, and what devices make of them is the release.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test works in a scratch directory, and may panic"
)]

use std::collections::BTreeMap;
use std::fs;
use std::io::Cursor;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use umiak_build::delta::{MadePackage, Package, PackageWork};
use umiak_delta::{Effort, MakeOptions};
use umiak_pvr::State;
use umiak_pvr::delta::Form;
use umiak_repository::package::{self, DeltaFile, Format};
use umiak_spec::{Digest, Limits, Silent};
use umiak_squashfs::{Compressor, ImageOptions, ImageWriter, NewContent};
use umiak_store::{LayerOptions, RealDisk, Room, Store, StoreOptions};
use umiak_testkit::random::Chance;
use umiak_tree::{Builder, Inode, InodeId, Kind, Metadata};

/// An image as umiak makes them.
fn image(files: &[(&str, &[u8])]) -> Vec<u8> {
    let options = ImageOptions { compressor: Compressor::Zstd, ..ImageOptions::default() };
    let mut writer = ImageWriter::new(Cursor::new(Vec::new()), &options).unwrap();
    let mut tree = Builder::new(Metadata::root_owned(0o755));
    for (name, bytes) in files {
        let content = NewContent { size: bytes.len() as u64, digest: Digest::of(bytes), name: name.as_bytes() };
        let file = writer.add(&content, &mut &bytes[..]).unwrap();
        let id = tree.add(Inode { metadata: Metadata::root_owned(0o644), kind: Kind::File(file) }).unwrap();
        tree.directory(InodeId::ROOT).unwrap().insert(name.as_bytes().into(), id);
    }
    writer.finish(&tree.finish().unwrap(), &Silent).unwrap().0.into_inner()
}

/// Writes a package of these files.
fn write(directory: &Path, name: &str, files: &BTreeMap<&str, Vec<u8>>) -> PathBuf {
    let objects = directory.join(format!("{name}.objects"));
    fs::create_dir(&objects).unwrap();
    let mut text = r##"{"#spec":"pantavisor-service-system@1""##.to_owned();
    for (path, bytes) in files {
        let digest = Digest::of(bytes);
        fs::write(objects.join(digest.hex()), bytes).unwrap();
        text.push_str(&format!(",\"{path}\":\"{}\"", digest.hex()));
    }
    let state = State::parse(format!("{text}}}").as_bytes(), 1 << 20).unwrap();
    let place = directory.join(format!("{name}.arm64v8.tgz"));
    let path = |digest: &Digest| Some(objects.join(digest.hex()));
    package::write(&state, &path, fs::File::create(&place).unwrap(), Format::Gzip, &Silent).unwrap();
    place
}

struct Made {
    area: tempfile::TempDir,
    base: BTreeMap<&'static str, Vec<u8>>,
    target: BTreeMap<&'static str, Vec<u8>>,
}

impl Made {
    fn new() -> Self {
        let mut chance = Chance::new(3);
        let (program, noise, plain) = (chance.bytes(400_000), chance.bytes(500_000), chance.bytes(100_000));
        let mut changed = program.clone();
        changed.splice(200_000..200_003, *b"other bytes");
        let mut other = plain.clone();
        other.splice(20_000..20_001, *b"xyz");
        let conf = b"lxc.init.cmd = /app\n".to_vec();
        let base = [
            ("web/lxc.container.conf", conf.clone()),
            ("web/root.squashfs", image(&[("app", &program), ("lib", &noise)])),
            ("web/root.squashfs.docker-digest", b"sha256:1".to_vec()),
            ("web/modules.bin", plain),
        ];
        let target = [
            ("web/lxc.container.conf", conf),
            ("web/root.squashfs", image(&[("app", &changed), ("lib", &noise), ("more", b"new")])),
            ("web/root.squashfs.docker-digest", b"sha256:2".to_vec()),
            ("web/modules.bin", other),
        ];
        Self { area: tempfile::tempdir().unwrap(), base: base.into(), target: target.into() }
    }

    fn make(&self, out: &str, (base, target): (&Path, &Path), threads: usize) -> MadePackage {
        let options = MakeOptions {
            effort: Effort::Fast,
            threads: NonZeroUsize::new(threads).unwrap(),
            ..MakeOptions::default()
        };
        let scratch = self.area.path().join(format!("{out}.scratch"));
        fs::create_dir(&scratch).unwrap();
        let work = PackageWork { scratch: &scratch, options: &options, limits: Limits::default(), observer: &Silent };
        let (base, target) = (Package { name: "web-1", path: base }, Package { name: "web-2", path: target });
        let made = work.make(base, target, &self.area.path().join(out)).unwrap();
        assert!(fs::read_dir(&scratch).unwrap().next().is_none(), "nothing stays there");
        made
    }
}

#[test]
fn a_release_is_made_of_the_one_before() {
    let made = Made::new();
    let base = write(made.area.path(), "web-1", &made.base);
    let target = write(made.area.path(), "web-2", &made.target);
    let first = made.make("one.delta", (&base, &target), 1);
    made.make("two.delta", (&base, &target), 3);
    let bytes = |name: &str| fs::read(made.area.path().join(name)).unwrap();
    assert!(bytes("one.delta") == bytes("two.delta"), "the same releases are the same bytes");
    assert!(first.worth && first.size == bytes("one.delta").len() as u64 && first.size < first.full / 20, "{first:?}");

    let file = DeltaFile::open(&made.area.path().join("one.delta")).unwrap().unwrap();
    file.verify(&Silent).unwrap();
    let form = |path: &str| file.delta().objects[&Digest::of(&made.target[path])].form;
    assert_eq!(form("web/lxc.container.conf"), Form::Kept);
    assert_eq!(form("web/root.squashfs.docker-digest"), Form::Whole);
    for path in ["web/root.squashfs", "web/modules.bin"] {
        let Form::Delta(delta) = form(path) else { panic!("{path}: {:?}", form(path)) };
        assert_eq!(delta.base, Digest::of(&made.base[path]));
        // On a device.
        let store = Store::open(&made.area.path().join("store"), Arc::new(RealDisk), &StoreOptions::UPDATE).unwrap();
        store.put_blob(&delta.base, &made.base[path]).unwrap();
        let object = Digest::of(&made.target[path]);
        let (_, part) = file.made(&object).unwrap();
        // In no more room than the plan counts.
        let room = Room { size: made.target[path].len() as u64, spool: delta.spool };
        let applied = store.make_blob(&object, &part, room, &LayerOptions::default(), &Silent).unwrap();
        assert_eq!(applied.spooled, delta.spool, "{path}");
        assert!(store.document(&object, 1 << 30).unwrap().unwrap() == made.target[path]);
    }
}

#[test]
fn what_saves_nothing_is_not_written() {
    let made = Made::new();
    let base = write(made.area.path(), "web-1", &made.base);
    let mut chance = Chance::new(77);
    let other = [("web/root.squashfs", image(&[("other", &chance.bytes(60_000))]))].into();
    let other = write(made.area.path(), "web-2", &other);
    let delta = made.make("other.delta", (&base, &other), 1);
    assert!(!delta.worth && !made.area.path().join("other.delta").exists(), "{delta:?}");
}
