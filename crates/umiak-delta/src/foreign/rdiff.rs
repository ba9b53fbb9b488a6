//! librsync delta streams: what `rdiff delta` writes, and what each layer of a balena delta image holds.
//!
//! Four bytes `72 73 02 36`, then operations until operation 0; every number is big-endian. There is nothing after
//! the end. The format has no digest and no size of the target.

use std::io::{BufReader, Read, Write};

use umiak_spec::{Observer, ReadAt};

use super::output::{Output, check_range};
use super::{Bounds, ForeignError, PIECE};

/// What it begins with.
pub(super) const MAGIC: [u8; 4] = 0x7273_0236_u32.to_be_bytes();

/// Bytes of a number, in the order in which operations are numbered.
const WIDTHS: [usize; 4] = [1, 2, 4, 8];

/// One operation, its numbers read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operation {
    End,
    Literal { length: u64 },
    Copy { position: u64, length: u64 },
}

/// Applies a librsync delta to `base` and writes the target to `out`; returns how many bytes that were.
///
/// balena's base is the concatenation of the uncompressed tars of all base layers ([`super::Basis`]). The delta is
/// read to its end and a little ahead. Memory is a few times 64 KiB.
///
/// # Errors
/// [`ForeignError`]: a malformed, cut off or continued delta, a range that the base does not have, an exceeded bound,
/// or what reading, writing and the observer report.
pub fn rdiff(
    base: &dyn ReadAt,
    delta: &mut dyn Read,
    out: &mut dyn Write,
    bounds: &Bounds,
    observer: &dyn Observer,
) -> Result<u64, ForeignError> {
    let mut delta = BufReader::with_capacity(PIECE, delta);
    let size = base.len().map_err(ForeignError::Base)?;
    let mut magic = [0; 4];
    delta.read_exact(&mut magic).map_err(ForeignError::delta)?;
    if magic != MAGIC {
        return Err(ForeignError::Magic("a librsync delta"));
    }
    let mut output = Output::new(out, bounds, observer);
    loop {
        output.operation()?;
        match operation(&mut delta)? {
            Operation::End => break,
            Operation::Literal { length } => output.literal(&mut delta, length)?,
            Operation::Copy { position, length } => {
                check_range(position, length, size, "the base")?;
                output.copy(base, position, length)?;
            }
        }
    }
    match delta.bytes().next() {
        None => output.finish(),
        Some(Ok(_)) => Err(ForeignError::Trailing("its end")),
        Some(Err(error)) => Err(ForeignError::delta(error)),
    }
}

/// Reads the next operation and its numbers.
fn operation(delta: &mut impl Read) -> Result<Operation, ForeignError> {
    let mut byte = [0];
    delta.read_exact(&mut byte).map_err(ForeignError::delta)?;
    let mut number = |width: usize| -> Result<u64, ForeignError> {
        let mut bytes = [0; 8];
        delta.read_exact(&mut bytes[8 - width..]).map_err(ForeignError::delta)?;
        Ok(u64::from_be_bytes(bytes))
    };
    match byte[0] {
        0 => Ok(Operation::End),
        length @ 0x01..=0x40 => Ok(Operation::Literal { length: length.into() }),
        code @ 0x41..=0x44 => Ok(Operation::Literal { length: number(WIDTHS[usize::from(code - 0x41)])? }),
        code @ 0x45..=0x54 => {
            let pair = usize::from(code - 0x45);
            Ok(Operation::Copy { position: number(WIDTHS[pair / 4])?, length: number(WIDTHS[pair % 4])? })
        }
        code => Err(ForeignError::Operation(code)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_has_its_widths() {
        let read = |bytes: &[u8]| operation(&mut &*bytes);
        for length in 1..=64 {
            assert_eq!(read(&[length]).unwrap(), Operation::Literal { length: length.into() });
        }
        for (outer, one) in WIDTHS.iter().enumerate() {
            let literal = [vec![0x41 + outer as u8], vec![0; one - 1], vec![7]].concat();
            assert_eq!(read(&literal).unwrap(), Operation::Literal { length: 7 });
            for (inner, other) in WIDTHS.iter().enumerate() {
                let code = 0x45 + (4 * outer + inner) as u8;
                let copy = [vec![code], vec![0; one - 1], vec![3], vec![0; other - 1], vec![9]].concat();
                assert_eq!(read(&copy).unwrap(), Operation::Copy { position: 3, length: 9 }, "{code:#x}");
                assert!(matches!(read(&copy[..copy.len() - 1]), Err(ForeignError::Truncated)));
            }
        }
        for code in 0x55..=0xFF {
            assert!(matches!(read(&[code, 1, 1]), Err(ForeignError::Operation(found)) if found == code));
        }
    }
}
