//! References of AArch64 instructions: branches, and pages with the instructions that complete them.
//!
//! `ADRP` gives the page of an address, an `ADD` or a load or store after it the rest. A page is followed for a few instructions, until its
//! register gets another value; it is taken to point where the first of them points. After the Arm ARM, C4.1.

use super::elf::u32_at;
use super::finder::{Place, Reference};
use super::form::Form;
use super::space::AddressSpace;

/// Instructions after which a page is forgotten.
const FAR: usize = 24;

/// Instructions in which the first user of a page is looked for.
const NEAR: usize = 14;

/// Appends the references of instructions within `length` bytes behind `lead`.
pub fn sweep(code: &[u8], lead: usize, length: usize, place: &Place, space: &AddressSpace, out: &mut Vec<Reference>) {
    // Which page a register holds, and since when.
    let mut pages = [(usize::MAX, 0u64); 32];
    let skip = (4 - (place.address % 4) as usize) % 4;
    let mut at = skip;
    while at < lead + length && at + 4 <= code.len() {
        let word = u32_at(code, at);
        let here = place.address + at as u64;
        let mut push = |form: Form, target: u64| {
            if at >= lead {
                out.push(Reference { at: place.offset + at as u64, form, target });
            }
        };
        let plain = u64::from(word);
        if let Some(form) = branch(word) {
            let target = form.target(plain, here, 0, 0);
            if space.is_code(target) {
                push(form, target);
            }
        } else if let Some(register) = page(word) {
            let page = Form::Page(register).target(plain, here, 0, 0);
            pages[register as usize] = (at, page);
            let target = first_use(&code[at + 4..], register, page).unwrap_or(page);
            if space.holds(target) {
                push(Form::Page(register), target);
            }
        } else {
            if let Some(form @ Form::Low { register, .. }) = low(word) {
                let (since, page) = pages[register as usize];
                let target = form.target(plain, here, page, 0);
                if since != usize::MAX && at - since <= FAR * 4 && space.holds(target) {
                    push(form, target);
                }
            }
            if let Some(register) = written(word) {
                pages[register as usize].0 = usize::MAX;
            }
        }
        at += 4;
    }
}

/// `B`, `BL`; `B.cond`, `CBZ`, `CBNZ`.
fn branch(word: u32) -> Option<Form> {
    if word & 0x7C00_0000 == 0x1400_0000 {
        Some(Form::Branch26)
    } else if word & 0xFF00_0010 == 0x5400_0000 || word & 0x7E00_0000 == 0x3400_0000 {
        Some(Form::Branch19)
    } else {
        None
    }
}

/// `ADRP`, and its register.
fn page(word: u32) -> Option<u8> {
    (word & 0x9F00_0000 == 0x9000_0000).then_some((word & 31) as u8)
}

/// `ADD` of 64 bits, loads and stores with an unsigned offset.
fn low(word: u32) -> Option<Form> {
    let register = (word >> 5 & 31) as u8;
    if word & 0xFFC0_0000 == 0x9100_0000 {
        return Some(Form::Low { scale: 0, register });
    }
    if word & 0x3B00_0000 == 0x3900_0000 {
        let wide = word & 0x0480_0000 == 0x0480_0000 && word >> 30 == 0;
        return Some(Form::Low { scale: if wide { 4 } else { (word >> 30) as u8 }, register });
    }
    None
}

/// The register that gets another value, if it can be one: stores with an unsigned offset write none.
fn written(word: u32) -> Option<u8> {
    let store = word & 0x3B00_0000 == 0x3900_0000 && word & 0x00C0_0000 == 0;
    (!store && word & 31 != 31).then_some((word & 31) as u8)
}

fn first_use(code: &[u8], register: u8, page: u64) -> Option<u64> {
    for word in code.chunks_exact(4).take(NEAR) {
        let word = u32_at(word, 0);
        if let Some(form @ Form::Low { register: by, .. }) = low(word)
            && by == register
        {
            return Some(form.target(u64::from(word), 0, page, 0));
        }
        if branch(word).is_none() && written(word) == Some(register) {
            return None;
        }
    }
    None
}
