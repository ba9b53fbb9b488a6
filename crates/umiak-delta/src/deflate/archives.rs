//! Archives of every kind, put together by hand, and what is found in them: whole, damaged, cut.

use flate2::Crc;

use super::check::Adler;
use super::encoder::{Encoder, Family, Strategy};
use super::run::Form;
use super::scan::scan;
use super::{Layout, Opening, Recipe, open};

fn text(word: &str) -> Vec<u8> {
    (0..30).map(|n| format!("{n} {word} in the file\n")).collect::<String>().into_bytes()
}

fn packed(plain: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let family = Family::Zlib { memory: 8, strategy: Strategy::Default };
    Encoder::new(family, 6).unwrap().compress(&mut &*plain, &mut out).unwrap();
    out
}

fn crc(parts: &[&[u8]]) -> u32 {
    let mut crc = Crc::new();
    parts.iter().for_each(|part| crc.update(part));
    crc.sum()
}

/// A member with every field that a header may have.
fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut out = b"\x1F\x8B\x08\x1F\0\0\0\0\x02\x03\x03\0abcname\0comment\0hc".to_vec();
    out.extend(packed(plain));
    out.extend(crc(&[plain]).to_le_bytes());
    out.extend((plain.len() as u32).to_le_bytes());
    out
}

fn zlib(plain: &[u8]) -> Vec<u8> {
    let mut adler = Adler::new();
    adler.update(plain);
    [&[0x78, 0x9C][..], &packed(plain), &adler.sum().to_be_bytes()].concat()
}

fn picture(plain: &[u8]) -> Vec<u8> {
    let chunk = |name: &[u8], bytes: &[u8]| {
        [&(bytes.len() as u32).to_be_bytes(), name, bytes, &crc(&[name, bytes]).to_be_bytes()].concat()
    };
    let mut out = b"\x89PNG\r\n\x1A\n".to_vec();
    out.extend(chunk(b"IHDR", &[0; 13]));
    zlib(plain).chunks(40).for_each(|part| out.extend(chunk(b"IDAT", part)));
    out.extend(chunk(b"IEND", b""));
    out
}

/// Two entries, the second with a descriptor, and their directory.
fn zip(plains: [&[u8]; 2]) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for (number, plain) in plains.into_iter().enumerate() {
        let local = out.len() as u32;
        let packed = packed(plain);
        let sizes = [crc(&[plain]), packed.len() as u32, plain.len() as u32].map(u32::to_le_bytes).concat();
        let flags = if number == 1 { 8 } else { 0 };
        let head = [20, 0, flags, 0, 8, 0, 0, 0, 0, 0];
        out.extend(b"PK\x03\x04".iter().chain(&head));
        out.extend(if number == 1 { &[0; 12][..] } else { &sizes });
        out.extend([4, 0, 0, 0]);
        out.extend(b"name");
        out.extend(packed);
        if number == 1 {
            out.extend(b"PK\x07\x08".iter().chain(&sizes));
        }
        directory.extend(b"PK\x01\x02\x14\x03".iter().chain(&head).chain(&sizes));
        directory.extend([4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        directory.extend(local.to_le_bytes());
        directory.extend(b"name");
    }
    let (at, size) = (out.len() as u32, directory.len() as u32);
    out.extend(directory);
    out.extend(b"PK\x05\x06\0\0\0\0\x02\0\x02\0");
    out.extend(size.to_le_bytes().iter().chain(&at.to_le_bytes()));
    out.extend([0, 0]);
    out
}

fn everything(word: &str) -> Vec<u8> {
    let text = text(word);
    [gzip(&text), b"between".to_vec(), zip([&text, &text[..200]]), picture(&text), zlib(&text), b"end".to_vec()]
        .concat()
}

fn close(opening: &Opening) -> Vec<u8> {
    let mut notes = Vec::new();
    opening.layout.encode(&mut notes);
    opening.recipe.encode(&opening.layout, &mut notes);
    let mut rest = notes.as_slice();
    let layout = Layout::decode(&mut rest).unwrap();
    let recipe = Recipe::decode(&mut rest, &layout).unwrap();
    let mut out = Vec::new();
    recipe.wrap(&mut opening.target.as_slice(), &mut out).unwrap();
    out
}

#[test]
fn streams_of_every_form_are_found() {
    let file = everything("line");
    let forms: Vec<Form> = scan(&file).iter().map(|found| found.form).collect();
    assert_eq!(forms, [Form::Gzip, Form::Bare, Form::Descriptor, Form::Directory, Form::Chunked, Form::Zlib]);
    let opening = open(&everything("row"), &file, 1 << 20).unwrap();
    assert_eq!(close(&opening), file);
    let count = |file: &[u8], line: &[u8]| file.windows(line.len()).filter(|window| *window == line).count();
    assert_eq!((count(&opening.target, b"\n29 line in"), count(&opening.base, b"\n29 row in")), (4, 4));
    assert_eq!((count(&opening.target, b"\n7 line in"), count(&opening.base, b"\n7 row in")), (5, 5));
    let records = opening.target.windows(28).filter(|record| record.starts_with(b"PK\x01\x02"));
    // What the streams show is not said again.
    assert_eq!(records.filter(|record| record[16..] == [0; 12]).count(), 2);
}

#[test]
fn damaged_files_close_to_what_they_are() {
    let (base, file) = (everything("row"), everything("line"));
    for at in 0..file.len() {
        let mut damaged = file.clone();
        damaged[at] ^= 0x11;
        let opening = open(&base, &damaged, 1 << 20).unwrap();
        assert!(close(&opening) == damaged, "byte {at}");
        let opening = open(&damaged, &file, 1 << 20);
        // The damaged stream is the only one that is not in both.
        assert!(opening.is_none_or(|opening| close(&opening) == file), "byte {at} of the base");
    }
    for length in (0..file.len()).step_by(3) {
        let opening = open(&base, &file[..length], 1 << 20).unwrap();
        assert!(close(&opening) == file[..length], "cut to {length}");
    }
}

#[test]
fn one_of_two_alike_is_opened_when_the_other_changes() {
    let (line, row) = (gzip(&text("line")), gzip(&text("row")));
    let (base, target) = ([&line[..], &line].concat(), [&line[..], &row].concat());
    let opening = open(&base, &target, 1 << 20).unwrap();
    let opened = [&line[..], &line[..30], &text("line")].concat();
    assert!(opening.base == opened);
    assert!(close(&opening) == target);
}
