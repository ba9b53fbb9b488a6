//! Whether a delta is worth having: not when the target compressed on its own is smaller.

use std::io::{self, Read, Write};

use umiak_spec::Observer;

use super::parts::{Bytes, InOrder};

/// Whether `size` bytes of delta are fewer than `target` compressed with zstd at level 19. A quick level decides when
/// it is clear: level 19 never makes a third of what level 3 makes of real files.
pub(super) fn is_worth(size: u64, target: &Bytes, observer: &dyn Observer) -> io::Result<bool> {
    Ok(exceeds(target, 3, size.saturating_mul(3), observer)? || exceeds(target, 19, size, observer)?)
}

/// Whether `target` compressed at `level` has more than `bound` bytes; no more of it is compressed than that needs.
fn exceeds(target: &Bytes, level: i32, bound: u64, observer: &dyn Observer) -> io::Result<bool> {
    let mut encoder = zstd::stream::write::Encoder::new(Counting(0), level)?;
    let mut reader = InOrder::new(target);
    let mut buffer = vec![0; 256 << 10];
    while encoder.get_ref().0 <= bound {
        observer.check()?;
        match reader.read(&mut buffer)? {
            0 => return Ok(encoder.finish()?.0 > bound),
            length => encoder.write_all(&buffer[..length])?,
        }
    }
    Ok(true)
}

struct Counting(u64);

impl Write for Counting {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use umiak_spec::Silent;

    use super::*;

    #[test]
    fn worth_is_what_is_smaller_than_the_target_compressed() {
        let text: Vec<u8> = (0..20_000u32).flat_map(|line| format!("line {line}\n").into_bytes()).collect();
        let packed = zstd::encode_all(text.as_slice(), 19).unwrap().len() as u64;
        let target: Bytes = Arc::new(text);
        for (size, worth) in [(0, true), (packed / 9, true), (packed - 1, true), (packed, false), (u64::MAX, false)] {
            assert_eq!(is_worth(size, &target, &Silent).unwrap(), worth, "{size} of {packed}");
        }
        let nothing: Bytes = Arc::new(Vec::new());
        assert!(!is_worth(1000, &nothing, &Silent).unwrap());
    }
}
