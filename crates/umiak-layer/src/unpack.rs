//! The second pass over a layer that was surveyed: skeleton bytes and wanted files as they come, then single contents.
//!
//! Paths and sizes are compared with the survey's index. Contents are for the taker to compare with their digests (a squashfs
//! writer does), the skeleton's bytes with [`Survey::skeleton_digest`].

use std::io::{self, BufRead, Read};

use umiak_spec::{Limits, Observer};

use crate::LayerError;
use crate::ahead::{Ahead, read_ahead};
use crate::contents::hand_out;
use crate::reader::TarReader;
use crate::skeleton::Skeleton;
use crate::skeleton_walk::{Found, Parts, Walk};
use crate::survey::{Flipped, Looking, Survey};

/// Reads the uncompressed layer to its end: `skeleton` gets the skeleton's bytes in the form of [`crate::SkeletonView`], `take` the
/// contents of the `wanted` entries (numbers of entries, sorted), in the archive's order.
///
/// # Errors
/// As [`crate::for_each_content`]; what `skeleton` says.
pub fn unpack<E: From<LayerError>>(
    source: impl Read + Send,
    survey: &Survey,
    wanted: &[u32],
    limits: &Limits,
    observer: &dyn Observer,
    skeleton: &mut dyn FnMut(&[u8]) -> Result<(), LayerError>,
    take: impl FnMut(u32, &mut dyn Read) -> Result<(), E>,
) -> Result<(), E> {
    let open = || -> io::Result<Box<dyn Read>> { Ok(Box::new(source)) };
    let pass = |ahead: &mut Ahead<'_>| -> Result<(), E> {
        let parts = Passing(Flipped::new(skeleton));
        let looking = Looking { inner: ahead, walk: Walk::new(limits.expanded, parts), failed: None };
        let mut reader = TarReader::new(looking, *limits);
        hand_out(&mut reader, &survey.index, wanted, false, observer, take)?;
        let mut looking = reader.into_inner();
        looking.drain(observer)?;
        let (_, Passing(flipped)) = looking.walk.finish()?;
        flipped.finish(|skeleton, bytes| skeleton(bytes))?;
        Ok(())
    };
    read_ahead(open, &mut |_| {}, pass).map_err(LayerError::read)?
}

/// Takes bytes.
type Take<'s> = &'s mut dyn FnMut(&[u8]) -> Result<(), LayerError>;

/// Passes the skeleton on.
struct Passing<'s>(Flipped<Take<'s>>);

impl Parts for Passing<'_> {
    fn skeleton(&mut self, bytes: &[u8]) -> Result<(), LayerError> {
        self.0.push(bytes, |skeleton, bytes| skeleton(bytes))
    }

    fn content(&mut self, _: &[u8]) -> Result<(), LayerError> {
        Ok(())
    }

    fn end(&mut self, _: Found) -> Result<(), LayerError> {
        Ok(())
    }
}

/// Calls `take` with the skeleton's contents of these numbers (sorted), read out of the uncompressed archive, and stops reading
/// after the last. Nothing is compared: that is for `take`.
///
/// # Errors
/// Errors of `take`; the archive cannot be read or is too short.
pub fn for_each_part<E: From<LayerError>>(
    source: impl Read + Send,
    skeleton: &Skeleton,
    wanted: &[u32],
    observer: &dyn Observer,
    mut take: impl FnMut(u32, &mut dyn Read) -> Result<(), E>,
) -> Result<(), E> {
    let open = || -> io::Result<Box<dyn Read>> { Ok(Box::new(source)) };
    let pass = |ahead: &mut Ahead<'_>| -> Result<(), E> {
        let mut position = 0;
        for number in wanted {
            let missing = || LayerError::NotAsIndexed { ordinal: *number, reason: "is no content of the skeleton" };
            let content = usize::try_from(*number).ok().and_then(|number| skeleton.contents.get(number));
            let content = content.ok_or_else(missing)?;
            pass_over(ahead, content.offset.saturating_sub(position), observer)?;
            let mut part = ahead.take(content.size);
            take(*number, &mut part)?;
            let left = part.limit();
            pass_over(ahead, left, observer)?;
            position = content.offset + content.size;
        }
        Ok(())
    };
    read_ahead(open, &mut |_| {}, pass).map_err(LayerError::read)?
}

fn pass_over(source: &mut impl BufRead, mut count: u64, observer: &dyn Observer) -> Result<(), LayerError> {
    while count > 0 {
        observer.check()?;
        let available = source.fill_buf().map_err(LayerError::read)?.len();
        if available == 0 {
            return Err(LayerError::Read(io::ErrorKind::UnexpectedEof.into()));
        }
        let step = usize::try_from(count).map_or(available, |count| count.min(available));
        source.consume(step);
        count -= step as u64;
    }
    Ok(())
}
