//! From a base and a delta to the target, bit for bit.
//!
//! The plan is walked once, in the target's order. Memory: the windows of the streams (40 MiB at most, as a rule below 16), one
//! frame for each open stream, and what predicting a program takes; nothing grows with the size of base or target but
//! eight bytes a content. The result counts only when [`apply`] returns: it has then been read back and hashed.

mod content;
mod output;
mod skeleton;
mod spool;

use std::thread;

use umiak_spec::{Digest, Observer, ReadAt};

use crate::DeltaError;
use crate::container::{Bases, Container, Shape};
use crate::plan::{Origin, PlanReader, Step};
use crate::reading::{Delta, LaneIn};
use crate::streams::{Kind, Lane, StreamId};
use output::Output;
use skeleton::Skeleton;

pub(crate) use content::{MAX_COPIES, MAX_NOTE};
pub use output::Space;
pub use spool::{Place, Spool, SpooledTar, TarReader, VERIFYING, spool};

/// The phase that bytes of the target are counted in.
pub const PHASE: &str = "Applying";

/// Makes temporary files that are read and written at random, for what must be unpacked before it can be used.
pub trait Scratch: Sync {
    /// An empty one, gone when it is dropped.
    ///
    /// # Errors
    /// It cannot be made.
    fn space(&self) -> std::io::Result<Box<dyn Space>>;
}

/// Makes a target of shape [`Shape::Raw`] or [`Shape::Tar`] in `space` and verifies it.
///
/// # Errors
/// [`DeltaError`]; what is in `space` is then worth nothing. [`DeltaError::Base`] when a base is not the delta's.
pub fn apply(
    delta: &Delta<impl ReadAt>,
    bases: &[&dyn Container],
    space: &dyn Space,
    scratch: &dyn Scratch,
    observer: &dyn Observer,
) -> Result<(), DeltaError> {
    check_bases(delta, bases)?;
    let target = delta.index().target;
    if target.shape == Shape::Squashfs {
        return Err(DeltaError::Malformed("a squashfs image is rebuilt by its writer, not by copying"));
    }
    observer.expect(PHASE, target.size);
    let actual = thread::scope(|scope| {
        let (progress, hash) = output::hash_behind(scope, space);
        let output = Output::new(space, target.size, Some(progress));
        let mut walk = Walk::new(delta, bases, output, scratch, observer)?;
        walk.run()?;
        let size = walk.output.position();
        walk.output.settle()?;
        // The hash ends when nobody can tell it of more bytes.
        drop(walk);
        let digest = hash.join().map_err(|_| DeltaError::Malformed("hashing stopped"))??;
        if size == target.size {
            Ok(digest)
        } else {
            Err(DeltaError::Malformed("the parts are shorter than the whole"))
        }
    })?;
    check_target(target.digest, actual)
}

/// Makes all contents in `space`, for nothing but to see what each takes: `watch` is told after each what it was and how
/// many decoded bytes of each stream were used up to then. The result is not verified.
///
/// # Errors
/// As [`apply`].
pub(crate) fn watch(
    delta: &Delta<impl ReadAt>,
    bases: &[&dyn Container],
    space: &dyn Space,
    scratch: &dyn Scratch,
    observer: &dyn Observer,
    mut watch: impl FnMut(&Step, &dyn Fn(StreamId) -> u64),
) -> Result<(), DeltaError> {
    check_bases(delta, bases)?;
    let target = delta.index().target;
    let is_image = target.shape == Shape::Squashfs;
    let limit = if is_image { spool::SPOOL } else { target.size };
    let mut walk = Walk::new(delta, bases, Output::new(space, limit, None), scratch, observer)?;
    walk.spooled = is_image;
    walk.run_watched(|walk, step| watch(step, &|id| walk.used(id)))?;
    walk.output.settle()?;
    Ok(())
}

/// Fails when `actual` is not the target's digest.
///
/// # Errors
/// [`DeltaError::Target`].
pub fn check_target(expected: Digest, actual: Digest) -> Result<(), DeltaError> {
    if actual == expected { Ok(()) } else { Err(DeltaError::Target { expected, actual }) }
}

pub(crate) fn check_bases(delta: &Delta<impl ReadAt>, bases: &[&dyn Container]) -> Result<(), DeltaError> {
    let wanted = &delta.index().bases;
    let same = wanted.len() == bases.len()
        && wanted.iter().zip(bases).all(|(wanted, base)| {
            let parts = base.parts();
            wanted.digest == parts.digest && wanted.size == parts.size && wanted.shape == parts.shape
        });
    if same {
        return Ok(());
    }
    let names = |digests: Vec<Digest>| match digests.as_slice() {
        [] => "nothing".to_owned(),
        digests => digests.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    };
    Err(DeltaError::Base {
        expected: names(wanted.iter().map(|base| base.digest).collect()),
        actual: names(bases.iter().map(|base| base.parts().digest).collect()),
    })
}

/// One walk over a plan.
struct Walk<'a> {
    shape: Shape,
    bases: Bases<'a>,
    plan: Option<crate::reading::Values<'a>>,
    lanes: [Option<LaneIn<'a>>; 4],
    skeleton: Skeleton<'a>,
    output: Output<'a>,
    scratch: &'a dyn Scratch,
    observer: &'a dyn Observer,
    /// Where each content is.
    places: Vec<Place>,
    /// Of each content of a spooled tar.
    spacings: Vec<u64>,
    /// Only what no source has is written, and the skeleton behind it.
    spooled: bool,
}

impl<'a> Walk<'a> {
    fn new(
        delta: &'a Delta<impl ReadAt>,
        bases: &'a [&'a dyn Container],
        output: Output<'a>,
        scratch: &'a dyn Scratch,
        observer: &'a dyn Observer,
    ) -> Result<Self, DeltaError> {
        let bases = Bases::new(bases);
        let (source, size) = bases.open(0)?;
        let index = delta.index();
        let flip = index.target.shape == Shape::Tar;
        let skeleton = Skeleton::new(delta.lane(Lane::Skeleton)?, source, size, index.skeleton, flip);
        Ok(Self {
            shape: index.target.shape,
            bases,
            plan: Some(delta.stream(StreamId::PLAN)?),
            lanes: [
                None,
                Some(delta.lane(Lane::Text)?),
                Some(delta.lane(Lane::Binary)?),
                Some(delta.lane(Lane::Program)?),
            ],
            skeleton,
            output,
            scratch,
            observer,
            places: Vec::new(),
            spacings: Vec::new(),
            spooled: false,
        })
    }

    /// Makes everything; gives where the rest of the skeleton begins.
    fn run(&mut self) -> Result<u64, DeltaError> {
        self.run_watched(|_, _| ())
    }

    /// The same; `watch` sees each content when it is made.
    fn run_watched(&mut self, mut watch: impl FnMut(&Self, &Step)) -> Result<u64, DeltaError> {
        let plan = self.plan.take().ok_or(DeltaError::Malformed("a plan is walked once"))?;
        let bases = Bases::new(self.bases.containers());
        let mut plan = PlanReader::new(&bases, plan);
        while let Some(step) = plan.step()? {
            self.observer.check()?;
            let before = self.output.position();
            self.step(&step)?;
            watch(self, &step);
            self.observer.advance(PHASE, self.output.position() - before);
        }
        let rest = self.output.position();
        self.skeleton.write(u64::MAX, &mut self.output)?;
        Ok(rest)
    }

    /// Decoded bytes of a content's stream that were used.
    fn used(&self, StreamId { lane, kind }: StreamId) -> u64 {
        let number = match kind {
            Kind::Plan => return 0,
            Kind::Model => 0,
            Kind::Bytes => 1,
            Kind::Notes => 2,
        };
        let lane = self.lanes.get(lane as usize).and_then(Option::as_ref);
        lane.map_or(0, |lane| lane.meters[number].used())
    }

    fn step(&mut self, step: &Step) -> Result<(), DeltaError> {
        let in_place = self.shape == Shape::Tar && !self.spooled;
        if in_place {
            self.skeleton.write(step.spacing / 2, &mut self.output)?;
        } else if self.shape == Shape::Tar {
            self.spacings.push(step.spacing);
        }
        if let Some(place) = self.at_hand(step) {
            self.places.push(place);
            return Ok(());
        }
        let offset = self.output.position();
        self.content(step)?;
        if self.output.position() != offset + step.size {
            return Err(DeltaError::Malformed("a content is not as long as the plan says"));
        }
        self.places.push(Place::Spool { offset, size: step.size });
        if in_place && step.spacing.is_multiple_of(2) {
            self.output.zeros(step.size.next_multiple_of(512) - step.size)?;
        }
        Ok(())
    }

    /// Where a content is that need not be made.
    fn at_hand(&self, step: &Step) -> Option<Place> {
        match step.origin {
            _ if !self.spooled => None,
            Origin::Kept(source) => Some(Place::Source(source)),
            Origin::Again(content) => self.places.get(content).copied(),
            Origin::New(_) | Origin::Patched { .. } => None,
        }
    }
}
