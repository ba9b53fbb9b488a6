//! How long x86-64 instructions are, and where in them a 32 bit distance from the instruction pointer is.
//!
//! Only what decides lengths is decoded: prefixes, opcode map, ModRM, SIB, displacement, immediate. What is no instruction in 64 bit
//! mode is one byte long and refers to nothing, so a sweep finds its way back. After the opcode maps of the Intel manual, volume
//! 2, appendix A; `docs/formats/delta-executables.md` has the tables.

/// An instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    /// Bytes, 1 to 15.
    pub length: usize,
    /// Where in it a distance begins, and whether it is of a branch.
    pub distance: Option<(usize, bool)>,
}

const NONE: Instruction = Instruction { length: 1, distance: None };

/// The longest instruction.
const MAX: usize = 15;

/// What follows an opcode.
const MODRM: u8 = 1;
/// One byte.
const BYTE: u8 = 2;
/// Four bytes, or two after the prefix 66.
const FULL: u8 = 4;
/// Two bytes.
const WORD: u8 = 8;
/// A distance of four bytes.
const BRANCH: u8 = 16;
/// Not an instruction, or treated apart.
const BAD: u8 = 128;

/// The one-byte opcodes.
const ONE: [u8; 256] = {
    let mut map = [0; 256];
    let mut at = 0;
    while at < 0x40 {
        map[at] = match at & 7 {
            0..=3 => MODRM,
            4 => BYTE,
            5 => FULL,
            _ => BAD,
        };
        at += 1;
    }
    fill(&mut map, 0x60, 0x62, BAD);
    map[0x63] = MODRM;
    map[0x68] = FULL;
    map[0x69] = MODRM | FULL;
    map[0x6A] = BYTE;
    map[0x6B] = MODRM | BYTE;
    fill(&mut map, 0x70, 0x7F, BYTE);
    map[0x80] = MODRM | BYTE;
    map[0x81] = MODRM | FULL;
    map[0x82] = BAD;
    map[0x83] = MODRM | BYTE;
    fill(&mut map, 0x84, 0x8F, MODRM);
    map[0x9A] = BAD;
    map[0xA8] = BYTE;
    map[0xA9] = FULL;
    fill(&mut map, 0xB0, 0xB7, BYTE);
    fill(&mut map, 0xB8, 0xBF, FULL);
    map[0xC0] = MODRM | BYTE;
    map[0xC1] = MODRM | BYTE;
    map[0xC2] = WORD;
    map[0xC4] = BAD;
    map[0xC5] = BAD;
    map[0xC6] = MODRM | BYTE;
    map[0xC7] = MODRM | FULL;
    map[0xC8] = WORD | BYTE;
    map[0xCA] = WORD;
    map[0xCD] = BYTE;
    map[0xCE] = BAD;
    fill(&mut map, 0xD0, 0xD3, MODRM);
    fill(&mut map, 0xD4, 0xD6, BAD);
    fill(&mut map, 0xD8, 0xDF, MODRM);
    fill(&mut map, 0xE0, 0xE7, BYTE);
    map[0xE8] = BRANCH;
    map[0xE9] = BRANCH;
    map[0xEA] = BAD;
    map[0xEB] = BYTE;
    map[0xF6] = MODRM;
    map[0xF7] = MODRM;
    map[0xFE] = MODRM;
    map[0xFF] = MODRM;
    map
};

/// The opcodes after 0F.
const TWO: [u8; 256] = {
    let mut map = [MODRM; 256];
    map[0x04] = BAD;
    fill(&mut map, 0x05, 0x09, 0);
    map[0x0A] = BAD;
    map[0x0B] = 0;
    map[0x0C] = BAD;
    map[0x0E] = 0;
    map[0x0F] = MODRM | BYTE;
    fill(&mut map, 0x24, 0x27, BAD);
    fill(&mut map, 0x30, 0x37, 0);
    map[0x36] = BAD;
    fill(&mut map, 0x38, 0x3F, BAD);
    fill(&mut map, 0x70, 0x73, MODRM | BYTE);
    map[0x77] = 0;
    fill(&mut map, 0x7A, 0x7B, BAD);
    fill(&mut map, 0x80, 0x8F, BRANCH);
    fill(&mut map, 0xA0, 0xA2, 0);
    map[0xA4] = MODRM | BYTE;
    fill(&mut map, 0xA6, 0xA7, BAD);
    fill(&mut map, 0xA8, 0xAA, 0);
    map[0xAC] = MODRM | BYTE;
    map[0xBA] = MODRM | BYTE;
    map[0xC2] = MODRM | BYTE;
    fill(&mut map, 0xC4, 0xC6, MODRM | BYTE);
    fill(&mut map, 0xC8, 0xCF, 0);
    map
};

const fn fill(map: &mut [u8; 256], from: usize, to: usize, with: u8) {
    let mut at = from;
    while at <= to {
        map[at] = with;
        at += 1;
    }
}

/// The instruction at the beginning of `code`; `None` if it does not end there.
#[inline]
pub fn decode(code: &[u8]) -> Option<Instruction> {
    let mut at = 0;
    let (mut short, mut wide) = (false, false);
    let mut opcode = *code.first()?;
    // Legacy prefixes, then REX; a REX that something else follows than an opcode has no effect.
    while at < MAX {
        match opcode {
            0x66 => (short, wide) = (true, false),
            0x26 | 0x2E | 0x36 | 0x3E | 0x64 | 0x65 | 0x67 | 0xF0 | 0xF2 | 0xF3 => wide = false,
            0x40..=0x4F => wide = opcode & 8 != 0,
            _ => break,
        }
        at += 1;
        opcode = *code.get(at)?;
    }
    at += 1;
    let kind = match opcode {
        0x0F => {
            let second = *code.get(at)?;
            at += 1;
            match second {
                0x38 => {
                    at += 1;
                    MODRM
                }
                0x3A => {
                    at += 1;
                    MODRM | BYTE
                }
                // Control and debug registers: ModRM names registers whatever its mode.
                0x20..=0x23 => return sized(at + 1, code, None),
                _ => TWO[second as usize],
            }
        }
        0xC5 => {
            let second = *code.get(at + 1)?;
            at += 2;
            vector(1, second)
        }
        0xC4 => {
            let map = *code.get(at)? & 31;
            let second = *code.get(at + 2)?;
            at += 3;
            vector(map, second)
        }
        0x62 => {
            let map = *code.get(at)?;
            let second = *code.get(at + 3)?;
            at += 4;
            // The bit that is always 0, the one that is always 1.
            if map & 8 != 0 || *code.get(at - 3)? & 4 == 0 { BAD } else { vector(map & 7, second) }
        }
        0x8F if *code.get(at)? & 0x38 != 0 => {
            let map = *code.get(at)? & 31;
            at += 3;
            match map {
                8 => MODRM | BYTE,
                9 => MODRM,
                10 => MODRM | 32,
                _ => BAD,
            }
        }
        0xA0..=0xA3 => {
            let address = if code[..at].contains(&0x67) { 4 } else { 8 };
            return sized(at + address, code, None);
        }
        0xB8..=0xBF if wide => return sized(at + 8, code, None),
        _ => ONE[opcode as usize],
    };
    if kind & BAD != 0 {
        return Some(NONE);
    }
    rest(code, at, kind, opcode, short && !wide)
}

/// What follows the opcode of a VEX or EVEX instruction.
fn vector(map: u8, opcode: u8) -> u8 {
    match map {
        1 if opcode == 0x77 => 0,
        1 => match TWO[opcode as usize] {
            kind @ (0 | BAD | BRANCH) => {
                if kind == BRANCH {
                    MODRM
                } else {
                    BAD
                }
            }
            kind => kind,
        },
        2 | 5 | 6 => MODRM,
        3 => MODRM | BYTE,
        _ => BAD,
    }
}

fn rest(code: &[u8], mut at: usize, kind: u8, opcode: u8, short: bool) -> Option<Instruction> {
    let mut distance = None;
    let mut immediate = usize::from(kind & BYTE != 0) + usize::from(kind & WORD != 0) * 2;
    if kind & FULL != 0 {
        immediate += if short { 2 } else { 4 };
    }
    if kind & 32 != 0 {
        immediate += 4;
    }
    if kind & BRANCH != 0 {
        return sized(at + 4, code, Some((at, true)));
    }
    if kind & MODRM != 0 {
        let modrm = *code.get(at)?;
        at += 1;
        let (mode, register, memory) = (modrm >> 6, modrm >> 3 & 7, modrm & 7);
        // TEST is the one of its group that has an immediate.
        if opcode & 0xFE == 0xF6 && register < 2 {
            immediate += if opcode == 0xF6 {
                1
            } else if short {
                2
            } else {
                4
            };
        }
        if mode != 3 && memory == 4 {
            let sib = *code.get(at)?;
            at += 1;
            if mode == 0 && sib & 7 == 5 {
                at += 4;
            }
        }
        match mode {
            0 if memory == 5 => {
                distance = Some((at, false));
                at += 4;
            }
            1 => at += 1,
            2 => at += 4,
            _ => {}
        }
    }
    sized(at + immediate, code, distance)
}

fn sized(length: usize, code: &[u8], distance: Option<(usize, bool)>) -> Option<Instruction> {
    if length > MAX {
        return Some(NONE);
    }
    (length <= code.len()).then_some(Instruction { length, distance })
}

#[cfg(test)]
mod tests {
    use iced_x86::{Decoder, DecoderOptions, OpKind};
    use proptest::prelude::*;

    use super::*;

    /// What another decoder says: length, and where a distance of 32 bits is.
    fn other(code: &[u8]) -> Option<Instruction> {
        let mut decoder = Decoder::with_ip(64, code, 0x1000, DecoderOptions::NO_INVALID_CHECK);
        let instruction = decoder.decode();
        if instruction.is_invalid() {
            return None;
        }
        let offsets = decoder.get_constant_offsets(&instruction);
        let branch = offsets.immediate_size() == 4
            && matches!(instruction.op0_kind(), OpKind::NearBranch64 | OpKind::NearBranch32 | OpKind::NearBranch16);
        let memory = instruction.is_ip_rel_memory_operand() && offsets.displacement_size() == 4;
        let distance = if branch {
            Some((offsets.immediate_offset(), true))
        } else if memory {
            Some((offsets.displacement_offset(), false))
        } else {
            None
        };
        Some(Instruction { length: instruction.len(), distance })
    }

    #[test]
    fn instructions_of_this_very_program_are_as_long_as_another_decoder_says() {
        if !cfg!(target_arch = "x86_64") {
            return;
        }
        let program = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let elf = super::super::elf::Elf::read(&program).unwrap().unwrap();
        let area = elf.areas.iter().filter(|area| area.role == super::super::elf::Role::Code);
        let area = area.max_by_key(|area| area.size).unwrap();
        let code = &program[area.offset as usize..][..area.size.min(8 << 20) as usize];
        let (mut at, mut checked) = (0, 0);
        while at + MAX <= code.len() {
            let ours = decode(&code[at..]).unwrap();
            if let Some(theirs) = other(&code[at..at + MAX]) {
                assert_eq!(ours, theirs, "at {at}: {:02x?}", &code[at..at + MAX]);
                checked += 1;
                at += theirs.length;
            } else {
                at += 1;
            }
        }
        assert!(checked > 10_000, "{checked}");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_both_take_for_an_instruction_has_the_same_length(
            prefixes in prop::collection::vec(prop::sample::select(&[0x66u8, 0xF2, 0xF3, 0x48, 0x40, 0x2E][..]), 0..3),
            rest in prop::collection::vec(any::<u8>(), 16),
        ) {
            let code = [prefixes, rest].concat();
            let ours = decode(&code).unwrap();
            if ours.length > 1 && !undefined(&code) && let Some(theirs) = other(&code[..code.len().min(MAX)]) {
                prop_assert_eq!(ours.length, theirs.length, "{:02x?}", code);
            }
        }
    }

    /// Encodings on which decoders differ, and which no compiler makes: SSE4a's EXTRQ, branches with 66.
    fn undefined(code: &[u8]) -> bool {
        code.windows(2).take(5).any(|pair| pair[0] == 0x0F && matches!(pair[1], 0x78 | 0x79))
            || code.starts_with(&[0x66])
            || code[..3].contains(&0x66)
    }
}
