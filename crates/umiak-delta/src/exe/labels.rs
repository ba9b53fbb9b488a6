//! The maker's second look at a pair of programs: with references replaced by labels, what only moved is equal.
//!
//! Every reference of the base is replaced by a hash of where it points; one of the target by the hash of what that was in the base, as far
//! as a first alignment tells. Aligning these texts finds copies that distances hid. An applier needs none of this.

use std::io;

use umiak_spec::ReadAt as _;

use super::elf::{Elf, Role, u64_at};
use super::finder::{Finder, Reference};
use super::form::Form;
use super::space::AddressSpace;
use crate::align::Copy;

/// Two programs for the same machine.
pub struct Programs<'a> {
    base: &'a [u8],
    target: &'a [u8],
    base_elf: Elf,
    target_elf: Elf,
}

impl<'a> Programs<'a> {
    /// `None` if they are not.
    ///
    /// # Errors
    /// None: both are in memory.
    pub fn open(base: &'a [u8], target: &'a [u8]) -> io::Result<Option<Self>> {
        let (Some(base_elf), Some(target_elf)) = (Elf::read(&base)?, Elf::read(&target)?) else { return Ok(None) };
        let same = base_elf.machine == target_elf.machine;
        Ok(same.then_some(Self { base, target, base_elf, target_elf }))
    }

    /// What an applier must be told.
    #[must_use]
    pub fn note(&self) -> Vec<u8> {
        let mut note = Vec::new();
        let space = |elf: &Elf| AddressSpace::new(elf.segments.clone());
        space(&self.target_elf).encode(&space(&self.base_elf), &mut note);
        note
    }
}

/// The base with labels, ready to be aligned to.
pub struct Labelled<'a> {
    programs: &'a Programs<'a>,
    base_space: AddressSpace,
    target_space: AddressSpace,
    from: Vec<Reference>,
    to: Vec<Reference>,
    /// What addresses of the target were in the base, by instructions at the same place of a copy: by target.
    voted: Vec<(u64, u64)>,
    /// The base's addresses among them.
    known: Vec<u64>,
}

impl<'a> Labelled<'a> {
    /// Finds the references of both; `copies` are a first alignment.
    ///
    /// # Errors
    /// None: both are in memory.
    pub fn new(programs: &'a Programs<'a>, copies: &[Copy]) -> io::Result<Self> {
        let base_space = AddressSpace::new(programs.base_elf.segments.clone());
        let target_space = AddressSpace::new(programs.target_elf.segments.clone());
        let from = all(&programs.base, &programs.base_elf, &base_space)?;
        let to = all(&programs.target, &programs.target_elf, &target_space)?;
        let voted = elected(votes(&from, &to, copies));
        let mut known: Vec<u64> = voted.iter().map(|(_, base)| *base).collect();
        known.sort_unstable();
        Ok(Self { programs, base_space, target_space, from, to, voted, known })
    }

    /// The base with labels.
    #[must_use]
    pub fn base(&self) -> Vec<u8> {
        let mut text = self.programs.base.to_vec();
        for reference in &self.from {
            let step = step(self.programs.base, &self.programs.base_elf, reference);
            let step = step.filter(|_| self.known.binary_search(&reference.target).is_err());
            label(&mut text, reference, step.unwrap_or(reference.target));
        }
        text
    }

    /// The target with the base's labels, as far as `copies` tell them.
    #[must_use]
    pub fn target(&self, copies: &[Copy]) -> Vec<u8> {
        let names = Names { voted: &self.voted, copies, base: &self.base_space, target: &self.target_space };
        let mut text = self.programs.target.to_vec();
        for reference in &self.to {
            let step = step(self.programs.target, &self.programs.target_elf, reference);
            let name = match step {
                Some(step) => names.voted(reference.target).or(Some(step)),
                None => names.of(reference.target),
            };
            // What has no name in the base must not look like anything there.
            label(&mut text, reference, name.unwrap_or(reference.target ^ 1 << 60));
        }
        text
    }
}

/// A name that needs no other program, for what is in the order of addresses anyway: of relocations the distance between their places, of
/// the index of frames only that it is one.
fn step(text: &[u8], elf: &Elf, reference: &Reference) -> Option<u64> {
    let after = elf.areas.partition_point(|area| area.offset <= reference.at);
    let area = elf.areas.get(after.checked_sub(1)?)?;
    let at = reference.at - area.offset;
    match area.role {
        Role::Rela if at.is_multiple_of(24) && at > 0 => {
            let before = u64_at(text, (reference.at - 24) as usize);
            Some(reference.target.wrapping_sub(before) ^ 1 << 61)
        }
        Role::FrameIndex if at.is_multiple_of(8) => Some(1 << 62),
        Role::Frames if reference.form == Form::Back => Some(1 << 62),
        _ => None,
    }
}

/// All references of a program, tables included.
fn all(bytes: &&[u8], elf: &Elf, space: &AddressSpace) -> io::Result<Vec<Reference>> {
    let mut finder = Finder::new(bytes, elf, space)?;
    let size = bytes.len()?;
    let mut found = Vec::new();
    for area in elf.areas.iter().filter(|area| area.role == Role::Code) {
        finder.find(area.offset, area.offset + area.size, &mut found)?;
        for reference in &found {
            if matches!(reference.form, Form::Relative(_) | Form::Low { .. }) {
                finder.note_table(reference.target);
            }
        }
    }
    finder.find(0, size, &mut found)?;
    Ok(found)
}

/// Writes a hash of `name` where a reference is.
fn label(text: &mut [u8], reference: &Reference, name: u64) {
    let (at, width) = (reference.at as usize, reference.form.width());
    let Some(bytes) = text.get_mut(at..at + width) else { return };
    let word = bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
    let hash = name.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let labelled = reference.form.with_value(word, hash >> 20 ^ hash << 44);
    bytes.copy_from_slice(&labelled.to_le_bytes()[..width]);
}

/// Pairs of what instructions at the same place of a copy point to: in the target, in the base.
fn votes(from: &[Reference], to: &[Reference], copies: &[Copy]) -> Vec<(u64, u64)> {
    let mut votes = Vec::new();
    for copy in copies {
        let first = from.partition_point(|reference| reference.at < copy.base);
        let mut other = to.partition_point(|reference| reference.at < copy.target);
        let inside = from[first..].iter().take_while(|reference| reference.at < copy.base + copy.length);
        for reference in inside.filter(|reference| is_code(reference.form)) {
            let at = reference.at - copy.base + copy.target;
            while to.get(other).is_some_and(|other| other.at < at) {
                other += 1;
            }
            if let Some(other) = to.get(other).filter(|other| other.at == at) {
                votes.push((other.target, reference.target));
            }
        }
    }
    votes
}

/// What addresses of the target were in the base.
struct Names<'a> {
    voted: &'a [(u64, u64)],
    copies: &'a [Copy],
    base: &'a AddressSpace,
    target: &'a AddressSpace,
}

impl Names<'_> {
    fn of(&self, address: u64) -> Option<u64> {
        if self.target.is_code(address) {
            self.mapped(address).or_else(|| self.voted(address))
        } else {
            self.voted(address).or_else(|| self.mapped(address))
        }
    }

    fn mapped(&self, address: u64) -> Option<u64> {
        let at = self.target.offset(address)?;
        let next = self.copies.partition_point(|copy| copy.target <= at);
        let copy = self.copies.get(next.checked_sub(1)?)?;
        (at - copy.target < copy.length).then(|| self.base.address(copy.base + (at - copy.target)))?
    }

    fn voted(&self, address: u64) -> Option<u64> {
        let at = self.voted.binary_search_by_key(&address, |(target, _)| *target).ok()?;
        self.voted.get(at).map(|(_, base)| *base)
    }
}

/// Of an instruction.
fn is_code(form: Form) -> bool {
    !matches!(form, Form::Absolute | Form::Table(_) | Form::Size(_) | Form::Back | Form::Relative(0))
}

/// For each target the base with most votes, the highest of equals.
fn elected(mut votes: Vec<(u64, u64)>) -> Vec<(u64, u64)> {
    votes.sort_unstable();
    let mut elected = Vec::new();
    for of_target in votes.chunk_by(|a, b| a.0 == b.0) {
        let best = of_target.chunk_by(|a, b| a.1 == b.1).max_by_key(|run| run.len());
        elected.extend(best.and_then(|run| run.first()));
    }
    elected
}
