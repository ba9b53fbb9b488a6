//! What a listing says about the encoder: what it makes of a text that everybody can write.
//!
//! Compressor libraries change their output between releases. With the mark of the encoder in the listing, a program with
//! another one refuses at once instead of making another image.

use umiak_spec::Digest;

use crate::Error;
use crate::codec::Encoder;
use crate::compressor::Settings;

/// Bytes of the text, at most.
const TEXT: usize = 64 << 10;

/// The first four bytes of the SHA-256 of the text as a compressed block, or as it is where that is no larger.
pub(super) fn mark(settings: Settings) -> Result<[u8; 4], Error> {
    let text = text(TEXT.min(settings.block_size as usize));
    let failed = |source| Error::Compress { compressor: settings.compressor.name(), source };
    let mut packed = Vec::new();
    let smaller =
        Encoder::new(settings).and_then(|mut encoder| encoder.compress(&text, &mut packed)).map_err(failed)?;
    let digest = Digest::of(if smaller { &packed } else { &text });
    let [a, b, c, d, ..] = *digest.as_bytes();
    Ok([a, b, c, d])
}

/// Letters by chance, three times in four a repetition of 3 to 32 bytes from anywhere before.
fn text(length: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = move |limit: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap_or(0) % limit
    };
    let mut text = Vec::with_capacity(length + 32);
    while text.len() < length {
        if text.len() >= 256 && next(4) > 0 {
            let (distance, count) = (1 + next(text.len()), 3 + next(30));
            (0..count).for_each(|_| text.push(text[text.len() - distance]));
        } else {
            text.push(b' ' + u8::try_from(next(64)).unwrap_or(0));
        }
    }
    text.truncate(length);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Compressor;

    #[test]
    fn the_text_is_the_specified_one_and_marks_tell_settings_apart() {
        let text = text(TEXT);
        assert_eq!(&text[..16], br"69,F:S:VIZ[R\@Z,");
        assert_eq!(Digest::of(&text).short(), "35eca15d46cc");
        let mark = |level| mark(Settings::new(Compressor::Xz, Some(level), 131_072).unwrap()).unwrap();
        assert_eq!(mark(4), mark(6));
        assert!(mark(3) != mark(6) && mark(6) != mark(9));
    }
}
