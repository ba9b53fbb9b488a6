//! Compressed streams: our encoders beside `gzip` and zlib, and deltas between archives that real programs wrote.

#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(clippy::cast_possible_truncation, reason = "test sizes are small")]

mod common;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use common::{Memory, apply_delta, make_delta};
use umiak_delta::MakeOptions;
use umiak_delta::container::Plain;
use umiak_delta::deflate::{Encoder, Family, Strategy};
use umiak_delta::index::{Index, feature};
use umiak_spec::Digest;

/// Words, numbers, noise, zeros and long repetitions: blocks of every kind, matches of every length and distance.
fn text(size: usize) -> Vec<u8> {
    let mut state = 0x2545_F491_4F6C_DD1Du64;
    let mut next = move |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) % below
    };
    let mut out = Vec::new();
    while out.len() < size {
        match next(64) {
            0 => (0..next(4000)).for_each(|_| out.push(next(256) as u8)),
            1 => out.extend(std::iter::repeat_n(0, next(3000) as usize)),
            2 | 3 => {
                let from = next(out.len() as u64 + 1) as usize;
                let length = next(2000) as usize;
                out.extend_from_within(from..(from + length).min(out.len()));
            }
            4..12 => out.extend(format!("{:06} ", next(1_000_000)).bytes()),
            _ => {
                let word = next(900);
                out.extend((0..2 + word % 7).map(|at| b'a' + (((word * 31) >> at) % 26) as u8).chain([b' ']));
            }
        }
    }
    out.truncate(size);
    out
}

fn packed(encoder: Encoder, plain: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    encoder.compress(&mut &*plain, &mut out).unwrap();
    out
}

fn zlib(memory: u8, strategy: Strategy, level: u8) -> Encoder {
    Encoder::new(Family::Zlib { memory, strategy }, level).unwrap()
}

/// Name, memory and strategy of zlib or none for GNU gzip, digest.
type Golden = (&'static str, Option<(u8, Strategy)>, &'static str);

/// What gzip 1.12 and zlib 1.2.13 make of [`text`], all levels joined and hashed; seen once beside the real ones.
const GOLDEN: [Golden; 6] = [
    ("gzip", None, "19553ddb011815b910a1c87dad34975559041772f3a01a7715a33e21cb4160a4"),
    ("memory 8", Some((8, Strategy::Default)), "d31e46d5d35ace82ab3a13a57b5b4d0115cfc289ab963088a4ae5371b3d70361"),
    ("memory 9", Some((9, Strategy::Default)), "9bf64c2c293e3788ceea03cba88fcb0f254f016a84274304e71caff1ce41e203"),
    ("memory 1", Some((1, Strategy::Default)), "512825293a19304dd46a96f558671a1953ad9565ca301cc76db4d6af870abd55"),
    ("filtered", Some((8, Strategy::Filtered)), "0a88ebf0fc488e58441fb91a120f2c76957504d51b5da13d472a57d9ef8b6c4c"),
    ("fixed", Some((8, Strategy::Fixed)), "9a86c131a01e540ca2ec55a56562c4f27e39c6126acf29b178cf4dbd4da03780"),
];

#[test]
fn streams_are_what_they_were() {
    let plain = text(300_000);
    for (name, family, digest) in GOLDEN {
        let made: Vec<u8> = (1..=9)
            .flat_map(|level| {
                let gnu = Encoder::new(Family::Gnu, level).unwrap();
                packed(family.map_or(gnu, |(memory, strategy)| zlib(memory, strategy, level)), &plain)
            })
            .collect();
        assert_eq!(Digest::of(&made).to_string(), format!("sha256:{digest}"), "{name}");
    }
}

/// Sizes where the window slides, input is read, or nothing is there.
const SIZES: [usize; 14] =
    [0, 1, 2, 3, 100, 32_768, 65_273, 65_274, 65_275, 65_536, 98_304, 131_072, 262_149, 1_000_000];

fn gzip(level: u8, plain: &[u8]) -> Vec<u8> {
    let mut child = Command::new("gzip")
        .args(["-n", "-c", &format!("-{level}")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let plain = plain.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&plain));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success());
    output.stdout
}

#[test]
#[ignore = "needs: gzip"]
fn gzip_makes_the_same_bytes() {
    let plain = text(1_000_000);
    for level in 1..=9 {
        for size in SIZES {
            let made = packed(Encoder::new(Family::Gnu, level).unwrap(), &plain[..size]);
            let theirs = gzip(level, &plain[..size]);
            assert!(made == theirs[10..theirs.len() - 8], "level {level}, {size} bytes");
        }
    }
}

fn python(script: &str, directory: &Path) {
    let status = Command::new("python3").args(["-c", script]).current_dir(directory).status().unwrap();
    assert!(status.success());
}

/// Every setting on a few sizes; `out` holds the streams, each behind its length, in the order of the loops.
const ZLIB: &str = "
import zlib, struct
text = open('text', 'rb').read()
with open('out', 'wb') as out:
    for size in (0, 2, 65274, 98304, 262149):
        for strategy in (0, 1, 2, 4):
            for memory in range(1, 10):
                for level in range(1, 10):
                    z = zlib.compressobj(level, 8, -15, memory, strategy)
                    made = z.compress(text[:size]) + z.flush()
                    out.write(struct.pack('<I', len(made)) + made)
";

#[test]
#[ignore = "needs: python3"]
fn zlib_makes_the_same_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let plain = text(262_149);
    fs::write(directory.path().join("text"), &plain).unwrap();
    python(ZLIB, directory.path());
    let out = fs::read(directory.path().join("out")).unwrap();
    let mut rest = out.as_slice();
    for size in [0, 2, 65_274, 98_304, 262_149] {
        for strategy in [Strategy::Default, Strategy::Filtered, Strategy::Huffman, Strategy::Fixed] {
            for (memory, level) in (1..=9).flat_map(|memory| (1..=9).map(move |level| (memory, level))) {
                let (length, behind) = rest.split_first_chunk().unwrap();
                let (theirs, behind) = behind.split_at(u32::from_le_bytes(*length) as usize);
                rest = behind;
                let made = packed(zlib(memory, strategy, level), &plain[..size]);
                assert!(made == theirs, "{size} bytes, {strategy:?}, memory {memory}, level {level}");
            }
        }
    }
    assert!(rest.is_empty());
}

/// Makes the delta and applies it; both files are opened, and it is smaller than `most`.
fn small(base: &[u8], target: &[u8], most: usize) {
    let whole = |bytes| Plain::new(bytes, b"file", <[u8]>::len(bytes) as u64, Digest::of(bytes));
    let (base, made) = (whole(base), whole(target));
    let blob = make_delta(&[&base], &made, &MakeOptions::default());
    assert_eq!(Index::head(blob[..48].try_into().unwrap()).unwrap().features, feature::DEFLATE);
    assert!(blob.len() < most, "{} bytes", blob.len());
    assert!(apply_delta(&[&base], &blob).unwrap() == target);
}

/// The text with one word more.
fn changed(plain: &[u8]) -> Vec<u8> {
    [&plain[..20_000], b"changed ", &plain[20_000..]].concat()
}

#[test]
#[ignore = "needs: gzip"]
fn a_changed_word_in_a_gzip_file_costs_little() {
    let plain = text(400_000);
    for level in [1, 6, 9] {
        small(&gzip(level, &plain), &gzip(level, &changed(&plain)), 500);
    }
    let members = |plain: &[u8]| plain.chunks(100_000).flat_map(|part| gzip(9, part)).collect::<Vec<u8>>();
    small(&members(&plain), &members(&changed(&plain)), 700);
}

#[test]
fn what_a_new_archive_holds_is_coded_opened() {
    let plain = text(200_000);
    let mut crc = flate2::Crc::new();
    crc.update(&plain);
    let mut member = b"\x1F\x8B\x08\0\0\0\0\0\0\x03".to_vec();
    member.extend(packed(Encoder::new(Family::Gnu, 6).unwrap(), &plain));
    member.extend(crc.sum().to_le_bytes());
    member.extend((plain.len() as u32).to_le_bytes());
    let file = |name: &str, bytes: &[u8]| (vec![1; 512], name.to_owned(), bytes.to_vec());
    let base = Memory::new(&[file("a", b"not like it"), file("b", &[7; 90])], &[0; 1024]);
    let target = Memory::new(&[file("a", b"not like it"), file("new.gz", &member)], &[0; 1024]);
    let blob = make_delta(&[&base], &target, &MakeOptions::default());
    assert_eq!(Index::head(blob[..48].try_into().unwrap()).unwrap().features, feature::DEFLATE);
    assert!(blob.len() < member.len() * 9 / 10, "{} of {}", blob.len(), member.len());
    assert!(apply_delta(&[&base], &blob).unwrap() == target.bytes);
}

/// Archives of Python's and PNG pictures made as libpng makes them, of `text` and `changed`.
const ARCHIVES: &str = "
import zipfile, zlib, struct
def archive(name, text, level):
    with zipfile.ZipFile(name, 'w', zipfile.ZIP_DEFLATED, compresslevel=level) as z:
        for number in range(0, len(text), 9973):
            info = zipfile.ZipInfo('directory/%d.txt' % (number // 9973))
            z.writestr(info, text[number:number + 9973], zipfile.ZIP_DEFLATED)
def chunk(kind, content):
    return struct.pack('>I', len(content)) + kind + content + struct.pack('>I', zlib.crc32(kind + content))
def picture(name, text, piece, strategy):
    z = zlib.compressobj(9, 8, 15, 9, strategy)
    made = z.compress(text) + z.flush()
    parts = [chunk(b'IDAT', made[at:at + piece]) for at in range(0, len(made), piece)]
    head = chunk(b'IHDR', struct.pack('>IIBBBBB', 100, len(text) // 100, 8, 0, 0, 0, 0))
    open(name, 'wb').write(b'\\x89PNG\\r\\n\\x1a\\n' + head + b''.join(parts) + chunk(b'IEND', b''))
for side in 'base', 'target':
    text = open(side, 'rb').read()
    archive(side + '.zip', text, 6)
    archive(side + '.whl', text, 9)
    with zipfile.ZipFile(side + '.jar', 'w') as z:
        z.writestr(zipfile.ZipInfo('library.jar'), open(side + '.whl', 'rb').read())
        z.writestr(zipfile.ZipInfo('class'), text[:30000], zipfile.ZIP_DEFLATED)
    picture(side + '.png', text, 8192, 1)
    with open(side + '.rdb', 'wb') as out:
        for number in range(0, len(text), 50000):
            part = text[number:number + 50000]
            out.write(struct.pack('>I', len(part)) + zlib.compress(part))
    picture(side + '.one', text, 1 << 30, 0)
";

#[test]
#[ignore = "needs: python3"]
fn a_changed_word_in_archives_and_pictures_costs_little() {
    let directory = tempfile::tempdir().unwrap();
    let read = |name: &str| fs::read(directory.path().join(name)).unwrap();
    let plain = text(400_000);
    // The sizes of archived files do not change, so only one of them does.
    let mut other = plain.clone();
    other[20_000..20_008].copy_from_slice(b"changed ");
    fs::write(directory.path().join("base"), &plain).unwrap();
    fs::write(directory.path().join("target"), &other).unwrap();
    python(ARCHIVES, directory.path());
    for kind in ["zip", "whl", "png", "one", "jar", "rdb"] {
        small(&read(&format!("base.{kind}")), &read(&format!("target.{kind}")), 500);
    }
}

#[test]
#[ignore = "needs: zip"]
fn a_changed_word_in_an_info_zip_archive_costs_little() {
    let directory = tempfile::tempdir().unwrap();
    let archive = |plain: &[u8], name: &str| {
        for (number, part) in plain.chunks(150_000).enumerate() {
            fs::write(directory.path().join(format!("file{number}")), part).unwrap();
        }
        let mut zip = Command::new("zip");
        zip.args(["-q", "-X", "-9", name, "file0", "file1", "file2"]).current_dir(directory.path());
        assert!(zip.status().unwrap().success());
        fs::read(directory.path().join(name)).unwrap()
    };
    let plain = text(400_000);
    let (base, target) = (archive(&plain, "base.zip"), archive(&changed(&plain), "target.zip"));
    small(&base, &target, 700);
}
