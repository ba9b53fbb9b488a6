//! Whether a delta is worth having: not when the target compressed on its own is smaller.

use std::io::{self, Read, Write};

use umiak_spec::Observer;

use super::parts::{Bytes, InOrder};

/// Whether `size` bytes of delta are fewer than `target` compressed with zstd at level 19. A quick level decides when
/// it is clear; level 19 never makes half of what level 3 makes of real files.
pub(super) fn is_worth(size: u64, target: &Bytes, observer: &dyn Observer) -> io::Result<bool> {
    if size < compressed(target, 3, observer)? / 3 {
        return Ok(true);
    }
    Ok(size < compressed(target, 19, observer)?)
}

fn compressed(target: &Bytes, level: i32, observer: &dyn Observer) -> io::Result<u64> {
    let mut encoder = zstd::stream::write::Encoder::new(Counting(0), level)?;
    let mut reader = InOrder::new(target);
    let mut buffer = vec![0; 256 << 10];
    loop {
        observer.check()?;
        match reader.read(&mut buffer)? {
            0 => return Ok(encoder.finish()?.0),
            length => encoder.write_all(&buffer[..length])?,
        }
    }
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
