//! The hash by which ext4 orders the names of a large directory: half of MD4, from a seed that each file system has.
//!
//! As in the file system's documentation ("Directory Hash Tree"), with signed characters, as x86 and `mkfs` there
//! have it: names beyond ASCII hash otherwise on a file system that was made on ARM.

/// The seed as `mkfs.ext4 -E hash_seed=UUID` takes it and the superblock has it; zeros are MD4's own start.
pub type HashSeed = [u8; 16];

const START: [u32; 4] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];

/// Words of a name that are hashed at a time.
const WORDS: usize = 8;

/// The hash of a name: even, and below the mark of the end.
pub(super) fn half_md4(name: &[u8], seed: &HashSeed) -> u32 {
    let mut state = START;
    if seed.iter().any(|byte| *byte != 0) {
        let (words, _) = seed.as_chunks::<4>();
        state.iter_mut().zip(words).for_each(|(word, bytes)| *word = u32::from_le_bytes(*bytes));
    }
    let mut rest = name;
    while !rest.is_empty() {
        transform(&mut state, &words(rest));
        rest = &rest[rest.len().min(4 * WORDS)..];
    }
    let hash = state[1] & !1;
    if hash == 0xffff_fffe { hash - 2 } else { hash }
}

/// The first bytes of `rest` as words, filled up with its length.
fn words(rest: &[u8]) -> [u32; WORDS] {
    let length = u32::try_from(rest.len()).unwrap_or(u32::MAX);
    let pad = length | length << 8;
    let pad = pad | pad << 16;
    let mut words = [pad; WORDS];
    for (word, bytes) in words.iter_mut().zip(rest.chunks(4)) {
        *word = bytes.iter().fold(pad, |word, byte| (word << 8).wrapping_add_signed(i32::from(byte.cast_signed())));
    }
    words
}

fn transform(state: &mut [u32; 4], input: &[u32; WORDS]) {
    type Mix = fn(u32, u32, u32) -> u32;
    const ROUNDS: [(Mix, u32, [usize; WORDS], [u32; 4]); 3] = [
        (|x, y, z| z ^ (x & (y ^ z)), 0, [0, 1, 2, 3, 4, 5, 6, 7], [3, 7, 11, 19]),
        (|x, y, z| (x & y).wrapping_add((x ^ y) & z), 0x5a82_7999, [1, 3, 5, 7, 0, 2, 4, 6], [3, 5, 9, 13]),
        (|x, y, z| x ^ y ^ z, 0x6ed9_eba1, [3, 7, 2, 6, 1, 5, 0, 4], [3, 9, 11, 15]),
    ];
    let mut now = *state;
    for (mix, constant, order, turns) in ROUNDS {
        for (step, at) in order.into_iter().enumerate() {
            let [a, b, c, d] = now;
            let sum = a.wrapping_add(mix(b, c, d)).wrapping_add(input[at]).wrapping_add(constant);
            now = [d, sum.rotate_left(turns[step % 4]), b, c];
        }
    }
    state.iter_mut().zip(now).for_each(|(word, mixed)| *word = word.wrapping_add(mixed));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `debugfs -R "dx_hash -h half_md4 [-s SEED] NAME"` of e2fsprogs 1.47 says.
    #[test]
    fn hashes_are_those_of_e2fsprogs() {
        let seed: HashSeed = [0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc, 0xde, 0xf0, 1, 2, 3, 4, 5, 6, 7, 8];
        for (name, plain, seeded) in GOLDEN {
            assert_eq!(half_md4(name.as_bytes(), &[0; 16]), plain, "{name}");
            assert_eq!(half_md4(name.as_bytes(), &seed), seeded, "{name}");
        }
    }

    const GOLDEN: [(&str, u32, u32); 5] = [
        ("a", 0xd5fa7d7a, 0x92007e50),
        ("passwd", 0xeadd3d7e, 0xfcc21cd2),
        ("libstdc++.so.6.0.30", 0x740f7214, 0x9cb4182c),
        ("a-name-of-more-than-thirty-two-bytes-that-takes-two-rounds", 0x97f9b186, 0xba565114),
        ("Bürgermeister-straße", 0x25cdc876, 0xd596ea4),
    ];
}
