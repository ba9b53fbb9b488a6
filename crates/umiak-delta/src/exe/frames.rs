//! Call frame information (`.eh_frame`): which functions there are, how long they are, where their exception tables are.
//!
//! Records are found by walking the area once; an index of where they begin allows to go on anywhere. Only the usual encoding is known:
//! distances of 32 bits from the field. After the Linux Standard Base, chapter 10.6.

use std::io;

use super::elf::{Area, u32_at};
use super::finder::Reference;
use super::form::Form;
use super::space::AddressSpace;
use super::window::Window;

/// Bytes that share an entry of the index.
const BLOCK: u64 = 1024;

/// No record begins in a block.
const NOWHERE: u16 = u16::MAX;

/// The longest record that is looked into.
const MAX_RECORD: u64 = 64 << 10;

/// Where records begin.
#[derive(Debug, Default)]
pub struct Frames {
    /// For each block, its first record, from the block's beginning.
    first: Vec<u16>,
    /// Bytes up to the end of the last record.
    end: u64,
}

impl Frames {
    /// Walks the records of `area`.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read(bytes: &mut Window<'_>, area: &Area) -> io::Result<Self> {
        let mut first = vec![NOWHERE; usize::try_from(area.size / BLOCK + 1).map_err(|_| io::ErrorKind::OutOfMemory)?];
        let mut at = 0;
        while at + 8 <= area.size {
            let length = u64::from(u32_at(bytes.get(area.offset + at, 4)?, 0));
            if !(4..MAX_RECORD).contains(&length) || at + 4 + length > area.size {
                break;
            }
            let entry = &mut first[(at / BLOCK) as usize];
            if *entry == NOWHERE {
                *entry = (at % BLOCK) as u16;
            }
            at += 4 + length;
        }
        Ok(Self { first, end: at })
    }

    /// Appends the references of records that reach into `from..to`.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn find(
        &self,
        bytes: &mut Window<'_>,
        space: &AddressSpace,
        area: &Area,
        from: u64,
        to: u64,
        out: &mut Vec<Reference>,
    ) -> io::Result<()> {
        // Behind the last record there is none, and nothing would stop the way back to it.
        if from - area.offset >= self.end {
            return Ok(());
        }
        let mut at = self.before(from - area.offset);
        let to = (to - area.offset).min(self.end);
        while at < to {
            let head = bytes.get(area.offset + at, 24.min(self.end - at))?;
            let length = u64::from(u32_at(head, 0));
            record(head, length, area.offset + at, area.address + at, space, out);
            at += 4 + length;
        }
        // A record may begin before `from`.
        out.retain(|reference| reference.at >= from || reference.at < area.offset);
        Ok(())
    }

    /// The first record of the nearest block before the one of `at` in which one begins.
    fn before(&self, at: u64) -> u64 {
        let mut block = (at / BLOCK).saturating_sub(1);
        loop {
            match self.first.get(block as usize) {
                Some(first) if *first != NOWHERE => return block * BLOCK + u64::from(*first),
                _ if block == 0 => return 0,
                _ => block -= 1,
            }
        }
    }
}

/// The references of one record, if it describes a function.
fn record(head: &[u8], length: u64, at: u64, address: u64, space: &AddressSpace, out: &mut Vec<Reference>) {
    if length < 12 || u32_at(head, 4) == 0 {
        return;
    }
    let mut push = |place: u64, form: Form| {
        let word = u64::from(u32_at(head, place as usize));
        let target = form.target(word, address + place, 0, form.table().unwrap_or(0));
        if space.holds(target) {
            out.push(Reference { at: at + place, form, target });
        }
        target
    };
    push(4, Form::Back);
    let function = push(8, Form::Relative(0));
    push(12, Form::Size(function));
    if length >= 17 && head.get(16) == Some(&4) {
        push(17, Form::Relative(0));
    }
}
