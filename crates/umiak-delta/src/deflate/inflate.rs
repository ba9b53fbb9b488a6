//! One raw deflate stream, inflated as it is read; not a byte behind it is taken.

use std::io::{BufRead, Write};

use flate2::{Decompress, FlushDecompress, Status};

use super::DeflateError;

/// Bytes inflated at once.
const BUFFER: usize = 64 << 10;

/// Inflates the stream that `source` begins with, to at most `limit` bytes, and says to how many. `source` is then behind it.
///
/// # Errors
/// It is not a deflate stream, ends early or goes over the limit; reading or writing fails.
pub(super) fn inflate(source: &mut dyn BufRead, out: &mut dyn Write, limit: u64) -> Result<u64, DeflateError> {
    let mut state = Decompress::new(false);
    let mut buffer = vec![0; BUFFER];
    let mut size = 0u64;
    loop {
        let input = source.fill_buf()?;
        let at_end = input.is_empty();
        let (before_in, before_out) = (state.total_in(), state.total_out());
        let status = state
            .decompress(input, &mut buffer, FlushDecompress::None)
            .map_err(|_| DeflateError::Stream("it does not inflate"))?;
        let taken = state.total_in() - before_in;
        let made = state.total_out() - before_out;
        source.consume(usize::try_from(taken).unwrap_or(0));
        size += made;
        if size > limit {
            return Err(DeflateError::Stream("it inflates to more bytes than it should"));
        }
        out.write_all(&buffer[..usize::try_from(made).unwrap_or(0)])?;
        match status {
            Status::StreamEnd => return Ok(size),
            _ if taken == 0 && made == 0 => {
                let why = if at_end { "it ends early" } else { "it does not inflate" };
                return Err(DeflateError::Stream(why));
            }
            _ => {}
        }
    }
}
