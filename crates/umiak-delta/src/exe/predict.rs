//! Walking the copies of a program: references are made to point where they should, corrected, and learned from.
//!
//! Copies that touch instructions come first: they tell most of what became of addresses. Both sides go through the very same states;
//! where the truth comes from is the business of [`Correct`].

use std::io;

use umiak_spec::ReadAt;

use super::ExeError;
use super::elf::{Elf, Role};
use super::finder::{Finder, Reference};
use super::form::Form;
use super::learned::{CopyMap, Learned};
use super::space::AddressSpace;
use crate::align::Copy;
use crate::correct::{Correct, Guess, Others, Rule};

/// Bytes of a copy that are corrected at a time.
const PIECE: u64 = 4096;

/// A word is at most this long.
const WORD: u64 = 8;

/// Goes through the copies of a program. `truth` is the target, where it is known; `out` gets each piece of it as it is made.
///
/// # Errors
/// The base cannot be read or is no program, the note is not one, or a correction cannot be read or written.
pub fn predict(
    base: &dyn ReadAt,
    note: &[u8],
    copies: &[Copy],
    truth: Option<&[u8]>,
    correct: &mut dyn Correct,
    out: &mut dyn FnMut(u64, &[u8]) -> io::Result<()>,
) -> Result<(), ExeError> {
    let elf = Elf::read(base)?.ok_or(ExeError::Base)?;
    let space = AddressSpace::new(elf.segments.clone());
    let mut rest = note;
    let target = AddressSpace::decode(&space, &mut rest).map_err(ExeError::Note)?;
    if !rest.is_empty() {
        return Err(ExeError::Note(io::ErrorKind::InvalidData.into()));
    }
    let mut walk = Walk {
        finder: Finder::new(base, &elf, &space)?,
        known: Known {
            base: &space,
            target: &target,
            map: CopyMap::new(copies),
            learned: Learned::new(base.len()?, (space.lowest(), target.lowest())),
        },
        pages: [None; 32],
        found: Vec::new(),
        piece: Vec::new(),
        plain: Vec::new(),
        actual: Vec::new(),
        truth,
        correct,
        out,
    };
    let code =
        |copy: &&Copy| elf.areas.iter().any(|area| area.role == Role::Code && touches(copy, area.offset, area.size));
    for copy in copies.iter().filter(code) {
        walk.copy(copy)?;
    }
    for copy in copies.iter().filter(|copy| !code(copy)) {
        walk.copy(copy)?;
    }
    Ok(())
}

fn touches(copy: &Copy, offset: u64, size: u64) -> bool {
    copy.base < offset + size && offset < copy.base + copy.length
}

struct Walk<'a> {
    finder: Finder<'a>,
    known: Known<'a>,
    /// What AArch64's registers hold in the target: the page, and where the instruction that set it is in the base.
    pages: [Option<(u64, u64)>; 32],
    found: Vec<Reference>,
    piece: Vec<u8>,
    plain: Vec<u8>,
    actual: Vec<u8>,
    truth: Option<&'a [u8]>,
    correct: &'a mut dyn Correct,
    out: &'a mut dyn FnMut(u64, &[u8]) -> io::Result<()>,
}

impl Walk<'_> {
    fn copy(&mut self, copy: &Copy) -> io::Result<()> {
        let mut at = 0;
        while at < copy.length {
            at += self.piece(copy, at)?;
        }
        Ok(())
    }

    /// One piece of a copy, `done` bytes from its beginning; says how long it was.
    fn piece(&mut self, copy: &Copy, done: u64) -> io::Result<u64> {
        let start = copy.base + done;
        let mut found = std::mem::take(&mut self.found);
        let wanted = (copy.length - done).min(PIECE);
        self.finder.find(start, start + (wanted + WORD).min(copy.length - done), &mut found)?;
        // What lies across the end belongs to the next piece.
        let end = found.iter().find(|reference| reference.end() > start + wanted);
        let length = end.map_or(wanted, |reference| reference.at.saturating_sub(start).min(wanted));
        found.retain(|reference| reference.at < start + length);
        self.piece.clear();
        let piece = self.finder.bytes(start, length)?;
        self.piece.extend_from_slice(piece);
        let shift = copy.target.wrapping_sub(copy.base);
        self.settle_short(copy, shift, &mut found);
        let target = copy.target + done;
        self.plain(&found, start, target)?;
        for reference in &found {
            self.reference(reference, start, shift)?;
        }
        self.found = found;
        (self.out)(target, &self.piece)?;
        Ok(length)
    }

    /// Drops references whose bytes stay as they are because both ends are in the copy.
    fn settle_short(&mut self, copy: &Copy, shift: u64, found: &mut Vec<Reference>) {
        found.retain(|reference| {
            if !matches!(reference.form, Form::Relative(_) | Form::Back | Form::Branch26 | Form::Branch19) {
                return true;
            }
            let Some(to) = self.known.base.offset(reference.target) else { return true };
            if to < copy.base || to - copy.base >= copy.length {
                return true;
            }
            let here = self.known.target.address(reference.at.wrapping_add(shift));
            let there = self.known.target.address(to.wrapping_add(shift));
            let before = self.known.base.address(reference.at).map(|here| reference.target.wrapping_sub(here));
            here.zip(there).map(|(here, there)| there.wrapping_sub(here)) != before
        });
    }

    /// Corrects the bytes between references.
    fn plain(&mut self, found: &[Reference], start: u64, target: u64) -> io::Result<()> {
        let stretches = || {
            let ends = found.iter().map(|reference| (reference.end() - start) as usize);
            let begins = found.iter().map(|reference| (reference.at - start) as usize);
            std::iter::once(0).chain(ends).zip(begins.chain(std::iter::once(self.piece.len())))
        };
        self.plain.clear();
        stretches().for_each(|(from, to)| self.plain.extend_from_slice(&self.piece[from..to]));
        let mut actual = None;
        if let Some(truth) = self.truth {
            let truth = part(truth, target, self.piece.len())?;
            self.actual.clear();
            stretches().for_each(|(from, to)| self.actual.extend_from_slice(&truth[from..to]));
            actual = Some(self.actual.as_slice());
        }
        self.correct.bytes(&mut self.plain, actual)?;
        let mut taken = 0;
        let ends = found.iter().map(|reference| (reference.end() - start) as usize);
        let begins = found.iter().map(|reference| (reference.at - start) as usize);
        let whole = self.piece.len();
        for (from, to) in std::iter::once(0).chain(ends).zip(begins.chain(std::iter::once(whole))) {
            self.piece[from..to].copy_from_slice(&self.plain[taken..taken + to - from]);
            taken += to - from;
        }
        Ok(())
    }

    fn reference(&mut self, reference: &Reference, start: u64, shift: u64) -> io::Result<()> {
        let (from, width) = ((reference.at - start) as usize, reference.form.width());
        let at = reference.at.wrapping_add(shift);
        let actual = match self.truth {
            Some(truth) => Some(word(part(truth, at, width)?)),
            None => None,
        };
        let word = word(&self.piece[from..from + width]);
        let here = self.known.target.address(at).unwrap_or(0);
        let form = reference.form;
        let table = form.table().map_or(0, |table| self.known.became(table));
        let page = self.page(reference);
        let scene = Scene { word, here, table, page };
        let (first, rule) = self.known.first(reference, &scene);
        let known = &self.known;
        let mut others = |others: &mut Others| known.others(reference, &scene, others);
        let guess = Guess { form, word: first, rule, target: reference.target };
        let settled = self.correct.reference(&guess, &mut others, actual)?;
        self.piece[from..from + width].copy_from_slice(&settled.to_le_bytes()[..width]);
        self.learn(reference, &scene, settled);
        Ok(())
    }

    /// The page that a register holds in the target.
    fn page(&self, reference: &Reference) -> Option<u64> {
        let Form::Low { register, .. } = reference.form else { return None };
        let (page, since) = self.pages.get(register as usize).copied().flatten()?;
        (reference.at > since && reference.at - since <= 96).then_some(page)
    }

    fn learn(&mut self, reference: &Reference, scene: &Scene, settled: u64) {
        let actual = reference.form.target(settled, scene.here, scene.page.unwrap_or(0), scene.table);
        match reference.form {
            Form::Page(register) => {
                if let Some(page) = self.pages.get_mut(register as usize) {
                    *page = Some((actual, reference.at));
                }
                return;
            }
            Form::Low { .. } if scene.page.is_none() => return,
            Form::Size(_) => return,
            // Tables of branches hold distances from themselves; an instruction loads where they are.
            Form::Relative(_) | Form::Low { .. } => self.finder.note_table(reference.target),
            _ => {}
        }
        self.known.learned.learn(reference.target, actual);
    }
}

/// What is known of addresses.
struct Known<'a> {
    base: &'a AddressSpace,
    target: &'a AddressSpace,
    map: CopyMap,
    learned: Learned,
}

impl Known<'_> {
    /// The likeliest word.
    fn first(&self, reference: &Reference, scene: &Scene) -> (u64, Rule) {
        let found = if let Some(target) = self.learned.exactly(reference.target) {
            Some((target, Rule::Learned))
        } else if let Some(target) = self.learned.nearby(reference.target) {
            Some((target, Rule::Nearby))
        } else {
            let mapped = self.map.address(reference.target, self.base, self.target);
            mapped.map(|target| (target, Rule::Mapped))
        };
        match found {
            Some((target, rule)) => (scene.pointing(reference.form, target), rule),
            None => (scene.word, Rule::Unchanged),
        }
    }

    /// What else it could be.
    fn others(&self, reference: &Reference, scene: &Scene, others: &mut Others) {
        let nearby = self.learned.nearby(reference.target);
        let mapped = self.map.address(reference.target, self.base, self.target);
        for (target, rule) in [(mapped, Rule::Mapped), (nearby, Rule::Nearby)] {
            if let Some(target) = target {
                others.add(scene.pointing(reference.form, target), rule);
            }
        }
        others.add(scene.word, Rule::Unchanged);
    }

    /// Where an address of the base is in the target, as far as can be told.
    fn became(&self, address: u64) -> u64 {
        let known = self.learned.exactly(address).or_else(|| self.map.address(address, self.base, self.target));
        known.unwrap_or(address)
    }
}

/// What is known where a reference is.
struct Scene {
    /// The base's word.
    word: u64,
    /// Its address in the target.
    here: u64,
    /// Where its table is in the target.
    table: u64,
    /// The page its register holds in the target.
    page: Option<u64>,
}

impl Scene {
    fn pointing(&self, form: Form, target: u64) -> u64 {
        form.pointing(self.word, target, self.here, self.table)
    }
}

fn word(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

fn part(truth: &[u8], offset: u64, length: usize) -> io::Result<&[u8]> {
    let start = usize::try_from(offset).ok();
    let part = start.and_then(|start| truth.get(start..start.checked_add(length)?));
    part.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}
