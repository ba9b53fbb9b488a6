//! Bundles: what goes in, that everybody packs the same bytes, that GNU tar and gzip read them, and that hostile ones
//! are refused.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeSet;
use std::fs::{self, File, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use flate2::Compression;
use flate2::write::GzEncoder;
use umiak_build::compose::Bundle;
use umiak_build::compose::pack::{PackError, Packed, pack};
use umiak_layer::LayerWriter;
use umiak_spec::{Digest, Limits, Silent};
use umiak_tree::{Device, Kind, Metadata, TreePath};

const PINNED: &str = "services: {web: {image: x}}\n";

/// A project whose files have the given modes and time.
fn project(at: &Path, mode: u32, seconds: u64) {
    fs::create_dir_all(at.join("site/css")).unwrap();
    fs::create_dir_all(at.join("empty")).unwrap();
    for (name, text) in [
        ("compose.yaml", "unpinned"),
        ("site.txt", "beside"),
        ("site/index.html", "<p>"),
        ("site/css/a.css", "p {}"),
        ("run.sh", "#!/bin/sh\n"),
        (".env", "A=1\n"),
        ("notes.md", "not for devices"),
        ("site/notes.md", "nor this"),
        (".composeappignores", "**/*.md\n"),
    ] {
        fs::write(at.join(name), text).unwrap();
        let executable = if name == "run.sh" { 0o100 } else { 0 };
        fs::set_permissions(at.join(name), Permissions::from_mode(mode | executable)).unwrap();
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        File::options().append(true).open(at.join(name)).unwrap().set_modified(time).unwrap();
    }
    symlink("../run.sh", at.join("site/start")).unwrap();
}

fn packed(at: &Path) -> Result<(Packed, Vec<u8>), PackError> {
    let left_out = BTreeSet::from(["compose.yaml".to_owned(), "docker-compose.yml".to_owned()]);
    let mut bytes = Vec::new();
    pack(at, PINNED, &left_out, &mut bytes, &Silent).map(|packed| (packed, bytes))
}

#[test]
fn everybody_packs_the_same() {
    let scratch = tempfile::tempdir().unwrap();
    project(&scratch.path().join("a"), 0o644, 1_000_000_000);
    project(&scratch.path().join("b"), 0o600, 1_700_000_000);
    fs::set_permissions(scratch.path().join("b/site"), Permissions::from_mode(0o700)).unwrap();
    let (one, bytes) = packed(&scratch.path().join("a")).unwrap();
    let (other, others) = packed(&scratch.path().join("b")).unwrap();
    assert_eq!(bytes, others);
    assert_eq!(one, other);
    assert_eq!(bytes[..10], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff]);
    let names: Vec<&str> = one.index.files().map(|(name, _)| name).collect();
    let expected =
        [".env", "docker-compose.yml", "run.sh", "site.txt", "site/css/a.css", "site/index.html", "site/start"];
    assert_eq!(names, expected);
    assert_eq!(one.index.get("docker-compose.yml"), Some(&Digest::of(PINNED.as_bytes())));
    assert_eq!(one.index.get("site/start"), Some(&Digest::of(b"")));
    let bundle = Bundle::read(bytes.as_slice(), &Limits::default(), &Silent).unwrap();
    assert_eq!(bundle.index(), one.index);
    assert_eq!(bundle.texts["docker-compose.yml"], PINNED.as_bytes());
}

#[test]
fn the_bytes_stay_what_they_are() {
    let scratch = tempfile::tempdir().unwrap();
    project(scratch.path(), 0o644, 0);
    let (packed, bytes) = packed(scratch.path()).unwrap();
    let mut plain = Vec::new();
    std::io::Read::read_to_end(&mut umiak_layer::decompress(&*bytes, &Limits::default()).unwrap(), &mut plain).unwrap();
    assert_eq!(plain.len() as u64, packed.size);
    assert_eq!(Digest::of(&plain).short(), "b54ad1059839");
    assert_eq!(Digest::of(&bytes).short(), "4a42ca09176a");
}

#[test]
#[ignore = "needs: tar, gzip"]
fn gnu_tar_and_gzip_read_it() {
    let scratch = tempfile::tempdir().unwrap();
    project(&scratch.path().join("in"), 0o640, 5);
    let (_, bytes) = packed(&scratch.path().join("in")).unwrap();
    let archive = scratch.path().join("bundle.tgz");
    fs::write(&archive, bytes).unwrap();
    assert!(Command::new("gzip").arg("-t").arg(&archive).status().unwrap().success());
    let listed = Command::new("tar").args(["--utc", "--numeric-owner", "-tvzf"]).arg(&archive).output().unwrap();
    let listed: Vec<String> = String::from_utf8(listed.stdout)
        .unwrap()
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(
        listed,
        [
            "-rw-r--r-- 0/0 4 1970-01-01 00:00 .env",
            "-rw-r--r-- 0/0 28 1970-01-01 00:00 docker-compose.yml",
            "drwxr-xr-x 0/0 0 1970-01-01 00:00 empty/",
            "-rwxr-xr-x 0/0 10 1970-01-01 00:00 run.sh",
            "drwxr-xr-x 0/0 0 1970-01-01 00:00 site/",
            "drwxr-xr-x 0/0 0 1970-01-01 00:00 site/css/",
            "-rw-r--r-- 0/0 4 1970-01-01 00:00 site/css/a.css",
            "-rw-r--r-- 0/0 3 1970-01-01 00:00 site/index.html",
            "lrwxrwxrwx 0/0 0 1970-01-01 00:00 site/start -> ../run.sh",
            "-rw-r--r-- 0/0 6 1970-01-01 00:00 site.txt",
        ]
    );
    let out = scratch.path().join("out");
    fs::create_dir(&out).unwrap();
    assert!(Command::new("tar").arg("-xzf").arg(&archive).arg("-C").arg(&out).status().unwrap().success());
    assert_eq!(fs::read(out.join("docker-compose.yml")).unwrap(), PINNED.as_bytes());
    assert_eq!(fs::read(out.join("site/start")).unwrap(), b"#!/bin/sh\n");
}

#[test]
fn what_a_bundle_cannot_hold_is_refused() {
    let refused = |prepare: &dyn Fn(&Path)| {
        let scratch = tempfile::tempdir().unwrap();
        prepare(scratch.path());
        packed(scratch.path()).unwrap_err().to_string()
    };
    let ignore = |text: &'static str| move |at: &Path| fs::write(at.join(".composeappignores"), text).unwrap();
    assert_eq!(
        refused(&ignore("*.yml\n")),
        ".composeappignores leaves out docker-compose.yml, and without it there is no app"
    );
    assert!(refused(&ignore("[")).starts_with("cannot use "));
    assert_eq!(
        refused(&|at| symlink("/etc/passwd", at.join("x")).unwrap()),
        "x cannot be in a bundle: it points out of the bundle"
    );
    assert!(refused(&|at| symlink("../..", at.join("x")).unwrap()).contains("points out"));
    assert!(refused(&|at| fs::write(at.join(".wh.x"), "").unwrap()).contains(".wh."));
    assert!(
        refused(&|at| drop(std::os::unix::net::UnixListener::bind(at.join("s")).unwrap()))
            .contains("no file, directory or link")
    );
    let large = |at: &Path| File::create(at.join("large")).unwrap().set_len(1 << 30).unwrap();
    assert!(refused(&large).contains("bytes in a file"));
}

#[test]
fn what_is_taken_back_below_an_ignored_directory_is_packed() {
    let scratch = tempfile::tempdir().unwrap();
    project(scratch.path(), 0o644, 0);
    fs::write(scratch.path().join(".composeappignores"), "*\n!docker-compose.yml\n!site/css\n").unwrap();
    let (packed, _) = packed(scratch.path()).unwrap();
    let names: Vec<&str> = packed.index.files().map(|(name, _)| name).collect();
    assert_eq!(names, ["docker-compose.yml", "site/css/a.css"]);
}

// --- reading

/// A bundle of entries that `fill` writes.
fn archive(fill: impl FnOnce(&mut LayerWriter<GzEncoder<Vec<u8>>>)) -> Vec<u8> {
    let mut writer = LayerWriter::new(GzEncoder::new(Vec::new(), Compression::fast()));
    fill(&mut writer);
    writer.finish().unwrap().finish().unwrap()
}

fn path(text: &str) -> TreePath {
    TreePath::from_archive(text.as_bytes(), &Limits::default()).unwrap()
}

#[test]
fn hostile_bundles_are_refused() {
    let limits = Limits { expanded: 256 << 20, ..Limits::default() };
    let refused = |bytes: &[u8]| {
        let error = Bundle::read(bytes, &limits, &Silent).unwrap_err();
        let mut text = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(inner) = source {
            text = format!("{text}: {inner}");
            source = inner.source();
        }
        text
    };
    let plain = Metadata::root_owned(0o644);
    let link = |target: &'static [u8]| {
        archive(|writer| writer.other(&path("a/b"), &plain, &Kind::<()>::Symlink(target.into())).unwrap())
    };
    for target in [&b"/etc/passwd"[..], b"../..", b"x/../../../y", b"../../a"] {
        assert!(refused(&link(target)).contains("points out of the bundle"), "{target:?}");
    }
    assert!(Bundle::read(&*link(b"../c"), &limits, &Silent).is_ok());
    let device = archive(|writer| {
        writer.other(&path("d"), &plain, &Kind::<()>::CharDevice(Device { major: 1, minor: 3 })).unwrap();
    });
    assert!(refused(&device).contains("no file and no link"));
    let twice = archive(|writer| {
        for text in ["one", "two"] {
            writer.file(&path("x"), &plain, 3, &mut text.as_bytes()).unwrap();
        }
    });
    assert_eq!(refused(&twice), "the bundle has x twice");
    let below = archive(|writer| {
        writer.other(&path("l"), &plain, &Kind::<()>::Symlink((*b".").into())).unwrap();
        writer.file(&path("l/x"), &plain, 1, &mut &b"x"[..]).unwrap();
    });
    assert_eq!(refused(&below), "l/x lies below l, which is no directory");
    // The writer makes no such names: the bytes of a good archive are changed, and its checksum with them.
    let mut leaving = archive(|writer| writer.file(&path("aa/x"), &plain, 0, &mut &b""[..]).unwrap());
    let mut tar = Vec::new();
    std::io::Read::read_to_end(&mut umiak_layer::decompress(&*leaving, &limits).unwrap(), &mut tar).unwrap();
    tar[..2].copy_from_slice(b"..");
    let sum: u32 = tar[..512]
        .iter()
        .enumerate()
        .map(|(at, byte)| if (148..156).contains(&at) { 32 } else { u32::from(*byte) })
        .sum();
    tar[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    leaving.clear();
    let mut encoder = GzEncoder::new(leaving, Compression::fast());
    encoder.write_all(&tar).unwrap();
    assert!(refused(&encoder.finish().unwrap()).contains("`..`"));
    let bomb = archive(|writer| {
        writer
            .file(&path("zeros"), &plain, 512 << 20, &mut std::io::Read::take(std::io::repeat(0), 512 << 20))
            .unwrap();
    });
    assert!(refused(&bomb).contains("limit"), "{}", refused(&bomb));
}
