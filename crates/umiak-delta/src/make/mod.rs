//! From base and target to a delta.
//!
//! Pairs are found, each changed content is coded in the ways that may suit it and the shortest is kept, then all streams are
//! compressed. The delta depends on base, target and effort only. It is the caller who verifies it by applying it.

mod crew;
mod pairing;
mod sketch;

use std::io::Write;
use std::num::NonZeroUsize;

use umiak_spec::{Digest, Observer};

use crate::DeltaError;
use crate::codec::{self, Effort};
use crate::container::{Bases, Container, Part, Shape};
use crate::deflate;
use crate::index::{FRAME, Index, StreamEntry, Whole, feature};
use crate::piece::{LaneOut, Opened, Piece, compressed, read_all};
use crate::plan::{Method, Origin, PlanWriter, Step};
use crate::streams::{Kind, Lane, StreamId, Streams};
use pairing::Pair;

/// The phase that bytes of changed contents are counted in.
pub const PHASE: &str = "Comparing";

/// How a delta is made.
#[derive(Debug, Clone, Copy)]
pub struct MakeOptions {
    /// How hard its streams are pressed.
    pub effort: Effort,
    /// Threads.
    pub threads: NonZeroUsize,
    /// Bytes of memory that matching may take.
    pub memory: u64,
}

impl Default for MakeOptions {
    fn default() -> Self {
        Self { effort: Effort::Smallest, threads: NonZeroUsize::MIN, memory: 1200 << 20 }
    }
}

/// Makes the delta that turns `bases` into `target` and writes its blob.
///
/// # Errors
/// A container cannot be read, the delta cannot be written, there is no memory; cancelled.
pub fn make(
    bases: &[&dyn Container],
    target: &dyn Container,
    options: &MakeOptions,
    out: &mut dyn Write,
    observer: &dyn Observer,
) -> Result<Index, DeltaError> {
    let sources = Bases::new(bases);
    let pairs = pairing::pair(&sources, target, observer)?;
    let maker = Maker { sources: &sources, target, observer, least: least(&sources) };
    let jobs: Vec<usize> = (0..pairs.len()).filter(|number| matches!(pairs[*number], Pair::Like(_))).collect();
    let part = |number: &usize| &target.parts().contents[*number];
    observer.expect(PHASE, jobs.iter().map(|number| part(number).size).sum());
    let weights: Vec<u64> = pairs.iter().enumerate().map(|(number, pair)| maker.weight(number, pair)).collect();
    let weight = |number: &usize| weights[*number];
    let coded =
        crew::run(&jobs, options.threads, options.memory, weight, |number| maker.code(*number, &pairs[*number]))?;

    let (plan, features) = maker.plan(&pairs, &jobs, &coded);
    let mut streams = Streams::default();
    *streams.get(Lane::Skeleton, Kind::Plan) = plan;
    let weight = |lane: &Lane| maker.lane_weight(*lane, &jobs, &coded);
    let lanes =
        crew::run(&Lane::ALL, options.threads, options.memory, weight, |lane| maker.lane(*lane, &jobs, &coded))?;
    for (lane, out) in Lane::ALL.into_iter().zip(lanes) {
        let [model, bytes, notes] = out.finish();
        *streams.get(lane, Kind::Model) = model;
        *streams.get(lane, Kind::Bytes) = bytes;
        *streams.get(lane, Kind::Notes) = notes;
    }
    let streams = streams.finish();
    let compress = |(_, plain): &(StreamId, Vec<u8>)| {
        observer.check()?;
        Ok::<_, DeltaError>(codec::encode(plain, options.effort)?)
    };
    let weight = |(_, plain): &(StreamId, Vec<u8>)| plain.len() as u64 * 2 + (110 << 20);
    let compressed = crew::run(&streams, options.threads, options.memory, weight, compress)?;

    let mut index = maker.index(bases, features);
    for ((id, plain), (codec, stored)) in streams.iter().zip(&compressed) {
        let frames = stored.chunks(FRAME as usize).map(Digest::of).collect();
        let (plain, stored) = (plain.len() as u64, stored.len() as u64);
        index.streams.push(StreamEntry { id: *id, codec: *codec, plain, stored, frames, offset: 0 });
    }
    let head = index.to_bytes();
    out.write_all(&head)?;
    let mut offset = head.len() as u64;
    for (entry, (_, stored)) in index.streams.iter_mut().zip(&compressed) {
        out.write_all(stored)?;
        entry.offset = offset;
        offset += entry.stored;
    }
    Ok(index)
}

/// How one content is made.
struct Coded {
    origin: Origin,
    piece: Option<Piece>,
}

struct Maker<'a> {
    sources: &'a Bases<'a>,
    target: &'a dyn Container,
    observer: &'a dyn Observer,
    /// The smallest source, for contents that are opened but not like any.
    least: Option<usize>,
}

impl Maker<'_> {
    fn part(&self, number: usize) -> &Part {
        &self.target.parts().contents[number]
    }

    /// Bytes of memory that coding a content takes: texts, suffixes, copies with labels.
    fn weight(&self, number: usize, pair: &Pair) -> u64 {
        let Pair::Like(like) = pair else { return 0 };
        let base = like.iter().filter_map(|source| self.sources.part(*source)).map(|part| part.size).max();
        let mut begin = [0; 4];
        let read = self.target.content(number).and_then(|content| content.read_exact_at(&mut begin, 0));
        let opened = |size| if read.is_ok() && deflate::may_open(begin) { deflate::size_guess(size) } else { size };
        opened(base.unwrap_or(0)) * 9 + opened(self.part(number).size) * 5 + (1 << 20)
    }

    /// The shortest way to say a content.
    fn code(&self, number: usize, pair: &Pair) -> Result<Coded, DeltaError> {
        self.observer.check()?;
        let size = self.part(number).size;
        let target = read_all(&self.target.content(number)?, size)?;
        let lane = lane(&target);
        let mut best: Option<(usize, Piece, Lane)> = None;
        let like = if let Pair::Like(like) = pair { like.as_slice() } else { &[] };
        for source in like {
            let (piece, lane) = shortest(&self.source(*source)?, &target, lane)?;
            if best.as_ref().is_none_or(|(_, best, _)| piece.cost < best.cost) {
                best = Some((*source, piece, lane));
            }
        }
        if let (None, Some(least)) = (&best, self.least)
            && let Some(Opened { piece, lane, .. }) = Piece::deflate(&self.source(least)?, &target)?
        {
            best = Some((least, piece, lane));
        }
        self.observer.advance(PHASE, size);
        Ok(match best {
            // Only a poor patch is worth a trial without its source.
            Some((_, piece, _)) if piece.cost * 4 > size && piece.cost >= compressed(&target)? => {
                Coded { origin: Origin::New(lane), piece: None }
            }
            Some((source, piece, lane)) => {
                let method = piece.method;
                Coded { origin: Origin::Patched { source, method, lane }, piece: Some(piece) }
            }
            None => Coded { origin: Origin::New(lane), piece: None },
        })
    }

    fn source(&self, number: usize) -> Result<Vec<u8>, DeltaError> {
        let (bytes, size) = self.sources.open(number)?;
        Ok(read_all(&bytes, size)?)
    }

    /// The plan of all contents, and the features they use.
    fn plan(&self, pairs: &[Pair], jobs: &[usize], coded: &[Coded]) -> (Vec<u8>, u32) {
        let mut plan = PlanWriter::new(self.sources);
        let mut coded = jobs.iter().zip(coded).map(|(_, coded)| coded.origin);
        let mut features = 0;
        for (number, pair) in pairs.iter().enumerate() {
            let origin = match pair {
                Pair::Equal(source) => Some(Origin::Kept(*source)),
                Pair::Again(earlier) => Some(Origin::Again(*earlier)),
                Pair::Like(_) => coded.next(),
            };
            let Some(origin) = origin else { continue };
            if let Origin::Patched { method, .. } = origin {
                features |= feature_of(method);
            }
            let part = self.part(number);
            plan.push(&Step { origin, size: part.size, spacing: part.spacing });
        }
        (plan.finish(), features)
    }

    /// The contents of a lane, in order.
    fn of_lane<'c>(
        &self,
        lane: Lane,
        jobs: &'c [usize],
        coded: &'c [Coded],
    ) -> impl Iterator<Item = (usize, &'c Coded)> {
        let jobs = jobs.iter().copied().zip(coded);
        jobs.filter(move |(_, coded)| match coded.origin {
            Origin::New(of) | Origin::Patched { lane: of, .. } => of == lane,
            Origin::Kept(_) | Origin::Again(_) => false,
        })
    }

    /// Bytes of memory that writing a lane takes.
    fn lane_weight(&self, lane: Lane, jobs: &[usize], coded: &[Coded]) -> u64 {
        let sizes = self.of_lane(lane, jobs, coded).map(|(number, _)| self.part(number).size);
        sizes.max().unwrap_or(0) * 4 + (32 << 20)
    }

    /// Streams of all contents of a lane.
    fn lane(&self, lane: Lane, jobs: &[usize], coded: &[Coded]) -> Result<LaneOut, DeltaError> {
        let mut out = LaneOut::new();
        if lane == Lane::Skeleton {
            let target = read_all(&self.target.skeleton()?, self.target.parts().skeleton)?;
            let base = self.source(0)?;
            Piece::plain(&base, &target)?.write(&base, &target, &mut out)?;
        }
        for (number, coded) in self.of_lane(lane, jobs, coded) {
            self.observer.check()?;
            let target = read_all(&self.target.content(number)?, self.part(number).size)?;
            match (coded.origin, &coded.piece) {
                (Origin::Patched { source, .. }, Some(piece)) => {
                    piece.write(&self.source(source)?, &target, &mut out)?;
                }
                _ => out.bytes.extend_from_slice(&target),
            }
        }
        Ok(out)
    }

    fn index(&self, bases: &[&dyn Container], features: u32) -> Index {
        let whole = |container: &dyn Container| {
            let parts = container.parts();
            Whole { shape: parts.shape, digest: parts.digest, size: parts.size }
        };
        let target = whole(self.target);
        let squashfs = if target.shape == Shape::Squashfs { feature::SQUASHFS } else { 0 };
        Index {
            features: features | squashfs,
            target,
            skeleton: self.target.parts().skeleton,
            bases: bases.iter().map(|base| whole(*base)).collect(),
            streams: Vec::new(),
        }
    }
}

fn feature_of(method: Method) -> u32 {
    match method {
        Method::Plain => 0,
        Method::Program => feature::PROGRAMS,
        Method::Deflate => feature::DEFLATE,
    }
}

/// The shortest of the ways to patch `base` into `target`, and the lane for it.
fn shortest(base: &[u8], target: &[u8], lane: Lane) -> Result<(Piece, Lane), DeltaError> {
    if lane == Lane::Program
        && let Some(piece) = Piece::program(base, target)?
    {
        return Ok((piece, lane));
    }
    let mut opened = Piece::deflate(base, target)?;
    if let Some(Opened { piece, lane, .. }) = opened.take_if(|opened| opened.is_clear()) {
        return Ok((piece, lane));
    }
    let plain = Piece::plain(base, target)?;
    match opened {
        Some(Opened { piece, lane, .. }) if piece.cost < plain.cost => Ok((piece, lane)),
        _ => Ok((plain, lane)),
    }
}

/// The smallest source that is a content.
fn least(sources: &Bases<'_>) -> Option<usize> {
    let sizes = (1..=sources.count()).filter_map(|number| Some((sources.part(number)?.size, number)));
    sizes.min().map(|(_, number)| number)
}

/// Files of a like nature share a lane.
pub(crate) fn lane(bytes: &[u8]) -> Lane {
    if bytes.starts_with(b"\x7FELF") {
        return Lane::Program;
    }
    let sample = &bytes[..bytes.len().min(4096)];
    let strange = sample.iter().filter(|byte| **byte < 32 && !matches!(byte, b'\n' | b'\r' | b'\t')).count();
    if strange * 32 <= sample.len() { Lane::Text } else { Lane::Binary }
}
