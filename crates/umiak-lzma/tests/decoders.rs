//! What the encoder writes, other people's decoders read: liblzma here, `xz` where it is installed.

#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "a test may panic; test bytes may be anything"
)]

use proptest::prelude::*;
use umiak_lzma::{Effort, Encoder, Settings};

const EFFORTS: [Effort; 3] = [Effort::Fast, Effort::Balanced, Effort::Small];

fn encoder(block_size: u32, effort: Effort) -> Encoder {
    Encoder::new(Settings::new(block_size, effort).unwrap())
}

fn encode(encoder: &mut Encoder, plain: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    encoder.encode_block(plain, &mut out);
    out
}

/// Decodes one stream with liblzma, which must use every byte and agree with every check.
fn decode(xz: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(4 << 20);
    let mut stream = liblzma::stream::Stream::new_stream_decoder(16 << 20, 0).unwrap();
    let status = stream.process_vec(xz, &mut plain, liblzma::stream::Action::Finish).unwrap();
    assert_eq!(status, liblzma::stream::Status::StreamEnd);
    assert_eq!(stream.total_in(), xz.len() as u64);
    plain
}

/// liblzma's own size, as mksquashfs calls it.
fn reference_len(plain: &[u8], block_size: u32) -> usize {
    use liblzma::stream::{Action, Check, Filters, LzmaOptions, Stream};
    let mut options = LzmaOptions::new_preset(6).unwrap();
    options.dict_size(block_size);
    let mut filters = Filters::new();
    filters.lzma2(&options);
    let mut out = Vec::with_capacity(plain.len() + 4096);
    Stream::new_stream_encoder(&filters, Check::Crc32).unwrap().process_vec(plain, &mut out, Action::Finish).unwrap();
    out.len()
}

fn random(seed: u64, len: usize) -> Vec<u8> {
    let mut x = seed;
    std::iter::repeat_with(|| {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (x >> 56) as u8
    })
    .take(len)
    .collect()
}

/// Something like a file: words of a small vocabulary, numbers, copies of earlier stretches with changes, runs.
fn mixed(seed: u64, len: usize) -> Vec<u8> {
    let mut dice = random(seed, len * 4).into_iter();
    let mut roll = move || usize::from(dice.next().unwrap_or(1));
    let mut out = Vec::with_capacity(len + 512);
    while out.len() < len {
        match roll() % 8 {
            0 => out.extend(std::iter::repeat_n(0, roll())),
            1 | 2 => {
                let start = (roll() << 8 | roll()) % out.len().max(1);
                let copy: Vec<u8> = out.iter().copied().skip(start).take(roll() + 2).collect();
                out.extend(copy);
                if let Some(last) = out.last_mut() {
                    *last = last.wrapping_add(1);
                }
            }
            3 => out.extend((roll() as u32 * 4099).to_le_bytes()),
            _ => out.extend(format!("word{} ", roll() % 23).bytes()),
        }
    }
    out.truncate(len);
    out
}

#[test]
fn awkward_blocks_come_back() {
    let mut cases: Vec<Vec<u8>> = (0..40).map(|n| mixed(n, n as usize)).collect();
    cases.extend([273, 274, 275, 546, 4095, 65_536, 131_071, 131_072].map(|n| vec![0; n]));
    cases.extend([1, 2, 3, 100, 70_000, 131_072].map(|n| random(n, n as usize)));
    cases.push((0..131_072u32).flat_map(u32::to_le_bytes).take(131_072).collect());
    cases.push(b"ab".repeat(65_536));
    cases.push([random(1, 40_000), random(1, 40_000), mixed(1, 51_072)].concat());
    cases.push([mixed(2, 20_000), random(2, 111_072)].concat());
    for effort in EFFORTS {
        let mut encoder = encoder(131_072, effort);
        for plain in &cases {
            let xz = encode(&mut encoder, plain);
            assert!(decode(&xz) == *plain, "{} bytes, {effort:?}", plain.len());
            assert!(xz.len() <= plain.len() + 64 + plain.len() / 21_845, "{} bytes grew to {}", plain.len(), xz.len());
        }
    }
}

#[test]
fn a_chunk_that_fills_up_is_continued() {
    // Six random bits in a byte: hardly any matches, about 96 KiB coded, so at least two chunks.
    let plain: Vec<u8> = random(7, 131_072).into_iter().map(|byte| byte & 0x3F).collect();
    let xz = encode(&mut encoder(131_072, Effort::Balanced), &plain);
    assert!(decode(&xz) == plain);
    assert!((96 << 10..100 << 10).contains(&xz.len()), "{}", xz.len());
}

#[test]
fn stored_and_coded_chunks_may_follow_each_other() {
    let plain = [random(3, 300_000), mixed(3, 300_000), random(4, 300_000), mixed(4, 100_000)].concat();
    let mut encoder = encoder(1 << 20, Effort::Balanced);
    let xz = encode(&mut encoder, &plain);
    assert!(decode(&xz) == plain);
    assert!(xz.len() < 780_000, "{}", xz.len());
}

#[test]
fn more_than_a_block_is_encoded_too() {
    let plain = mixed(9, 300_000);
    assert!(decode(&encode(&mut encoder(4096, Effort::Balanced), &plain)) == plain);
}

#[test]
fn what_came_before_does_not_matter() {
    let plain = mixed(5, 131_072);
    for effort in EFFORTS {
        let fresh = encode(&mut encoder(131_072, effort), &plain);
        let mut used = encoder(131_072, effort);
        for seed in 0..9 {
            encode(&mut used, &mixed(seed, 9999 * seed as usize));
            encode(&mut used, &random(seed, 70_000));
            assert!(encode(&mut used, &plain) == fresh);
        }
    }
}

#[test]
fn size_stays_near_liblzma() {
    // This executable: machine code, tables and symbols; and text of our own.
    let binary = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    let text = include_bytes!("../src/parse.rs");
    let mut encoder = encoder(131_072, Effort::Balanced);
    let (mut ours, mut theirs) = (0, 0);
    for plain in binary.chunks(131_072).step_by(4).take(12).chain([&text[..]]) {
        ours += encode(&mut encoder, plain).len();
        theirs += reference_len(plain, 131_072);
    }
    assert!(ours * 100 <= theirs * 102, "{ours} bytes, liblzma {theirs}");
}

#[test]
#[ignore = "needs: xz-utils"]
fn xz_reads_it() {
    let dir = tempfile::tempdir().unwrap();
    let plain = mixed(11, 131_072);
    let path = dir.path().join("block.xz");
    std::fs::write(&path, encode(&mut encoder(131_072, Effort::Balanced), &plain)).unwrap();
    let output = std::process::Command::new("xz").args(["--decompress", "--stdout"]).arg(&path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stdout == plain);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn decode_undoes_encode(
        seed: u64, len in 0usize..40_000, alphabet in 1u8.., period in 1usize..5000, effort in 0usize..3, shift in 12u32..21,
    ) {
        let noise = random(seed, len);
        let plain: Vec<u8> = match seed % 3 {
            0 => mixed(seed, len),
            // Few values: short matches everywhere.
            1 => noise.iter().map(|byte| byte % alphabet).collect(),
            // A period with rare changes: long matches, recent distances.
            _ => (0..len).map(|i| noise[i % period % len] ^ u8::from(noise[i] == 0)).collect(),
        };
        let xz = encode(&mut encoder(1 << shift, EFFORTS[effort]), &plain);
        prop_assert!(decode(&xz) == plain);
    }
}
