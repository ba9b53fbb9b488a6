//! Packages: reproducible out, strict and forgiving in.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use umiak_pvr::Parts;
use umiak_repository::package::{self, Format, ImportMode, PackageError};
use umiak_repository::{AddOptions, Error, InitOptions, Repository};
use umiak_spec::{Digest, Limits, Silent};

fn device(root: &Path, files: &[(&str, &str)]) -> Repository {
    let repository = Repository::init(root, &InitOptions::default()).unwrap();
    for (path, content) in files {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    repository.add(&[], AddOptions::default(), &Silent).unwrap();
    repository.commit("first", None, &Silent).unwrap();
    repository
}

const FILES: [(&str, &str); 6] = [
    ("web/run.json", r#"{"name":"web"}"#),
    ("web/x", "hello"),
    ("web/copy", "hello"),
    ("os/x", "os"),
    ("web-2/x", "other"),
    ("_sigs/web.json", "{}"),
];

fn export(repository: &Repository, parts: &str, format: Format) -> Vec<u8> {
    let mut bytes = Vec::new();
    repository.export(&Parts::parse(parts), &mut bytes, format, &Silent).unwrap();
    bytes
}

fn import(repository: &Repository, bytes: &[u8], mode: ImportMode) -> Result<package::ImportReport, Error> {
    repository.import(&mut &bytes[..], Path::new("test.tgz"), mode, &Limits::default(), &Silent)
}

/// A tar entry of our own making: name, type, content.
fn entry(name: &str, kind: u8, content: &[u8]) -> Vec<u8> {
    let mut block = [0; 512];
    let mut put = |at: usize, text: &str| block[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, "0000644");
    put(124, &format!("{:011o}", content.len()));
    put(257, "ustar\x0000");
    put(148, "        ");
    block[156] = kind;
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut bytes = block.to_vec();
    bytes.extend(content);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

fn archive(entries: &[(&str, u8, &[u8])]) -> Vec<u8> {
    let mut bytes: Vec<u8> = entries.iter().flat_map(|(name, kind, content)| entry(name, *kind, content)).collect();
    bytes.extend([0; 1024]);
    bytes
}

#[test]
fn one_state_has_one_sequence_of_bytes() {
    let temp = tempfile::tempdir().unwrap();
    let first = device(&temp.path().join("a"), &FILES);
    let mut reversed = FILES;
    reversed.reverse();
    let second = device(&temp.path().join("b"), &reversed);
    for format in [Format::Tar, Format::Gzip] {
        assert_eq!(export(&first, "", format), export(&second, "", format));
    }
    let bytes = export(&first, "", Format::Tar);
    assert_eq!(&bytes[..5], b"json\0");
    assert_eq!(&bytes[257..265], b"ustar\x0000");
    // Golden: changing these bytes changes every package that people have signed or cached.
    assert_eq!(Digest::of(&bytes).hex(), "ed8fa90427655921261ec755e20d5d9eebc766f89043487264350a297ebf3c3b");
    let gzip = export(&first, "", Format::Gzip);
    assert_eq!(&gzip[..10], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff]);
    assert_eq!((Format::of(Path::new("x.TGZ")), Format::of(Path::new("x.tar"))), (Format::Gzip, Format::Tar));
}

#[test]
fn parts_are_exported_with_the_spec_and_only_their_objects() {
    let temp = tempfile::tempdir().unwrap();
    let ours = device(&temp.path().join("a"), &FILES);
    let theirs = device(&temp.path().join("b"), &[("keep", "k")]);
    import(&theirs, &export(&ours, "web,_sigs/web.json,-web/copy", Format::Gzip), ImportMode::Overlay).unwrap();
    let state = theirs.pristine().unwrap();
    let keys: Vec<_> = state.entries().keys().map(umiak_pvr::StatePath::as_str).collect();
    assert_eq!(keys, ["_sigs/web.json", "keep", "web/run.json", "web/x"]);
    assert!(state.spec().is_some());
    assert!(!theirs.pool().contains(&Digest::of(b"os")));
}

#[test]
fn import_replaces_overlays_or_merges() {
    let temp = tempfile::tempdir().unwrap();
    let ours = device(&temp.path().join("a"), &FILES);
    let package = export(&ours, "", Format::Tar);
    for (mode, keep, run) in [
        (ImportMode::Replace, false, r#"{"name":"web"}"#),
        (ImportMode::Overlay, true, r#"{"name":"web"}"#),
        (ImportMode::Merge, true, r#"{"name":"web","other":1}"#),
    ] {
        let root = temp.path().join(format!("{mode:?}"));
        let theirs = device(&root, &[("keep", "k"), ("web/run.json", r#"{"other":1}"#)]);
        let report = import(&theirs, &package, mode).unwrap();
        assert_eq!(report.transfer.stored.objects, 3);
        let state = theirs.pristine().unwrap();
        assert_eq!(state.get("keep").is_some(), keep);
        assert_eq!(state.get("web/run.json").unwrap().to_value().canonical(), run);
        assert_eq!(theirs.status(&Silent).unwrap().iter().filter(|change| change.path == "web/x").count(), 1);
    }
}

#[test]
fn any_order_repetition_dots_and_directories_are_fine() {
    let temp = tempfile::tempdir().unwrap();
    let hello = format!("objects/{}", Digest::of(b"hello").hex());
    let json = format!("{{\"a\":\"{}\"}}", Digest::of(b"hello").hex());
    let dotted = format!("./{hello}");
    let extra = format!("objects/{}", Digest::of(b"extra").hex());
    let bytes = archive(&[
        ("./", b'5', b""),
        ("objects/", b'5', b""),
        (&dotted, b'0', b"hello"),
        (&extra, b'0', b"extra"),
        ("./json", b'0', json.as_bytes()),
        (&hello, 0, b"hello"),
        ("config", b'0', b"{}"),
    ]);
    let theirs = device(&temp.path().join("b"), &[]);
    let report = import(&theirs, &bytes, ImportMode::Replace).unwrap();
    assert_eq!(report.extra, [Digest::of(b"extra")]);
    assert_eq!(report.ignored, ["config"]);
    assert_eq!(report.transfer.stored.objects, 1);
    assert!(!theirs.pool().contains(&Digest::of(b"extra")));
    assert!(!theirs.root().join(".pvr/config.x").exists());
}

#[test]
fn a_bad_package_is_refused_and_changes_nothing() {
    let temp = tempfile::tempdir().unwrap();
    let theirs = device(&temp.path().join("b"), &[("keep", "k")]);
    let before = fs::read(theirs.root().join(".pvr/json")).unwrap();
    let hello = format!("objects/{}", Digest::of(b"hello").hex());
    let json = format!("{{\"a\":\"{}\"}}", Digest::of(b"hello").hex());
    let good: [(&str, u8, &[u8]); 2] = [("json", b'0', json.as_bytes()), (&hello, b'0', b"hello")];
    let with = |name: &str, kind: u8| {
        let mut entries = good.to_vec();
        let name = name.to_owned();
        entries.push((&name, kind, b""));
        archive(&entries)
    };
    let is_entry = |error: &Error| matches!(error, Error::Package(PackageError::Entry { .. }));
    for (name, kind) in [
        ("../evil", b'0'),
        ("objects/../../evil", b'0'),
        ("/etc/passwd", b'0'),
        ("/json", b'0'),
        ("objects/xyz", b'0'),
        ("link", b'2'),
        ("link", b'1'),
        ("device", b'3'),
        ("pipe", b'6'),
        ("new\nline", b'0'),
    ] {
        let error = import(&theirs, &with(name, kind), ImportMode::Replace).unwrap_err();
        assert!(is_entry(&error), "{name}: {error}");
    }
    let error = import(&theirs, &archive(&[good[0], (&hello, b'0', b"hullo")]), ImportMode::Replace).unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }), "{error}");
    let error = import(&theirs, &archive(&good[..1]), ImportMode::Replace).unwrap_err();
    assert!(matches!(&error, Error::Missing(list) if list[0].0 == Digest::of(b"hello")), "{error}");
    let error = import(&theirs, &archive(&good[1..]), ImportMode::Replace).unwrap_err();
    assert!(matches!(error, Error::Package(PackageError::NoState(_))), "{error}");
    let error = import(&theirs, &archive(&[good[0], ("json", b'0', b"{}")]), ImportMode::Replace).unwrap_err();
    assert!(is_entry(&error), "{error}");
    for state in ["[]", "nonsense", r#"{"../x":{}}"#, r#"{"../x.json":{}}"#] {
        let error = import(&theirs, &archive(&[("json", b'0', state.as_bytes())]), ImportMode::Replace).unwrap_err();
        assert!(matches!(error, Error::State { .. }), "{state}: {error}");
    }
    let error = import(&theirs, b"this is not a package at all", ImportMode::Replace).unwrap_err();
    assert!(matches!(error, Error::Package(_)), "{error}");
    let whole = archive(&good);
    for cut in [1, 511, 513, 600, 1024, 1100, 1536, 1537] {
        assert!(import(&theirs, &whole[..cut], ImportMode::Replace).is_err(), "{cut}");
    }
    assert_eq!(fs::read(theirs.root().join(".pvr/json")).unwrap(), before);
    let names: Vec<_> =
        fs::read_dir(theirs.pool().directory()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "the one object and the empty staging directory: {names:?}");
    assert_eq!(fs::read_dir(theirs.pool().directory().join(".umiak-tmp")).unwrap().count(), 0);
    assert!(!temp.path().join("evil").exists());
}

#[test]
fn a_bomb_is_refused() {
    let temp = tempfile::tempdir().unwrap();
    let theirs = device(&temp.path().join("b"), &[]);
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    let zeros = vec![0; 1 << 20];
    encoder.write_all(&entry("filler", b'0', b"")).unwrap();
    for _ in 0..80 {
        encoder.write_all(&zeros).unwrap();
    }
    let bytes = encoder.finish().unwrap();
    let limits = Limits { expansion_ratio: 100, ..Limits::default() };
    let result = theirs.import(&mut &bytes[..], Path::new("bomb"), ImportMode::Replace, &limits, &Silent);
    assert!(matches!(result, Err(Error::Package(PackageError::Read { .. }))), "{result:?}");
}

/// A small deterministic generator, so that a failure can be repeated.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).unwrap()
    }
}

#[test]
fn mutated_packages_never_panic_and_never_store_a_wrong_object() {
    let temp = tempfile::tempdir().unwrap();
    let ours = device(&temp.path().join("a"), &FILES[..3]);
    let good = export(&ours, "", Format::Tar);
    let theirs = device(&temp.path().join("b"), &[]);
    let mut random = Random(0xc0ffee);
    let (mut accepted, mut refused) = (0, 0);
    for _ in 0..400 {
        let mut bytes = good.clone();
        for _ in 0..=random.below(3) {
            let at = random.below(bytes.len());
            match random.below(3) {
                0 => bytes[at] ^= 1 << random.below(8),
                1 => bytes.truncate(at.max(1)),
                _ => drop(bytes.splice(at..at, vec![0; 512])),
            }
        }
        match import(&theirs, &bytes, ImportMode::Replace) {
            Ok(_) => accepted += 1,
            Err(_) => refused += 1,
        }
    }
    assert!(accepted > 0 && refused > 100, "{accepted} {refused}");
    theirs.pool().verify(&Digest::of(b"hello"), &Silent).unwrap();
    for name in fs::read_dir(theirs.pool().directory()).unwrap() {
        let name = name.unwrap().file_name().into_string().unwrap();
        if name != ".umiak-tmp" {
            theirs.pool().verify(&Digest::from_hex(&name).unwrap(), &Silent).unwrap();
        }
    }
}

#[test]
#[ignore = "needs: tar"]
fn gnu_tar_reads_ours_and_we_read_gnu_tar_s() {
    let temp = tempfile::tempdir().unwrap();
    let ours = device(&temp.path().join("a"), &FILES);
    let package = temp.path().join("p.tgz");
    fs::write(&package, export(&ours, "", Format::Gzip)).unwrap();
    let unpacked = temp.path().join("unpacked");
    fs::create_dir(&unpacked).unwrap();
    let output = Command::new("tar").arg("-xzf").arg(&package).arg("-C").arg(&unpacked).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    assert_eq!(fs::read(unpacked.join("json")).unwrap(), fs::read(ours.root().join(".pvr/json")).unwrap());
    for format in ["gnu", "pax", "ustar", "v7"] {
        let again = temp.path().join(format!("{format}.tar"));
        let output = Command::new("tar")
            .arg(format!("--format={format}"))
            .arg("-cf")
            .arg(&again)
            .arg("-C")
            .arg(&unpacked)
            .arg(".")
            .output();
        assert!(output.unwrap().status.success());
        let theirs = device(&temp.path().join(format), &[]);
        import(&theirs, &fs::read(&again).unwrap(), ImportMode::Replace).unwrap();
        assert_eq!(theirs.pristine().unwrap(), ours.pristine().unwrap());
    }
}

#[test]
#[ignore = "needs: mount, root"]
fn a_full_disk_leaves_state_pool_and_files_as_they_were() {
    let temp = tempfile::tempdir().unwrap();
    let place = temp.path().join("small");
    fs::create_dir(&place).unwrap();
    let mount =
        Command::new("mount").args(["-t", "tmpfs", "-o", "size=1M", "umiak-test"]).arg(&place).status().unwrap();
    assert!(mount.success());
    let result = std::panic::catch_unwind(|| full_disk(temp.path(), &place));
    assert!(Command::new("umount").arg(&place).status().unwrap().success());
    result.unwrap();
}

fn full_disk(temp: &Path, place: &Path) {
    let small = device(&place.join("d"), &[("a", "1")]);
    let json = || fs::read(small.root().join(".pvr/json")).unwrap();
    let pool = || {
        let mut names: Vec<_> =
            fs::read_dir(small.pool().directory()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        (names, fs::read_dir(small.pool().directory().join(".umiak-tmp")).unwrap().count())
    };
    let (before, objects) = (json(), pool());
    let large = "x".repeat(400 << 10);
    let other =
        device(&temp.join("large"), &[("p", &large), ("q", &(large.clone() + "q")), ("r", &(large.clone() + "r"))]);
    let is_full = |error: &Error| {
        let mut cause: Option<&dyn std::error::Error> = Some(error);
        while let Some(error) = cause {
            if error
                .downcast_ref::<std::io::Error>()
                .is_some_and(|error| error.kind() == std::io::ErrorKind::StorageFull)
            {
                return true;
            }
            cause = error.source();
        }
        false
    };
    let error = import(&small, &export(&other, "", Format::Tar), ImportMode::Replace).unwrap_err();
    assert!(is_full(&error), "{error:?}");
    let reference = umiak_pvr::Reference::parse(&other.root().display().to_string()).unwrap();
    let error = small.get(&reference, &Silent).unwrap_err();
    assert!(is_full(&error), "{error:?}");
    fs::write(small.root().join("big"), &large).unwrap();
    fs::write(small.root().join("big2"), &large[1..]).unwrap();
    small.add(&[], AddOptions::default(), &Silent).unwrap();
    let error = small.commit("too much", None, &Silent).unwrap_err();
    assert!(is_full(&error), "{error:?}");
    assert_eq!((json(), pool()), (before, objects));
    assert_eq!(small.commit_message().unwrap().as_deref(), Some("first"));
}

fn scan(bytes: &[u8]) -> Result<(package::Contents, Vec<u64>), Error> {
    let mut lengths = Vec::new();
    let take = |_: &Digest, length, content: &mut dyn std::io::Read| {
        let mut some = [0; 2];
        let _ = content.read(&mut some).unwrap();
        lengths.push(length);
        Ok::<_, Error>(())
    };
    let contents = package::scan(&mut &bytes[..], Path::new("test.tgz"), &Limits::default(), &Silent, take)?;
    Ok((contents, lengths))
}

/// An archive of these entries, and an object's name.
fn plain_files(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes: Vec<u8> = entries.iter().flat_map(|(name, content)| entry(name, b'0', content)).collect();
    bytes.extend([0; 1024]);
    bytes
}

fn object(content: &[u8]) -> String {
    format!("objects/{}", Digest::of(content).hex())
}

#[test]
fn a_scan_hands_over_each_object_once_and_tells_what_there_is() {
    let scratch = tempfile::tempdir().unwrap();
    let repository = device(&scratch.path().join("a"), &FILES);
    let (contents, lengths) = scan(&export(&repository, "", Format::Gzip)).unwrap();
    assert_eq!(contents.state, repository.pristine().unwrap());
    assert_eq!(contents.objects.values().sum::<u64>(), 12);
    assert_eq!(lengths.len(), 3, "hello is there for two files");
    assert!(contents.state_first && contents.canonical && contents.ignored.is_empty());

    let (name, hex) = (object(b"hello"), Digest::of(b"hello").hex());
    let state = format!("{{ \"a/x\": \"{hex}\" }}");
    let odd =
        plain_files(&[("README", b"read me"), (&name, b"hello"), (&name, b"hello"), ("./json", state.as_bytes())]);
    let (contents, lengths) = scan(&odd).unwrap();
    assert_eq!((lengths, contents.ignored), (vec![5], vec!["README".to_owned()]));
    assert!(!contents.state_first && !contents.canonical);
}

#[test]
fn a_scan_refuses_by_name() {
    let (name, hex) = (object(b"hello"), Digest::of(b"hello").hex());
    let state = format!(r#"{{"a/x":"{hex}"}}"#);
    let state = state.as_bytes();
    let twice = format!(r#"{{"web/run.json":{{}},"web/x":"{hex}","web/run.json":{{"name":"web"}}}}"#);
    let outside = format!(r#"{{"../x":"{hex}"}}"#);
    let other = object(b"other");
    let cases: [(&str, Vec<u8>, &str); 11] = [
        ("missing", plain_files(&[("json", state)]), &hex[..12]),
        ("extra", plain_files(&[("json", state), (&name, b"hello"), (&other, b"other")]), &other["objects/".len()..]),
        ("wrong hash", plain_files(&[("json", state), (&name, b"hellp")]), &hex),
        ("cut", plain_files(&[("json", state), (&name, b"hello")])[..1700].to_vec(), "cut short"),
        ("key outside", plain_files(&[("json", outside.as_bytes()), (&name, b"hello")]), "../x"),
        ("name outside", plain_files(&[("json", state), ("../../etc/passwd", b"x")]), "../../etc/passwd"),
        ("absolute", plain_files(&[("json", state), ("/etc/passwd", b"x")]), "/etc/passwd"),
        ("two apps of one name", plain_files(&[("json", twice.as_bytes()), (&name, b"hello")]), "web/run.json"),
        ("two states", plain_files(&[("json", state), ("json", state), (&name, b"hello")]), "twice"),
        ("no tar", vec![7; 2048], "no tar header"),
        ("no state", plain_files(&[(&name, b"hello")]), "no state"),
    ];
    for (what, bytes, said) in cases {
        let error = scan(&bytes).unwrap_err();
        let mut told = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(next) = source {
            told = format!("{told}: {next}");
            source = next.source();
        }
        assert!(told.contains(said), "{what}: {told}");
    }
}
