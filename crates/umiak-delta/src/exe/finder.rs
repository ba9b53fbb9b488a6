//! Where the references of a program are, area by area, found anew for each stretch that is asked for.
//!
//! Nothing is kept but an index of the call frames, so memory does not grow with the file. What is found in a stretch does not depend
//! on what was asked before, except for jump tables, which are known once an instruction that loads their address was found
//! and noted with [`Finder::note_table`].

use std::collections::BTreeSet;
use std::io;

use umiak_spec::ReadAt;

use super::elf::{Area, Elf, Machine, Role, u32_at, u64_at};
use super::form::Form;
use super::frames::Frames;
use super::space::AddressSpace;
use super::window::Window;
use super::{arm64, x86};

/// Bytes of a place that hold an address in some form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reference {
    /// First byte in the file.
    pub at: u64,
    /// How it is written.
    pub form: Form,
    /// Where it points.
    pub target: u64,
}

impl Reference {
    /// The byte behind it.
    pub fn end(&self) -> u64 {
        self.at + self.form.width() as u64
    }
}

/// Instructions are decoded in blocks of this size.
const BLOCK: u64 = 512;

/// Bytes decoded before a block, so that instructions are met at their beginnings and registers are known.
const LEAD: u64 = 128;

/// Bytes behind a block that are looked at: the end of an instruction, or the user of a page.
const TRAIL: u64 = 64;

/// Entries of a jump table.
const MAX_TABLE: u64 = 1024;

/// Jump tables of a program.
const MAX_TABLES: usize = 1 << 16;

/// Finds the references of one file.
pub struct Finder<'a> {
    elf: &'a Elf,
    space: &'a AddressSpace,
    bytes: Window<'a>,
    frames: Frames,
    tables: BTreeSet<u32>,
    /// The block of instructions decoded last: its offset, its references.
    block: Option<(u64, Vec<Reference>)>,
}

impl<'a> Finder<'a> {
    /// Of `file`, which `elf` was read from.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn new(file: &'a dyn ReadAt, elf: &'a Elf, space: &'a AddressSpace) -> io::Result<Self> {
        let mut bytes = Window::new(file)?;
        let area = elf.areas.iter().find(|area| area.role == Role::Frames);
        let frames = area.map_or_else(|| Ok(Frames::default()), |area| Frames::read(&mut bytes, area))?;
        Ok(Self { elf, space, bytes, frames, tables: BTreeSet::new(), block: None })
    }

    /// The file's bytes from `offset` on.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn bytes(&mut self, offset: u64, length: u64) -> io::Result<&[u8]> {
        self.bytes.get(offset, length)
    }

    /// Notes that a table may be at `address`.
    pub fn note_table(&mut self, address: u64) {
        if address.is_multiple_of(4)
            && self.tables.len() < MAX_TABLES
            && let Some(offset) = self.space.offset(address).and_then(|offset| u32::try_from(offset).ok())
        {
            self.tables.insert(offset);
        }
    }

    /// Replaces `out` by the references that lie wholly in the bytes `from..to`, by offset, apart from each other.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn find(&mut self, from: u64, to: u64, out: &mut Vec<Reference>) -> io::Result<()> {
        out.clear();
        let elf = self.elf;
        let first = elf.areas.partition_point(|area| area.offset + area.size <= from);
        for area in elf.areas[first..].iter().take_while(|area| area.offset < to) {
            let (from, to) = (from.max(area.offset), to.min(area.offset + area.size));
            match area.role {
                Role::Code => self.code(area, from, to, out)?,
                Role::Rela => self.rela(area, from, to, out)?,
                Role::Symbols => self.symbols(area, from, to, out)?,
                Role::Pointers => self.pointers(from, to, out)?,
                Role::Frames => self.frames.find(&mut self.bytes, self.space, area, from, to, out)?,
                Role::FrameIndex => self.frame_index(area, from, to, out)?,
                Role::Constants => self.constants(from, to, out)?,
            }
        }
        let mut end = from;
        out.retain(|reference| {
            let fits = reference.at >= end && reference.end() <= to;
            if fits {
                end = reference.end();
            }
            fits
        });
        Ok(())
    }

    fn code(&mut self, area: &Area, from: u64, to: u64, out: &mut Vec<Reference>) -> io::Result<()> {
        let mut start = from - (from - area.offset) % BLOCK;
        while start < to {
            let known = self.block.as_ref().is_some_and(|(at, _)| *at == start);
            if !known {
                let mut found = self.block.take().map_or_else(Vec::new, |(_, found)| found);
                found.clear();
                self.decode(area, start, &mut found)?;
                self.block = Some((start, found));
            }
            if let Some((_, found)) = &self.block {
                let first = found.partition_point(|reference| reference.at < from);
                out.extend(found[first..].iter().take_while(|reference| reference.at < to));
            }
            start += BLOCK;
        }
        Ok(())
    }

    fn decode(&mut self, area: &Area, start: u64, out: &mut Vec<Reference>) -> io::Result<()> {
        let lead = (start - area.offset).min(LEAD);
        let area_end = area.offset + area.size;
        let end = (start + BLOCK).min(area_end);
        let code = self.bytes.get(start - lead, (end + TRAIL).min(area_end) - (start - lead))?;
        let place = Place { offset: start - lead, address: area.address + (start - lead - area.offset) };
        let (lead, length) = (lead as usize, (end - start) as usize);
        match self.elf.machine {
            Machine::X86 => sweep(code, lead, length, &place, self.space, out),
            Machine::Arm => arm64::sweep(code, lead, length, &place, self.space, out),
        }
        Ok(())
    }

    /// Place, symbol and addend.
    fn rela(&mut self, area: &Area, from: u64, to: u64, out: &mut Vec<Reference>) -> io::Result<()> {
        let start = from - (from - area.offset) % 24;
        let (space, bytes) = (self.space, self.bytes.get(start, to - start)?);
        for (number, record) in bytes.chunks(24).enumerate() {
            let at = start + number as u64 * 24;
            absolute(space, record, at, 0, out);
            linked(space, record, at, 12, Form::Record(area.link), out);
            absolute(space, record, at, 16, out);
        }
        Ok(())
    }

    /// Name and value.
    fn symbols(&mut self, area: &Area, from: u64, to: u64, out: &mut Vec<Reference>) -> io::Result<()> {
        let start = from - (from - area.offset) % 24;
        let (space, bytes) = (self.space, self.bytes.get(start, to - start)?);
        for (number, record) in bytes.chunks(24).enumerate() {
            let at = start + number as u64 * 24;
            linked(space, record, at, 0, Form::Table(area.link), out);
            absolute(space, record, at, 8, out);
        }
        Ok(())
    }

    fn pointers(&mut self, from: u64, to: u64, out: &mut Vec<Reference>) -> io::Result<()> {
        let start = from.next_multiple_of(8).min(to);
        let (space, bytes) = (self.space, self.bytes.get(start, to - start)?);
        for (number, word) in bytes.chunks_exact(8).enumerate() {
            // Small numbers are rarely addresses.
            if u64_at(word, 0) > 0x1000 {
                absolute(space, word, start + number as u64 * 8, 0, out);
            }
        }
        Ok(())
    }

    fn frame_index(&mut self, area: &Area, from: u64, to: u64, out: &mut Vec<Reference>) -> io::Result<()> {
        let start = from - (from - area.offset) % 4;
        let (space, bytes) = (self.space, self.bytes.get(start, to - start)?);
        for (number, word) in bytes.chunks_exact(4).enumerate() {
            let at = start + number as u64 * 4;
            let form = match at - area.offset {
                0 | 8 => continue,
                4 => Form::Relative(0),
                _ => Form::Table(area.address),
            };
            let here = area.address + (at - area.offset);
            let target = form.target(u64::from(u32_at(word, 0)), here, 0, area.address);
            if space.holds(target) {
                out.push(Reference { at, form, target });
            }
        }
        Ok(())
    }

    /// Entries of the tables that were noted: distances from the table to instructions.
    fn constants(&mut self, from: u64, to: u64, out: &mut Vec<Reference>) -> io::Result<()> {
        let Ok(last) = u32::try_from(to.saturating_sub(1)) else { return Ok(()) };
        let mut at = from - from % 4;
        while at < to {
            let Some(table) = self.tables.range(..=at as u32).next_back().copied() else {
                let Some(next) = self.tables.range(..=last).next() else { return Ok(()) };
                at = u64::from(*next);
                continue;
            };
            let next = self.tables.range(at as u32 + 1..).next().map_or(u64::MAX, |next| u64::from(*next));
            let table = u64::from(table);
            let Some(address) = self.space.address(table) else { return Ok(()) };
            let end = next.min(to).min(table + MAX_TABLE * 4);
            let (space, bytes) = (self.space, self.bytes.get(table, end.saturating_sub(table))?);
            for (number, entry) in bytes.chunks_exact(4).enumerate() {
                let entry_at = table + number as u64 * 4;
                let target = Form::Table(address).target(u64::from(u32_at(entry, 0)), 0, 0, address);
                if target == address || !space.is_code(target) {
                    break;
                }
                if entry_at >= from {
                    out.push(Reference { at: entry_at, form: Form::Table(address), target });
                }
            }
            at = next.min(to);
        }
        Ok(())
    }
}

/// Where a stretch of instructions is.
pub struct Place {
    /// Its first byte in the file.
    pub offset: u64,
    /// Where that is loaded.
    pub address: u64,
}

/// References of x86-64 instructions whose fields begin within `length` bytes behind `lead`.
fn sweep(code: &[u8], lead: usize, length: usize, place: &Place, space: &AddressSpace, out: &mut Vec<Reference>) {
    let mut at = 0;
    while at < lead + length {
        let Some(instruction) = x86::decode(&code[at..]) else {
            at += 1;
            continue;
        };
        if let Some((field, branch)) = instruction.distance {
            let field_at = at + field;
            if field_at >= lead && field_at < lead + length {
                let form = Form::Relative((instruction.length - field) as u8);
                let here = place.address + field_at as u64;
                let target = form.target(u64::from(u32_at(code, field_at)), here, 0, 0);
                if if branch { space.is_code(target) } else { space.holds(target) } {
                    out.push(Reference { at: place.offset + field_at as u64, form, target });
                }
            }
        }
        at += instruction.length;
    }
}

/// The word at `place` of a record, if it is an address.
fn absolute(space: &AddressSpace, record: &[u8], at: u64, place: usize, out: &mut Vec<Reference>) {
    let target = u64_at(record, place);
    if target != 0 && space.holds(target) {
        out.push(Reference { at: at + place as u64, form: Form::Absolute, target });
    }
}

/// The word of 32 bits at `place` of a record, if it points into a table that is loaded.
fn linked(space: &AddressSpace, record: &[u8], at: u64, place: usize, form: Form, out: &mut Vec<Reference>) {
    let (word, table) = (u32_at(record, place), form.table().unwrap_or(0));
    let target = form.target(u64::from(word), 0, 0, table);
    if word != 0 && table != 0 && space.holds(target) {
        out.push(Reference { at: at + place as u64, form, target });
    }
}
